//! The writer: one thread, one connection, one transaction for all that waits.
//!
//! It takes the first job and whatever else is there already, commits once, and answers after the
//! commit. No timer: a write that is alone goes at once, in one statement. What one write does never
//! depends on its neighbours: if SQLite undoes the transaction, each is done again apart.
//!
//! A caller that has gone changes nothing: its job is done all the same.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::apply::{self, Applied};
use super::checkpoint::{Checkpoints, Told};
use super::fault::{self, Place, unavailable};
use super::files::Files;
use super::reader::Shared;
use super::reopen::Reopener;
use super::sql::{self, Sql};
use crate::store::{StoreError, Write};

/// Writes in one transaction, roughly: beyond this the first ones wait for nothing.
const GROUP: usize = 512;

/// How long a caller that is in no hurry waits for what it left in the log.
const AT_REST: Duration = Duration::from_secs(1);

/// What the thread is asked for.
enum Job {
    Writes(Batch),
    Task(Task),
    /// Only what happens before each job: a look whether the file is there.
    Look,
}

/// The writes of one caller.
struct Batch {
    writes: Vec<Write>,
    reply: oneshot::Sender<Vec<Applied>>,
    /// When waiting for somebody else's lock ends.
    deadline: Instant,
    _room: OwnedSemaphorePermit,
}

/// Takes the connection, or why there is none.
type Run = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Told + Send>;

/// Anything else, in transactions of its own.
struct Task {
    /// Answers its caller, and returns what tells it to go on.
    run: Run,
    deadline: Instant,
    /// Nobody waits for it: the writes that wait when its turn comes go first, and so does what it leaves in the
    /// log, before its caller goes on.
    yields: bool,
    has_yielded: bool,
    _room: OwnedSemaphorePermit,
}

/// The handle to the thread. Dropping it lets the thread finish what is queued, waits for that, and
/// closes the connection.
pub(super) struct Writer {
    jobs: Option<Sender<Job>>,
    room: Arc<Semaphore>,
    queue: u32,
    place: Arc<Place>,
    files: Option<Arc<Files>>,
    log_is_full: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    #[cfg(test)]
    pub(super) connections: Vec<Shared>,
}

impl Writer {
    pub(super) fn start(
        connection: Shared,
        log: Option<(Checkpoints, Reopener)>,
        sql: Arc<Sql>,
        place: Arc<Place>,
        queue: usize,
    ) -> io::Result<Writer> {
        let (jobs, queued) = mpsc::channel();
        let queue = u32::try_from(queue).unwrap_or(u32::MAX).min(u32::MAX >> 3);
        let log_is_full = Arc::default();
        let files = log.as_ref().map(|(_, reopener)| Arc::clone(&reopener.files));
        #[cfg(test)]
        let connections = log.as_ref().map(|(_, reopener)| reopener.connections.clone()).unwrap_or_default();
        let (checkpoints, reopener) = log.unzip();
        let worker = Worker {
            checkpoints,
            reopener,
            connection,
            sql,
            place: Arc::clone(&place),
            log_is_full: Arc::clone(&log_is_full),
        };
        let thread =
            thread::Builder::new().name("sessile-sqlite".to_owned()).spawn(move || worker.work(&queued))?;
        let room = Arc::new(Semaphore::new(queue as usize));
        Ok(Writer {
            jobs: Some(jobs),
            room,
            queue,
            place,
            files,
            log_is_full,
            thread: Some(thread),
            #[cfg(test)]
            connections,
        })
    }

    /// Makes these writes in their order; answers when they are committed.
    pub(super) async fn apply(&self, writes: Vec<Write>) -> Vec<Applied> {
        let count = writes.len();
        let answered = async {
            let room = self.room(count).await?;
            let (reply, answer) = oneshot::channel();
            let batch = Batch { writes, reply, deadline: self.deadline(), _room: room };
            self.send(Job::Writes(batch))?;
            answer.await.map_err(|_| Refused::gone())
        };
        match answered.await {
            Ok(answers) => answers,
            Err(Refused(reason)) => (0..count).map(|_| Err(unavailable(&*reason, None))).collect(),
        }
    }

    /// Runs this on the writer's connection.
    pub(super) async fn run<T, F>(&self, action: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.task(action, false, work).await
    }

    /// The same for what no request waits for: when its turn comes, it lets all writes that wait by then go
    /// first, once; and it ends when a long log has been moved into the file, or that takes long.
    pub(super) async fn run_behind<T, F>(&self, action: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        if self.log_is_full.load(Ordering::Relaxed) {
            return Err(self.place.log_is_full());
        }
        self.task(action, true, work).await
    }

    async fn task<T, F>(&self, action: &'static str, yields: bool, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let room = self.room(1).await?;
        let (reply, answer) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let (place, files) = (Arc::clone(&self.place), self.files.clone());
        let run = Box::new(move |connection: Result<&Connection, StoreError>| {
            let done = connection
                .and_then(|connection| work(connection).map_err(|error| place.error(action, error)))
                .and_then(|done| files.map_or(Ok(()), |files| files.look()).map(|()| done));
            // The caller may not wait any more.
            let _ = reply.send(done);
            Box::new(move |_| {
                let _ = tell.send(());
            }) as Told
        });
        self.send(Job::Task(Task {
            run,
            deadline: self.deadline(),
            yields,
            has_yielded: false,
            _room: room,
        }))?;
        let done = answer.await.map_err(|_| Refused::gone())?;
        // It is done, and the answer to it must not depend on a disk that takes long.
        let _ = tokio::time::timeout(AT_REST, told).await;
        done
    }

    /// Has the thread look whether the file is there again.
    pub(super) fn wake(&self) {
        // Where the thread is gone the next statement says so.
        let _ = self.send(Job::Look);
    }

    /// Places in the queue, given back when the job is done.
    async fn room(&self, jobs: usize) -> Result<OwnedSemaphorePermit, Refused> {
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX).min(self.queue);
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(jobs) {
            return Ok(room);
        }
        let waited = self.place.busy_timeout;
        match tokio::time::timeout(waited, Arc::clone(&self.room).acquire_many_owned(jobs)).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(Refused::gone()),
            Err(_) => {
                let (queue, waited) = (self.queue, waited.as_millis());
                Err(Refused(format!("{queue} writes are waiting already, no room after {waited} ms").into()))
            }
        }
    }

    fn send(&self, job: Job) -> Result<(), Refused> {
        self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(Refused::gone)
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        // A timeout beyond what the clock can count is as good as this.
        now.checked_add(self.place.busy_timeout).unwrap_or(now + Duration::from_secs(86_400))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        // The last handle may be dropped by a task that this very thread has woken.
        if let Some(thread) = self.thread.take().filter(|it| it.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// Why there is no answer from the thread.
struct Refused(Cow<'static, str>);

impl Refused {
    fn gone() -> Refused {
        Refused("its writer failed while it worked on this; the write may be made or not".into())
    }
}

impl From<Refused> for StoreError {
    fn from(Refused(reason): Refused) -> StoreError {
        unavailable(reason, None)
    }
}

/// What lives on the thread.
struct Worker {
    /// Where there is a log: not in memory.
    checkpoints: Option<Checkpoints>,
    reopener: Option<Reopener>,
    connection: Shared,
    sql: Arc<Sql>,
    place: Arc<Place>,
    /// Whether writes are refused because a reader holds a long log.
    log_is_full: Arc<AtomicBool>,
}

impl Worker {
    /// Until every handle is gone and the queue is empty.
    fn work(self, queued: &Receiver<Job>) {
        while let Ok(first) = queued.recv() {
            let mut next = VecDeque::from([first]);
            while let Some(job) = next.pop_front() {
                let ready = self.ready();
                let work = match job {
                    Job::Look => Ok(()),
                    Job::Writes(batch) if ready.is_err() => {
                        self.refuse(batch);
                        Ok(())
                    }
                    Job::Task(task) if task.yields && !task.has_yielded && ready.is_ok() => {
                        let (group, after) = gather(Vec::new(), queued);
                        next.push_back(Job::Task(Task { has_yielded: true, ..task }));
                        next.extend(after);
                        catch_unwind(AssertUnwindSafe(|| self.group(group)))
                    }
                    Job::Task(task) => catch_unwind(AssertUnwindSafe(|| self.task(task, ready))),
                    Job::Writes(batch) => {
                        let (group, after) = gather(vec![batch], queued);
                        next.extend(after);
                        catch_unwind(AssertUnwindSafe(|| self.group(group)))
                    }
                };
                if work.is_err() {
                    // The callers were told when their replies were dropped.
                    tracing::error!(store = fault::NAME, "the writer panicked, and goes on");
                    self.roll_back(&self.connection.lock());
                }
                if let Some(checkpoints) = &self.checkpoints {
                    let connection = self.connection.lock();
                    checkpoints.after_commit(&connection);
                    self.log_is_full.store(checkpoints.is_full(&connection), Ordering::Relaxed);
                }
            }
        }
        if let Some(reopener) = &self.reopener {
            reopener.abandon();
        }
    }

    /// Whether the file is the one that is open, which is opened again where it was replaced.
    fn ready(&self) -> Result<(), StoreError> {
        let Some(reopener) = &self.reopener else { return Ok(()) };
        if let (Some((log, bounds)), Some(checkpoints)) = (reopener.ready()?, &self.checkpoints) {
            checkpoints.reopened(log, bounds);
        }
        Ok(())
    }

    /// Answers that the file is not there.
    fn refuse(&self, batch: Batch) {
        if let Some(reopener) = &self.reopener {
            let errors = batch.writes.iter().map(|_| Err(reopener.files.error()));
            let _ = batch.reply.send(errors.collect());
        }
    }

    fn is_lost(&self) -> bool {
        self.reopener.as_ref().is_some_and(|reopener| reopener.files.look().is_err())
    }

    fn task(&self, task: Task, ready: Result<(), StoreError>) {
        let connection = self.connection.lock();
        wait_until(&connection, task.deadline);
        let told = {
            let _lock = self.keep_checkpoints_out();
            (task.run)(ready.map(|()| &*connection))
        };
        match &self.checkpoints {
            Some(checkpoints) if task.yields => {
                checkpoints.after_commit(&connection);
                checkpoints.tell_after(told);
            }
            _ => told(true),
        }
    }

    /// Makes the writes, waits for a lock no longer than each may, and answers.
    fn group(&self, mut group: Vec<Batch>) {
        let connection = self.connection.lock();
        if self.log_is_full.load(Ordering::Relaxed) {
            // The reader may have ended since the last commit.
            let is_full = self.checkpoints.as_ref().is_some_and(|it| it.is_full(&connection));
            self.log_is_full.store(is_full, Ordering::Relaxed);
        }
        while let Some(first) = group.iter().map(|batch| batch.deadline).min() {
            let attempted = {
                let _lock = self.keep_checkpoints_out();
                self.attempt(&connection, &group, first)
            };
            let Some(answers) = attempted else {
                let now = Instant::now();
                for batch in group.extract_if(.., |batch| batch.deadline <= now) {
                    let locked = batch.writes.iter().map(|_| Err(self.place.locked(None))).collect();
                    let _ = batch.reply.send(locked);
                }
                continue;
            };
            let is_lost = self.is_lost();
            for (batch, answers) in group.drain(..).zip(answers) {
                match is_lost {
                    // What was written went into a file that no other program sees.
                    true => self.refuse(batch),
                    false => drop(batch.reply.send(answers)),
                }
            }
        }
    }

    /// `None` when somebody else holds the lock until then: nothing was done.
    fn attempt(&self, connection: &Connection, group: &[Batch], until: Instant) -> Option<Vec<Vec<Applied>>> {
        if let [Batch { writes, .. }] = group
            && let [write] = &writes[..]
        {
            // Not a moment's wait in here: the statement has the time in it.
            wait_until(connection, Instant::now());
            match self.make(connection, write) {
                Err(error) if fault::is_locked(&error) => {}
                done => return Some(vec![vec![self.answer(done)]]),
            }
        }
        wait_until(connection, until);
        match self.together(connection, group) {
            Ok(answers) => Some(answers),
            Err(error) if fault::is_locked(&error) => None,
            Err(_) => Some(self.apart(connection, group)),
        }
    }

    /// All in one transaction. An error means that none of them is done. BEGIN is where a lock is waited
    /// for; what comes after it knows the time.
    fn together(&self, connection: &Connection, group: &[Batch]) -> rusqlite::Result<Vec<Vec<Applied>>> {
        sql::run(connection, sql::BEGIN)?;
        let mut answers = Vec::with_capacity(group.len());
        for batch in group {
            let mut of_batch = Vec::with_capacity(batch.writes.len());
            for write in &batch.writes {
                match self.make(connection, write) {
                    // A statement that fails undoes itself, but some faults undo the transaction.
                    Err(error) if connection.is_autocommit() => return Err(error),
                    done => of_batch.push(self.answer(done)),
                }
            }
            answers.push(of_batch);
        }
        if let Err(error) = sql::run(connection, sql::COMMIT) {
            self.roll_back(connection);
            return Err(error);
        }
        Ok(answers)
    }

    /// Each in a transaction of its own.
    fn apart(&self, connection: &Connection, group: &[Batch]) -> Vec<Vec<Applied>> {
        let of_batch = |batch: &Batch| {
            let one = |write| {
                wait_until(connection, batch.deadline);
                self.answer(self.alone(connection, write))
            };
            batch.writes.iter().map(one).collect()
        };
        group.iter().map(of_batch).collect()
    }

    fn alone(&self, connection: &Connection, write: &Write) -> rusqlite::Result<Applied> {
        sql::run(connection, sql::BEGIN)?;
        let done = self
            .make(connection, write)
            .and_then(|outcome| sql::run(connection, sql::COMMIT).map(|()| outcome));
        if done.is_err() {
            self.roll_back(connection);
        }
        done
    }

    fn keep_checkpoints_out(&self) -> Option<MutexGuard<'_, ()>> {
        self.checkpoints.as_ref().and_then(Checkpoints::keep_out)
    }

    /// Runs the write's statement. While the log is at its limit, only what ends sessions.
    fn make(&self, connection: &Connection, write: &Write) -> rusqlite::Result<Applied> {
        if self.log_is_full.load(Ordering::Relaxed) && !matches!(write, Write::Delete(_)) {
            return Ok(Err(self.place.log_is_full()));
        }
        apply::write(connection, &self.sql, write).map(Ok)
    }

    fn answer(&self, done: rusqlite::Result<Applied>) -> Applied {
        done.unwrap_or_else(|error| Err(self.place.error("apply a write", error)))
    }

    fn roll_back(&self, connection: &Connection) {
        if !connection.is_autocommit()
            && let Err(error) = sql::run(connection, sql::ROLLBACK)
        {
            tracing::error!(store = fault::NAME, %error, "a transaction cannot be rolled back");
        }
    }
}

/// The batches that wait already, behind these, and the job after them if it is another kind.
fn gather(mut group: Vec<Batch>, queued: &Receiver<Job>) -> (Vec<Batch>, Option<Job>) {
    let mut writes: usize = group.iter().map(|batch| batch.writes.len()).sum();
    while writes < GROUP {
        match queued.try_recv() {
            Ok(Job::Writes(batch)) => {
                writes += batch.writes.len();
                group.push(batch);
            }
            Ok(task) => return (group, Some(task)),
            Err(_) => break,
        }
    }
    (group, None)
}

/// Lets SQLite wait for a lock until then. Rounded up: it must not give up before.
fn wait_until(connection: &Connection, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = if left.is_zero() { left } else { left + Duration::from_millis(1) };
    // It fails only for a timeout that does not fit: i32 milliseconds.
    let _ = connection.busy_timeout(left.min(Duration::from_secs(86_400)));
}
