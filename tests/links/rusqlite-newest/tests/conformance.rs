//! The store keeps its contract with this version of SQLite: an end of the range.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sessile::store::{SessionStore, SqliteStore, conformance};

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_its_contract() {
    let folder = tempfile::tempdir().unwrap();
    let databases = AtomicU32::new(0);
    let report = conformance::run(|| {
        let path = folder.path().join(databases.fetch_add(1, Ordering::Relaxed).to_string());
        async move {
            let store = SqliteStore::open(path).await.unwrap();
            store.init().await.unwrap();
            Arc::new(store) as Arc<dyn SessionStore>
        }
    })
    .await;
    report.assert_passed();
}
