//! Writes whose rows other transactions have locked.
//!
//! Each waits in the queue of its row. One task retries the blocked rows together, in batches that skip what is still
//! locked, at growing intervals: any number of locked rows occupies one connection, and no other write waits for
//! them. A row that stays locked is remembered for a while. Its later writes are queued here at once, so that they
//! do not make a batch of other rows wait for the lock again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::answer::{Answer, Applied};
use super::{StoreError, Write};
use crate::record::SessionId;

/// The pause before a locked row is tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How long a row that was locked is remembered.
const MEMORY: Duration = Duration::from_secs(5);

/// Rows that are remembered, at most.
const REMEMBERED: usize = 4_096;

/// Writes in one attempt, at most.
const BATCH: usize = 128;

/// Writes of one row in one attempt, at most. A row that was locked the last time gets one.
const BATCH_OF_A_ROW: usize = 16;

/// Writes that wait for one row, at most; twice as many with deletions.
const ROOM_OF_A_ROW: usize = 64;

/// Writes that wait before rows get no second one, and the first ones of other rows beside them.
const ROOM: usize = 4_096;

/// How often a write is tried again that the database undid because of another transaction.
const ATTEMPTS: u32 = 8;

/// The result of one attempt at a write.
pub(super) enum Attempt {
    Made(Applied),
    /// Its row is still locked.
    Locked,
    /// The database undid it because of another transaction, or the connection broke before it was sent.
    Undone(StoreError),
}

/// A store whose writes may find locked rows.
pub(super) trait Retries: Send + Sync + 'static {
    /// The writes of this store that wait.
    fn blocked(&self) -> &BlockedWrites;

    /// Makes writes in their order, and waits for no lock. Called by one task at a time.
    fn attempt(&self, writes: &[Write]) -> impl Future<Output = Vec<Attempt>> + Send;

    /// The error for a write whose row stayed locked.
    fn still_locked(&self) -> StoreError;

    /// The error for a write that is refused because so many wait for its row already.
    fn too_many(&self, waiting: usize) -> StoreError;
}

/// The queues of all blocked rows of a store.
pub(super) struct BlockedWrites {
    state: Mutex<State>,
    /// Whether no row is blocked or remembered, so that the fast path takes no lock.
    is_quiet: AtomicBool,
    changed: Notify,
    /// How long a write waits, at most.
    wait: Duration,
    /// Where the connections live.
    runtime: Handle,
}

#[derive(Default)]
struct State {
    number: u64,
    /// By number: in the order in which they came.
    writes: BTreeMap<u64, Blocked>,
    /// Those that a write waits for.
    rows: HashMap<SessionId, Row>,
    remembered: HashMap<SessionId, Instant>,
    /// When nothing is remembered any more.
    forgets: Option<Instant>,
    is_running: bool,
}

struct Blocked {
    write: Write,
    answer: oneshot::Sender<Applied>,
    deadline: Instant,
    attempts: u32,
}

struct Row {
    waiting: usize,
    /// When it is tried again.
    next: Instant,
    pause: Duration,
    /// How often in a row it was found locked.
    locked: u32,
}

/// What the task does next.
enum Step {
    End,
    Sleep(Instant),
    Try(Vec<u64>, Vec<Write>),
}

impl BlockedWrites {
    /// For a store whose connections live in the current runtime.
    pub(super) fn new(wait: Duration) -> BlockedWrites {
        BlockedWrites {
            state: Mutex::default(),
            is_quiet: AtomicBool::new(true),
            changed: Notify::new(),
            wait,
            runtime: Handle::current(),
        }
    }

    /// Whether the write has to wait behind others, or is about a row that was locked a moment ago.
    pub(super) fn concern(&self, write: &Write) -> bool {
        if self.is_quiet.load(Ordering::Acquire) {
            return false;
        }
        let mut state = self.state.lock();
        let now = Instant::now();
        let concerned = write.ids().any(|id| state.rows.contains_key(&id) || state.remembers(id, now));
        self.is_quiet.store(state.is_quiet(now), Ordering::Release);
        concerned
    }

    /// Whether any row was found locked a moment ago.
    #[cfg(feature = "mysql")]
    pub(super) fn has_seen_locks(&self) -> bool {
        !self.is_quiet.load(Ordering::Acquire)
    }

    fn next_step(&self, still_locked: impl Fn() -> StoreError) -> Step {
        let mut state = self.state.lock();
        let now = Instant::now();
        let late: Vec<Blocked> = state.take_late(now);
        let step = state.next_step(now);
        state.is_running = !matches!(step, Step::End);
        self.is_quiet.store(state.is_quiet(now), Ordering::Release);
        drop(state);
        for blocked in late {
            // The caller may have gone.
            let _ = blocked.answer.send(Err(still_locked()));
        }
        step
    }

    fn settle(&self, numbers: Vec<u64>, attempts: Vec<Attempt>) {
        let mut state = self.state.lock();
        let done = state.settle(numbers, attempts, Instant::now());
        drop(state);
        for (blocked, applied) in done {
            let _ = blocked.answer.send(applied);
        }
    }

    /// Drops all writes, so that their callers learn that nobody makes them.
    fn abandon(&self) {
        let mut state = self.state.lock();
        let left = std::mem::take(&mut *state);
        self.is_quiet.store(true, Ordering::Release);
        drop(state);
        drop(left);
    }
}

/// Queues these writes, in their order, until their rows are free.
pub(super) fn queue<R: Retries>(store: &Arc<R>, writes: impl IntoIterator<Item = Write>) -> Vec<Answer> {
    let blocked = store.blocked();
    let mut state = blocked.state.lock();
    let deadline = Instant::now() + blocked.wait;
    let answers = writes.into_iter().map(|write| match state.add(write, deadline) {
        Ok(answer) => Answer::Later(answer),
        Err(waiting) => Answer::Now(Err(store.too_many(waiting))),
    });
    let answers: Vec<Answer> = answers.collect();
    blocked.is_quiet.store(false, Ordering::Release);
    let starts = !state.is_running && !state.writes.is_empty();
    state.is_running |= starts;
    drop(state);
    if starts {
        blocked.runtime.spawn(Task { store: Arc::clone(store), has_ended: false }.run());
    } else {
        blocked.changed.notify_one();
    }
    answers
}

/// The error for a write that is refused because so many wait for its row already.
pub(super) fn too_many(store: &'static str, waiting: usize) -> StoreError {
    let reason = format!("{waiting} writes already wait for a row that another transaction has locked");
    StoreError::Unavailable { store, reason, source: None }
}

/// Retries the blocked writes of a store until none is left.
struct Task<R: Retries> {
    store: Arc<R>,
    has_ended: bool,
}

impl<R: Retries> Task<R> {
    async fn run(mut self) {
        let blocked = self.store.blocked();
        loop {
            match blocked.next_step(|| self.store.still_locked()) {
                Step::End => break,
                Step::Sleep(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = blocked.changed.notified() => {}
                    }
                }
                Step::Try(numbers, writes) => {
                    let attempts = self.store.attempt(&writes).await;
                    blocked.settle(numbers, attempts);
                }
            }
        }
        self.has_ended = true;
    }
}

/// The runtime ends, or an attempt panicked.
impl<R: Retries> Drop for Task<R> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.store.blocked().abandon();
        }
    }
}

impl State {
    fn is_quiet(&self, now: Instant) -> bool {
        self.writes.is_empty() && self.forgets.is_none_or(|forgets| forgets <= now)
    }

    fn remembers(&mut self, id: SessionId, now: Instant) -> bool {
        match self.remembered.get(&id) {
            Some(until) if *until > now => true,
            Some(_) => {
                self.remembered.remove(&id);
                false
            }
            None => false,
        }
    }

    fn remember(&mut self, id: SessionId, now: Instant) {
        if self.remembered.len() >= REMEMBERED {
            self.remembered.retain(|_, until| *until > now);
        }
        if self.remembered.len() < REMEMBERED || self.remembered.contains_key(&id) {
            self.remembered.insert(id, now + MEMORY);
            self.forgets = Some(now + MEMORY);
        }
    }

    /// `Err`: how many wait for its rows already.
    fn add(&mut self, write: Write, deadline: Instant) -> Result<oneshot::Receiver<Applied>, usize> {
        let waiting =
            write.ids().filter_map(|id| self.rows.get(&id)).map(|row| row.waiting).max().unwrap_or(0);
        // An update that is refused is tried again by its caller; a logout is worth more room.
        let times = if matches!(write, Write::Delete(_)) { 2 } else { 1 };
        let room = if waiting == 0 { 2 * ROOM } else { ROOM };
        if waiting >= times * ROOM_OF_A_ROW || self.writes.len() >= times * room {
            return Err(waiting);
        }
        let now = Instant::now();
        for id in write.ids() {
            let new = Row { waiting: 0, next: now, pause: FIRST_PAUSE, locked: 0 };
            self.rows.entry(id).or_insert(new).waiting += 1;
        }
        let (answer, receiver) = oneshot::channel();
        self.writes.insert(self.number, Blocked { write, answer, deadline, attempts: 0 });
        self.number += 1;
        Ok(receiver)
    }

    fn remove(&mut self, number: u64) -> Option<Blocked> {
        let blocked = self.writes.remove(&number)?;
        for id in blocked.write.ids() {
            if let Some(row) = self.rows.get_mut(&id) {
                row.waiting -= 1;
                if row.waiting == 0 {
                    self.rows.remove(&id);
                }
            }
        }
        Some(blocked)
    }

    /// Removes those whose time is over: all wait equally long, so they are the first.
    fn take_late(&mut self, now: Instant) -> Vec<Blocked> {
        let late = self.writes.iter().take_while(|(_, blocked)| blocked.deadline <= now);
        let late: Vec<u64> = late.map(|(&number, _)| number).collect();
        late.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    fn next_step(&self, now: Instant) -> Step {
        let Some(first) = self.writes.values().next() else { return Step::End };
        let (mut numbers, mut writes) = (Vec::new(), Vec::new());
        // Rows of writes that are passed over: later writes of theirs are, too.
        let mut passed: HashSet<SessionId> = HashSet::new();
        let mut taken: HashMap<SessionId, usize> = HashMap::new();
        for (&number, blocked) in &self.writes {
            if writes.len() == BATCH {
                break;
            }
            let is_due = |id: SessionId| {
                let taken = taken.get(&id).copied().unwrap_or(0);
                !passed.contains(&id) && self.rows.get(&id).is_some_and(|row| row.takes(taken, now))
            };
            if blocked.write.ids().all(is_due) {
                blocked.write.ids().for_each(|id| *taken.entry(id).or_default() += 1);
                numbers.push(number);
                writes.push(blocked.write.clone());
            } else {
                passed.extend(blocked.write.ids());
            }
        }
        if writes.is_empty() {
            let next = self.rows.values().map(|row| row.next).filter(|next| *next > now).min();
            return Step::Sleep(next.map_or(first.deadline, |next| next.min(first.deadline)));
        }
        Step::Try(numbers, writes)
    }

    fn settle(&mut self, numbers: Vec<u64>, attempts: Vec<Attempt>, now: Instant) -> Vec<(Blocked, Applied)> {
        let mut done = Vec::new();
        let mut locked: HashSet<SessionId> = HashSet::new();
        // One without a result is tried again.
        let attempts = attempts.into_iter().chain(std::iter::repeat_with(|| Attempt::Locked));
        for (number, attempt) in numbers.into_iter().zip(attempts) {
            let Some(blocked) = self.writes.get_mut(&number) else { continue };
            let applied = match attempt {
                Attempt::Made(applied) => applied,
                Attempt::Undone(error) if blocked.attempts + 1 == ATTEMPTS => Err(error),
                attempt => {
                    blocked.attempts += u32::from(matches!(attempt, Attempt::Undone(_)));
                    locked.extend(blocked.write.ids());
                    continue;
                }
            };
            for id in blocked.write.ids() {
                if let Some(row) = self.rows.get_mut(&id) {
                    (row.locked, row.pause) = (0, FIRST_PAUSE);
                }
            }
            done.extend(self.remove(number).map(|blocked| (blocked, applied)));
        }
        for id in locked {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            row.next = now + row.pause;
            row.pause = LONGEST_PAUSE.min(row.pause * 2);
            row.locked += 1;
            // Longer than somebody's commit.
            if row.locked > 1 {
                self.remember(id, now);
            }
        }
        done
    }
}

impl Row {
    /// Whether an attempt with so many of its writes takes one more.
    fn takes(&self, writes: usize, now: Instant) -> bool {
        self.next <= now && writes < if self.locked > 0 { 1 } else { BATCH_OF_A_ROW }
    }
}

/// Places in a batch whose writes have to wait: those of locked rows, and those that come after them.
#[derive(Default)]
pub(super) struct Held {
    rows: HashSet<SessionId>,
    places: Vec<usize>,
}

impl Held {
    /// Whether the write comes after one that waits.
    pub(super) fn concern(&self, write: &Write) -> bool {
        !self.rows.is_empty() && write.ids().any(|id| self.rows.contains(&id))
    }

    pub(super) fn add(&mut self, at: usize, write: &Write) {
        self.rows.extend(write.ids());
        self.places.push(at);
    }

    /// The places in the order of the batch.
    pub(super) fn into_places(mut self) -> Vec<usize> {
        self.places.sort_unstable();
        self.places
    }

    /// The answers to all writes of the batch: those without a result are held, and queued now.
    pub(super) fn answers<R: Retries, M>(
        self,
        store: &Arc<R>,
        writes: &[Write],
        made: Vec<Option<M>>,
        told: impl Fn(M) -> Applied,
    ) -> Vec<Answer> {
        let places = self.into_places();
        let mut queued = queue(store, places.iter().map(|&at| writes[at].clone())).into_iter();
        let mut places = places.into_iter().peekable();
        let answer = |(at, made): (usize, Option<M>)| match made {
            Some(made) => Some(Answer::Now(told(made))),
            None => places.next_if_eq(&at).and(queued.next()),
        };
        made.into_iter().enumerate().filter_map(answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::record::{SessionRecord, StoredData, Timestamp};
    use crate::store::{Outcome, Rotation};

    /// A store in memory that notes which writes it has made, and whose rows can be locked.
    struct Fake {
        blocked: BlockedWrites,
        locked: Mutex<HashSet<SessionId>>,
        made: Mutex<Vec<SessionId>>,
        attempts: Mutex<Vec<usize>>,
        undone: Mutex<u32>,
    }

    impl Retries for Fake {
        fn blocked(&self) -> &BlockedWrites {
            &self.blocked
        }

        async fn attempt(&self, writes: &[Write]) -> Vec<Attempt> {
            self.attempts.lock().push(writes.len());
            let (mut held, locked) = (Held::default(), self.locked.lock().clone());
            let attempt = |(at, write): (usize, &Write)| {
                if *self.undone.lock() > 0 {
                    *self.undone.lock() -= 1;
                    return Attempt::Undone(self.still_locked());
                }
                if held.concern(write) || locked.contains(&write.id()) {
                    held.add(at, write);
                    return Attempt::Locked;
                }
                self.made.lock().push(write.id());
                Attempt::Made(Ok(Outcome::Applied))
            };
            writes.iter().enumerate().map(attempt).collect()
        }

        fn still_locked(&self) -> StoreError {
            too_many("fake", 0)
        }

        fn too_many(&self, waiting: usize) -> StoreError {
            too_many("fake", waiting)
        }
    }

    impl Fake {
        fn new() -> Arc<Fake> {
            Arc::new(Fake {
                blocked: BlockedWrites::new(Duration::from_secs(4)),
                locked: Mutex::default(),
                made: Mutex::default(),
                attempts: Mutex::default(),
                undone: Mutex::default(),
            })
        }

        fn lock(&self, numbers: impl IntoIterator<Item = u16>) {
            *self.locked.lock() = numbers.into_iter().map(id).collect();
        }
    }

    fn id(number: u16) -> SessionId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        SessionId::from_bytes(bytes)
    }

    fn rotate(from: u16, to: u16) -> Write {
        let record = SessionRecord::new(id(to), Timestamp::MAX, Timestamp::MIN);
        Write::Rotate(Rotation {
            id: id(from),
            expected: StoredData::Null,
            record,
            now: Timestamp::MIN.into(),
        })
    }

    /// [R18] Each write comes after those of its rows that came before it, also over a rotation.
    #[tokio::test(start_paused = true)]
    async fn the_writes_of_a_row_keep_their_order() {
        let fake = Fake::new();
        fake.lock([1, 2]);
        let writes =
            [Write::Delete(id(1)), rotate(1, 2), Write::Delete(id(2)), rotate(3, 2), Write::Delete(id(4))];
        let answers = queue(&fake, writes);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*fake.made.lock(), [id(4)]);
        fake.lock([]);
        for answer in answers {
            assert_eq!(answer.get("fake").await.unwrap(), Outcome::Applied);
        }
        assert_eq!(*fake.made.lock(), [4, 1, 1, 2, 3].map(id));
    }

    /// [R18] Many locked rows are one attempt after each pause, and no longer than a write waits.
    #[tokio::test(start_paused = true)]
    async fn locked_rows_are_tried_together_and_given_up_in_time() {
        let fake = Fake::new();
        fake.lock(0..60);
        let begun = Instant::now();
        let answers = queue(&fake, (0..60).flat_map(|number| [0; 5].map(|_| Write::Delete(id(number)))));
        for answer in answers {
            assert!(answer.get("fake").await.is_err());
        }
        assert!(begun.elapsed() >= Duration::from_secs(4) && begun.elapsed() < Duration::from_secs(5));
        let attempts = fake.attempts.lock().clone();
        // The first ones take some more, until each row is known to be locked.
        let later = &attempts[attempts.len() - 50..];
        assert!(later.iter().all(|writes| *writes == 60) && attempts.len() < 150, "{attempts:?}");
        // Nothing is left, and the rows are remembered for a while.
        assert!(fake.blocked.concern(&Write::Delete(id(0))) && !fake.blocked.concern(&Write::Delete(id(60))));
        tokio::time::sleep(MEMORY).await;
        assert!(!fake.blocked.concern(&Write::Delete(id(0))));
        assert!(fake.blocked.is_quiet.load(Ordering::SeqCst));
    }

    /// [R15] What the database undoes is tried again, and not for ever.
    #[tokio::test(start_paused = true)]
    async fn what_is_undone_is_tried_again_with_a_bound() {
        for (undone, is_made) in [(ATTEMPTS - 1, true), (ATTEMPTS, false)] {
            let fake = Fake::new();
            *fake.undone.lock() = undone;
            let answer = queue(&fake, [Write::Delete(id(1))]).pop().unwrap();
            assert_eq!(answer.get("fake").await.is_ok(), is_made);
        }
    }

    /// [R02] Beside a row that stays locked there is room for others.
    #[tokio::test(start_paused = true)]
    async fn a_row_takes_so_many_writes() {
        let fake = Fake::new();
        fake.lock([1]);
        let refused = |answers: &[Answer]| {
            answers.iter().filter(|answer| matches!(answer, Answer::Now(Err(_)))).count()
        };
        let writes = queue(&fake, (0..100).map(|_| rotate(1, 2)));
        assert_eq!(refused(&writes), 100 - ROOM_OF_A_ROW);
        let logouts = queue(&fake, (0..100).map(|_| Write::Delete(id(1))));
        assert_eq!(refused(&logouts), 100 - ROOM_OF_A_ROW);
        assert_eq!(refused(&queue(&fake, [Write::Delete(id(3))])), 0);
        fake.lock([]);
        for answer in writes.into_iter().chain(logouts) {
            if matches!(answer, Answer::Later(_)) {
                assert!(answer.get("fake").await.is_ok());
            }
        }
        // More than one of a row in an attempt, once it is free.
        assert!(fake.attempts.lock().len() < 100);
    }

    /// [R03] A task that ends in the middle leaves nothing that waits for ever.
    #[test]
    fn a_runtime_that_ends_answers_those_who_wait() {
        let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (here, other) = (runtime(), runtime());
        let fake = here.block_on(async { Fake::new() });
        fake.lock([1]);
        let waiting = queue(&fake, [Write::Delete(id(1))]).pop().unwrap();
        drop(here);
        let late = queue(&fake, [Write::Delete(id(1))]).pop().unwrap();
        for answer in [waiting, late] {
            let answer = async { tokio::time::timeout(Duration::from_secs(60), answer.get("fake")).await };
            assert!(other.block_on(answer).expect("nobody answers").is_err());
        }
    }
}
