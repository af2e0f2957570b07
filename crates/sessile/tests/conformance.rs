//! Every store of this crate proves itself with the public suite.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

use std::sync::Arc;

#[cfg(feature = "sqlite")]
use sessile::store::SqliteStore;
use sessile::store::{MemoryStore, SessionStore, conformance};

#[cfg(feature = "postgres")]
#[path = "support/postgres.rs"]
mod postgres_server;

#[cfg(feature = "redis")]
#[path = "support/redis.rs"]
mod redis_server;

#[cfg(feature = "mysql")]
#[path = "support/in_turn.rs"]
mod in_turn;
#[cfg(feature = "mysql")]
#[path = "support/mysql.rs"]
mod mysql_server;

mod memory {
    use super::*;

    async fn fresh() -> Arc<dyn SessionStore> {
        Arc::new(MemoryStore::new())
    }

    sessile::conformance_tests!(fresh);

    #[tokio::test(flavor = "multi_thread")]
    async fn the_whole_suite_in_one_go() {
        let report = conformance::run(fresh).await;
        report.assert_passed();
        let summary = format!("\nmemory: {} passed, 0 failed", conformance::cases().len());
        assert!(report.to_string().ends_with(&summary), "{report}");
    }
}

#[cfg(feature = "sqlite")]
mod sqlite_in_memory {
    use super::*;

    async fn fresh() -> Arc<dyn SessionStore> {
        let store = SqliteStore::options().open_in_memory().await.unwrap();
        store.init().await.unwrap();
        Arc::new(store)
    }

    sessile::conformance_tests!(fresh);
}

#[cfg(feature = "sqlite")]
mod sqlite_file {
    use std::cell::RefCell;

    use tempfile::TempDir;

    use super::*;

    thread_local! {
        /// Removed when the thread of the test ends, after the store has closed its files.
        static FOLDERS: RefCell<Vec<TempDir>> = const { RefCell::new(Vec::new()) };
    }

    async fn fresh() -> Arc<dyn SessionStore> {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("sessions.db")).await.unwrap();
        store.init().await.unwrap();
        FOLDERS.with_borrow_mut(|folders| folders.push(folder));
        Arc::new(store)
    }

    sessile::conformance_tests!(fresh);
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::cell::RefCell;

    use sessile::store::PostgresStore;

    use super::postgres_server::Schema;
    use super::*;

    thread_local! {
        /// Dropped when the thread of the test ends.
        static SCHEMAS: RefCell<Vec<Schema>> = const { RefCell::new(Vec::new()) };
    }

    async fn fresh() -> Arc<dyn SessionStore> {
        let schema = Schema::new().await;
        let store = schema.store(PostgresStore::options()).await;
        SCHEMAS.with_borrow_mut(|schemas| schemas.push(schema));
        Arc::new(store)
    }

    sessile::conformance_tests!(fresh);
}

/// [R19]
#[cfg(feature = "postgres")]
mod postgres_through_a_pooler {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use sessile::store::PostgresStore;
    use sessile_test_servers::{PgBouncer, Postgres};

    use super::*;

    /// One for all cases, with fewer connections to its server than the stores have to it.
    fn pooler() -> &'static PgBouncer {
        static SERVERS: OnceLock<(Postgres, PgBouncer)> = OnceLock::new();
        let (_, pooler) = SERVERS.get_or_init(|| {
            let server = Postgres::start().unwrap();
            let pooler = PgBouncer::start(&server, "transaction", 6).unwrap();
            (server, pooler)
        });
        pooler
    }

    async fn fresh() -> Arc<dyn SessionStore> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let url = format!("{}?table=sessions_{number}&pooler=transaction&connect_timeout=60", pooler().url());
        // Many stores connect at the same time, on a machine that may be slow.
        let options = PostgresStore::options().timeout(std::time::Duration::from_secs(60));
        let store = options.connect(&url).await.unwrap();
        store.init().await.unwrap();
        Arc::new(store)
    }

    sessile::conformance_tests!(fresh);
}

#[cfg(feature = "mysql")]
mod mysql {
    use std::cell::RefCell;

    use sessile::store::MySqlStore;

    use super::mysql_server::Database;
    use super::*;

    thread_local! {
        /// Dropped when the thread of the test ends.
        static DATABASES: RefCell<Vec<Database>> = const { RefCell::new(Vec::new()) };
    }

    async fn fresh() -> Arc<dyn SessionStore> {
        let database = Database::new().await;
        let store = database.store(MySqlStore::options()).await;
        DATABASES.with_borrow_mut(|databases| databases.push(database));
        Arc::new(store)
    }

    sessile::conformance_tests!(fresh);

    /// Two processes: calls go to one and the other in turn.
    mod two_stores_on_one_table {
        use super::super::in_turn::InTurn;
        use super::*;

        async fn two() -> Arc<dyn SessionStore> {
            let database = Database::new().await;
            let one = database.store(MySqlStore::options()).await;
            let other = database.store(MySqlStore::options().connections(1)).await;
            DATABASES.with_borrow_mut(|databases| databases.push(database));
            Arc::new(InTurn::new(one, other))
        }

        sessile::conformance_tests!(two);
    }

    /// The table that SQLAlchemy makes: whole seconds, 65,535 bytes, a collation that ignores case, no
    /// indexes.
    #[tokio::test(flavor = "multi_thread")]
    async fn on_the_table_of_sqlalchemy_only_what_it_cannot_hold_differs() {
        let report = conformance::run(async || {
            let database = Database::new().await;
            database.sql(super::mysql_server::SQLALCHEMY).await;
            let store = MySqlStore::connect(&database.url()).await.unwrap();
            DATABASES.with_borrow_mut(|databases| databases.push(database));
            Arc::new(store) as Arc<dyn SessionStore>
        })
        .await;
        let failed: Vec<&str> = report.failures().map(|case| case.name).collect();
        // Data over 64 KiB, and what lies within one second.
        let cannot_hold = [
            "bytes::large_data_comes_back_whole",
            "bytes::times_are_kept_to_the_microsecond",
            "bytes::times_are_compared_as_times",
            "purging::a_purge_removes_what_has_expired_and_nothing_else",
            "purging::a_purge_leaves_what_never_expires",
        ];
        assert_eq!(failed, cannot_hold, "{report}");
    }
}

#[cfg(feature = "redis")]
mod redis {
    use std::cell::RefCell;

    use sessile::store::RedisStore;

    use super::redis_server::{Kind, Prefix};
    use super::*;

    thread_local! {
        /// Dropped when the thread of the test ends.
        static PREFIXES: RefCell<Vec<Prefix>> = const { RefCell::new(Vec::new()) };
    }

    async fn fresh(kind: Kind) -> Arc<dyn SessionStore> {
        let prefix = Prefix::new(kind);
        let store = prefix.store(RedisStore::options()).await;
        PREFIXES.with_borrow_mut(|prefixes| prefixes.push(prefix));
        Arc::new(store)
    }

    mod single {
        use super::*;

        async fn on_one_server() -> Arc<dyn SessionStore> {
            fresh(Kind::Single).await
        }

        sessile::conformance_tests!(on_one_server);
    }

    mod cluster {
        use super::*;

        async fn in_a_cluster() -> Arc<dyn SessionStore> {
            fresh(Kind::Cluster).await
        }

        sessile::conformance_tests!(in_a_cluster);
    }
}
