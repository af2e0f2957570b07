//! Does the suite see anything? Stores with one fault each, of the kinds that real ones have had: every
//! one of them must fail, and in the case that is about it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::subject::at;
use super::{Case, cases};
use crate::record::{SessionId, SessionRecord, StoredData, Timestamp, UserId};
use crate::store::{
    Expiry, ListPage, ListQuery, Liveness, Loaded, MemoryStore, Outcome, PurgeBatch, PurgeLimits, Rotation,
    SessionStore, StoreError, StoreStats, Touch, Update, Write,
};

#[derive(Clone, Copy, Debug)]
enum Fault {
    SaveIsAnUpsert,
    SaveComparesNothing,
    SaveIgnoresCase,
    SaveRevivesTheExpired,
    TouchShortens,
    RotationKeepsTheOldRow,
    RotationInTwoSteps,
    InsertReplaces,
    DeletionKeepsTheExpired,
    ListHasNoEnd,
    RevocationByListing,
    PurgeHidesUsers,
    PurgeTakesAll,
    BatchStopsAtTheFirstMiss,
    Panics,
}

struct Faulty(MemoryStore, Fault);

impl Faulty {
    async fn row(&self, id: SessionId) -> Option<SessionRecord> {
        self.0.load(id).await.unwrap()
    }

    async fn update(&self, mut update: Update) -> Result<Outcome, StoreError> {
        let row = self.row(update.id).await;
        match (self.1, row) {
            (Fault::SaveIsAnUpsert, None) => {
                let row = SessionRecord::new(update.id, Timestamp::MAX, update.now.get());
                return self.0.apply(Write::Insert(row)).await;
            }
            (Fault::SaveComparesNothing, Some(row)) => update.expected = row.stored_data().clone(),
            (Fault::SaveIgnoresCase, Some(row)) => {
                let folded = |data: &StoredData| data.as_text().map(str::to_lowercase);
                if folded(row.stored_data()) == folded(&update.expected) {
                    update.expected = row.stored_data().clone();
                }
            }
            (Fault::SaveRevivesTheExpired, Some(_)) => update.now = Timestamp::MIN.into(),
            _ => {}
        }
        self.0.apply(Write::Update(update)).await
    }

    async fn touch(&self, touch: Touch) -> Result<Outcome, StoreError> {
        if let (Fault::TouchShortens, Some(row)) = (self.1, self.row(touch.id).await) {
            let expected = row.stored_data().clone();
            let data = row.stored_data().as_text().unwrap().into();
            let expires_at = Expiry::Set(touch.expires_at);
            let update = Update { id: touch.id, expected, data, user_id: None, expires_at, now: touch.now };
            return self.0.apply(Write::Update(update)).await;
        }
        self.0.apply(Write::Touch(touch)).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Outcome, StoreError> {
        match self.1 {
            Fault::RotationKeepsTheOldRow => self.0.apply(Write::Insert(rotation.record)).await,
            Fault::RotationInTwoSteps => {
                let row = self.row(rotation.id).await;
                if row.is_none_or(|row| {
                    !row.is_live(rotation.now.get()) || row.stored_data() != &rotation.expected
                }) {
                    return Ok(Outcome::Unmatched);
                }
                tokio::task::yield_now().await;
                self.0.apply(Write::Delete(rotation.id)).await?;
                self.0.apply(Write::Insert(rotation.record)).await
            }
            _ => self.0.apply(Write::Rotate(rotation)).await,
        }
    }
}

#[async_trait]
impl SessionStore for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn load(&self, id: SessionId) -> Loaded {
        assert!(!matches!(self.1, Fault::Panics), "this store panics");
        self.0.load(id).await
    }

    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        match (self.1, write) {
            (Fault::InsertReplaces, Write::Insert(record)) => {
                self.0.apply(Write::Delete(record.id())).await?;
                self.0.apply(Write::Insert(record)).await
            }
            (Fault::DeletionKeepsTheExpired, Write::Delete(id))
                if self.row(id).await.is_some_and(|row| !row.is_live(at(0))) =>
            {
                Ok(Outcome::Unmatched)
            }
            (_, Write::Update(update)) => self.update(update).await,
            (_, Write::Touch(touch)) => self.touch(touch).await,
            (_, Write::Rotate(rotation)) => self.rotate(rotation).await,
            (_, write) => self.0.apply(write).await,
        }
    }

    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        let mut outcomes = Vec::new();
        for write in writes {
            let missed = matches!(outcomes.last(), Some(Ok(Outcome::Unmatched)));
            let stop = matches!(self.1, Fault::BatchStopsAtTheFirstMiss) && missed;
            outcomes.push(if stop { Ok(Outcome::Unmatched) } else { self.apply(write).await });
        }
        outcomes
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        let mut page = self.0.list(query).await?;
        if matches!(self.1, Fault::ListHasNoEnd) {
            page.next = page.next.or_else(|| query.after.clone());
        }
        Ok(page)
    }

    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        if !matches!(self.1, Fault::RevocationByListing) {
            return self.0.delete_user(user, keep).await;
        }
        let liveness = Liveness::Any;
        let query =
            ListQuery { user: Some(user.clone()), liveness, now: Timestamp::MIN, after: None, limit: 10_000 };
        let mut deleted = Vec::new();
        for row in self.0.list(&query).await?.records {
            tokio::task::yield_now().await;
            if Some(row.id()) != keep && self.0.apply(Write::Delete(row.id())).await? == Outcome::Applied {
                deleted.push(row.id());
            }
        }
        Ok(deleted)
    }

    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        let tolerance = Duration::from_secs(3_600);
        let now = if matches!(self.1, Fault::PurgeTakesAll) { now.saturating_add(tolerance) } else { now };
        let mut batch = self.0.purge(now, limits).await?;
        if matches!(self.1, Fault::PurgeHidesUsers) {
            batch.removed.iter_mut().for_each(|purged| purged.user_id = None);
        }
        Ok(batch)
    }

    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.0.stats(now).await
    }

    async fn init(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name() == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_fault_is_seen() {
    for (fault, seen_by) in [
        (Fault::SaveIsAnUpsert, "writes::the_deleted_stay_deleted"),
        (Fault::SaveIsAnUpsert, "races::save_against_revoke"),
        (Fault::SaveComparesNothing, "writes::an_update_needs_the_data_that_was_read"),
        (Fault::SaveComparesNothing, "races::changes_that_try_again_are_all_kept"),
        (Fault::SaveIgnoresCase, "bytes::data_is_compared_byte_for_byte"),
        (Fault::SaveRevivesTheExpired, "expiry::an_expired_row_takes_no_write_but_delete"),
        (Fault::TouchShortens, "expiry::expiry_moves_back_only_when_it_is_set"),
        (Fault::RotationKeepsTheOldRow, "rotation::a_rotation_kills_the_old_id_and_brings_the_new_row"),
        (Fault::RotationInTwoSteps, "races::rotate_against_rotate"),
        (Fault::RotationInTwoSteps, "races::rotate_against_delete_user"),
        (Fault::InsertReplaces, "writes::an_id_is_taken_once"),
        (Fault::DeletionKeepsTheExpired, "writes::deleting_twice_is_harmless"),
        (Fault::ListHasNoEnd, "listing::pages_hold_every_row_once_in_order"),
        (Fault::RevocationByListing, "races::rotate_against_delete_user"),
        (Fault::PurgeHidesUsers, "purging::a_purge_reports_the_users"),
        (Fault::PurgeTakesAll, "purging::a_purge_removes_what_has_expired_and_nothing_else"),
        (Fault::BatchStopsAtTheFirstMiss, "batches::an_unmatched_write_leaves_its_neighbours_alone"),
        (Fault::Panics, "writes::a_new_row_is_loaded_as_it_was_inserted"),
    ] {
        // A race sees its fault only when both meet, which on a busy machine may take a few tries.
        let mut seen = false;
        for _ in 0..if seen_by.starts_with("races::") { 100 } else { 1 } {
            let store = Arc::new(Faulty(MemoryStore::new(), fault));
            seen = case(seen_by).check(store).await.is_err();
            if seen {
                break;
            }
        }
        assert!(seen, "{seen_by} does not see {fault:?}");
    }
}

/// The table names the case, its numbers and the reason.
#[tokio::test(flavor = "multi_thread")]
async fn the_report_says_what_was_wrong() {
    let report = super::run(|| async {
        Arc::new(Faulty(MemoryStore::new(), Fault::InsertReplaces)) as Arc<dyn SessionStore>
    })
    .await;
    assert!(!report.passed());
    assert_eq!(report.results.len(), cases().len());
    let table = report.to_string();
    let line = table.lines().find(|line| line.starts_with("writes::an_id_is_taken_once")).unwrap();
    assert!(line.contains("  F11  "), "{line}");
    assert!(line.contains("FAILED: inserting a taken id: got Applied, wanted Unmatched"), "{line}");
    assert!(table.contains("\nfaulty: "), "{table}");
}
