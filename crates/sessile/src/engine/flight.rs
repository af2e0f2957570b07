//! One load for all who want the same session at the same time.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::record::SessionRecord;
use crate::store::{Loaded, StoreError};

/// A load on its way.
pub(super) struct Flight {
    pub(super) began: Instant,
    landed: watch::Sender<Option<Landed>>,
}

/// What it brought, for many.
#[derive(Clone)]
pub(super) enum Landed {
    Found(SessionRecord),
    Absent,
    Failed(Arc<StoreError>),
    /// Nothing: the store panicked, or the program is shutting down.
    Lost,
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

pub(super) fn landed(loaded: Loaded) -> Landed {
    match loaded {
        Ok(Some(record)) => Landed::Found(record),
        Ok(None) => Landed::Absent,
        Err(error) => Landed::Failed(Arc::new(error)),
    }
}

/// The same error for one more caller.
pub(super) fn shared(error: &Arc<StoreError>) -> StoreError {
    match &**error {
        StoreError::Unavailable { store, reason, .. } => StoreError::Unavailable {
            store,
            reason: reason.clone(),
            source: Some(Box::new(Arc::clone(error))),
        },
        StoreError::Timeout { store, after } => StoreError::Timeout { store, after: *after },
        StoreError::Malformed(row) => StoreError::Malformed(row.clone()),
        StoreError::Schema { problem, remedy } => {
            StoreError::Schema { problem: problem.clone(), remedy: remedy.clone() }
        }
        StoreError::Refused { store, reason, .. } => {
            StoreError::Refused { store, reason: reason.clone(), source: Some(Box::new(Arc::clone(error))) }
        }
        StoreError::Full { store, reason, .. } => {
            StoreError::Full { store, reason: reason.clone(), source: Some(Box::new(Arc::clone(error))) }
        }
        StoreError::Backend { store, action, .. } => {
            StoreError::Backend { store, action: action.clone(), source: Box::new(Arc::clone(error)) }
        }
    }
}
