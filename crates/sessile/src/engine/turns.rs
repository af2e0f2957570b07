//! Standing in line: requests of one process that fight over one session take turns.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::record::SessionId;

/// The lines, one per contended session, gone when nobody stands in them.
#[derive(Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<SessionId, Arc<AsyncMutex<()>>>>>);

/// The right to try next. Dropping it calls the next one in line.
pub(crate) struct Turn {
    lines: Arc<Mutex<HashMap<SessionId, Arc<AsyncMutex<()>>>>>,
    id: SessionId,
    line: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody of this process is ahead. The line is fair: first come, first served.
    pub(crate) async fn take(&self, id: SessionId) -> Turn {
        let line = Arc::clone(self.0.lock().entry(id).or_default());
        // Built before waiting, so that a request that is dropped in line leaves none behind.
        let mut turn = Turn { lines: Arc::clone(&self.0), id, line: None };
        turn.line = Some(line.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        drop(self.line.take());
        // Only the map holds it: nobody stands in line. Others take their copy under this same lock.
        if lines.get(&self.id).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.id);
        }
    }
}
