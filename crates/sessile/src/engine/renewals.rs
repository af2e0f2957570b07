//! Renewals in the background: a request that only looks does not wait for its expiry to be moved forward.
//!
//! What has to be renewed is noted, one expiry for each session. One task at a time writes the notes, as
//! many as there are with one call of the store, and ends when there are none: no timer, and a lone one
//! leaves at once. Each is a [`Touch`], so it never moves an expiry back and never brings a session back that
//! has ended meanwhile; the expiry was bounded by the absolute lifetime when it was noted.
//!
//! Nothing depends on it: what the store cannot take, what there is no room for and what a runtime that
//! ends leaves behind is dropped, and the session's next request notes it again.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::background::Background;
use super::plan::{self, Base};
use super::{Event, Meta, Sessions};
use crate::record::{SessionId, Timestamp};
use crate::store::{Outcome, Touch, Write};

/// Renewals with one call of the store.
const BATCH: usize = 128;
/// Sessions that wait to be renewed, at most.
const ROOM: usize = 10_000;

#[derive(Default)]
pub(super) struct Renewals {
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    wanted: HashMap<SessionId, Timestamp>,
    /// Those that are being written.
    going: HashMap<SessionId, Timestamp>,
    has_task: bool,
}

/// What is to be done about a session's expiry at the end of a request that changed nothing.
pub(crate) enum Renewal {
    /// Nothing, or nothing more.
    Nothing,
    /// It is to be moved forward before the response leaves.
    AtOnce,
}

impl Sessions {
    /// Has the expiry moved forward in the background, if that is due; or says that the response has to
    /// wait for it: where it tells the browser until when the session lives (`tells_expiry`), where the data
    /// decides about the lifetime and must still be there, and where Python reads the row next.
    ///
    /// To be called within a runtime. Cost: nothing; in the background 1 statement for all sessions that are
    /// due at the time.
    pub(crate) fn renew_later(&self, base: &Base, tells_expiry: bool) -> Renewal {
        let meta = Meta::of(&base.data);
        let Some(expires_at) = self.policy().renewal(&base.record, &meta, self.now()) else {
            return Renewal::Nothing;
        };
        if tells_expiry || self.policy().is_lback() || !plan::is_mere_renewal(base, &meta) {
            return Renewal::AtOnce;
        }
        if self.inner.renewals.note(base.record.id(), expires_at, self.policy().renews_after()) {
            self.start_renewing();
        }
        Renewal::Nothing
    }

    /// Waits until no background work is under way: until the sessions that were to be renewed are, and no attempt
    /// at an ending is running; or until the store has failed at it. An ending that waits for its next attempt is
    /// not waited for, nor is the purge. For tests; a service that ends calls [`drain`](Self::drain).
    pub async fn settled(&self) {
        self.rest(Background::is_idle).await;
    }

    /// Waits until nothing is left to do in the background: renewals are made or dropped, and endings
    /// (logouts, revocations) that failed or were left behind by their request are carried out or given up. Such an
    /// ending is tried at once and then after 1, 2, 4, 8, 15 and three times 30 seconds; one that is given up is
    /// told as [`Event::EndingFailed`]. The purge is not waited for.
    ///
    /// For the end of a service, after its last request. A renewal that is dropped because the runtime ends costs
    /// its session at most a tenth of the idle timeout, and that only if no other request comes.
    ///
    /// ```no_run
    /// # async fn shut_down(sessions: sessile::Sessions) {
    /// let deadline = std::time::Duration::from_secs(30);
    /// if tokio::time::timeout(deadline, sessions.drain()).await.is_err() {
    ///     tracing::warn!("some sessions could not be ended before the shutdown");
    /// }
    /// # }
    /// ```
    pub async fn drain(&self) {
        self.rest(Background::is_empty).await;
    }

    async fn rest(&self, is_done: impl Fn(&Background) -> bool) {
        let background = &self.inner.background;
        loop {
            // Before the look, so that no end is missed.
            let mut rests = std::pin::pin!(background.rests.notified());
            rests.as_mut().enable();
            if let Some(due) = self.due_renewals() {
                due.make().await;
            } else if self.inner.renewals.notes.lock().is_quiet() && is_done(background) {
                return;
            } else {
                rests.await;
            }
        }
    }

    fn start_renewing(&self) {
        let mut task = Task { sessions: self.clone(), has_ended: false };
        tokio::spawn(async move {
            while let Some(due) = task.next() {
                due.make().await;
            }
        });
    }

    /// What is to be renewed next, as much as goes at once.
    fn due_renewals(&self) -> Option<Due> {
        let renewals = self.inner.renewals.notes.lock().take();
        (!renewals.is_empty()).then(|| Due { sessions: self.clone(), renewals })
    }
}

impl Sessions {
    async fn renew_all(&self, due: &[(SessionId, Timestamp)]) {
        let now = self.now();
        let touch = |&(id, expires_at): &(SessionId, Timestamp)| {
            Write::Touch(Touch { id, expires_at, now: now.into() }).judged_by(&self.inner.clock)
        };
        let writes = due.iter().map(touch).collect();
        let ids = due.iter().map(|(id, _)| *id);
        let _forgetting = self.inner.cache.as_ref().map(|cache| cache.forgetting(ids.clone()));
        let outcomes = match self.in_time(self.store().apply_many(writes)).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::warn!(sessions = due.len(), %error, "expiries could not be moved forward");
                return;
            }
        };
        for (id, outcome) in ids.zip(outcomes) {
            match outcome {
                Ok(Outcome::Applied) => self.tell(Event::Renewed { id }),
                Ok(Outcome::Unmatched) => {}
                Err(error) => {
                    tracing::warn!(session = %id, %error, "the session's expiry could not be moved forward");
                }
            }
        }
    }
}

impl Renewals {
    /// Notes a renewal; whether a task has to be started for it, which is then taken for started.
    fn note(&self, id: SessionId, expires_at: Timestamp, gain: Option<std::time::Duration>) -> bool {
        let mut notes = self.notes.lock();
        let is_going = |&going: &Timestamp| expires_at < going.saturating_add(gain.unwrap_or_default());
        // A request that began before another one's renewal was made asks for it once more.
        if notes.going.get(&id).is_some_and(is_going) {
            return false;
        }
        let has_room = notes.wanted.len() < ROOM;
        match notes.wanted.get_mut(&id) {
            Some(wanted) => *wanted = expires_at.max(*wanted),
            None if has_room => {
                notes.wanted.insert(id, expires_at);
            }
            None => return false,
        }
        !std::mem::replace(&mut notes.has_task, true)
    }
}

impl Notes {
    fn take(&mut self) -> Vec<(SessionId, Timestamp)> {
        let ids: Vec<SessionId> = self.wanted.keys().take(BATCH).copied().collect();
        let renewals: Vec<_> = ids.into_iter().filter_map(|id| self.wanted.remove_entry(&id)).collect();
        self.going.extend(renewals.iter().copied());
        renewals
    }

    fn is_quiet(&self) -> bool {
        self.wanted.is_empty() && self.going.is_empty()
    }
}

/// Renewals that are being made, by the task or by who waits for its end.
struct Due {
    sessions: Sessions,
    renewals: Vec<(SessionId, Timestamp)>,
}

impl Due {
    async fn make(self) {
        self.sessions.renew_all(&self.renewals).await;
    }
}

/// They are made, or whoever was at it has gone.
impl Drop for Due {
    fn drop(&mut self) {
        let inner = &self.sessions.inner;
        {
            let going = &mut inner.renewals.notes.lock().going;
            for (id, expires_at) in &self.renewals {
                if going.get(id) == Some(expires_at) {
                    going.remove(id);
                }
            }
        }
        inner.background.rests.notify_waiters();
    }
}

/// The task that makes what is noted.
struct Task {
    sessions: Sessions,
    has_ended: bool,
}

impl Task {
    /// `None`: there is nothing, and the task has ended.
    fn next(&mut self) -> Option<Due> {
        let mut notes = self.sessions.inner.renewals.notes.lock();
        let renewals = notes.take();
        self.has_ended = renewals.is_empty();
        notes.has_task = !self.has_ended;
        drop(notes);
        (!self.has_ended).then(|| Due { sessions: self.sessions.clone(), renewals })
    }
}

/// Its runtime ends.
impl Drop for Task {
    fn drop(&mut self) {
        if !self.has_ended {
            self.sessions.inner.renewals.notes.lock().has_task = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// [R02] More sessions than there is room for are left to their next requests; one that is noted only moves
    /// on, and not while it is being made.
    #[test]
    fn notes_are_bounded_and_one_for_each_session() {
        let renewals = Renewals::default();
        let note = |number: usize, seconds: i64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let at = Timestamp::from_micros(seconds * 1_000_000).unwrap();
            renewals.note(SessionId::from_bytes(id), at, Some(Duration::from_secs(60)))
        };
        assert!(note(0, 100), "the first one starts the task");
        for number in 0..ROOM + 100 {
            assert!(!note(number, 90));
        }
        assert_eq!(renewals.notes.lock().wanted.len(), ROOM);
        let batch = renewals.notes.lock().take();
        assert_eq!((batch.len(), renewals.notes.lock().wanted.len()), (BATCH, ROOM - BATCH));
        let mut rest = batch;
        while rest.len() < ROOM {
            rest.extend(renewals.notes.lock().take());
        }
        assert_eq!(rest.iter().map(|(_, at)| at.as_micros()).max(), Some(100_000_000), "never back");
        assert!(!note(0, 150) && renewals.notes.lock().wanted.is_empty(), "it is being made");
        assert!(!note(0, 160) && renewals.notes.lock().wanted.len() == 1, "as much again is gained");
    }
}
