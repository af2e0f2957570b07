//! How long a user id may be: 255 characters where the column holds them, and no longer than the column elsewhere.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::any;
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, StatusCode};
use sessile::engine::{EngineError, NewSession};
use sessile::record::{
    Columns, InvalidUserId, MAX_USER_ID_CHARS, SessionId, SessionRecord, StoredData, Timestamp,
};
use sessile::session::Login;
use sessile::store::{
    Expiry, ListQuery, Liveness, NewData, Outcome, Rotation, SessionStore, StoreError, StoreUrl, Update,
    Write,
};
use sessile::{Policy, Session, SessionError, SessionLayer, Sessions, UserId};
use sessile_test_stores::{Backend, Place};
use tower::ServiceExt as _;

/// lback's table: SQLAlchemy's own text.
const LBACK: &str = "CREATE TABLE @table (id VARCHAR(36) NOT NULL, user_id VARCHAR(36), data TEXT, \
    created_at @time, expires_at @time NOT NULL, updated_at @time, PRIMARY KEY (id))";

/// Servers that hold no more characters than the column is declared with.
const STRICT: [Backend; 2] = [Backend::Postgres, Backend::MariaDb];

/// A table of a server.
struct Table {
    place: &'static Place,
    url: StoreUrl,
    name: String,
}

impl Table {
    fn nowhere(backend: Backend) -> Table {
        let place = backend.shared();
        let url: StoreUrl = place.url().parse().unwrap();
        let name = url.table().to_owned();
        Table { place, url, name }
    }

    fn of_lback(backend: Backend) -> Table {
        let table = Table::nowhere(backend);
        table.make(backend);
        table
    }

    fn make(&self, backend: Backend) {
        let time = if backend == Backend::Postgres { "TIMESTAMP WITHOUT TIME ZONE" } else { "DATETIME" };
        self.sql(&LBACK.replace("@time", time));
    }

    fn sql(&self, sql: &str) -> String {
        self.place.query(&sql.replace("@table", &self.name)).unwrap()
    }

    fn alter(&self, backend: Backend, length: usize) {
        let how = if backend == Backend::Postgres { "ALTER user_id TYPE" } else { "MODIFY user_id" };
        self.sql(&format!("ALTER TABLE @table {how} VARCHAR({length})"));
    }

    async fn store(&self) -> Arc<dyn SessionStore> {
        self.url.connect().await.unwrap()
    }
}

/// A service whose visitors sign in by `login`.
struct Service {
    sessions: Sessions,
    router: Router,
    saved: Saved,
}

/// What the last [`save`] was told.
type Saved = Arc<Mutex<String>>;

impl Service {
    fn new(store: Arc<dyn SessionStore>, policy: Policy) -> Service {
        let sessions = Sessions::builder(store).policy(policy).build();
        let saved = Saved::default();
        let router = Router::new()
            .route("/login", any(login))
            .route("/login_with", any(login_with))
            .route("/save", any(save))
            .route("/who", any(who))
            .with_state(Arc::clone(&saved))
            .layer(SessionLayer::new(sessions.clone()));
        Service { sessions, router, saved }
    }

    /// The status, the body and the cookie of the answer.
    async fn asks(
        &self,
        path: &str,
        user: &str,
        cookie: Option<&str>,
    ) -> (StatusCode, String, Option<String>) {
        let mut request = Request::post(path);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let request = request.body(Body::from(user.to_owned())).unwrap();
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let cookie = head.headers.get(SET_COOKIE).map(|cookie| cookie.to_str().unwrap());
        let cookie = cookie.map(|cookie| cookie.split(';').next().unwrap().to_owned());
        (head.status, String::from_utf8(body.to_vec()).unwrap(), cookie)
    }
}

async fn login(session: Session, user: String) -> Result<String, SessionError> {
    answer(session.login(user))
}

async fn login_with(session: Session, user: String) -> Result<String, SessionError> {
    answer(session.login_with(Login::new(user).remember(true)))
}

/// A handler that sees what the commit makes of its login.
async fn save(State(saved): State<Saved>, session: Session, user: String) -> Result<String, SessionError> {
    session.login(user)?;
    let answer = answer(session.save().await)?;
    *saved.lock().unwrap() = answer.clone();
    Ok(answer)
}

fn answer(done: Result<(), SessionError>) -> Result<String, SessionError> {
    match done {
        Ok(()) => Ok("signed in".to_owned()),
        Err(SessionError::UserId(InvalidUserId::ColumnTooNarrow { chars, limit })) => {
            Ok(format!("{chars} characters, {limit} fit"))
        }
        Err(error) => Err(error),
    }
}

async fn who(session: Session) -> String {
    session.user_id().map_or("nobody".to_owned(), |user| user.to_string())
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

async fn rows(store: &dyn SessionStore) -> Vec<SessionRecord> {
    let query =
        ListQuery { user: None, liveness: Liveness::Any, now: Timestamp::MIN, after: None, limit: 1_000 };
    store.list(&query).await.unwrap().records
}

fn id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn record(number: u8, user: Option<&UserId>) -> SessionRecord {
    let later = Timestamp::parse("2100-01-01 00:00:00").unwrap();
    SessionRecord::from_columns(Columns {
        id: id(number),
        user_id: user.cloned(),
        data: StoredData::Text("{}".into()),
        created_at: Some(Timestamp::MIN),
        expires_at: later,
        updated_at: Some(Timestamp::MIN),
    })
}

/// Writes that put this user into the column: a new row, and two rows that are there.
fn writes_of(owner: &UserId) -> [Write; 3] {
    let now = Timestamp::parse("2099-01-01 00:00:00").unwrap();
    let expected = StoredData::Text("{}".into());
    let update = Update {
        id: id(2),
        expected: expected.clone(),
        data: NewData::Keep,
        user_id: Some(Some(owner.clone())),
        expires_at: Expiry::Keep,
        now: now.into(),
    };
    let rotation = Rotation { id: id(3), expected, record: record(4, Some(owner)), now: now.into() };
    [Write::Insert(record(1, Some(owner))), Write::Update(update), Write::Rotate(rotation)]
}

fn is_narrow(error: &StoreError, chars: usize) -> bool {
    matches!(error, StoreError::UserId(InvalidUserId::ColumnTooNarrow { chars: has, limit: 36 }) if *has == chars)
}

/// [F04] [H01] [H11] In a table that sessile made, a user id has up to 255 characters, however many bytes they are:
/// such a user signs in, is listed and is signed out everywhere, and nobody else with them.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_255_characters_sign_in_are_listed_and_revoked() {
    for backend in Backend::ALL {
        for policy in [Policy::default(), Policy::lback()] {
            let store = backend.shared().store().await.unwrap();
            assert_eq!(store.user_id_limit(), MAX_USER_ID_CHARS, "{backend:?}");
            let service = Service::new(store, policy);
            let ids = ["a", "é", "👩"].map(|character| character.repeat(255));
            // Only the last character tells it from another one.
            let other = "a".repeat(254) + "b";
            let mut cookies = Vec::new();
            for id in ids.iter().chain([&other]) {
                let (status, body, cookie) = service.asks("/login", id, None).await;
                assert_eq!((status, &*body), (StatusCode::OK, "signed in"), "{backend:?}");
                let (_, seen, _) = service.asks("/who", "", cookie.as_deref()).await;
                assert_eq!(seen, *id, "{backend:?}");
                cookies.push(cookie);
            }
            for (id, cookie) in ids.iter().zip(&cookies) {
                let listed = service.sessions.sessions_of(&user(id)).await.unwrap();
                assert_eq!(listed.len(), 1, "{backend:?}");
                assert_eq!(listed[0].user_id(), Some(&user(id)), "{backend:?}");
                assert_eq!(service.sessions.revoke_user(&user(id)).await.unwrap(), 1, "{backend:?}");
                assert!(service.sessions.sessions_of(&user(id)).await.unwrap().is_empty(), "{backend:?}");
                let (_, seen, _) = service.asks("/who", "", cookie.as_deref()).await;
                assert_eq!(seen, "nobody", "{backend:?}");
            }
            let (_, seen, _) = service.asks("/who", "", cookies[3].as_deref()).await;
            assert_eq!(seen, other, "{backend:?}");
        }
    }
}

/// [F04] In lback's table, `user_id VARCHAR(36)`, a longer id is a typed error wherever it comes in, and nothing is
/// written; characters count, not bytes.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_narrow_column_a_longer_id_is_refused_and_nothing_is_written() {
    for backend in STRICT {
        for policy in [Policy::default(), Policy::lback()] {
            let table = Table::of_lback(backend);
            let store = table.store().await;
            assert_eq!(store.user_id_limit(), 36, "{backend:?}");
            let service = Service::new(Arc::clone(&store), policy);
            for long in ["a".repeat(37), "é".repeat(37), "a".repeat(255), "a".repeat(36) + " "] {
                let chars = long.chars().count();
                for path in ["/login", "/login_with"] {
                    let (_, body, cookie) = service.asks(path, &long, None).await;
                    assert_eq!(body, format!("{chars} characters, 36 fit"), "{backend:?} {path}");
                    assert_eq!(cookie, None, "{backend:?} {path}");
                }
                let long = user(&long);
                let new = NewSession { user: Some(long.clone()), ..NewSession::default() };
                let error = service.sessions.create(new).await.unwrap_err();
                let EngineError::UserId(InvalidUserId::ColumnTooNarrow { limit: 36, .. }) = &error else {
                    panic!("{backend:?}: {error:?}")
                };
                assert!(!error.is_transient(), "{backend:?}");
                assert!(service.sessions.sessions_of(&long).await.unwrap().is_empty(), "{backend:?}");
                assert_eq!(service.sessions.revoke_user(&long).await.unwrap(), 0, "{backend:?}");
                assert!(rows(&*store).await.is_empty(), "{backend:?}");
            }
            for fits in ["a".repeat(36), "é".repeat(36), "👩".repeat(36)] {
                let (_, body, cookie) = service.asks("/login", &fits, None).await;
                assert_eq!(body, "signed in", "{backend:?}");
                let (_, seen, _) = service.asks("/who", "", cookie.as_deref()).await;
                assert_eq!(seen, fits, "{backend:?}");
                assert_eq!(service.sessions.revoke_user(&user(&fits)).await.unwrap(), 1, "{backend:?}");
            }
        }
    }
}

/// [H11] Python notes a sign-in in the data alone. Where the column holds that user id, sessile serves the user and finds
/// the session by the column; where it does not, the session is anonymous, for no revocation would find it, and a
/// renewal writes what the column holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_whom_python_signed_in_is_served_where_the_column_holds_the_id() {
    for backend in STRICT {
        for (length, is_served) in [(36, false), (255, true)] {
            let table = Table::of_lback(backend);
            table.alter(backend, length);
            let store = table.store().await;
            let service = Service::new(Arc::clone(&store), Policy::lback());
            let (_, _, cookie) = service.asks("/login", "ada", None).await;
            let row = rows(&*store).await.remove(0);
            let long = "é".repeat(43);
            let python = Update {
                id: row.id(),
                expected: row.stored_data().clone(),
                data: NewData::Text(format!(r#"{{"user_id": "{long}", "user_type": "user"}}"#).into()),
                user_id: None,
                expires_at: Expiry::Keep,
                now: service.sessions.now().into(),
            };
            assert_eq!(store.apply(Write::Update(python)).await.unwrap(), Outcome::Applied);

            let (status, seen, _) = service.asks("/who", "", cookie.as_deref()).await;
            let expected = if is_served { &*long } else { "nobody" };
            assert_eq!((status, &*seen), (StatusCode::OK, expected), "{backend:?} {length}");
            assert!(service.sessions.touch(row.id()).await.unwrap().is_some(), "{backend:?} {length}");
            let revoked = service.sessions.revoke_user(&user(&long)).await.unwrap();
            assert_eq!(revoked, usize::from(is_served), "{backend:?} {length}");
        }
    }
}

/// [F04] [G16] The store itself refuses such a write, alone and in a batch, and leaves its neighbours alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_a_longer_id_is_refused_alone() {
    for backend in STRICT {
        let store = Table::of_lback(backend).store().await;
        let rows_before = [Write::Insert(record(2, None)), Write::Insert(record(3, None))];
        for write in rows_before {
            assert_eq!(store.apply(write).await.unwrap(), Outcome::Applied);
        }
        let before = rows(&*store).await;
        let long = user(&"é".repeat(37));
        for write in writes_of(&long) {
            let error = store.apply(write).await.unwrap_err();
            assert!(is_narrow(&error, 37), "{backend:?}: {error:?}");
        }
        assert_eq!(rows(&*store).await, before, "{backend:?}");
        let mut batch = writes_of(&long).to_vec();
        batch.push(Write::Insert(record(5, Some(&user(&"é".repeat(36))))));
        let outcomes = store.apply_many(batch).await;
        for outcome in &outcomes[..3] {
            assert!(is_narrow(outcome.as_ref().unwrap_err(), 37), "{backend:?}: {outcomes:?}");
        }
        assert_eq!(*outcomes[3].as_ref().unwrap(), Outcome::Applied, "{backend:?}");
        assert_eq!(rows(&*store).await.len(), before.len() + 1, "{backend:?}");
    }
}

/// [F04] A table that is made after the store has connected is looked at before a user id is written. A server would
/// cut blanks at the end of one that is too long, and the row would belong to another user.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_made_later_is_looked_at_before_a_user_is_written() {
    for backend in STRICT {
        let long = user(&("a".repeat(36) + " "));
        for writes in 1..=3 {
            let table = Table::nowhere(backend);
            let store = table.store().await;
            let absent = store.apply(writes_of(&long)[0].clone()).await.unwrap_err();
            assert!(matches!(absent, StoreError::Schema { .. }), "{backend:?}: {absent:?}");
            table.make(backend);
            let error = if writes == 1 {
                store.apply(writes_of(&long)[0].clone()).await.unwrap_err()
            } else {
                let mut outcomes = store.apply_many(writes_of(&long)[..writes].to_vec()).await;
                outcomes.swap_remove(0).unwrap_err()
            };
            assert!(is_narrow(&error, 37), "{backend:?}: {error:?}");
            assert_eq!(store.user_id_limit(), 36, "{backend:?}");
            assert!(rows(&*store).await.is_empty(), "{backend:?}");
        }
    }
}

/// [F04] A column that is made narrower while the service runs: the server's refusal is the same typed error, of the
/// commit, and from then on of the login.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_made_narrower_is_the_same_error() {
    for backend in STRICT {
        let table = Table::nowhere(backend);
        let store = table.store().await;
        store.init().await.unwrap();
        let service = Service::new(Arc::clone(&store), Policy::default());
        assert_eq!(service.asks("/save", &"a".repeat(37), None).await.1, "signed in", "{backend:?}");
        assert_eq!(service.sessions.revoke_user(&user(&"a".repeat(37))).await.unwrap(), 1);
        table.alter(backend, 36);
        assert_eq!(store.user_id_limit(), 255, "not known yet");
        let (status, _, cookie) = service.asks("/save", &"é".repeat(37), None).await;
        assert_eq!(*service.saved.lock().unwrap(), "37 characters, 36 fit", "{backend:?}");
        assert_eq!((status, cookie), (StatusCode::INTERNAL_SERVER_ERROR, None), "{backend:?}");
        assert_eq!(store.user_id_limit(), 36, "{backend:?}");
        assert!(rows(&*store).await.is_empty(), "{backend:?}");
        let (_, body, _) = service.asks("/login", &"é".repeat(37), None).await;
        assert_eq!(body, "37 characters, 36 fit", "{backend:?}");

        // In a batch, of which the others are made.
        table.alter(backend, 255);
        store.check().await.unwrap();
        table.alter(backend, 36);
        let long = Write::Insert(record(1, Some(&user(&"é".repeat(37)))));
        let outcomes = store.apply_many(vec![long, Write::Insert(record(2, Some(&user("ada"))))]).await;
        assert!(is_narrow(outcomes[0].as_ref().unwrap_err(), 37), "{backend:?}: {outcomes:?}");
        assert_eq!(*outcomes[1].as_ref().unwrap(), Outcome::Applied, "{backend:?}");
    }
}

/// [F04] A column that is made wider is known at the next check, and to every store that connects.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_made_wider_is_known_at_the_next_check() {
    for backend in STRICT {
        let table = Table::of_lback(backend);
        let store = table.store().await;
        table.alter(backend, 100);
        assert_eq!(table.store().await.user_id_limit(), 100, "{backend:?}");
        assert_eq!(store.user_id_limit(), 36, "{backend:?}");
        store.check().await.unwrap();
        assert_eq!(store.user_id_limit(), 100, "{backend:?}");
        table.alter(backend, 1_000);
        store.init().await.unwrap();
        assert_eq!(store.user_id_limit(), 255, "{backend:?}");
    }
    let table = Table::of_lback(Backend::Postgres);
    for unbounded in ["VARCHAR", "TEXT"] {
        table.sql(&format!("ALTER TABLE @table ALTER user_id TYPE {unbounded}"));
        assert_eq!(table.store().await.user_id_limit(), 255, "{unbounded}");
    }
}

/// [F04] SQLite holds longer ids than the column is declared with, and so does sessile in lback's table there.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_holds_more_than_the_column_is_declared_with() {
    let url = Backend::Sqlite.shared().url();
    let path = url.strip_prefix("sqlite:").unwrap();
    let database = rusqlite::Connection::open(path).unwrap();
    database.execute_batch(&LBACK.replace("@table", "sessions").replace("@time", "DATETIME")).unwrap();
    let store = url.parse::<StoreUrl>().unwrap().connect().await.unwrap();
    assert_eq!(store.user_id_limit(), 255);
    let service = Service::new(store, Policy::lback());
    let id = "👩".repeat(255);
    let (_, body, cookie) = service.asks("/login", &id, None).await;
    assert_eq!(body, "signed in");
    assert_eq!(service.asks("/who", "", cookie.as_deref()).await.1, id);
    let length = "SELECT length(user_id) FROM sessions";
    assert_eq!(database.query_row(length, (), |row| row.get::<_, i64>(0)).unwrap(), 255);
    assert_eq!(service.sessions.revoke_user(&user(&id)).await.unwrap(), 1);
}
