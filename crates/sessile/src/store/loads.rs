//! Loads in batches, and one answer for many who ask for the same row.

use std::future::Future;
use std::sync::Arc;

use super::group::{Group, Unanswered, Work};
use super::{Loaded, StoreError};
use crate::record::{SessionId, SessionRecord};

/// What a load brought, for many.
#[derive(Clone)]
pub(crate) enum Landed {
    Found(SessionRecord),
    Absent,
    Failed(Arc<StoreError>),
    /// Nothing: the store panicked, or the program is shutting down.
    Lost,
}

impl From<Loaded> for Landed {
    fn from(loaded: Loaded) -> Landed {
        match loaded {
            Ok(Some(record)) => Landed::Found(record),
            Ok(None) => Landed::Absent,
            Err(error) => Landed::Failed(Arc::new(error)),
        }
    }
}

impl Landed {
    /// The same for one of them, from the store of this name.
    pub(crate) fn into_loaded(self, store: &'static str) -> Loaded {
        match self {
            Landed::Found(record) => Ok(Some(record)),
            Landed::Absent => Ok(None),
            Landed::Failed(error) => Err(Arc::try_unwrap(error).unwrap_or_else(|error| shared(&error))),
            Landed::Lost => Err(Unanswered::Lost.of_load(store)),
        }
    }
}

/// The same error for one more caller.
pub(crate) fn shared(error: &Arc<StoreError>) -> StoreError {
    match &**error {
        StoreError::Unavailable { store, reason, .. } => StoreError::Unavailable {
            store,
            reason: reason.clone(),
            source: Some(Box::new(Arc::clone(error))),
        },
        StoreError::Timeout { store, after } => StoreError::Timeout { store, after: *after },
        StoreError::Setting(error) => StoreError::Setting(*error),
        StoreError::Malformed(row) => StoreError::Malformed(row.clone()),
        StoreError::UserId(error) => StoreError::UserId(*error),
        StoreError::Schema { problem, remedy } => {
            StoreError::Schema { problem: problem.clone(), remedy: remedy.clone() }
        }
        StoreError::Unsupported { store, problem, remedy } => {
            StoreError::Unsupported { store, problem: problem.clone(), remedy: remedy.clone() }
        }
        StoreError::Refused { store, reason, .. } => {
            StoreError::Refused { store, reason: reason.clone(), source: Some(Box::new(Arc::clone(error))) }
        }
        StoreError::Full { store, reason, .. } => {
            StoreError::Full { store, reason: reason.clone(), source: Some(Box::new(Arc::clone(error))) }
        }
        StoreError::PartlyDeleted { store, deleted, pending } => {
            StoreError::PartlyDeleted { store, deleted: deleted.clone(), pending: *pending }
        }
        StoreError::Backend { store, action, .. } => {
            StoreError::Backend { store, action: action.clone(), source: Box::new(Arc::clone(error)) }
        }
    }
}

/// Loads rows.
pub(crate) trait Loader: Send + Sync + 'static {
    /// One row, for a caller that may go away in the middle.
    fn one(&self, id: SessionId) -> impl Future<Output = Loaded> + Send;

    /// Rows in the order of their ids.
    fn many(&self, ids: &[SessionId]) -> impl Future<Output = Vec<Loaded>> + Send;
}

/// Single loads, in batches in which no id is met twice.
pub(crate) struct Loads<L>(pub(crate) L);

impl<L: Loader> Group<Loads<L>> {
    /// One row from the store of this name, together with what others ask for.
    pub(crate) async fn load(&self, id: SessionId, store: &'static str) -> Loaded {
        match self.ask(id).await {
            Ok(landed) => landed.into_loaded(store),
            Err(unanswered) => Err(unanswered.of_load(store)),
        }
    }
}

impl<L: Loader> Work for Loads<L> {
    type Job = SessionId;
    type Key = SessionId;
    type Answer = Landed;

    const KEEPS: bool = false;

    fn key(id: &SessionId) -> Option<SessionId> {
        Some(*id)
    }

    fn share(landed: &Landed) -> Option<Landed> {
        Some(landed.clone())
    }

    async fn one(&self, id: SessionId) -> Landed {
        self.0.one(id).await.into()
    }

    async fn many(&self, ids: &[SessionId]) -> Vec<Landed> {
        self.0.many(ids).await.into_iter().map(Landed::from).collect()
    }

    async fn again(&self, id: &SessionId) -> Option<Landed> {
        Some(self.0.one(*id).await.into())
    }
}
