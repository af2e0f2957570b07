//! Work that is brought to its end though its caller goes away.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs inside its caller, without a hop to another task. Dropped in the middle, it runs on in a task of
/// its own, so that its connection is left clean.
pub(crate) struct Finish<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    begun: bool,
}

impl<T: Send + 'static> Finish<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Finish<T> {
        Finish { work: Some(Box::pin(work)), begun: false }
    }
}

impl<T: Send + 'static> Future for Finish<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Out while it is polled: work that panics is not polled again.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        self.begun = true;
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Finish<T> {
    fn drop(&mut self) {
        if let (Some(work), true, Ok(runtime)) = (self.work.take(), self.begun, Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    fn counting() -> (Finish<()>, Arc<Notify>, Arc<AtomicU32>) {
        let (gate, count) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
        let (opened, counted) = (Arc::clone(&gate), Arc::clone(&count));
        let work = async move {
            opened.notified().await;
            counted.fetch_add(1, Ordering::SeqCst);
        };
        (Finish::new(work), gate, count)
    }

    /// [R03]
    #[tokio::test]
    async fn what_has_begun_ends_without_its_caller() {
        let (work, gate, count) = counting();
        let caller = tokio::spawn(work);
        tokio::task::yield_now().await;
        caller.abort();
        let _ = caller.await;
        gate.notify_one();
        for _ in 0..100 {
            if count.load(Ordering::SeqCst) == 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the work ended with its caller");
    }

    #[tokio::test]
    async fn what_has_not_begun_never_does() {
        let (work, gate, count) = counting();
        drop(work);
        gate.notify_one();
        tokio::task::yield_now().await;
        assert_eq!((Arc::strong_count(&count), count.load(Ordering::SeqCst)), (1, 0));
    }
}
