//! What can go wrong between a request and the store.

use crate::record::{DataError, InvalidRealm, InvalidUserId, RandomError, Timestamp};
use crate::store::StoreError;

/// A session could not be loaded or committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The store failed. The user is not logged out by it: nothing is known about the session.
    #[error(transparent)]
    Store(StoreError),
    /// The user id is longer than the column `user_id` of the store's table. Nothing is written.
    #[error(transparent)]
    UserId(#[from] InvalidUserId),
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
    /// The value that this request took is not there any more: another request took or changed it first. Nothing
    /// is written. [`Session::take_once`](crate::Session::take_once) tells that before the handler goes on.
    #[error("the session value {key:?}, which this request took, was taken or changed by another request")]
    AlreadyTaken {
        /// Its key.
        key: Box<str>,
    },
    /// The session belongs to another user than when this request began: another program signed somebody in or
    /// out under the same id. Nothing is written.
    #[error("the session's user changed while this request was changing it")]
    UserChanged,
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

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> EngineError {
        match error {
            StoreError::UserId(error) => EngineError::UserId(error),
            error => EngineError::Store(error),
        }
    }
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

/// A service that cannot have this realm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RealmError {
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] InvalidRealm),
    /// Sessions are named by their id, which is the same in every realm.
    #[error(
        "the policy puts a session's id into the cookie, so realm {name:?} would keep nothing apart: use a policy with \
         `Naming::Token`, or a second table"
    )]
    ById {
        /// The name of the realm.
        name: String,
    },
    /// Another framework's cookie names its sessions outside of every realm.
    #[error(
        "the sessions of an accepted old cookie are of no realm, so realm {name:?} would not know them: leave out \
         `accept_old`, or the realm"
    )]
    OldCookie {
        /// The name of the realm.
        name: String,
    },
}
