//! Sessions in a store, many at once.

use std::sync::Arc;
use std::time::Duration;

use sessile::record::{Columns, SessionId, SessionRecord, StoredData, UserId};
use sessile::store::{Outcome, Write};
use sessile_bench::{sample, subject};
use tokio::runtime::Builder;

/// Writes in one batch.
const BATCH: usize = 1_000;

/// Puts sessions of 1 KiB into this subject's store, ten for each user.
pub(crate) fn fill(subject: &str, live: usize, expired: usize) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let sessions = subject::sessions(subject, ".".as_ref()).await;
        let now = sessions.now();
        let data: Arc<str> = serde_json::to_string(&sample::data(7)).unwrap().into();
        let [hour, day] = [3_600, 86_400].map(Duration::from_secs);
        let row = |i: usize| {
            // Redis itself removes a row a day after it has expired.
            let expires_at = if i < live { now.saturating_add(day) } else { now.saturating_sub(hour) };
            SessionRecord::from_columns(Columns {
                id: SessionId::from_bytes(fastrand::u128(..).to_be_bytes()),
                user_id: Some(UserId::new(i / 10).unwrap()),
                data: StoredData::Text(Arc::clone(&data)),
                // One that is older than the policy lets a session become is live to nobody.
                created_at: Some(expires_at.saturating_sub(day)),
                expires_at,
                updated_at: Some(expires_at.saturating_sub(day)),
            })
        };
        for from in (0..live + expired).step_by(BATCH) {
            let to = (from + BATCH).min(live + expired);
            let batch = (from..to).map(|i| Write::Insert(row(i))).collect();
            for outcome in sessions.store().apply_many(batch).await {
                assert_eq!(outcome.unwrap(), Outcome::Applied);
            }
        }
    });
}
