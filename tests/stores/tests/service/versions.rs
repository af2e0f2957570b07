//! Rows that another version of the program has written or will write.

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use futures_util::future::join_all;
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sessile::record::{Columns, StoredData, SystemRandom};
use sessile::store::{Outcome, StoreUrl, Write};
use sessile::{
    Session, SessionError, SessionId, SessionLayer, SessionRecord, SessionToken, Sessions, UserId,
};
use sessile_test_stores::{Backend, Place};
use tower::ServiceExt as _;

/// A service on a store, and another way to the table.
struct Stage {
    backend: Backend,
    place: &'static Place,
    url: StoreUrl,
    /// What the keys in Redis begin with.
    prefix: String,
    sessions: Sessions,
    service: Router,
}

impl Stage {
    async fn new(backend: Backend) -> Stage {
        let place = backend.shared();
        let text = place.url();
        let url: StoreUrl = text.parse().unwrap();
        let prefix = text.split_once("prefix=").map_or(String::new(), |(_, prefix)| prefix.to_owned());
        let store = url.connect().await.unwrap();
        store.init().await.unwrap();
        let sessions = Sessions::new(store);
        let service = Router::new()
            .route("/read", any(read))
            .route("/change", any(change))
            .route("/rotate", any(async |session: Session| session.rotate()))
            .route("/login", any(async |session: Session| session.login("ada")))
            .layer(SessionLayer::new(sessions.clone()));
        Stage { backend, place, url, prefix, sessions, service }
    }

    async fn sql(&self, sql: String) -> String {
        if let Some(path) = self.url.file() {
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
            let mut statement = connection.prepare(&sql).unwrap();
            let mut rows = statement.query(()).unwrap();
            let value: Option<Option<String>> = rows.next().unwrap().map(|row| row.get(0).unwrap());
            while rows.next().unwrap().is_some() {}
            return value.flatten().unwrap_or_default();
        }
        let place = self.place;
        tokio::task::spawn_blocking(move || place.query(&sql)).await.unwrap().unwrap().trim().to_owned()
    }

    async fn redis(&self, words: [&str; 4]) -> String {
        let words: Vec<String> =
            words.iter().filter(|word| !word.is_empty()).map(|word| (*word).to_owned()).collect();
        let place = self.place;
        let run = move || place.command(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    fn key(&self, id: SessionId) -> String {
        let id = id.to_string();
        format!("{}{{{}}}:{id}", self.prefix, &id[..2])
    }

    /// A later version has one more column.
    async fn add_column(&self) {
        if self.has_table() {
            self.sql(format!("ALTER TABLE {} ADD COLUMN later VARCHAR(20)", self.url.table())).await;
        }
    }

    /// What it writes there.
    async fn set_column(&self, id: SessionId) {
        match self.backend {
            Backend::Memory => {}
            Backend::Redis | Backend::RedisCluster => {
                self.redis(["HSET", &self.key(id), "later", "kept"]).await;
            }
            _ => {
                let table = self.url.table();
                self.sql(format!("UPDATE {table} SET later = 'kept' WHERE id = '{id}'")).await;
            }
        }
    }

    /// What it finds there.
    async fn column(&self, id: SessionId) -> String {
        match self.backend {
            Backend::Memory => "kept".to_owned(),
            Backend::Redis | Backend::RedisCluster => self.redis(["HGET", &self.key(id), "later", ""]).await,
            _ => self.sql(format!("SELECT later FROM {} WHERE id = '{id}'", self.url.table())).await,
        }
    }

    fn has_table(&self) -> bool {
        matches!(self.backend, Backend::Sqlite | Backend::Postgres | Backend::MariaDb)
    }

    /// A row with this data, as somebody else may have written it. Returns its cookie.
    async fn put(&self, data: &str) -> String {
        let token = SessionToken::generate(&SystemRandom).unwrap();
        let now = self.sessions.now();
        let record = SessionRecord::from_columns(Columns {
            id: token.id(),
            user_id: Some(UserId::new("ada").unwrap()),
            data: StoredData::Text(data.into()),
            created_at: Some(now),
            // Old enough to be renewed.
            expires_at: now.saturating_add(std::time::Duration::from_secs(60)),
            updated_at: Some(now),
        });
        assert_eq!(self.sessions.store().apply(Write::Insert(record)).await.unwrap(), Outcome::Applied);
        token.expose().to_owned()
    }

    /// A request; returns the cookie that the browser has after it, and the body.
    async fn asks(&self, path: &str, cookie: &str) -> (String, String) {
        let request = Request::post(path).header(COOKIE, format!("__Host-session={cookie}"));
        let response = self.service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(head.status, StatusCode::OK, "{:?} {path}: {body}", self.backend);
        self.sessions.settled().await;
        let set = head.headers.get(SET_COOKIE).map(|set| set.to_str().unwrap());
        let set = set.and_then(|set| set.strip_prefix("__Host-session=")?.split(';').next());
        (set.unwrap_or(cookie).to_owned(), body)
    }

    async fn row(&self, cookie: &str) -> SessionRecord {
        self.sessions.get(id_of(cookie)).await.unwrap().unwrap()
    }
}

fn id_of(cookie: &str) -> SessionId {
    SessionToken::parse(cookie.as_bytes()).unwrap().id()
}

async fn read(session: Session) -> Result<String, SessionError> {
    let n: u32 = session.get("n")?.unwrap_or_default();
    Ok(format!("{} {n}", session.user_id().map_or("nobody".to_owned(), |user| user.to_string())))
}

async fn change(session: Session) -> Result<(), SessionError> {
    session.update("n", |n: &mut u32| *n += 1).map(drop)
}

/// A row of a later version: it notes more, and stores values of a kind of its own.
const LATER: &str = r#"{"n": 1, "_sessile": {"later": {"kept": [1, 2.50, "\u00e9"]}, "authenticated_at": "2026-01-02T03:04:05Z", "format": 9}, "v": 1e2}"#;

/// [R14] What a later version notes about a session, and the columns that it adds, are kept by whatever this version
/// does to the row: reading, changing, renewing, rotating, a login of the same user, and changes in batches.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_version_has_written_is_kept() {
    for backend in Backend::ALL {
        let stage = Stage::new(backend).await;
        stage.add_column().await;
        let mut cookies = Vec::new();
        for _ in 0..8 {
            let cookie = stage.put(LATER).await;
            stage.set_column(id_of(&cookie)).await;
            cookies.push(cookie);
        }
        for (path, n) in [("/read", 1), ("/change", 2), ("/rotate", 2), ("/change", 3), ("/login", 3)] {
            // All at once, so that the store puts them together where it can.
            let answers = join_all(cookies.iter().map(|cookie| stage.asks(path, cookie))).await;
            cookies = answers.into_iter().map(|(cookie, _)| cookie).collect();
            for cookie in &cookies {
                let what = format!("{backend:?} {path}");
                assert_eq!(stage.asks("/read", cookie).await.1, format!("ada {n}"), "{what}");
                let row = stage.row(cookie).await;
                let text = row.stored_data().as_text().unwrap().to_owned();
                let data: Value = serde_json::from_str(&text).unwrap();
                let kept = [r#""later": {"kept": [1, 2.50, "\u00e9"]}"#, r#""format": 9"#, r#""v": 1e2"#];
                assert!(kept.iter().all(|kept| text.contains(kept)), "{what}: {text}");
                assert_eq!(data["n"], n, "{what}");
                assert_eq!(stage.column(id_of(cookie)).await, "kept", "{what}");
            }
        }
    }
}

/// [R14] What this version writes is what the first version reads: six columns, a JSON object, and notes under
/// `_sessile` with these names and types. A new name may be added; none changes its meaning.
#[tokio::test(flavor = "multi_thread")]
async fn what_this_version_writes_has_the_first_format() {
    for backend in Backend::ALL {
        let stage = Stage::new(backend).await;
        let cookie = stage.put("{}").await;
        let all = async |session: Session| -> Result<(), SessionError> {
            session.login_with(sessile::session::Login::new("ada").device("phone"))?;
            session.remember(true);
            session.set_idle_timeout(Some(std::time::Duration::from_secs(600)));
            session.flash("info", "hello")?;
            session.insert("n", &1)?;
            session.csrf_token().map(drop)
        };
        let service = Router::new().route("/all", any(all)).layer(SessionLayer::new(stage.sessions.clone()));
        let everything = Stage { service, ..stage };
        let (cookie, _) = everything.asks("/all", &cookie).await;
        let row = everything.row(&cookie).await;
        let text = row.stored_data().as_text().unwrap();
        let Value::Object(data) = serde_json::from_str(text).unwrap() else { panic!("{text}") };
        assert_eq!(data["n"], json!(1));
        let notes = data["_sessile"].as_object().unwrap();
        for (name, value) in notes {
            let is_right = match name.as_str() {
                "remember" => value.is_boolean(),
                "authenticated_at" => {
                    value.as_str().is_some_and(|time| time.ends_with('Z') && time.contains('T'))
                }
                "device" => value == "phone",
                "idle_seconds" => value == 600,
                "csrf_voided" => value.is_u64(),
                "previous" => value.as_array().is_some_and(|ids| {
                    ids.iter().all(|id| id.as_str().is_some_and(|id| id.parse::<SessionId>().is_ok()))
                }),
                _ => false,
            };
            assert!(is_right, "{backend:?}: `_sessile.{name}` is {value}");
        }
        for name in ["remember", "authenticated_at", "device", "idle_seconds", "previous"] {
            assert!(notes.contains_key(name), "{backend:?}: `_sessile.{name}` is missing in {text}");
        }
    }
}

/// [R14] A row as the first version wrote it means what it meant.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_the_first_version_is_read() {
    const FIRST: &str = r#"{"n": 7, "_sessile": {"authenticated_at": "2026-01-02T03:04:05Z", "device": "phone", "remember": true, "previous": ["6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11"], "idle_seconds": 600}}"#;
    for backend in Backend::ALL {
        let stage = Stage::new(backend).await;
        let cookie = stage.put(FIRST).await;
        assert_eq!(stage.asks("/read", &cookie).await.1, "ada 7", "{backend:?}");
        let row = stage.row(&cookie).await;
        let told = stage.sessions.describe(&row);
        assert_eq!((told.remembered, told.device.as_deref()), (true, Some("phone")), "{backend:?}");
        assert_eq!(told.authenticated_at.unwrap().to_rfc3339(), "2026-01-02T03:04:05Z", "{backend:?}");
        let left = row.expires_at().saturating_since(stage.sessions.now());
        assert!(
            (595..=600).contains(&left.as_secs()),
            "{backend:?}: renewed by its own idle timeout: {left:?}"
        );
    }
}
