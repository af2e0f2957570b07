//! What is to be known of a login.

use std::fmt::Display;
use std::time::Duration;

/// A login, for [`Session::login_with`](super::Session::login_with): the user, and what holds for this session.
///
/// What is not said here is the policy's, whatever was chosen for the session before.
#[derive(Debug, Clone)]
#[must_use]
pub struct Login {
    pub(super) user: String,
    pub(super) user_type: Option<String>,
    pub(super) remember: bool,
    pub(super) device: Option<String>,
    pub(super) idle_timeout: Option<Duration>,
}

impl Login {
    /// A login of this user.
    pub fn new(user: impl Display) -> Login {
        Login { user: user.to_string(), user_type: None, remember: false, device: None, idle_timeout: None }
    }

    /// Notes lback's `user_type` (`user` or `admin`) beside the id.
    pub fn user_type(mut self, user_type: impl Into<String>) -> Login {
        self.user_type = Some(user_type.into());
        self
    }

    /// Keeps the session for the longer lifetimes of the policy, with a cookie that outlives the browser. See
    /// [`Session::remember`](super::Session::remember).
    pub fn remember(mut self, remember: bool) -> Login {
        self.remember = remember;
        self
    }

    /// Notes where the session is. See [`Session::set_device`](super::Session::set_device).
    pub fn device(mut self, label: impl Into<String>) -> Login {
        self.device = Some(label.into());
        self
    }

    /// Gives the session an idle timeout of its own. See
    /// [`Session::set_idle_timeout`](super::Session::set_idle_timeout).
    pub fn idle_timeout(mut self, idle: Duration) -> Login {
        self.idle_timeout = Some(idle);
        self
    }
}
