//! Who the session belongs to, under which name, and for how long.

use std::fmt::Display;
use std::time::Duration;

use super::state::State;
use super::{Login, Session, SessionError};
use crate::engine::{CSRF_TOKEN, SignIn, keeps_data};
use crate::record::{SessionData, Timestamp, UserId};

/// Sign-in and lifetimes. All of it is recorded, and made in one atomic step by the commit.
impl Session {
    /// Who is signed in.
    pub fn user_id(&self) -> Option<UserId> {
        self.state().user.clone()
    }

    /// Signs `user` in: the session gets a new secret, a new id and a new lifetime, and the old one is
    /// dead in the same instant, whoever else has its cookie (session fixation: OWASP ASVS 7.2.4).
    ///
    /// What an anonymous visitor stored goes along unless the policy forbids it; what another user
    /// stored never does. Check the password first: this believes you.
    ///
    /// The login begins with the policy's own lifetimes: [`remember`](Self::remember),
    /// [`set_idle_timeout`](Self::set_idle_timeout) and [`set_device`](Self::set_device) count when they are called
    /// after it, or given to [`login_with`](Self::login_with).
    ///
    /// Cost: 1 statement, in the commit.
    ///
    /// # Errors
    /// When the user id is empty, has control characters, or is longer than 255 characters or than the column
    /// `user_id` of the store.
    pub fn login(&self, user: impl Display) -> Result<(), SessionError> {
        self.login_with(Login::new(user))
    }

    /// As [`login`](Self::login), noting lback's `user_type` (`user` or `admin`) beside the id; under
    /// [`Policy::lback`](crate::Policy::lback) a plain login notes `user`.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub fn login_as(&self, user: impl Display, user_type: &str) -> Result<(), SessionError> {
        self.login_with(Login::new(user).user_type(user_type))
    }

    /// As [`login`](Self::login), with what is to be known of the login.
    ///
    /// ```
    /// use sessile::session::Login;
    /// use sessile::{Session, SessionError};
    ///
    /// fn sign_in(session: &Session, remembers: bool) -> Result<(), SessionError> {
    ///     session.login_with(Login::new("ada").remember(remembers).device("Firefox on Linux"))
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub fn login_with(&self, login: Login) -> Result<(), SessionError> {
        let Login { user, user_type, remember, device, idle_timeout } = login;
        let user = UserId::new(user)?;
        self.sessions().check_user_id(&user)?;
        let sign_in = SignIn { user, user_type: user_type.map(Into::into), authenticated: true };
        let mut state = self.state();
        let keeps = keeps_data(self.sessions().policy(), &state.data, state.user.as_ref(), &sign_in);
        if !keeps {
            state.data = SessionData::new();
        }
        state.user = Some(sign_in.user.clone());
        state.changes.sign_in(sign_in, keeps);
        // The token is bound to who the session belongs to; another request may be making one just now.
        state.data.remove(CSRF_TOKEN);
        state.changes.remove(CSRF_TOKEN);
        if remember {
            state.changes.remember(true);
        }
        if let Some(label) = device {
            state.changes.device(&label);
        }
        if idle_timeout.is_some() {
            state.changes.idle_timeout(idle_timeout);
        }
        Ok(())
    }

    /// Signs out: the session ends, here and for whoever else has its cookie. What is set afterwards in
    /// the same request (a flash message: "signed out") belongs to a fresh, anonymous session.
    ///
    /// Cost: 1 statement, in the commit, even if the handler then fails.
    pub fn logout(&self) {
        self.shared.end(State::end);
    }

    /// Signs out everywhere: ends this session and all others of its user, in this browser and in every other one.
    /// What is set afterwards in the same request (a flash message) belongs to a fresh, anonymous session, and a
    /// sign-in afterwards (after a change of password) is kept. For a visitor who is not signed in it is a
    /// [`logout`](Self::logout).
    ///
    /// Where another program has locked one of the rows, or the store fails, the response says so, and what is left
    /// ends in the background.
    ///
    /// Cost: 2 statements, in the commit, even if the handler then fails.
    pub fn logout_everywhere(&self) {
        self.shared.end(State::end_everywhere);
    }

    /// Gives the session a new secret and a new id; everything else stays, the absolute lifetime too. For
    /// changes of privilege other than a login. Cost: 1 statement, in the commit.
    ///
    /// # Errors
    /// [`SessionError::NoSession`] when nothing is stored for this visitor.
    pub fn rotate(&self) -> Result<(), SessionError> {
        let mut state = self.state();
        if !state.exists() {
            return Err(SessionError::NoSession);
        }
        state.changes.rotate();
        Ok(())
    }

    /// Keeps the session for the longer lifetimes of the policy, with a cookie that outlives the browser;
    /// `false` goes back.
    pub fn remember(&self, remember: bool) {
        self.state().changes.remember(remember);
    }

    /// Gives this session an idle timeout of its own from now on, rounded up to whole seconds and at least one;
    /// `None` goes back to the policy's. The absolute lifetime holds all the same.
    pub fn set_idle_timeout(&self, idle: Option<Duration>) {
        self.state().changes.idle_timeout(idle);
    }

    /// Notes where the session is ("Firefox on Linux"), for the user's own list of sessions. At most 100
    /// characters are kept. Personal data: note it only where you may.
    pub fn set_device(&self, label: &str) {
        self.state().changes.device(label);
    }

    /// When the session ends unless it is used, as of the last commit; `None` when nothing is stored.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let state = self.state();
        state.base.as_ref().filter(|_| !state.changes.ends()).map(|base| base.record.expires_at())
    }
}
