//! A schema of its own in the PostgreSQL server that the tests share.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sessile::store::postgres::PostgresOptions;
use sessile::store::{PostgresStore, SessionStore};
use tokio_postgres::{Client, Config, NoTls};

/// The server's URL.
pub fn server() -> String {
    std::env::var("SESSILE_TEST_POSTGRES").ok().filter(|url| !url.is_empty()).unwrap_or_else(|| {
        panic!(
            "SESSILE_TEST_POSTGRES is not set: run the tests with `cargo xtask test`, which starts the \
             servers they need"
        )
    })
}

/// A URL with one more option.
pub fn with_option(url: &str, option: &str) -> String {
    let join = if url.contains('?') { '&' } else { '?' };
    format!("{url}{join}{option}")
}

/// Dropped with everything in it when this is.
pub struct Schema {
    pub name: String,
}

impl Schema {
    pub async fn new() -> Schema {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let name = format!("sessile_{}_{nanos}_{number}", std::process::id());
        client(&server()).await.batch_execute(&format!("CREATE SCHEMA {name}")).await.unwrap();
        Schema { name }
    }

    /// The store URL of the table in it.
    pub fn url(&self) -> String {
        with_option(&server(), &format!("schema={}", self.name))
    }

    pub async fn store(&self, options: PostgresOptions) -> PostgresStore {
        let store = options.connect(&self.url()).await.unwrap();
        store.init().await.unwrap();
        store
    }

    /// Another program's connection, in this schema.
    pub async fn sql(&self) -> Client {
        let client = client(&server()).await;
        client
            .batch_execute(&format!("SET search_path = {}; SET client_min_messages = warning", self.name))
            .await
            .unwrap();
        client
    }

    /// The first column of the first row, as text.
    pub async fn value(&self, query: &str) -> String {
        let query = format!("SELECT (v)::text FROM ({query}) AS q (v)");
        let rows = self.sql().await.query(&query, &[]).await.unwrap();
        rows[0].get::<_, Option<String>>(0).unwrap_or_else(|| "NULL".to_owned())
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let drop = format!("SET client_min_messages = warning; DROP SCHEMA {} CASCADE", self.name);
        // A runtime may not block inside another, and the end of a test's thread has none.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { client(&server()).await.batch_execute(&drop).await })
        });
        if !std::thread::panicking() {
            dropping.join().unwrap().unwrap();
        }
    }
}

async fn client(url: &str) -> Client {
    let (client, connection) = url.parse::<Config>().unwrap().connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
