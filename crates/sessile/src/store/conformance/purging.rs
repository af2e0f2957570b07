//! Purging: what has expired goes, in bounded batches, and nothing else.

use std::time::Duration;

use super::subject::{Subject, at, id, microsecond_before, row, touch};
use super::verdict::{Failure, Verdict, holds, same};
use crate::record::{SessionId, SessionRecord, Timestamp};
use crate::store::{Liveness, PurgeLimits, Purged, StoreError};

impl Subject {
    /// Batch after batch until there is no more; each within its bound.
    async fn purge_all(&self, now: Timestamp, limits: PurgeLimits) -> Result<Vec<SessionId>, Failure> {
        let mut removed = Vec::new();
        for _ in 0..10_000 {
            let batch = self.purge(now, limits).await?;
            holds(batch.removed.len() <= limits.max_rows, "a batch larger than its bound")?;
            same(&batch.removed_foreign, &0, "rows removed whose id is no UUID")?;
            removed.extend(batch.ids());
            if !batch.more {
                removed.sort();
                return Ok(removed);
            }
        }
        Err(Failure("the purge has no end".to_owned()))
    }
}

fn sorted(rows: &[SessionRecord]) -> Vec<SessionId> {
    let mut ids: Vec<SessionId> = rows.iter().map(SessionRecord::id).collect();
    ids.sort();
    ids
}

/// [L01] [E05] Expiring at this very instant is expired; a microsecond later is not.
pub(super) async fn a_purge_removes_what_has_expired_and_nothing_else(store: Subject) -> Verdict {
    let now = at(10);
    let dead = [
        row(1).expires(now).build(),
        row(2).user("ada").expires(microsecond_before(now)).build(),
        row(3).expires(at(1)).build(),
    ];
    let just_live = Timestamp::from_micros(now.as_micros() + 1).unwrap_or(now);
    let live = [row(4).expires(just_live).build(), row(5).user("ada").build()];
    store.insert(dead.iter().chain(&live)).await?;
    same(&store.purge_all(now, PurgeLimits::default()).await?, &sorted(&dead), "rows removed")?;
    for row in &live {
        store.holds_row(row, "a live row").await?;
    }
    same(&store.ids(None, Liveness::Any, now).await?, &sorted(&live), "rows left")?;
    let of_ada = store.ids(live[1].user_id(), Liveness::Any, now).await?;
    same(&of_ada, &vec![live[1].id()], "sessions of the user")
}

/// [L05] Each row is reported with the user in its column, whatever the characters, and without one if it has none.
pub(super) async fn a_purge_reports_the_users(store: Subject) -> Verdict {
    let dead = [
        row(1).expires(at(1)).build(),
        row(2).user("ada").expires(at(1)).build(),
        row(3).user("ada").expires(at(1)).build(),
        row(4).user("o'Neil Z\u{fc}rich").expires(at(1)).build(),
    ];
    store.insert(&dead).await?;
    let mut removed = store.purge(at(10), PurgeLimits::default()).await?.removed;
    removed.sort_by_key(|purged| purged.id);
    let mut wanted: Vec<Purged> =
        dead.iter().map(|row| Purged { id: row.id(), user_id: row.user_id().cloned() }).collect();
    wanted.sort_by_key(|purged| purged.id);
    same(&removed, &wanted, "rows removed, with their users")
}

/// [L02] There is no "never", but the last instant of the year 9999 comes close.
pub(super) async fn a_purge_leaves_what_never_expires(store: Subject) -> Verdict {
    let eternal = row(1).expires(Timestamp::MAX).build();
    store.insert([&eternal]).await?;
    let removed = store.purge_all(microsecond_before(Timestamp::MAX), PurgeLimits::default()).await?;
    same(&removed, &vec![], "rows removed")?;
    store.holds_row(&eternal, "a row that does not expire").await
}

/// [L04] [L05] [R10] Never more rows in a batch than allowed; every row is told exactly once.
pub(super) async fn a_purge_keeps_to_its_rows_and_ends(store: Subject) -> Verdict {
    let dead: Vec<_> = (0..250).map(|number| row(number).expires(at(1 + number % 7)).build()).collect();
    let live: Vec<_> = (500..520).map(|number| row(number).build()).collect();
    for max_rows in [1, 7, 50, 249, 250, 251, 1_000] {
        store.insert(&dead).await?;
        if max_rows == 1 {
            store.insert(&live).await?;
        }
        let limits = PurgeLimits { max_rows, ..PurgeLimits::default() };
        let what = format!("rows removed, {max_rows} at a time");
        same(&store.purge_all(at(10), limits).await?, &sorted(&dead), what)?;
        same(&store.ids(None, Liveness::Any, at(10)).await?, &sorted(&live), "rows left")?;
    }
    Ok(())
}

/// [R20] A batch of no rows would never end: it is refused, and removes nothing.
pub(super) async fn a_purge_of_no_rows_is_refused(store: Subject) -> Verdict {
    let dead = row(1).expires(at(1)).build();
    store.insert([&dead]).await?;
    let limits = PurgeLimits { max_rows: 0, ..PurgeLimits::default() };
    let refused = matches!(store.purge(at(10), limits).await, Err(StoreError::Setting(_)));
    holds(refused, "limits of no rows are StoreError::Setting")?;
    store.holds_row(&dead, "an expired row").await
}

/// [R10] However little time it has, a batch gets on.
pub(super) async fn a_purge_without_time_gets_on(store: Subject) -> Verdict {
    let dead: Vec<_> = (0..100).map(|number| row(number).expires(at(1)).build()).collect();
    store.insert(&dead).await?;
    let limits = PurgeLimits { max_time: Duration::ZERO, ..PurgeLimits::default() };
    same(&store.purge_all(at(10), limits).await?, &sorted(&dead), "rows removed")
}

/// [L01] A row that was renewed before the purge came stays.
pub(super) async fn a_purge_goes_by_the_newest_expiry(store: Subject) -> Verdict {
    let session = row(1).expires(at(10)).build();
    store.insert([&session]).await?;
    store.applies(touch(&session, at(100), at(9)), "a touch").await?;
    same(&store.purge_all(at(10), PurgeLimits::default()).await?, &vec![], "rows removed")?;
    same(&store.purge_all(at(100), PurgeLimits::default()).await?, &vec![id(1)], "rows removed later")
}
