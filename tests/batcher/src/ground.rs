// What the batcher stands on here: the model checker's lock and tasks, and a timer that may fire at any
// moment.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use shuttle::future::{JoinHandle, block_on};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::sync::{Arc, MutexGuard};

pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(super) fn new(content: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(content))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

pub(super) use shuttle::future::yield_now;

shuttle::lazy_static! {
    /// The lanes that were started, so that their runtime can end.
    static ref LANES: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());
}

pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    let lane = shuttle::future::spawn(work);
    LANES.lock().push(lane);
}

/// Ends the runtime of all lanes that were started so far.
pub(crate) fn end_lanes() {
    LANES.lock().iter().for_each(JoinHandle::abort);
}

/// Waits until all lanes have ended.
pub(crate) fn lanes_rest() {
    loop {
        let Some(lane) = LANES.lock().pop() else { return };
        // One whose runtime has ended is an error, and over too.
        let _ = block_on(lane);
    }
}

/// The longest limit never passes, any other at any moment.
pub(super) async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    if limit == Duration::MAX {
        return Some(work.await);
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let mut timer = None;
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        timer.get_or_insert_with(|| {
            let (is_over, waker) = (Arc::clone(&is_over), context.waker().clone());
            shuttle::future::spawn(async move {
                is_over.store(true, Ordering::SeqCst);
                waker.wake();
            })
        });
        if is_over.load(Ordering::SeqCst) { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}
