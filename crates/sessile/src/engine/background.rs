//! Work that goes on after its request: endings that failed or were left behind are retried here.
//!
//! Each ending has a task of its own, which tries at once and then after growing pauses, for two minutes. The
//! number of tasks is bounded. An ending that is given up is told as [`Event::EndingFailed`] and logged as an
//! error: the session may then live until it expires.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::ending::Ending;
use super::{Event, Sessions};

/// Pauses between the attempts, in seconds: two minutes in all.
const PAUSES: [u64; 8] = [1, 2, 4, 8, 15, 30, 30, 30];

/// Endings that wait at the same time, at most.
const ROOM: usize = 10_000;

/// The background work of a service.
#[derive(Default)]
pub(super) struct Background {
    /// Endings that are neither carried out nor given up.
    endings: AtomicUsize,
    /// Attempts that are under way.
    attempts: AtomicUsize,
    /// Notified whenever one of these is over.
    pub(super) rests: Notify,
}

impl Background {
    /// Whether no attempt is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.attempts.load(Ordering::SeqCst) == 0
    }

    /// Whether no ending is left.
    pub(super) fn is_empty(&self) -> bool {
        self.endings.load(Ordering::SeqCst) == 0
    }
}

impl Sessions {
    /// Has the ending carried out by a task, which begins at once.
    pub(super) fn end_in_background(&self, ending: Ending) {
        let waiting = self.inner.background.endings.fetch_add(1, Ordering::SeqCst);
        let mut task = Task { sessions: self.clone(), ending: Some(ending) };
        let Ok(runtime) = Handle::try_current() else { return task.give_up("there is no tokio runtime") };
        if waiting >= ROOM {
            return task.give_up("too many endings wait already");
        }
        let attempt = Attempt::begin(self);
        runtime.spawn(async move { task.run(attempt).await });
    }
}

/// One ending, until it is carried out or given up.
struct Task {
    sessions: Sessions,
    ending: Option<Ending>,
}

impl Task {
    async fn run(mut self, first: Attempt) {
        let mut attempt = Some(first);
        for pause in PAUSES.map(Some).into_iter().chain([None]) {
            let attempt = attempt.take().unwrap_or_else(|| Attempt::begin(&self.sessions));
            let Some(ending) = &self.ending else { return };
            let outcome = self.sessions.end_now(ending).await;
            if let Ok(ended) = outcome {
                self.tell_lost(ended);
                self.ending = None;
            }
            drop(attempt);
            match (outcome, pause) {
                (Ok(_), _) => return,
                (Err(error), None) => return self.give_up(&error.to_string()),
                (Err(error), Some(pause)) => {
                    tracing::warn!(session = ?ending_id(&self.ending), %error, "an ending failed, it is retried");
                    tokio::time::sleep(Duration::from_secs(pause)).await;
                }
            }
        }
    }

    /// A logout that finds no row follows one whose answer was lost: its event is told here.
    fn tell_lost(&self, ended: usize) {
        if let (0, Some(Ending::Logout { id, .. })) = (ended, &self.ending) {
            self.sessions.tell(Event::LoggedOut { id: *id });
        }
    }

    fn give_up(&mut self, reason: &str) {
        let Some(ending) = self.ending.take() else { return };
        let (id, user) = (ending.id(), ending.user().cloned());
        tracing::error!(session = ?id, ?user, reason, "an ending is given up, the session may live until it expires");
        self.sessions.tell(Event::EndingFailed { id, user });
    }
}

fn ending_id(ending: &Option<Ending>) -> Option<crate::record::SessionId> {
    ending.as_ref().and_then(Ending::id)
}

impl Drop for Task {
    fn drop(&mut self) {
        // Its runtime ends, or the store panicked.
        self.give_up("the program is shutting down, or the store panicked");
        let background = &self.sessions.inner.background;
        background.endings.fetch_sub(1, Ordering::SeqCst);
        background.rests.notify_waiters();
    }
}

/// An attempt that is under way.
struct Attempt(Sessions);

impl Attempt {
    fn begin(sessions: &Sessions) -> Attempt {
        sessions.inner.background.attempts.fetch_add(1, Ordering::SeqCst);
        Attempt(sessions.clone())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let background = &self.0.inner.background;
        background.attempts.fetch_sub(1, Ordering::SeqCst);
        background.rests.notify_waiters();
    }
}
