//! What happens to sessions, told through one type.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::record::{SessionId, UserId};

/// Something happened to a session. It carries the public id, never a token and never data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A row was made.
    Created {
        /// The new session.
        id: SessionId,
    },
    /// A user signed in, in this session.
    Authenticated {
        /// The session, under its new id.
        id: SessionId,
        /// Who.
        user: UserId,
    },
    /// A session has a new id; the old one is dead.
    Rotated {
        /// The id that died.
        from: SessionId,
        /// The id it has now.
        to: SessionId,
    },
    /// The expiry was moved forward by a statement of its own.
    Renewed {
        /// The session.
        id: SessionId,
    },
    /// A session has expired. Each process reports it once: at the first request that names it, or at the purge that
    /// removes its row, whichever comes first.
    ///
    /// A process keeps the newest 65,536 ids that its requests reported, and 16,384 that its purges removed: an older
    /// one whose row is still there is reported again. A row that another process or Redis itself removes before a
    /// request of this process names it is not reported here; nor is one of a purge whose answer was lost.
    Expired {
        /// The session.
        id: SessionId,
        /// Whose it was. `None` also where a purge removes a row under
        /// [`Policy::lback`](super::Policy::lback), where the data names the user, which a purge does not read.
        user: Option<UserId>,
    },
    /// The user signed out.
    LoggedOut {
        /// The session that ended.
        id: SessionId,
    },
    /// The session was ended from outside.
    Revoked {
        /// The session that ended.
        id: SessionId,
    },
    /// An ending that was called failed again and again, and is given up: the session may live until it expires.
    /// [`Sessions::drain`](super::Sessions::drain) says when endings are retried.
    EndingFailed {
        /// The session, where one was to end.
        id: Option<SessionId>,
        /// The user whose session it was, or whose sessions were to end, where that is known.
        user: Option<UserId>,
    },
    /// A cookie named no session that can be used.
    Rejected {
        /// Why.
        reason: Rejection,
    },
    /// A change was merged onto newer data.
    Conflict {
        /// The session.
        id: SessionId,
    },
    /// The row's content cannot be read.
    Corrupt {
        /// The primary key as stored.
        id: String,
        /// What is wrong, without the data.
        problem: String,
    },
    /// Expired rows were removed.
    Purged {
        /// How many.
        rows: u64,
    },
}

/// Why a cookie was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The store knows no such session: it has ended, or never was.
    Unknown,
    /// Several cookies of our name each named a live session: one of them may be planted.
    Ambiguous,
    /// The session began more than an hour in the future: a clock was wrong when it was made, or is wrong now.
    FromTheFuture,
}

/// Hears every [`Event`]. It runs inside the request, so it must be quick; what it returns or whether
/// it panics changes nothing.
pub trait Listener: Send + Sync + 'static {
    /// Something happened.
    fn hear(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Listener for F {
    fn hear(&self, event: &Event) {
        self(event);
    }
}

/// Everybody who listens.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Arc<dyn Listener>>);

impl Listeners {
    pub(crate) fn add(&mut self, listener: Arc<dyn Listener>) {
        self.0.push(listener);
    }

    /// Tells everybody, and the log: `warn` where somebody should look, `debug` otherwise.
    pub(crate) fn tell(&self, event: Event) {
        match &event {
            // The problem and the id come from the row: Debug escapes what could forge a log line.
            Event::Corrupt { id, problem } => {
                tracing::error!(session = ?id, ?problem, "session row is corrupt")
            }
            Event::Rejected { reason: Rejection::FromTheFuture } => {
                tracing::warn!(
                    "a session began more than an hour in the future and is not accepted: check the clocks"
                );
            }
            Event::EndingFailed { .. } => {}
            Event::Rejected { reason: Rejection::Ambiguous } => {
                tracing::warn!("several live sessions in one request, none accepted");
            }
            other => tracing::debug!(event = ?other, "session event"),
        }
        for listener in &self.0 {
            if catch_unwind(AssertUnwindSafe(|| listener.hear(&event))).is_err() {
                tracing::error!("a session event listener panicked");
            }
        }
    }
}
