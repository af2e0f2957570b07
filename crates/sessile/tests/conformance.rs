//! Every store of this crate proves itself with the public suite.

use std::sync::Arc;

use sessile::store::{MemoryStore, SessionStore, conformance};

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
