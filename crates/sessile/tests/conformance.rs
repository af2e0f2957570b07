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
