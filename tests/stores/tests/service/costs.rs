//! What a request costs, counted on the way to the server and by the server's own log of statements.

use std::sync::Arc;
use std::time::Duration;

use sessile_test_stores::Backend;

use crate::stage::Stage;

/// What a request is promised to cost: statements, and as many round trips.
const PROMISED: [(&str, u64); 4] = [("/who", 1), ("/change", 2), ("/login", 2), ("/logout", 2)];

/// [B01] [B02] [B05] Read 1, change 2, login 2, logout 2; a visitor who only looks 0, and whose first change 1.
#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_request_costs_what_is_promised() {
    for backend in Backend::SERVERS {
        let stage = Stage::new(backend, Duration::from_secs(30)).await;
        // Each connection prepares each statement once.
        for _ in 0..8 {
            let mut visitor = stage.signed_in("ada").await;
            for (path, _) in PROMISED {
                visitor.gets_any(path).await;
            }
        }
        let mut visitor = stage.visitor();
        for (path, promised) in [("/who", 0), ("/change", 1)].into_iter().chain(PROMISED) {
            stage.proxy.round_trips();
            let before = statements(&stage).await;
            assert_eq!(visitor.asks(path).await.status, 200);
            let trips = stage.proxy.round_trips() as u64;
            let statements = statements(&stage).await.zip(before).map(|(after, before)| after - before);
            println!("{backend:?} {path}: {statements:?} statements, {trips} round trips");
            assert_eq!(trips, promised, "{backend:?} {path}: round trips");
            assert_eq!(statements.unwrap_or(promised), promised, "{backend:?} {path}: statements");
        }
    }
}

async fn statements(stage: &Stage) -> Option<u64> {
    let place = Arc::clone(&stage.place);
    tokio::task::spawn_blocking(move || place.statements()).await.unwrap().unwrap()
}
