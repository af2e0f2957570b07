//! Who watches what, and which of it is in doubt.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Ended, INTERVAL};
use crate::record::{SessionId, Timestamp};
use crate::store::{FeedListener, News};

pub(in crate::engine) struct Watchers {
    /// Rings when there is something to do.
    pub(in crate::engine) bell: Notify,
    /// Sessions that are watched: asked at every event, mostly 0.
    sessions: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    /// How often to look where there is no feed.
    interval: Duration,
    watched: HashMap<SessionId, Watched>,
    /// When those that are known to live end, the first one first.
    ends: BTreeSet<(Timestamp, SessionId)>,
    doubts: HashSet<SessionId>,
    /// Until when silence of the feed means that nothing happened.
    up_until: Option<Instant>,
    running: Option<JoinHandle<()>>,
    number: u64,
}

#[derive(Default)]
struct Watched {
    tellers: HashMap<u64, oneshot::Sender<Ended>>,
    end: Option<Timestamp>,
}

impl Default for Watchers {
    fn default() -> Watchers {
        let state = State {
            interval: INTERVAL,
            watched: HashMap::new(),
            ends: BTreeSet::new(),
            doubts: HashSet::new(),
            up_until: None,
            running: None,
            number: 0,
        };
        Watchers { bell: Notify::new(), sessions: AtomicUsize::new(0), state: Mutex::new(state) }
    }
}

impl Watchers {
    pub(in crate::engine) fn look_every(&self, interval: Duration) {
        self.state.lock().interval = interval;
    }

    pub(super) fn interval(&self) -> Duration {
        self.state.lock().interval
    }

    /// Nothing is known of the session yet: it is in doubt.
    pub(super) fn enter(&self, id: SessionId) -> (u64, oneshot::Receiver<Ended>) {
        let (tell, told) = oneshot::channel();
        let mut state = self.state.lock();
        state.number += 1;
        let number = state.number;
        state.watched.entry(id).or_default().tellers.insert(number, tell);
        state.doubts.insert(id);
        self.count(&state);
        drop(state);
        self.bell.notify_one();
        (number, told)
    }

    pub(super) fn leave(&self, id: SessionId, number: u64) {
        let mut state = self.state.lock();
        let Some(watched) = state.watched.get_mut(&id) else { return };
        watched.tellers.remove(&number);
        if watched.tellers.is_empty() {
            drop(state.take_out(id));
            self.count(&state);
        }
    }

    /// The session has ended: everybody is told.
    pub(in crate::engine) fn end(&self, id: SessionId, ended: Ended) {
        if self.nobody() {
            return;
        }
        let mut state = self.state.lock();
        let Some(watched) = state.take_out(id) else { return };
        self.count(&state);
        drop(state);
        for (_, tell) in watched.tellers {
            // Who has gone needs no word.
            let _ = tell.send(ended);
        }
    }

    /// The session lives, until this moment if nobody does anything.
    pub(super) fn lives(&self, id: SessionId, end: Timestamp) {
        let state = &mut *self.state.lock();
        let Some(watched) = state.watched.get_mut(&id) else { return };
        if let Some(before) = watched.end.replace(end) {
            state.ends.remove(&(before, id));
        }
        state.ends.insert((end, id));
    }

    /// Whether the session was to end before now.
    pub(super) fn is_over(&self, id: SessionId, now: Timestamp) -> bool {
        self.state.lock().watched.get(&id).and_then(|watched| watched.end).is_some_and(|end| end <= now)
    }

    /// These may have ended.
    pub(in crate::engine) fn doubt(&self, ids: &[SessionId]) {
        if self.nobody() {
            return;
        }
        let state = &mut *self.state.lock();
        let watched = ids.iter().filter(|id| state.watched.contains_key(id));
        let before = state.doubts.len();
        state.doubts.extend(watched);
        if state.doubts.len() > before {
            self.bell.notify_one();
        }
    }

    /// These are still in doubt, for the store has not answered: not a reason to ask again at once.
    pub(super) fn put_back(&self, ids: &[SessionId]) {
        let state = &mut *self.state.lock();
        let watched = ids.iter().filter(|id| state.watched.contains_key(id));
        state.doubts.extend(watched);
    }

    /// Any may have ended.
    pub(in crate::engine) fn doubt_all(&self) {
        if self.nobody() {
            return;
        }
        let state = &mut *self.state.lock();
        state.doubts.extend(state.watched.keys());
        self.bell.notify_one();
    }

    /// Those whose time is over may have been renewed.
    pub(super) fn doubt_those_over(&self, now: Timestamp) {
        let state = &mut *self.state.lock();
        let over = state.ends.iter().take_while(|(end, _)| *end <= now).map(|(_, id)| *id);
        state.doubts.extend(over);
    }

    /// Some that are in doubt. What is said of them from here on is a new doubt.
    pub(super) fn take_doubts(&self, most: usize) -> Vec<SessionId> {
        let state = &mut *self.state.lock();
        let ids: Vec<SessionId> = state.doubts.iter().take(most).copied().collect();
        for id in &ids {
            state.doubts.remove(id);
        }
        ids
    }

    pub(super) fn first_end(&self) -> Option<Timestamp> {
        self.state.lock().ends.first().map(|(end, _)| *end)
    }

    pub(super) fn nobody(&self) -> bool {
        self.sessions.load(Ordering::SeqCst) == 0
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.lock().is_up()
    }

    /// Starts the task that settles doubts, unless it runs: its runtime may have ended.
    pub(super) fn keep_running(&self, start: impl FnOnce() -> JoinHandle<()>) {
        let mut state = self.state.lock();
        if state.running.as_ref().is_none_or(JoinHandle::is_finished) {
            state.running = Some(start());
        }
    }

    /// Whether the task may end: nobody watches.
    pub(super) fn rest(&self) -> bool {
        let mut state = self.state.lock();
        let rests = state.watched.is_empty();
        if rests {
            state.running = None;
        }
        rests
    }

    fn count(&self, state: &State) {
        self.sessions.store(state.watched.len(), Ordering::SeqCst);
    }
}

impl State {
    fn take_out(&mut self, id: SessionId) -> Option<Watched> {
        let watched = self.watched.remove(&id)?;
        self.doubts.remove(&id);
        if let Some(end) = watched.end {
            self.ends.remove(&(end, id));
        }
        Some(watched)
    }

    fn is_up(&self) -> bool {
        self.up_until.is_some_and(|until| Instant::now() < until)
    }
}

impl FeedListener for Watchers {
    fn hear(&self, news: News) {
        match news {
            News::Changed(id) | News::Became(id, _) => self.doubt(&[id]),
            News::Everything => self.doubt_all(),
            News::Up(until) => {
                let was_up = {
                    let mut state = self.state.lock();
                    let was_up = state.is_up();
                    state.up_until = Some(until);
                    was_up
                };
                if !was_up {
                    // Changes made while the feed was down are never reported.
                    self.doubt_all();
                }
            }
            News::Down => {
                self.state.lock().up_until = None;
                self.bell.notify_one();
            }
        }
    }
}
