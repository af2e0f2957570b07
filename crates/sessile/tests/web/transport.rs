//! Sessions over a transport of one's own: here, a header that carries the token.

use http::{HeaderMap, HeaderValue, header};
use sessile::engine::Credential;
use sessile::http::{CookieConfigError, SameSite};
use sessile::session::CredentialChange;
use sessile::{CookieConfig, LazySession, Policy, SessionToken};

use crate::support::{Stage, seconds};

fn named(stage: &Stage, credential: Option<&Credential>) -> LazySession {
    LazySession::new(stage.sessions.clone(), credential.cloned().into_iter().collect())
}

/// [A01] [S05] [S09] The new credential after a first change, a login and a rotation, whether they were committed or
/// saved; the end after a logout; nothing where nothing changed for the client.
#[tokio::test]
async fn a_transport_learns_every_new_credential() {
    for saves in [false, true] {
        let stage = Stage::new();
        let mut credential: Option<Credential> = None;
        for step in ["reads", "stores", "reads", "signs in", "rotates", "stores more", "signs out", "reads"] {
            let lazy = named(&stage, credential.as_ref());
            let session = lazy.load().await.unwrap();
            match step {
                "stores" => session.insert("n", &1).unwrap(),
                "stores more" => session.insert("m", &1).unwrap(),
                "signs in" => session.login("ada").unwrap(),
                "rotates" => session.rotate().unwrap(),
                "signs out" => session.logout(),
                _ => {}
            }
            if saves {
                session.save().await.unwrap();
            } else {
                lazy.commit().await.unwrap();
            }
            assert!(lazy.is_consulted());
            match (step, lazy.take_change()) {
                (
                    "stores" | "signs in" | "rotates",
                    CredentialChange::Set { credential: new, remembered, .. },
                ) => {
                    assert_ne!(Some(new.id()), credential.map(|old| old.id()), "{step}");
                    assert_eq!((session.id(), remembered), (Some(new.id()), false));
                    credential = Some(new);
                }
                ("reads" | "stores more", CredentialChange::Unchanged) => {}
                ("signs out", CredentialChange::Ended) => {}
                (step, change) => panic!("{step}: {change:?}"),
            }
            assert!(matches!(lazy.take_change(), CredentialChange::Unchanged), "answered once");
        }
        assert!(stage.store.rows().await.is_empty());
    }
}

/// [I11] [S09] A request that failed drops what it changed, and carries out a logout. One that asked nothing costs
/// nothing.
#[tokio::test]
async fn a_failed_request_ends_and_stores_nothing() {
    let stage = Stage::new();
    let lazy = named(&stage, None);
    lazy.load().await.unwrap().login("ada").unwrap();
    lazy.abandon().await.unwrap();
    assert!(matches!(lazy.take_change(), CredentialChange::Unchanged));
    assert!(stage.store.rows().await.is_empty());
    lazy.load().await.unwrap().login("ada").unwrap();
    lazy.commit().await.unwrap();
    let CredentialChange::Set { credential, .. } = lazy.take_change() else {
        panic!("a login has a new name")
    };
    stage.store.statements();
    let untouched = named(&stage, Some(&credential));
    untouched.commit().await.unwrap();
    untouched.abandon().await.unwrap();
    assert!(!untouched.is_consulted() && stage.store.statements() == 0);
    let lazy = named(&stage, Some(&credential));
    lazy.load().await.unwrap().logout();
    lazy.abandon().await.unwrap();
    assert!(matches!(lazy.take_change(), CredentialChange::Ended));
    assert!(stage.store.rows().await.is_empty());
}

/// [E11] [B07] A renewal tells the later end of a remembered session, so that a dated credential can follow.
#[tokio::test]
async fn a_renewal_of_a_remembered_session_is_told() {
    let stage = Stage::with_policy(Policy::default());
    let lazy = named(&stage, None);
    let session = lazy.load().await.unwrap();
    session.login("ada").unwrap();
    session.remember(true);
    lazy.commit().await.unwrap();
    let CredentialChange::Set { credential, expires_at, remembered: true } = lazy.take_change() else {
        panic!("a login has a new name")
    };
    stage.clock.advance(seconds(5 * 24 * 3600));
    let lazy = named(&stage, Some(&credential));
    lazy.load().await.unwrap();
    lazy.commit().await.unwrap();
    let change = lazy.take_change();
    assert!(
        matches!(&change, CredentialChange::Renewed { expires_at: later, remembered: true, .. } if *later > expires_at),
        "{change:?}"
    );
}

/// [S15] [S16] [S18] [S19] The codec of the cookie for such a transport, as the layer uses it.
#[tokio::test]
async fn a_cookie_is_read_and_written_by_hand() {
    let stage = Stage::new();
    let cookie = CookieConfig::new();
    let token = SessionToken::generate(&sessile::record::SystemRandom).unwrap();
    let mut request = HeaderMap::new();
    let pair = format!("theme=dark; __Host-session={}; __Host-session=junk", token.expose());
    request.append(header::COOKIE, pair.parse().unwrap());
    request.append(header::COOKIE, "__Host-session=\u{e9}".parse().unwrap());
    let read = cookie.credentials(&request, &stage.sessions);
    assert_eq!(read.iter().map(Credential::id).collect::<Vec<_>>(), [token.id()]);
    let in_realm = cookie.credentials(&request, &stage.sessions.in_realm("admin").unwrap());
    assert_ne!(in_realm[0].id(), token.id());

    let mut response = HeaderMap::new();
    response.append(header::SET_COOKIE, HeaderValue::from_static("__Host-session=planted"));
    response.append(header::SET_COOKIE, HeaderValue::from_static("other=1"));
    response.append("cdn-cache-control", HeaderValue::from_static("max-age=600"));
    cookie.write(CredentialChange::Unchanged, &stage.sessions, &mut response).unwrap();
    assert_eq!(response.len(), 3);
    let set = CredentialChange::Set {
        credential: read[0].clone(),
        expires_at: stage.sessions.now().saturating_add(seconds(60)),
        remembered: true,
    };
    let wrong = cookie.clone().same_site(SameSite::None).secure(false);
    assert_eq!(wrong.write(set.clone(), &stage.sessions, &mut response), Err(CookieConfigError::HostPrefix));
    assert_eq!(response.len(), 3, "nothing is written");
    cookie.write(set, &stage.sessions, &mut response).unwrap();
    let cookies: Vec<_> =
        response.get_all(header::SET_COOKIE).iter().map(|it| it.to_str().unwrap().to_owned()).collect();
    let expected =
        format!("__Host-session={}; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax", token.expose());
    assert_eq!(cookies, ["other=1".to_owned(), expected]);
    assert_eq!(response[header::CACHE_CONTROL], "no-store");
    assert!(!response.contains_key("cdn-cache-control"));
    cookie.write(CredentialChange::Ended, &stage.sessions, &mut response).unwrap();
    let cookies: Vec<_> = response.get_all(header::SET_COOKIE).iter().collect();
    assert!(cookies.len() == 2 && cookies[1].to_str().unwrap().starts_with("__Host-session=; Max-Age=0"));
}
