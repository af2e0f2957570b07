//! Group load and group commit: requests that arrive while a statement is on its way share the next one.
//!
//! No timer: who finds nobody here does its job at once and by itself, without a hop to another task. Who
//! comes meanwhile waits in one line, first come, first served. A few lanes, tasks with one batch under way
//! each, take what waits until there is nothing more; one of loads first lets every task that is ready come in.
//! Where small batches are dear, a further lane begins only when a crowd waits. A caller that is alone occupies
//! no lane, so that one who stops being polled keeps nobody waiting.
//!
//! A caller that goes away neither cancels nor poisons a batch, because no batch runs inside a caller. Its
//! own job is not done if it is a load that still waits; a write is done once it is accepted
//! ([`Work::KEEPS`]), for a logout must not depend on a browser that stays to see it. A batch that fails as
//! a whole is done again apart, so that only the bad row fails.
//!
//! [`queue`] holds all the state and no runtime; what is here drives it.

mod queue;
mod tickets;

use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::ground::{in_time, spawn, yield_now};
use queue::{Batch, Entered, Queue, Seen, Turn};
use tickets::Ticket;

/// What a group does.
pub(crate) trait Work: Send + Sync + 'static {
    /// What one caller asks for.
    type Job: Send + Sync;
    /// See [`key`](Self::key).
    type Key: Eq + Hash + Send;
    /// What it is told.
    type Answer: Send;

    /// Whether a job that was accepted is done although its caller has gone.
    const KEEPS: bool;

    /// Jobs that wait under the same key are done once, for all who ask. Never one that has left: it may
    /// see less than what its caller knows.
    fn key(_job: &Self::Job) -> Option<Self::Key> {
        None
    }

    /// The same answer for one more caller.
    fn share(_answer: &Self::Answer) -> Option<Self::Answer> {
        None
    }

    /// Does one job inside its caller, who may go away in the middle.
    fn one(&self, job: Self::Job) -> impl Future<Output = Self::Answer> + Send;

    /// Does all of these; the answers in their order.
    fn many(&self, jobs: &[Self::Job]) -> impl Future<Output = Vec<Self::Answer>> + Send;

    /// Does one job of a batch that panicked or was not wholly answered; `None`: nobody knows what became
    /// of it.
    fn again(&self, _job: &Self::Job) -> impl Future<Output = Option<Self::Answer>> + Send {
        async { None }
    }
}

/// How often a caller starts a lane that does not live: where the runtime takes no tasks any more.
const RESTARTS: u32 = 3;

/// How much at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Batches on their way, at most, beside one caller that came when nobody was there.
    pub(crate) lanes: usize,
    /// Jobs in one batch, at most. Beyond it a bigger statement gains nothing and its first row waits.
    pub(crate) batch: usize,
    /// Jobs that one lane takes though others are free: two statements would cost more.
    pub(crate) small: usize,
    /// Jobs that have to wait before another lane begins beside one that is busy.
    pub(crate) crowd: usize,
    /// Whether a lane lets every task that is ready run before it takes what waits: a batch that brings its answers
    /// wakes many, whose next requests are here at once, and where it takes microseconds nothing else lets it
    /// grow. Good for loads; writes wait for the disk long enough to meet.
    pub(crate) gathers: bool,
    /// Jobs that wait, at most.
    pub(crate) room: usize,
    /// How long a job waits for room.
    pub(crate) patience: Duration,
}

impl Bounds {
    /// For a store that can take so many batches at once.
    pub(crate) fn new(lanes: usize, patience: Duration) -> Bounds {
        Bounds { lanes: lanes.max(1), batch: 128, small: 32, crowd: 1, gathers: false, room: 4_096, patience }
    }

    /// The same for loads, which gather.
    pub(crate) fn of_loads(lanes: usize, patience: Duration) -> Bounds {
        Bounds { gathers: true, ..Bounds::new(lanes, patience) }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Too many wait already, and still did after [`Bounds::patience`]: it was not done.
    NoRoom,
    /// Its batch came to nothing: it may be done or not.
    Lost,
}

/// Single calls in, batches out.
pub(crate) struct Group<W: Work>(Arc<Shared<W>>);

struct Shared<W: Work> {
    work: W,
    queue: Queue<W>,
    gathers: bool,
    patience: Duration,
}

impl<W: Work> Group<W> {
    pub(crate) fn new(work: W, bounds: Bounds) -> Group<W> {
        let Bounds { gathers, patience, .. } = bounds;
        Group(Arc::new(Shared { work, queue: Queue::new(bounds), gathers, patience }))
    }

    /// Lets no more batches be on their way at once from now on, beside the caller that came when nobody was there.
    #[allow(dead_code, reason = "only PostgreSQL's feed asks for it")]
    pub(crate) fn narrow(&self, lanes: usize) {
        self.0.queue.narrow(lanes);
    }

    /// The answer to one job. To be called within a runtime.
    pub(crate) async fn ask(&self, job: W::Job) -> Result<W::Answer, Unanswered> {
        let shared = &*self.0;
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let (ticket, is_accepted) = match shared.queue.enter(job, &waker) {
            Entered::Alone(job) => {
                let _alone = Alone(shared);
                return caught(shared.work.one(job)).await.ok_or(Unanswered::Lost);
            }
            Entered::Waits { ticket, is_accepted, starts_lane } => {
                self.start_lane(starts_lane);
                (ticket, is_accepted)
            }
        };
        let mut caller = Caller { group: self, ticket, restarts: 0, has_answer: false };
        if is_accepted {
            return caller.answer().await;
        }
        match in_time(shared.patience, caller.answer()).await {
            Some(answer) => answer,
            None if caller.gives_up() => Err(Unanswered::NoRoom),
            None => caller.answer().await,
        }
    }

    fn start_lane(&self, starts: bool) {
        if starts {
            spawn(Lane { shared: Arc::clone(&self.0), batch: Batch::new(), has_ended: false }.run());
        }
    }
}

/// The caller that does its job by itself.
struct Alone<'a, W: Work>(&'a Shared<W>);

impl<W: Work> Drop for Alone<'_, W> {
    fn drop(&mut self) {
        self.0.queue.leave_alone();
    }
}

/// A caller that waits.
struct Caller<'a, W: Work> {
    group: &'a Group<W>,
    ticket: Ticket,
    /// Lanes that it started because those that ran were gone.
    restarts: u32,
    /// Whether the ticket is given back.
    has_answer: bool,
}

impl<W: Work> Caller<'_, W> {
    async fn answer(&mut self) -> Result<W::Answer, Unanswered> {
        poll_fn(|context| match self.group.0.queue.look(self.ticket, context.waker()) {
            Seen::Answer(answer) => {
                self.has_answer = true;
                Poll::Ready(answer.ok_or(Unanswered::Lost))
            }
            Seen::Nothing { starts_lane } => {
                self.restarts += u32::from(starts_lane);
                if self.restarts > RESTARTS {
                    // The lane that is not started is as good as lost, and so is the job.
                    self.group.0.queue.lose(&mut Batch::new());
                    return Poll::Ready(Err(Unanswered::Lost));
                }
                self.group.start_lane(starts_lane);
                Poll::Pending
            }
        })
        .await
    }

    /// Takes the job back, unless it is accepted by now.
    fn gives_up(&mut self) -> bool {
        self.has_answer = self.group.0.queue.give_up(self.ticket);
        self.has_answer
    }
}

impl<W: Work> Drop for Caller<'_, W> {
    fn drop(&mut self) {
        if !self.has_answer {
            self.group.0.queue.leave(self.ticket);
        }
    }
}

/// A task that does batch after batch until nobody waits.
struct Lane<W: Work> {
    shared: Arc<Shared<W>>,
    batch: Batch<W>,
    has_ended: bool,
}

impl<W: Work> Lane<W> {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while let Turn::Work { starts_lane } = self.turn().await {
            Group(Arc::clone(&shared)).start_lane(starts_lane);
            match caught(shared.work.many(&self.batch.jobs)).await {
                Some(answers) if answers.len() == self.batch.jobs.len() => {
                    shared.queue.hand_in(&mut self.batch, answers.into_iter().map(Some));
                }
                _ => {
                    let answers = apart(&shared.work, &self.batch.jobs).await;
                    shared.queue.hand_in(&mut self.batch, answers);
                }
            }
        }
        self.has_ended = true;
    }

    /// What to do next. Before it gathers it holds no job, so a runtime that ends here costs nobody an answer.
    async fn turn(&mut self) -> Turn {
        if self.shared.gathers {
            yield_now().await;
        }
        self.shared.queue.take(&mut self.batch)
    }
}

/// Each job of a batch that failed as a whole on its own: only the bad ones fail.
async fn apart<W: Work>(work: &W, jobs: &[W::Job]) -> Vec<Option<W::Answer>> {
    tracing::error!(jobs = jobs.len(), "a store did not answer a batch, each part of it is tried alone");
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        answers.push(caught(work.again(job)).await.flatten());
    }
    answers
}

/// The runtime ends, and with it this lane.
impl<W: Work> Drop for Lane<W> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.shared.queue.lose(&mut self.batch);
        }
    }
}

/// A store that panics costs what it was asked, not the one who asked.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(polled) => polled.map(Some),
        Err(_) => {
            tracing::error!("a store panicked");
            Poll::Ready(None)
        }
    })
    .await
}

#[cfg(test)]
impl<W: Work> Group<W> {
    /// Whether nothing is left of anybody.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }

    /// Jobs that are accepted and wait, and those for which there is no room.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.0.queue.waiting()
    }
}
