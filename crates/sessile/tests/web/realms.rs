//! Realms over one table and one service.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::any;
use sessile::engine::{CacheOptions, Credential, NewSession, RealmError};
use sessile::http::{CookieConfigError, OldCookie};
use sessile::store::{SessionStore, SqliteStore};
use sessile::{CookieConfig, LazySession, Policy, Session, SessionLayer, Sessions, UserId};

use crate::support::{Browser, Stage, Visitor, sign_in, who};

/// Names that share letters, and none.
const REALMS: [Option<&str>; 6] = [None, Some("a"), Some("aa"), Some("A"), Some("admin"), Some("site")];

fn layer(sessions: &Sessions, realm: Option<&str>) -> SessionLayer {
    let layer = SessionLayer::new(sessions.clone());
    let layer = realm.map_or(layer.clone(), |realm| layer.realm(realm).unwrap());
    // One name for all, so that a cookie can be shown to another realm.
    layer.cookie(CookieConfig::new()).unwrap()
}

/// The services: without a cache, and with one.
async fn services() -> Vec<Sessions> {
    let mut services = Vec::new();
    for cached in [false, true] {
        let store = SqliteStore::options().open_in_memory().await.unwrap();
        store.init().await.unwrap();
        let builder = Sessions::builder(store);
        services.push(match cached {
            false => builder.build(),
            true => builder.cache(CacheOptions::stale_for(Duration::from_secs(3600))).await.unwrap().build(),
        });
    }
    services
}

/// [S28] All pairs of realms: a token of one is nothing in another, before and after a login, a rotation and a read
/// that fills the cache; its session goes on where it belongs.
#[tokio::test]
async fn a_token_is_nothing_in_another_realm() {
    for sessions in services().await {
        let mut signed_in = Vec::new();
        for realm in REALMS {
            let mut visitor = Visitor::new(layer(&sessions, realm));
            visitor.does(async |session: Session| session.insert("cart", &1)).await;
            sign_in(&mut visitor, "ada").await;
            assert_eq!(visitor.does(async |session: Session| session.rotate()).await.status, 200);
            assert_eq!(who(&mut visitor).await, "ada");
            signed_in.push((realm, visitor));
        }
        for (own, visitor) in &signed_in {
            for realm in REALMS {
                let mut shown = Visitor::new(layer(&sessions, realm)).with_cookie(visitor.cookie().unwrap());
                let expected = if realm == *own { "ada" } else { "nobody" };
                assert_eq!(who(&mut shown).await, expected, "{own:?} in {realm:?}");
                let sees = async |session: Session| session.get_or("cart", 0).to_string();
                assert_eq!(shown.does(sees).await.body == "1", realm == *own, "{own:?} in {realm:?}");
            }
        }
        for (own, visitor) in &mut signed_in {
            assert_eq!(who(visitor).await, "ada", "{own:?} goes on");
        }
        assert_eq!(sessions.sessions_of(&UserId::new("ada").unwrap()).await.unwrap().len(), REALMS.len());
    }
}

/// [S28] [S03] A login with a cookie of another realm ends nothing there and takes nothing over; neither does a logout.
#[tokio::test]
async fn endings_stay_in_their_realm() {
    let stage = Stage::new();
    let mut site = Visitor::new(layer(&stage.sessions, None));
    site.does(async |session: Session| session.insert("cart", &1)).await;
    sign_in(&mut site, "ada").await;
    let cookie = site.cookie().unwrap();
    let mut admin = Visitor::new(layer(&stage.sessions, Some("admin"))).with_cookie(&cookie);
    sign_in(&mut admin, "root").await;
    let rows = stage.store.rows().await;
    assert_eq!(rows.len(), 2);
    let root = rows.iter().find(|row| row.user_id().is_some_and(|user| *user == "root")).unwrap();
    assert!(!root.data().contains("cart"));
    let mut stranger = Visitor::new(layer(&stage.sessions, Some("admin"))).with_cookie(&cookie);
    stranger.does(async |session: LazySession| drop(session.logout())).await;
    assert_eq!((who(&mut site).await, who(&mut admin).await), ("ada".into(), "root".into()));
}

/// [S28] A watch on a session ends when its own realm ends it, and not before.
#[tokio::test]
async fn a_watch_hears_its_own_realm() {
    let stage = Stage::new();
    let mut site = Visitor::new(layer(&stage.sessions, Some("site")));
    sign_in(&mut site, "ada").await;
    let cookie = site.cookie().unwrap();
    let watched = tokio::spawn(stage.sessions.watch(stage.store.rows().await[0].id()));
    let mut admin = Visitor::new(layer(&stage.sessions, Some("admin"))).with_cookie(&cookie);
    admin.does(async |session: LazySession| drop(session.logout())).await;
    assert_eq!(who(&mut site).await, "ada");
    assert!(!watched.is_finished());
    site.does(async |session: Session| session.logout()).await;
    tokio::time::timeout(Duration::from_secs(60), watched).await.unwrap().unwrap();
}

/// [S28] Two layers over one service in one router: two cookies by themselves, two sessions, and a handler under both
/// gets that of the inner one. The same with one name: the realm decides.
#[tokio::test]
async fn two_realms_in_one_router() {
    for name in [None, Some("__Host-same")] {
        let stage = Stage::new();
        let named = |layer: SessionLayer| {
            name.map_or(layer.clone(), |name| layer.cookie(CookieConfig::new().name(name)).unwrap())
        };
        let layer = || named(SessionLayer::new(stage.sessions.clone()));
        let inner = Router::new()
            .route("/in", any(async |session: Session| session.login("root")))
            .layer(layer().realm("admin").unwrap())
            .layer(from_fn(async |session: Session, request: Request, next: Next| {
                assert_eq!(session.user_id().map(|user| user.to_string()).as_deref(), Some("ada"));
                next.run(request).await
            }));
        let routes = Router::new()
            .route("/in", any(async |session: Session| session.login("ada")))
            .nest("/admin", inner)
            .layer(layer());
        let mut browser = Browser::new(routes);
        assert_eq!(browser.post("/in").await.status, 200);
        let answer = browser.post("/admin/in").await;
        assert_eq!(answer.status, 200);
        let rows = stage.store.rows().await;
        let users: Vec<_> = rows.iter().map(|row| row.user_id().unwrap().to_string()).collect();
        assert!(
            users.len() == 2 && users.contains(&"ada".into()) && users.contains(&"root".into()),
            "{users:?}"
        );
        if name.is_none() {
            let names: Vec<_> = browser.jar.keys().collect();
            assert_eq!(names, ["__Host-session", "__Host-session-admin"]);
        }
    }
}

/// [S28] Sessions that the service makes without a request are of its realm.
#[tokio::test]
async fn a_session_made_from_outside_is_of_its_realm() {
    let stage = Stage::new();
    let admin = stage.sessions.in_realm("admin").unwrap();
    assert_eq!(admin.realm().unwrap().name(), "admin");
    let new = NewSession { user: Some(UserId::new("root").unwrap()), ..NewSession::default() };
    let (Credential::Token(token), _) = admin.create(new).await.unwrap() else {
        panic!("a token is the default")
    };
    let mut seen = BTreeMap::new();
    for realm in REALMS {
        let mut visitor = Visitor::new(layer(&stage.sessions, realm)).with_cookie(token.expose());
        seen.insert(realm, who(&mut visitor).await);
    }
    assert!(seen.into_iter().all(|(realm, user)| (user == "root") == (realm == Some("admin"))));
}

/// [S28] What would keep nothing apart is refused when the service is put together.
#[tokio::test]
async fn a_realm_that_keeps_nothing_apart_is_refused() {
    let lback = Stage::with_policy(Policy::lback());
    let by_id = Some(RealmError::ById { name: "admin".into() });
    assert_eq!(SessionLayer::new(lback.sessions.clone()).realm("admin").err(), by_id);
    assert_eq!(lback.sessions.in_realm("admin").err(), by_id);
    let stage = Stage::new();
    let layer = || SessionLayer::new(stage.sessions.clone());
    for name in ["", "a b", "a;b", "é"] {
        assert!(matches!(layer().realm(name).err(), Some(RealmError::Name(_))), "{name}");
    }
    let old = || OldCookie::django("sessionid");
    let accepting = layer().accept_old(old()).unwrap();
    assert!(matches!(accepting.realm("admin").err(), Some(RealmError::OldCookie { .. })));
    let error = layer().realm("admin").unwrap().accept_old(old()).err();
    assert_eq!(error, Some(CookieConfigError::OldCookieInRealm { realm: "admin".into() }));
}
