//! What belongs to one user, one request or one realm, on every store: two services over the same rows, as two
//! processes of one application have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use sessile::engine::{Credential, EngineError};
use sessile::record::StoredData;
use sessile::session::{CredentialChange, Login};
use sessile::store::{Expiry, ListQuery, Liveness, NewData, Outcome, SessionStore, StoreUrl, Update, Write};
use sessile::{CookieConfig, LazySession, Policy, Session, SessionError, SessionRecord, Sessions, UserId};
use sessile_test_stores::Backend;
use tokio::task::JoinSet;

/// The same rows through two stores.
struct Both {
    rows: Arc<dyn SessionStore>,
    here: Sessions,
    there: Sessions,
}

impl Both {
    async fn on(backend: Backend, policy: Policy) -> Both {
        let place = tokio::task::spawn_blocking(move || backend.shared()).await.unwrap();
        Both::at(&place.url(), backend, policy).await
    }

    async fn at(url: &str, backend: Backend, policy: Policy) -> Both {
        let rows = connect(url).await;
        rows.init().await.unwrap();
        // The memory of this process has one store.
        let other = if backend == Backend::Memory { Arc::clone(&rows) } else { connect(url).await };
        let sessions = |store: &Arc<dyn SessionStore>| {
            Sessions::builder(Arc::clone(store)).policy(policy.clone()).build()
        };
        Both { here: sessions(&rows), there: sessions(&other), rows }
    }

    async fn only_row(&self) -> SessionRecord {
        let mut rows = self.all_rows().await;
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }

    async fn all_rows(&self) -> Vec<SessionRecord> {
        let query =
            ListQuery { user: None, liveness: Liveness::Any, now: self.here.now(), after: None, limit: 100 };
        self.rows.list(&query).await.unwrap().records
    }
}

async fn connect(url: &str) -> Arc<dyn SessionStore> {
    url.parse::<StoreUrl>().unwrap().connect().await.unwrap()
}

/// A request with this credential.
async fn request(sessions: &Sessions, credential: &Credential) -> Session {
    LazySession::new(sessions.clone(), vec![credential.clone()]).load().await.unwrap()
}

/// A request without a credential, and the credential it is given.
async fn first_request(
    sessions: &Sessions,
    handler: impl FnOnce(&Session) -> Result<(), SessionError>,
) -> Credential {
    let request = LazySession::new(sessions.clone(), Vec::new());
    handler(&request.load().await.unwrap()).unwrap();
    request.commit().await.unwrap();
    match request.take_change() {
        CredentialChange::Set { credential, .. } => credential,
        other => panic!("{other:?}"),
    }
}

/// [S30] Forty requests of two processes ask for ten values at once: each value is given out once, and a counter that
/// all of them change loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_one_time_value_is_given_once() {
    for backend in Backend::ALL {
        let both = Both::on(backend, Policy::default().max_attempts(100)).await;
        let values: BTreeMap<String, u32> = (0..10).map(|n| (format!("value-{n}"), n)).collect();
        let credential = first_request(&both.here, |session| session.extend(&values)).await;
        let mut takers = JoinSet::new();
        for number in 0..40 {
            let sessions = if number % 2 == 0 { both.here.clone() } else { both.there.clone() };
            let credential = credential.clone();
            takers.spawn(async move {
                let session = request(&sessions, &credential).await;
                session.update("asked", |asked: &mut u32| *asked += 1).unwrap();
                let taken: Option<u32> = session.take_once(&format!("value-{}", number / 4)).await.unwrap();
                session.save().await.unwrap();
                taken
            });
        }
        let mut given: Vec<u32> = takers.join_all().await.into_iter().flatten().collect();
        given.sort_unstable();
        assert_eq!(given, (0..10).collect::<Vec<_>>(), "{backend:?}");
        let left = both.only_row().await;
        assert_eq!(left.data().to_text().as_ref(), r#"{"asked": 40}"#, "{backend:?}");
    }
}

/// [S30] Of two requests that take a value and commit later, the second one is refused and writes nothing.
#[tokio::test]
async fn the_second_commit_of_a_taken_value_is_refused() {
    for backend in Backend::ALL {
        let both = Both::on(backend, Policy::default()).await;
        let credential = first_request(&both.here, |session| session.insert("nonce", "42")).await;
        let (first, second) =
            (request(&both.here, &credential).await, request(&both.there, &credential).await);
        for (session, name) in [(&first, "first"), (&second, "second")] {
            assert_eq!(session.take::<String>("nonce").unwrap().as_deref(), Some("42"));
            session.insert("by", name).unwrap();
        }
        first.save().await.unwrap();
        let error = second.save().await.unwrap_err();
        assert!(matches!(error, SessionError::Engine(EngineError::AlreadyTaken { .. })), "{error}");
        assert_eq!(both.only_row().await.data().to_text().as_ref(), r#"{"by": "first"}"#, "{backend:?}");
    }
}

/// [S06] Another program signs B in under the id of A's session while a change of A's is in flight: the change is
/// refused, and B's row stays as it is. Where the column counts and where lback's data counts.
#[tokio::test]
async fn a_change_never_lands_in_another_users_session() {
    const OF_B: &str = r#"{"user_id": 2, "user_type": "user", "secret": "of B"}"#;
    for backend in Backend::ALL {
        for policy in [Policy::default(), Policy::lback()] {
            let both = Both::on(backend, policy.clone()).await;
            let credential = first_request(&both.here, |session| session.login_as(1, "user")).await;
            let session = request(&both.here, &credential).await;
            let row = both.only_row().await;
            let update = Update {
                id: row.id(),
                expected: row.stored_data().clone(),
                data: NewData::Text(OF_B.into()),
                user_id: Some(Some(UserId::new("2").unwrap())),
                expires_at: Expiry::Keep,
                now: both.here.now().into(),
            };
            assert_eq!(both.rows.apply(Write::Update(update)).await.unwrap(), Outcome::Applied);
            session.insert("address", "of A").unwrap();
            let error = session.save().await.unwrap_err();
            assert!(matches!(error, SessionError::Engine(EngineError::UserChanged)), "{backend:?}: {error}");
            let row = both.only_row().await;
            assert_eq!(*row.stored_data(), StoredData::Text(OF_B.into()), "{backend:?}");
        }
    }
}

/// [S22] [S05] A session that holds as much as it may is signed in, remembered and given a CSRF token; one byte more is
/// refused. On MariaDB also in lback's table, whose column holds 65,535 bytes.
#[tokio::test]
async fn a_full_session_is_signed_in() {
    for backend in Backend::ALL {
        let both = Both::on(backend, Policy::default().max_data_bytes(20_000)).await;
        fill_and_sign_in(&both, 20_000).await;
    }
    let place = tokio::task::spawn_blocking(|| Backend::MariaDb.shared()).await.unwrap();
    let url = place.url();
    let url_of_table = url.parse::<StoreUrl>().unwrap();
    connect(&url).await.init().await.unwrap();
    place.query(&format!("ALTER TABLE {} MODIFY data TEXT", url_of_table.table())).unwrap();
    let both = Both::at(&url, Backend::MariaDb, Policy::default().max_data_bytes(1 << 20)).await;
    fill_and_sign_in(&both, 61_439).await;
}

async fn fill_and_sign_in(both: &Both, limit: usize) {
    let cart = |limit: usize| "x".repeat(limit - r#"{"cart": ""}"#.len());
    let anonymous = LazySession::new(both.here.clone(), Vec::new()).load().await.unwrap();
    let error = anonymous.insert("cart", &cart(limit + 1)).unwrap_err();
    assert!(matches!(error, SessionError::Engine(EngineError::TooLarge { .. })), "{error}");
    let credential = first_request(&both.here, |session| session.insert("cart", &cart(limit))).await;

    let signing_in = LazySession::new(both.there.clone(), vec![credential]);
    let session = signing_in.load().await.unwrap();
    session.login_with(Login::new("ada").remember(true).device("a phone")).unwrap();
    let token = session.csrf_token().unwrap();
    signing_in.commit().await.unwrap();
    let CredentialChange::Set { credential, .. } = signing_in.take_change() else { panic!("no credential") };
    let session = request(&both.here, &credential).await;
    assert!(session.verify_csrf(&token));
    assert_eq!(session.user_id().unwrap().as_str(), "ada");
    assert_eq!(session.get::<String>("cart").unwrap().unwrap(), cart(limit));
}

/// [S20] Two pages that two processes show at once: both forms are accepted.
#[tokio::test]
async fn forms_of_two_pages_work() {
    for backend in Backend::ALL {
        let both = Both::on(backend, Policy::default()).await;
        let credential = first_request(&both.here, |session| session.insert("cart", &1)).await;
        let (first, second) =
            (request(&both.here, &credential).await, request(&both.there, &credential).await);
        let tokens = [first.csrf_token().unwrap(), second.csrf_token().unwrap()];
        first.save().await.unwrap();
        second.save().await.unwrap();
        for sessions in [&both.here, &both.there] {
            let session = request(sessions, &credential).await;
            assert!(tokens.iter().all(|token| session.verify_csrf(token)), "{backend:?}");
        }
    }
}

/// [S28] A token of one realm is nothing in another, over one table: not for a request, not for a logout.
#[tokio::test]
async fn a_token_of_one_realm_is_nothing_in_another() {
    for backend in Backend::ALL {
        let both = Both::on(backend, Policy::default()).await;
        let (site, admin) = (both.here.in_realm("site").unwrap(), both.there.in_realm("admin").unwrap());
        let Credential::Token(token) = first_request(&site, |session| session.login("ada")).await else {
            panic!("a token is the default")
        };
        let cookie = CookieConfig::new();
        let pair = format!("{}={}", cookie.cookie_name(), token.expose());
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&pair).unwrap())]);
        for other in [&admin, &both.here] {
            let request = LazySession::new(other.clone(), cookie.credentials(&headers, other));
            assert_eq!(request.load().await.unwrap().user_id(), None, "{backend:?}");
            request.logout();
            request.commit().await.unwrap();
        }
        let request = LazySession::new(site.clone(), cookie.credentials(&headers, &site));
        let user = request.load().await.unwrap().user_id();
        assert_eq!(user.unwrap().as_str(), "ada", "{backend:?}");
        assert_eq!(both.all_rows().await.len(), 1, "{backend:?}");
    }
}
