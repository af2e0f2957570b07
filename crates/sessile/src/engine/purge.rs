//! Purge: removing what has expired, in small batches, for ever or once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Ended, EngineError, Event, INTERVALS, Sessions};
use crate::record::{Random, Timestamp};
use crate::store::finding::CLOCK_TOLERANCE;
use crate::store::setting::refuse;
use crate::store::{PurgeLimits, Purged, SettingError};

/// What a purge removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PurgeReport {
    /// Rows removed.
    pub removed: u64,
    /// Batches it took.
    pub batches: u64,
}

/// When the background purge runs.
#[derive(Debug, Clone, Copy)]
pub struct PurgeSchedule {
    /// Between two runs; at least 10 milliseconds. Each wait is drawn between half of it and one and a half, so that
    /// many nodes do not run together. Default: 60 seconds.
    pub interval: Duration,
    /// Whether to draw. Default: yes.
    pub jitter: bool,
    /// The bounds of one batch. Default: 1,000 rows, 10 ms.
    pub limits: PurgeLimits,
    /// Between two batches, so that others get their turn; zero: none. Default: 20 ms.
    pub pause: Duration,
}

impl Default for PurgeSchedule {
    fn default() -> PurgeSchedule {
        PurgeSchedule {
            interval: Duration::from_secs(60),
            jitter: true,
            limits: PurgeLimits::default(),
            pause: Duration::from_millis(20),
        }
    }
}

impl Sessions {
    /// Removes everything that has expired, in batches of 1,000 rows or 10 ms with 10 ms between them, so that
    /// requests beside it get their turn. `progress` hears after each batch. Each session that is removed is an
    /// [`Event::Expired`], unless a request reported it before.
    ///
    /// # Errors
    /// When the store fails, or its clock and ours are more than a minute apart. What was removed
    /// before stays removed.
    pub async fn purge(&self, progress: impl FnMut(PurgeReport)) -> Result<PurgeReport, EngineError> {
        let limits = PurgeLimits::default();
        self.purge_within(limits, limits.max_time, progress).await
    }

    async fn purge_within(
        &self,
        limits: PurgeLimits,
        pause: Duration,
        mut progress: impl FnMut(PurgeReport),
    ) -> Result<PurgeReport, EngineError> {
        let now = self.now();
        self.compare_clocks(now).await?;
        let mut report = PurgeReport::default();
        loop {
            let batch = self.in_time(self.store().purge(now, limits)).await??;
            if let Some(cache) = &self.inner.cache {
                batch.ids().for_each(|id| cache.forget(id));
            }
            let rows = batch.removed.len() as u64 + batch.removed_foreign;
            for Purged { id, user_id } in batch.removed {
                self.inner.watchers.end(id, Ended::Expired);
                if self.inner.reported.is_first_purge(id) {
                    // Python changes the user in the data alone, and the column may name another one.
                    let user = user_id.filter(|_| !self.policy().is_lback());
                    self.tell(Event::Expired { id, user });
                }
            }
            report.removed += rows;
            report.batches += 1;
            if rows > 0 {
                self.tell(Event::Purged { rows });
            }
            progress(report);
            if !batch.more {
                return Ok(report);
            }
            if pause.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn compare_clocks(&self, now: Timestamp) -> Result<(), EngineError> {
        let Some(theirs) = self.in_time(self.store().clock()).await?? else { return Ok(()) };
        let apart = theirs.saturating_since(now).max(now.saturating_since(theirs));
        if apart > CLOCK_TOLERANCE {
            return Err(EngineError::ClocksDiffer { ours: now, theirs });
        }
        Ok(())
    }

    /// Purges in the background for as long as the runtime lives, or until the returned task is
    /// [stopped](PurgeTask::stop): dropping it changes nothing. The first run comes after one wait. A failed run is
    /// logged and the next one comes all the same.
    ///
    /// ```no_run
    /// # async fn run(sessions: sessile::Sessions) {
    /// use sessile::engine::PurgeSchedule;
    ///
    /// sessions.spawn_purge(PurgeSchedule::default());
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime; and when the schedule is refused by [`PurgeSchedule::validate`], with the message
    /// of its error.
    pub fn spawn_purge(&self, schedule: PurgeSchedule) -> PurgeTask {
        if let Err(error) = schedule.validate() {
            refuse(&error);
        }
        let (stop, mut stopped) = watch::channel(false);
        let sessions = self.clone();
        let task = tokio::spawn(async move {
            loop {
                let wait = schedule.wait(&sessions.inner.random);
                tokio::select! {
                    () = is_stopped(&mut stopped) => return,
                    () = tokio::time::sleep(wait) => {}
                }
                tokio::select! {
                    // Between two batches: a batch that has begun in the store is finished there.
                    () = is_stopped(&mut stopped) => return,
                    run = sessions.purge_within(schedule.limits, schedule.pause, |_| {}) => match run {
                        Ok(report) if report.removed > 0 => {
                            tracing::info!(removed = report.removed, batches = report.batches, "purged expired sessions");
                        }
                        Ok(_) => {}
                        Err(error) => tracing::error!(%error, "purge failed, the next run tries again"),
                    },
                }
            }
        });
        PurgeTask { stop, task: Some(task) }
    }
}

/// Ready when the task is to stop; never when its handle is gone.
async fn is_stopped(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending().await
    }
}

impl PurgeSchedule {
    /// Checks the interval and the limits.
    ///
    /// # Errors
    /// When the interval is shorter than 10 milliseconds, so that the purge would run without a pause, or a batch has
    /// no rows.
    pub fn validate(&self) -> Result<(), SettingError> {
        SettingError::check_time("PurgeSchedule::interval", self.interval, &INTERVALS)?;
        self.limits.validate()
    }

    fn wait(&self, random: &Arc<dyn Random>) -> Duration {
        let mut bytes = [0; 2];
        if !self.jitter || random.fill(&mut bytes).is_err() {
            return self.interval;
        }
        let share = f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX);
        Duration::try_from_secs_f64(self.interval.as_secs_f64() * (0.5 + share)).unwrap_or(Duration::MAX)
    }
}

/// The background purge. Dropping the handle lets it go on.
#[derive(Debug)]
pub struct PurgeTask {
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl PurgeTask {
    /// Stops it and waits until it has stopped.
    pub async fn stop(mut self) {
        // An error means that it has stopped already.
        let _ = self.stop.send(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}
