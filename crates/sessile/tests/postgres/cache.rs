//! The coherent cache over the feed of PostgreSQL.

use std::time::Duration;

use sessile::engine::{CacheError, CacheOptions};
use sessile::store::{PostgresStore, SessionStore, StoreError};
use sessile::{SessionId, Sessions};
use tokio_postgres::Client;

use crate::coherence::{self, Others, is_up, read, service, session, warm};
use crate::outages::through;
use crate::postgres_server::Schema;
use crate::support::until;

const PATIENT: Duration = Duration::from_secs(10);

pub(crate) async fn telling(url: &str) -> PostgresStore {
    let store = PostgresStore::connect(url).await.unwrap();
    store.init().await.unwrap();
    store.init_feed().await.unwrap();
    // Making it again changes nothing.
    store.init_feed().await.unwrap();
    store
}

/// Plain SQL, as psql and Python write it.
pub(crate) struct Sql {
    client: Client,
    schema: String,
}

impl Sql {
    pub(crate) async fn in_schema(schema: &Schema) -> Sql {
        Sql { client: schema.sql().await, schema: schema.name.clone() }
    }
}

impl Others for Sql {
    async fn delete(&self, id: SessionId) {
        self.client.batch_execute(&format!("DELETE FROM sessions WHERE id = '{id}'")).await.unwrap();
    }

    async fn set(&self, id: SessionId, n: u32) {
        let set = format!(r#"UPDATE sessions SET data = '{{"n": {n}}}' WHERE id = '{id}'"#);
        self.client.batch_execute(&set).await.unwrap();
    }

    async fn empty(&self) {
        self.client.batch_execute("TRUNCATE sessions").await.unwrap();
    }

    async fn kill(&self) {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ";
        self.client.batch_execute(&format!("{kill}'{}'", self.schema)).await.unwrap();
    }
}

/// [S10] [M05]
#[tokio::test]
async fn what_anybody_does_to_the_table_counts_here() {
    let schema = Schema::new().await;
    let here = service(telling(&schema.url()).await, PATIENT).await;
    let elsewhere = Sessions::new(PostgresStore::connect(&schema.url()).await.unwrap());
    coherence::what_anybody_does_counts(&here, &elsewhere, &Sql::in_schema(&schema).await).await;
}

/// [M01] A read that is answered from memory asks nothing: the row may be locked, or gone untold.
#[tokio::test]
async fn what_is_kept_costs_no_statement() {
    let schema = Schema::new().await;
    let here = service(telling(&schema.url()).await, PATIENT).await;
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    let log = crate::support::SqlLog::of(&schema.name);
    for _ in 0..100 {
        assert_eq!(read(&here, &credential).await, Some(1));
    }
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn a_table_that_does_not_tell_is_refused_with_the_remedy() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    let refused = Sessions::builder(store).cache(CacheOptions::default()).await.err().unwrap();
    let CacheError::Store(StoreError::Schema { remedy, .. }) = &refused else { panic!("{refused}") };
    assert!(remedy.contains("sessile init --feed"), "{remedy}");
}

/// [R01]
#[tokio::test]
async fn a_feed_that_is_killed_is_never_believed() {
    let (schema, proxy, url) = through().await;
    let url = format!("{url}&application_name={}", schema.name);
    let here = service(telling(&url).await, PATIENT).await;
    coherence::a_feed_that_is_killed_is_never_believed(&here, &proxy, &Sql::in_schema(&schema).await).await;
}

/// [R01]
#[tokio::test]
async fn a_feed_that_hangs_is_given_up() {
    let (schema, proxy, url) = through().await;
    let here = service(telling(&url).await, Duration::from_secs(2)).await;
    coherence::a_feed_that_hangs_is_given_up(&here, &proxy, &Sql::in_schema(&schema).await).await;
}

/// Somebody switches the triggers off: the next sign of life finds out.
#[tokio::test]
async fn triggers_that_are_switched_off_are_noticed() {
    let schema = Schema::new().await;
    let here = service(telling(&schema.url()).await, PATIENT).await;
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    let sql = schema.sql().await;
    sql.batch_execute("ALTER TABLE sessions DISABLE TRIGGER sessile_changed").await.unwrap();
    until(async || !is_up(&here)).await;
    sql.batch_execute(r#"UPDATE sessions SET data = '{"n": 7}'"#).await.unwrap();
    assert_eq!(read(&here, &credential).await, Some(7));
    sql.batch_execute("ALTER TABLE sessions ENABLE TRIGGER sessile_changed").await.unwrap();
    until(async || is_up(&here)).await;
    warm(&here, &credential, 7).await;
    sql.batch_execute(r#"UPDATE sessions SET data = '{"n": 8}'"#).await.unwrap();
    until(async || read(&here, &credential).await == Some(8)).await;
}

/// Names with everything in them that SQL could take for something else.
#[tokio::test]
async fn a_table_with_any_name_tells() {
    let schema = Schema::new().await;
    for table in ["we\"b's $$ @table", "Sessions $sessile$"] {
        let store = schema.store(PostgresStore::options().table(table)).await;
        store.init_feed().await.unwrap();
        let here = service(store, PATIENT).await;
        let credential = session(&here).await;
        warm(&here, &credential, 1).await;
        let quoted = table.replace('"', "\"\"");
        schema.sql().await.batch_execute(&format!("DELETE FROM \"{quoted}\"")).await.unwrap();
        until(async || read(&here, &credential).await.is_none()).await;
    }
}
