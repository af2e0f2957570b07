//! Keeping a feed: listening again whenever it breaks, and saying each time that it was down.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::backoff::pause;
use super::{Feed, Hearer, News, StoreError};

/// Signs of life within one bound: one may be late, and the feed is still up.
pub(super) const SIGNS: u32 = 3;

/// One store's way to listen.
pub(super) trait Listen: Send + Sync + 'static {
    /// Listens over connections of its own for as long as they tell, and says why they no longer do.
    fn listen(&self, line: &mut Line) -> impl Future<Output = StoreError> + Send;

    /// For the log.
    fn server(&self) -> &str;
}

/// The subscription, as [`Listen`] sees it.
pub(super) struct Line {
    pub(super) hearer: Hearer,
    pub(super) bound: Duration,
    /// Whoever waits for the first word.
    first: Option<oneshot::Sender<Result<(), StoreError>>>,
    came_up: bool,
}

impl Line {
    /// A sign of life that was sent at this moment has come back.
    pub(super) fn up_since(&mut self, sent: Instant) {
        self.hearer.hear(News::Up(sent + self.bound));
        self.came_up = true;
        if let Some(first) = self.first.take() {
            // A closed receiver means that the subscriber was dropped: there is nothing to do.
            let _ = first.send(Ok(()));
        }
    }

    /// When the next sign of life is due.
    pub(super) fn next_sign(&self, sent: Instant) -> Instant {
        sent + self.bound / SIGNS
    }
}

/// Listens, and returns as soon as the feed is up, or is known not to come up.
pub(super) async fn subscribe(
    listener: impl Listen,
    hearer: Hearer,
    bound: Duration,
    ended: impl FnOnce() -> StoreError,
) -> Result<Feed, StoreError> {
    let (held, dropped) = watch::channel(());
    let (tell, told) = oneshot::channel();
    let line = Line { hearer, bound, first: Some(tell), came_up: false };
    tokio::spawn(keep(listener, line, dropped));
    told.await.unwrap_or_else(|_| Err(ended()))?;
    Ok(Feed::new(held))
}

/// Listens, and listens again, until nobody wants to hear. If it cannot be done the first time, that is
/// the answer.
async fn keep(listener: impl Listen, mut line: Line, mut dropped: watch::Receiver<()>) {
    let mut failures = 0;
    loop {
        line.came_up = false;
        let ended = tokio::select! {
            error = listener.listen(&mut line) => Some(error),
            _ = dropped.changed() => None,
        };
        line.hearer.hear(News::Down);
        let Some(error) = ended else { return };
        if let Some(first) = line.first.take() {
            let _ = first.send(Err(error));
            return;
        }
        failures = if line.came_up { 1 } else { failures + 1 };
        if failures == 1 {
            tracing::warn!(server = listener.server(), %error, "the feed of changes is down");
        }
        tokio::select! {
            () = tokio::time::sleep(pause(failures)) => {}
            _ = dropped.changed() => return,
        }
    }
}
