//! A database of its own in the MariaDB (or MySQL) server that the tests share.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};
use sessile::store::mysql::MySqlOptions;
use sessile::store::{MySqlStore, SessionStore};

/// What `Base.metadata.create_all` makes for the package's model.
pub const SQLALCHEMY: &str = "CREATE TABLE sessions (id VARCHAR(36) NOT NULL, user_id VARCHAR(36), data TEXT, \
    created_at DATETIME, expires_at DATETIME NOT NULL, updated_at DATETIME, PRIMARY KEY (id))";

/// The server's URL.
pub fn server() -> String {
    std::env::var("SESSILE_TEST_MYSQL").ok().filter(|url| !url.is_empty()).unwrap_or_else(|| {
        panic!(
            "SESSILE_TEST_MYSQL is not set: run the tests with `cargo xtask test`, which starts the servers \
             they need"
        )
    })
}

/// A URL with one more option.
pub fn with_option(url: &str, option: &str) -> String {
    let join = if url.contains('?') { '&' } else { '?' };
    format!("{url}{join}{option}")
}

/// Dropped with everything in it when this is.
pub struct Database {
    pub name: String,
    pub server: String,
}

impl Database {
    pub async fn new() -> Database {
        Database::on(server(), "utf8mb4").await
    }

    /// In this server, with this character set.
    pub async fn on(server: String, characters: &str) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let name = format!("sessile_{}_{nanos}_{number}", std::process::id());
        let made = format!("CREATE DATABASE {name} CHARACTER SET {characters}");
        connection(&server, None).await.query_drop(made).await.unwrap();
        Database { name, server }
    }

    /// The store URL of the table in it.
    pub fn url(&self) -> String {
        let (place, options) = self.server.split_once('?').unwrap_or((&self.server, ""));
        let (place, _) = place.rsplit_once('/').unwrap();
        let url = format!("{place}/{}", self.name);
        if options.is_empty() { url } else { with_option(&url, options) }
    }

    pub async fn store(&self, options: MySqlOptions) -> MySqlStore {
        let store = options.connect(&self.url()).await.unwrap();
        store.init().await.unwrap();
        store
    }

    /// Another program's connection.
    pub async fn connection(&self) -> Conn {
        connection(&self.server, Some(&self.name)).await
    }

    /// Runs a statement on a connection of its own.
    pub async fn sql(&self, statement: &str) {
        self.connection().await.query_drop(statement).await.unwrap();
    }

    /// The first column of the first row, as text.
    pub async fn value(&self, query: &str) -> String {
        let row: Row = self.connection().await.query_first(query).await.unwrap().unwrap();
        match row.as_ref(0).unwrap() {
            Value::NULL => "NULL".to_owned(),
            Value::Bytes(text) => String::from_utf8(text.clone()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, drop) = (self.server.clone(), format!("DROP DATABASE {}", self.name));
        // A runtime may not block inside another, and the end of a test's thread has none.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { connection(&server, None).await.query_drop(drop).await })
        });
        if !std::thread::panicking() {
            dropping.join().unwrap().unwrap();
        }
    }
}

async fn connection(url: &str, database: Option<&str>) -> Conn {
    let url = url.split('?').next().unwrap().replacen("mariadb:", "mysql:", 1);
    let opts = OptsBuilder::from_opts(Opts::from_url(&url).unwrap()).prefer_socket(false);
    Conn::new(opts.db_name(database)).await.unwrap()
}
