//! One load for all who want the same session at the same time.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::store::loads::Landed;

/// A load on its way.
pub(super) struct Flight {
    pub(super) began: Instant,
    landed: watch::Sender<Option<Landed>>,
}

impl Flight {
    pub(super) fn begin() -> Flight {
        Flight { began: Instant::now(), landed: watch::Sender::new(None) }
    }

    /// The first word counts.
    pub(super) fn land(&self, landed: Landed) {
        self.landed.send_if_modified(|before| {
            let is_first = before.is_none();
            before.get_or_insert(landed);
            is_first
        });
    }

    /// Waits for what it brings.
    pub(super) async fn wait(&self) -> Landed {
        let mut landed = self.landed.subscribe();
        let landed = landed.wait_for(Option::is_some).await;
        landed.ok().and_then(|landed| landed.clone()).unwrap_or(Landed::Lost)
    }
}
