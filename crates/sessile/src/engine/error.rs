//! What can go wrong between a request and the store.

use crate::record::{DataError, RandomError, Timestamp};
use crate::store::StoreError;

/// A session could not be loaded or committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The store failed. The user is not logged out by it: nothing is known about the session.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The new data cannot be made into text.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The new data is larger than the policy allows. The old data stays.
    #[error(
        "the session's data would have {bytes} bytes, {limit} are allowed: keep large things elsewhere, or raise `Policy::max_data_bytes`"
    )]
    TooLarge {
        /// What it would have.
        bytes: usize,
        /// [`Policy::max_data_bytes`](super::Policy::max_data_bytes).
        limit: usize,
    },
    /// No token could be made.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The session ended while the request that changed it ran: logged out, revoked, rotated or expired
    /// elsewhere. The change is not made, because that would bring it back.
    #[error("the session ended while this request was changing it")]
    Ended,
    /// Others changed the session faster than this request could.
    #[error("the session changed {attempts} times while this request tried to change it")]
    Contended {
        /// [`Policy::max_attempts`](super::Policy::max_attempts).
        attempts: u32,
    },
    /// Some of a user's sessions have ended, and others are locked by another program. Those are ended in the
    /// background as soon as they are free; [`Event::EndingFailed`](super::Event::EndingFailed) is told if that
    /// fails for two minutes.
    #[error(
        "{ended} sessions of the user have ended, and {pending} are locked by another program: they are ended in the background"
    )]
    EndingsPending {
        /// How many have ended.
        ended: usize,
        /// How many are left.
        pending: usize,
    },
    /// The store's clock and ours disagree, so nothing is purged: live sessions must not pay for it.
    #[error("this machine's clock says {ours} and the store's says {theirs}: set them right before purging")]
    ClocksDiffer {
        /// Ours.
        ours: Timestamp,
        /// The store's.
        theirs: Timestamp,
    },
    /// Every id that was made was taken already.
    #[error("no free session id was found in {attempts} attempts: is the random generator broken?")]
    NoFreeId {
        /// How many were tried.
        attempts: u32,
    },
}

impl EngineError {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            EngineError::Store(error) => error.is_transient(),
            EngineError::Contended { .. } | EngineError::EndingsPending { .. } => true,
            _ => false,
        }
    }
}
