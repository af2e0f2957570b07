//! The two services, the table between them, and their clocks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sessile::engine::Event;
use sessile::record::{Clock, ManualClock, Timestamp};
use sessile::store::{SessionStore, StoreUrl};
use sessile::{Policy, SessionId, SessionRecord, Sessions};
use sessile_interop::{Database, Peer};
use sessile_test_servers::{MYSQL, POSTGRES, shared_url};

use crate::application;
use crate::browser::Browser;

/// Noon on a day when all clocks stand still.
pub(crate) fn noon() -> Timestamp {
    Timestamp::parse("2030-01-02 12:00:00").unwrap()
}

pub(crate) fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

pub(crate) struct Stage {
    pub(crate) python: Peer,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) sessions: Sessions,
    pub(crate) clock: Arc<ManualClock>,
    events: Arc<Mutex<Vec<Event>>>,
    ports: [u16; 2],
    /// Makes and drops what the table is in, where that is no file.
    keeper: Option<(Peer, String)>,
    // Last, so that everybody is gone before the folder goes.
    _folder: tempfile::TempDir,
}

impl Stage {
    /// With the table that SQLAlchemy makes.
    pub(crate) async fn on_sqlite() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::sqlite(folder.path());
        Stage::with(folder, &database, None).await
    }

    /// The same in a schema of its own.
    pub(crate) async fn on_postgres() -> Stage {
        let server: url::Url = shared_url(POSTGRES).unwrap().parse().unwrap();
        let public = Database::Postgres(server.clone(), "public".to_owned());
        let (schema, make) = (unique_name(), "CREATE SCHEMA");
        Stage::in_place(&public, &Database::Postgres(server, schema.clone()), make, &schema).await
    }

    /// The same in a database of its own.
    pub(crate) async fn on_mariadb() -> Stage {
        let server: url::Url = shared_url(MYSQL).unwrap().parse().unwrap();
        let shared = Database::MariaDb(server.clone(), server.path().trim_start_matches('/').to_owned());
        let (name, make) = (unique_name(), "CREATE DATABASE");
        Stage::in_place(&shared, &Database::MariaDb(server, name.clone()), make, &name).await
    }

    async fn in_place(shared: &Database, own: &Database, make: &str, name: &str) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Peer::start(folder.path(), shared);
        keeper.ask(json!(["sql", format!("{make} {name}")]));
        let drop = match own {
            Database::MariaDb(..) => format!("DROP DATABASE {name}"),
            _ => format!("DROP SCHEMA {name} CASCADE"),
        };
        Stage::with(folder, own, Some((keeper, drop))).await
    }

    async fn with(folder: tempfile::TempDir, database: &Database, keeper: Option<(Peer, String)>) -> Stage {
        let (mut python, lback) = Peer::start_application(folder.path(), database);
        python.ask(json!(["create_table"]));
        python.ask(json!(["clock", noon().to_string()]));
        let url: StoreUrl = database.store_url().parse().unwrap();
        let store = url.connect_existing().await.unwrap();
        store.check().await.unwrap();
        let clock = Arc::new(ManualClock::new(noon()));
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let sessions = Sessions::builder(Arc::clone(&store))
            .policy(Policy::lback())
            .clock(Arc::clone(&clock))
            .listener(move |event: &Event| heard.lock().unwrap().push(event.clone()))
            .build();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let ports = [lback, listener.local_addr().unwrap().port()];
        let routes = application::routes(sessions.clone());
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Stage { python, store, sessions, clock, events, ports, keeper, _folder: folder }
    }

    /// Somebody with an empty jar.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.ports, Arc::clone(&self.clock))
    }

    /// Moves all clocks.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.python.ask(json!(["clock", self.clock.now().to_string()]));
    }

    /// What was heard since the last call.
    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    /// The row.
    pub(crate) async fn row(&self, id: SessionId) -> Option<SessionRecord> {
        self.store.load(id).await.unwrap()
    }

    /// The row as the package's model reads it; `null` when there is none.
    pub(crate) fn read(&mut self, id: SessionId) -> Value {
        self.python.ask(json!(["read", id.to_string()]))
    }

    /// Rows in the table.
    pub(crate) fn rows(&mut self) -> u64 {
        self.python.ask(json!(["sql", "SELECT count(*) FROM sessions"]))[0][0].as_u64().unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some((keeper, drop)) = &mut self.keeper {
            let dropped = keeper.attempt(json!(["sql", drop]));
            assert!(dropped.is_ok() || std::thread::panicking(), "{dropped:?}");
        }
    }
}

fn unique_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    format!("sessile_interop_{}_{nanos}_{number}", std::process::id())
}
