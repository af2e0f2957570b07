//! The handle a request handler holds: data, sign-in, flash messages, CSRF token.
//!
//! After loading, access is synchronous and touches no store: everything is recorded, and one commit
//! makes it when the response leaves. This floor knows no HTTP.

mod access;
mod csrf;
mod error;
mod flash;
mod identity;
mod key;
mod lazy;
mod login;
mod once;
mod state;
mod transport;

use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::engine::{Sessions, Watch};
use crate::record::SessionId;

pub use error::SessionError;
pub use flash::Flash;
pub use key::{AsKey, Key};
pub use lazy::LazySession;
pub(crate) use lazy::{Head, Named, Shared, Shown};
pub use login::Login;
use state::State;
pub use transport::CredentialChange;

/// The session of one request. Cheap to clone; all clones are the same session.
///
/// Nothing is written until the response leaves, or until [`save`](Self::save). Two requests that
/// change different keys both win; of two that set the same key the last one does, and
/// [`update`](Self::update) counts both.
///
/// ```
/// use sessile::{Key, Session, SessionError};
///
/// const CART: Key<Vec<String>> = Key::new("cart");
///
/// fn add(session: &Session, item: String) -> Result<(), SessionError> {
///     session.update(CART, move |cart| cart.push(item.clone()))?;
///     session.flash("info", "Added to your cart")
/// }
/// ```
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>) -> Session {
        Session { shared }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// The service that this session belongs to: to list and revoke others.
    pub fn sessions(&self) -> &Sessions {
        self.shared.sessions()
    }

    /// The id of the row, if there is one that goes on: `None` for a visitor for whom nothing is stored,
    /// and after a logout. After a login or a rotation it is the old one until the commit.
    pub fn id(&self) -> Option<SessionId> {
        let state = self.state();
        state.base.as_ref().filter(|_| !state.changes.ends()).map(|base| base.record.id())
    }

    /// Waits for the end of this session, wherever it is ended: see [`Sessions::watch`]. `None` where there is no
    /// [`id`](Self::id) to watch.
    pub fn watch(&self) -> Option<Watch> {
        self.id().map(|id| self.sessions().watch(id))
    }

    /// Whether something was changed that is not committed yet.
    pub fn is_modified(&self) -> bool {
        !self.state().changes.is_empty()
    }

    /// Commits now instead of when the response leaves: for streams and websockets, whose head has left
    /// already, and for handlers that must know whether it worked.
    ///
    /// After the head has left the browser cannot be given another cookie. Changes of a session that it knows are
    /// saved as ever. A sign-in, a rotation, or the first value of a visitor without a session is
    /// [`SessionError::HeadLeft`], and nothing is written. A logout needs no `save` there: it is carried out in the
    /// background from the moment it is called. Changes that are never saved are discarded, with a warning in the
    /// log.
    ///
    /// Dropping the returned future does not stop a commit that has begun.
    ///
    /// Cost: 1 statement if something was changed, otherwise 0.
    ///
    /// # Errors
    /// When the commit fails; the changes are kept and can be tried again. [`SessionError::HeadLeft`]: see above.
    pub async fn save(&self) -> Result<(), SessionError> {
        let shared = Arc::clone(&self.shared);
        uninterrupted(async move { shared.commit().await }).await
    }
}

/// Runs a commit on a task of its own: a handler may give up waiting (`select!`, a timeout), and must neither lose
/// what is on its way nor make it twice.
async fn uninterrupted<T: Send + 'static>(
    commit: impl Future<Output = Result<T, SessionError>> + Send + 'static,
) -> Result<T, SessionError> {
    match tokio::spawn(commit).await {
        Ok(done) => done,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(SessionError::ShuttingDown),
        },
    }
}

/// Without data and token.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).field("is_modified", &self.is_modified()).finish()
    }
}

/// Keeps the type of the state's lock out of the other modules.
type StateLock = Mutex<State>;
