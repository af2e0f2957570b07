//! Group load and group commit: requests that arrive while a statement is on its way share the next one.
//!
//! No timer: a lone request leaves at once. A few lanes, each with one batch under way, take whatever
//! waits whenever they are free. The caller that gives up waiting neither cancels nor poisons a batch,
//! because no batch runs inside a caller.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

/// Jobs in one batch, at most. Beyond it a bigger statement gains nothing and its first row waits.
const BATCH: usize = 128;
/// Jobs that wait, at most; who comes then waits to be let in, as long as its own deadline allows.
const QUEUE: usize = 4_096;

type Job<J, A> = (J, oneshot::Sender<A>);
type Work<J, A> = Arc<dyn Fn(Vec<J>) -> Pin<Box<dyn Future<Output = Vec<A>> + Send>> + Send + Sync>;

/// Single calls in, batches out.
pub(crate) struct Group<J, A> {
    lanes: usize,
    work: Work<J, A>,
    queue: Mutex<Option<mpsc::Sender<Job<J, A>>>>,
}

impl<J: Send + 'static, A: Send + 'static> Group<J, A> {
    /// `work` answers a batch in its order.
    pub(crate) fn new<F>(lanes: usize, work: impl Fn(Vec<J>) -> F + Send + Sync + 'static) -> Group<J, A>
    where
        F: Future<Output = Vec<A>> + Send + 'static,
    {
        Group { lanes, work: Arc::new(move |jobs| Box::pin(work(jobs))), queue: Mutex::new(None) }
    }

    /// The answer to one job; `None` when its batch came to nothing.
    pub(crate) async fn ask(&self, job: J) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        self.queue().send((job, answer)).await.ok()?;
        answered.await.ok()
    }

    /// Starts the lanes when the first job comes, and again when the runtime they ran on is gone.
    fn queue(&self) -> mpsc::Sender<Job<J, A>> {
        let mut queue = self.queue.lock();
        if let Some(open) = queue.as_ref().filter(|open| !open.is_closed()) {
            return open.clone();
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let receiver = Arc::new(AsyncMutex::new(receiver));
        for _ in 0..self.lanes {
            tokio::spawn(lane(Arc::clone(&receiver), Arc::clone(&self.work)));
        }
        queue.insert(sender).clone()
    }
}

async fn lane<J, A>(receiver: Arc<AsyncMutex<mpsc::Receiver<Job<J, A>>>>, work: Work<J, A>) {
    let mut waiting = Vec::with_capacity(BATCH);
    // One lane at a time waits for jobs; it lets the next one wait before it sets to work.
    while receiver.lock().await.recv_many(&mut waiting, BATCH).await > 0 {
        let (jobs, answers): (Vec<J>, Vec<oneshot::Sender<A>>) = waiting.drain(..).unzip();
        let Some(done) = caught(work(jobs)).await else { continue };
        for (answer, done) in answers.into_iter().zip(done) {
            // Nobody waits any more: the work is done all the same.
            let _ = answer.send(done);
        }
    }
}

/// A store that panics costs its batch, not the lane.
async fn caught<T>(mut work: Pin<Box<dyn Future<Output = T> + Send>>) -> Option<T> {
    std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        match polled {
            Ok(polled) => polled.map(Some),
            Err(_) => {
                tracing::error!("a store panicked in the middle of a batch");
                std::task::Poll::Ready(None)
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;

    /// A group that doubles numbers, counts its batches and waits for a permit before each.
    fn doubling(lanes: usize) -> (Arc<Group<u32, u32>>, Arc<AtomicUsize>, Arc<Semaphore>) {
        let (batches, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counted, waited) = (Arc::clone(&batches), Arc::clone(&gate));
        let group = Group::new(lanes, move |jobs: Vec<u32>| {
            let (counted, waited) = (Arc::clone(&counted), Arc::clone(&waited));
            async move {
                waited.acquire().await.unwrap().forget();
                counted.fetch_add(1, Ordering::SeqCst);
                assert!(!jobs.contains(&13), "this one is poisoned");
                jobs.into_iter().map(|n| n * 2).collect()
            }
        });
        (Arc::new(group), batches, gate)
    }

    fn ask(group: &Arc<Group<u32, u32>>, n: u32) -> tokio::task::JoinHandle<Option<u32>> {
        let group = Arc::clone(group);
        tokio::spawn(async move { group.ask(n).await })
    }

    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// [R11] What arrives while a batch is on its way shares the next one.
    #[tokio::test]
    async fn a_crowd_shares_the_next_statement() {
        let (group, batches, gate) = doubling(1);
        let first = ask(&group, 1);
        settle().await;
        let crowd: Vec<_> = (0..100).map(|n| ask(&group, n + 100)).collect();
        settle().await;
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), Some(2));
        for (n, answer) in (0..).zip(crowd) {
            assert_eq!(answer.await.unwrap(), Some((n + 100) * 2));
        }
        assert_eq!(batches.load(Ordering::SeqCst), 2);
    }

    /// [R03] Who gives up waiting neither cancels nor poisons what the others wait for.
    #[tokio::test]
    async fn a_dropped_caller_changes_nothing_for_the_others() {
        let (group, _, gate) = doubling(1);
        let (first, second) = (ask(&group, 1), ask(&group, 2));
        settle().await;
        first.abort();
        settle().await;
        gate.add_permits(10);
        assert_eq!(second.await.unwrap(), Some(4));
        assert_eq!(group.ask(3).await, Some(6));
    }

    #[tokio::test]
    async fn a_panic_costs_its_batch_and_not_the_lane() {
        let (group, _, gate) = doubling(1);
        gate.add_permits(10);
        assert_eq!(group.ask(13).await, None);
        assert_eq!(group.ask(4).await, Some(8));
    }

    /// [R02] The queue is bounded: who finds it full waits, and can be told so by a deadline.
    #[tokio::test(start_paused = true)]
    async fn a_full_queue_makes_callers_wait() {
        let (group, _, gate) = doubling(1);
        let callers: Vec<_> = (0..QUEUE as u32 + 500).map(|_| ask(&group, 1)).collect();
        settle().await;
        assert!(tokio::time::timeout(Duration::from_secs(1), group.ask(2)).await.is_err());
        gate.add_permits(1_000);
        for caller in callers {
            assert_eq!(caller.await.unwrap(), Some(2));
        }
    }
}
