//! Purge: what has expired leaves, in batches, on demand and in the background.
//!
//! Do not fit: L02, `expires_at` is NOT NULL. L13: nothing is trimmed by age, the policy's lifetimes end
//! sessions. L14 is the command line's. Purge against renewal in every order: `interleavings`.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sessile::engine::{EngineError, Event, PurgeReport, PurgeSchedule};
use sessile::record::{Clock, ManualClock, Random, RandomError, Timestamp};
use sessile::store::{
    ListPage, ListQuery, Loaded, MemoryStore, Outcome, PurgeBatch, PurgeLimits, SessionStore, StoreError,
    StoreStats, Write,
};
use sessile::{Policy, SessionId, Sessions, UserId};
use support::caller::{Row, token};
use support::{Stage, noon, seconds};

/// So many sessions, the first `expired` of which are over.
async fn fill(store: &dyn SessionStore, rows: u32, expired: u32) {
    for number in 0..rows {
        let mut row = Row::new(token(number).1, "{}", noon());
        if number < expired {
            row.expires_at = noon();
        }
        row.put_into(store).await;
    }
}

/// [L01] [L04] [L05] [P04] What is over goes, what lives stays, and progress is told batch by batch.
#[tokio::test]
async fn what_has_expired_goes_in_batches() {
    for stage in Stage::everywhere(Policy::default()).await {
        fill(&stage.store, 2_110, 2_100).await;
        let mut progress = Vec::new();
        let report = stage.sessions.purge(|report| progress.push(report.removed)).await.unwrap();
        assert_eq!(report.removed, 2_100);
        assert!(report.batches >= 3, "at most 1,000 rows each: {report:?}");
        assert_eq!(progress.len() as u64, report.batches);
        assert!(progress.is_sorted() && progress.last() == Some(&2_100), "{progress:?}");
        assert!(progress[0] <= 1_000);
        assert_eq!(stage.store.rows().await.len(), 10);
        let told: u64 =
            stage.events().iter().map(|e| if let Event::Purged { rows } = e { *rows } else { 0 }).sum();
        assert_eq!(told, 2_100, "each row once");

        let report = stage.sessions.purge(|_| {}).await.unwrap();
        assert_eq!((report.removed, report.batches), (0, 1));
    }
}

/// [L07] Two nodes at once remove each row once.
#[tokio::test]
async fn two_nodes_purge_at_once() {
    for stage in Stage::everywhere(Policy::default()).await {
        fill(&stage.store, 300, 300).await;
        let other = stage.another_process();
        let (one, two) = tokio::join!(stage.sessions.purge(|_| {}), other.sessions.purge(|_| {}));
        assert_eq!(one.unwrap().removed + two.unwrap().removed, 300);
        assert!(stage.store.rows().await.is_empty());
    }
}

/// A failure in the middle is an error; what was removed is told before it.
#[tokio::test]
async fn a_failure_is_an_error() {
    let stage = Stage::new();
    fill(&stage.store, 2_500, 2_500).await;
    let mut progress = PurgeReport::default();
    let failure = stage
        .sessions
        .purge(|report| {
            progress = report;
            stage.store.set_down(report.removed >= 1_000);
        })
        .await;
    assert!(matches!(failure, Err(EngineError::Store(StoreError::Unavailable { .. }))), "{failure:?}");
    assert_eq!(stage.store.rows().await.len() as u64, 2_500 - progress.removed);
}

fn every_minute() -> PurgeSchedule {
    PurgeSchedule { jitter: false, ..PurgeSchedule::default() }
}

/// [L08] [L11] In the background: every minute, not before, whatever fails; and until it is stopped.
#[tokio::test(start_paused = true)]
async fn in_the_background_it_survives_failures_and_stops() {
    let stage = Stage::new();
    let task = stage.sessions.spawn_purge(every_minute());
    fill(&stage.store, 3, 2).await;
    stage.store.statements();
    tokio::time::sleep(seconds(59)).await;
    assert_eq!(stage.store.statements(), 0, "not before its time");
    tokio::time::sleep(seconds(2)).await;
    assert_eq!((stage.store.statements(), stage.store.rows().await.len()), (1, 1));

    stage.store.set_down(true);
    stage.clock.advance(seconds(3600));
    tokio::time::sleep(seconds(180)).await;
    assert_eq!((stage.store.statements(), stage.store.rows().await.len()), (3, 1), "it tried");
    stage.store.set_down(false);
    tokio::time::sleep(seconds(60)).await;
    assert!(stage.store.rows().await.is_empty(), "and succeeds once it can");

    stage.store.statements();
    task.stop().await;
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(stage.store.statements(), 0, "stopped");
}

/// [L10] A purge is stopped before its first run; one whose handle is dropped, as in a statement of its own, goes on.
#[tokio::test(start_paused = true)]
async fn a_purge_is_stopped_early_and_goes_on_without_its_handle() {
    let stage = Stage::new();
    stage.sessions.spawn_purge(every_minute()).stop().await;
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(stage.store.statements(), 0, "stopped");
    stage.sessions.spawn_purge(every_minute());
    tokio::time::sleep(seconds(601)).await;
    assert_eq!(stage.store.statements(), 10, "one for each minute");
}

/// [R20] A schedule that would never rest or never end is refused, with the least that is allowed.
#[tokio::test]
async fn a_schedule_that_cannot_work_is_refused() {
    let usual = PurgeSchedule::default();
    let no_rows = PurgeLimits { max_rows: 0, ..usual.limits };
    for (schedule, says) in [
        (
            PurgeSchedule { interval: Duration::ZERO, ..usual },
            "`PurgeSchedule::interval` is 0ns: at least 10ms is needed",
        ),
        (PurgeSchedule { limits: no_rows, ..usual }, "`PurgeLimits::max_rows` is 0: at least 1 is needed"),
    ] {
        assert_eq!(schedule.validate().unwrap_err().to_string(), says);
        let sessions = Stage::new().sessions;
        let refused = tokio::spawn(async move { drop(sessions.spawn_purge(schedule)) }).await;
        let panic = refused.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref::<String>().unwrap(), says);
    }
}

/// Stopped between two batches: what was begun is finished, the rest stays.
#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_more_than_one_batch() {
    let stage = Stage::new();
    fill(&stage.store, 1_000, 1_000).await;
    stage.store.statements();
    let limits = PurgeLimits { max_rows: 100, ..PurgeLimits::default() };
    let slowly = PurgeSchedule { limits, pause: seconds(10), ..every_minute() };
    let task = stage.sessions.spawn_purge(slowly);
    tokio::time::sleep(seconds(75)).await;
    let begun = tokio::time::Instant::now();
    task.stop().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!((stage.store.statements(), stage.store.rows().await.len()), (2, 800));
}

struct Fixed(Option<u8>);

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        bytes.fill(self.0.ok_or_else(|| RandomError("broken".into()))?);
        Ok(())
    }
}

/// [L08] With jitter a wait is between half the interval and one and a half; without randomness, the
/// interval.
#[tokio::test(start_paused = true)]
async fn jitter_stays_within_bounds() {
    let schedule = PurgeSchedule::default();
    for (random, least, most) in [(Some(0), 30, 30), (Some(255), 90, 90), (Some(128), 59, 61), (None, 60, 60)]
    {
        let store = support::Watched::new(MemoryStore::new());
        let sessions = Sessions::builder(store.clone()).random(Fixed(random)).build();
        let task = sessions.spawn_purge(schedule);
        tokio::time::sleep(seconds(least) - Duration::from_millis(2)).await;
        assert_eq!(store.statements(), 0, "{random:?}");
        tokio::time::sleep(seconds(most - least) + Duration::from_millis(4)).await;
        assert_eq!(store.statements(), 1, "{random:?}");
        task.stop().await;
    }
}

/// An interval without end is a purge that never comes, not a panic.
#[tokio::test(start_paused = true)]
async fn an_endless_interval_never_comes() {
    let store = support::Watched::new(MemoryStore::new());
    let sessions = Sessions::builder(store.clone()).random(Fixed(Some(255))).build();
    let task = sessions.spawn_purge(PurgeSchedule { interval: Duration::MAX, ..PurgeSchedule::default() });
    tokio::time::sleep(seconds(86_400)).await;
    assert_eq!(store.statements(), 0);
    task.stop().await;
}

/// A store on another machine, with a clock of its own.
struct Elsewhere(MemoryStore, Arc<ManualClock>);

#[async_trait]
impl SessionStore for Elsewhere {
    fn name(&self) -> &'static str {
        "elsewhere"
    }
    async fn load(&self, id: SessionId) -> Loaded {
        self.0.load(id).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.0.apply(write).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.0.list(query).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.0.delete_user(user, keep).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.0.purge(now, limits).await
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
    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(Some(self.1.now()))
    }
}

/// [R07] More than a minute apart nothing is purged: whoever is wrong, live sessions must not pay.
#[tokio::test]
async fn clocks_that_disagree_purge_nothing() {
    let rows = MemoryStore::new();
    fill(&rows, 2, 1).await;
    let (ours, theirs) = (Arc::new(ManualClock::new(noon())), Arc::new(ManualClock::new(noon())));
    let store = Elsewhere(rows.clone(), Arc::clone(&theirs));
    let sessions = Sessions::builder(store).clock(Arc::clone(&ours)).build();
    let year = seconds(365 * 86_400);
    for (ours_is, theirs_is) in [
        (noon().saturating_add(year), noon()),
        (noon(), noon().saturating_add(year)),
        (noon().saturating_add(seconds(61)), noon()),
        (noon(), noon().saturating_add(seconds(3600))),
    ] {
        ours.set(ours_is);
        theirs.set(theirs_is);
        let refused = sessions.purge(|_| {}).await;
        assert!(matches!(refused, Err(EngineError::ClocksDiffer { .. })), "{refused:?}");
        assert_eq!(rows.stats(noon()).await.unwrap().expired, 1);
    }
    ours.set(noon().saturating_add(seconds(60)));
    theirs.set(noon());
    assert_eq!(sessions.purge(|_| {}).await.unwrap().removed, 1);
}

/// [E14] A session that was renewed meanwhile stays.
#[tokio::test]
async fn a_renewed_session_stays() {
    for stage in Stage::everywhere(Policy::default()).await {
        fill(&stage.store, 2, 0).await;
        stage.clock.advance(seconds(20 * 60));
        stage.sessions.touch(token(0).1).await.unwrap().unwrap();
        stage.clock.advance(seconds(15 * 60));
        assert_eq!(stage.sessions.purge(|_| {}).await.unwrap().removed, 1);
        assert_eq!(stage.store.rows().await[0].id(), token(0).1);
    }
}
