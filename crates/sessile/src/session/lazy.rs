//! A session that is loaded when it is asked for, and committed once.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::state::{Answer, State};
use super::{Session, SessionError, StateLock};
use crate::engine::{Base, Changes, Credential, Credentials, EngineError, Meta, Renewal, Sessions};
use crate::record::Timestamp;

/// What all handles of one request share.
pub(crate) struct Shared {
    pub(crate) sessions: Sessions,
    named: Credentials,
    /// What the request shows of a framework that was used before.
    old: Credentials,
    /// The cookie that names it, so that a second layer under the first can tell whether it is the same.
    cookie: Option<Arc<str>>,
    loaded: OnceCell<()>,
    /// One commit at a time: a second one begins where the first one ended.
    committing: tokio::sync::Mutex<()>,
    pub(super) state: StateLock,
}

impl Shared {
    fn new(sessions: Sessions, named: Credentials) -> Shared {
        Shared {
            sessions,
            named,
            old: Credentials::new(),
            cookie: None,
            loaded: OnceCell::new(),
            committing: tokio::sync::Mutex::new(()),
            state: StateLock::new(State::default()),
        }
    }

    async fn load(&self) -> Result<(), SessionError> {
        self.loaded
            .get_or_try_init(async || {
                let found = self.sessions.find(&self.named, &self.old).await?;
                self.state.lock().load(found);
                Ok(())
            })
            .await
            .copied()
    }

    /// Whether anybody asked for the session at all. If not, there is nothing to do and nothing to vary.
    pub(crate) fn is_touched(&self) -> bool {
        self.loaded.initialized() || self.consulted()
    }

    /// Whether nothing was changed, and no commit is on its way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.state.lock().is_at_rest()
    }

    /// Whether the response has to wait for a renewal; any other that is due is made in the background.
    /// `tells_expiry`: whether the response says until when the session lives.
    pub(crate) fn waits_for_renewal(&self, tells_expiry: bool) -> bool {
        let state = self.state.lock();
        let waits = |base: &Base| {
            matches!(state.answer, Answer::Keep)
                && matches!(self.sessions.renew_later(base, tells_expiry), Renewal::AtOnce)
        };
        state.base.as_deref().is_some_and(waits)
    }

    pub(super) async fn commit(&self) -> Result<(), SessionError> {
        let _turn = self.committing.lock().await;
        let (base, changes) = self.state.lock().begin_commit();
        self.carry_out(base, changes).await
    }

    /// The end of a request that succeeded (who drops this drops the request: nobody is left to see what
    /// became of it): commits, or moves the expiry forward when that is due.
    pub(crate) async fn finish(&self, tells_expiry: bool) -> Result<(), SessionError> {
        if let Err(error) = self.commit().await {
            // A logout does not depend on whether what followed it could be stored. A store that does not
            // answer is not asked twice: the client is told, and waits long enough as it is.
            if !error.is_transient() {
                self.finish_failed().await?;
            }
            return Err(error);
        }
        if self.waits_for_renewal(tells_expiry) {
            let base = self.state.lock().base.clone();
            if let Some(base) = base {
                let renewed = self.sessions.renew(base).await?;
                self.state.lock().settle(renewed, self.sessions.policy());
            }
        }
        Ok(())
    }

    /// The end of a request that failed: data changes and logins are dropped, endings are carried out.
    pub(crate) async fn finish_failed(&self) -> Result<(), SessionError> {
        let _turn = self.committing.lock().await;
        let (base, changes) = self.state.lock().begin_commit();
        self.carry_out(base, changes.endings()).await
    }

    async fn carry_out(&self, base: Option<Arc<Base>>, changes: Changes) -> Result<(), SessionError> {
        let committed = match self.end_others(base.as_deref(), &changes).await {
            Ok(()) => self.sessions.commit(base, &changes).await,
            Err(error) => Err(error),
        };
        let mut state = self.state.lock();
        match committed {
            Ok(committed) => {
                state.settle(committed, self.sessions.policy());
                if state.base.is_none() {
                    // There was nowhere to note a wish such as "remember me": it waits for a row.
                    state.abandon_commit(changes.after_end());
                }
                Ok(())
            }
            Err(error) => {
                state.abandon_commit(changes);
                Err(error.into())
            }
        }
    }

    /// A logout also ends the session of an old cookie that came along: otherwise the next request, without
    /// our cookie, would be signed in by it. Where none was read, it ends every one that the request names: a
    /// planted one is no loss. Cost: 1 statement for each.
    async fn end_others(&self, base: Option<&Base>, changes: &Changes) -> Result<(), EngineError> {
        if changes.ends() {
            let loaded = base.map(|base| base.record.id());
            let unread: &[Credential] = if base.is_none() { &self.named } else { &[] };
            let others = self.old.iter().chain(unread).map(Credential::id);
            for other in others.filter(|&other| Some(other) != loaded) {
                self.sessions.end_unread(other).await?;
            }
        }
        Ok(())
    }

    /// What the cookie must follow. Asked once, when the head is about to leave: also when the last
    /// commit failed, because an earlier one may have given the session its new name.
    pub(crate) fn take_answer(&self) -> Answer {
        std::mem::take(&mut self.state.lock().answer)
    }

    pub(crate) fn consulted(&self) -> bool {
        self.state.lock().consulted
    }

    /// Until when the cookie is to live: for a remembered session, or for every one if `always`, until
    /// the session's own end; otherwise until the browser is closed.
    pub(crate) fn cookie_until(&self, always: bool) -> Option<Timestamp> {
        let state = self.state.lock();
        let base = state.base.as_ref()?;
        (always || Meta::of(&base.data).remember()).then(|| base.record.expires_at())
    }
}

/// A session that costs nothing until it is asked for.
///
/// The middleware puts one into every request's extensions.
#[derive(Clone)]
pub struct LazySession {
    pub(crate) shared: Arc<Shared>,
}

impl LazySession {
    /// The session a request names with these credentials; with none, an anonymous visitor's. For
    /// transports of your own: the middleware does this for cookies.
    pub fn new(sessions: Sessions, named: Vec<Credential>) -> LazySession {
        LazySession { shared: Arc::new(Shared::new(sessions, named.into())) }
    }

    /// The same, named by the cookie of this name; with what the request shows of a framework that was used
    /// before.
    pub(crate) fn of_cookie(
        sessions: Sessions,
        cookie: Arc<str>,
        named: Credentials,
        old: Credentials,
    ) -> LazySession {
        let shared = Shared { old, cookie: Some(cookie), ..Shared::new(sessions, named) };
        LazySession { shared: Arc::new(shared) }
    }

    /// Loads it, once. Cost: 1 statement; 0 without a cookie, and 0 the second time.
    ///
    /// # Errors
    /// When the store fails. Nothing is then known about the visitor: do not take them for anonymous.
    pub async fn load(&self) -> Result<Session, SessionError> {
        self.shared.load().await?;
        Ok(Session::new(Arc::clone(&self.shared)))
    }

    /// Signs out without reading the session, and returns the fresh, anonymous one that begins here: for what is
    /// to be said ("signed out"), or nothing. Otherwise as [`Session::logout`], also if it was loaded already.
    ///
    /// ```
    /// use sessile::LazySession;
    ///
    /// async fn sign_out(session: LazySession) -> &'static str {
    ///     session.logout();
    ///     "signed out"
    /// }
    /// ```
    ///
    /// Cost: 1 statement in the commit, even if the handler then fails; 0 where the request names no session. One
    /// more where something is stored afterwards.
    pub fn logout(&self) -> Session {
        self.shared.state.lock().end_named(self.is_named());
        // There is nothing left to load. Whoever is just loading it finds that out when done.
        let _ = self.shared.loaded.set(());
        Session::new(Arc::clone(&self.shared))
    }

    /// Whether the request names a session at all, dead or alive. Costs nothing.
    pub fn is_named(&self) -> bool {
        self.shared.is_named()
    }
}

impl Shared {
    /// Whether the cookie of this name is what names it.
    pub(crate) fn is_named_by(&self, cookie: &str) -> bool {
        self.cookie.as_deref() == Some(cookie)
    }

    fn is_named(&self) -> bool {
        !self.named.is_empty() || !self.old.is_empty()
    }
}

impl std::fmt::Debug for LazySession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LazySession").field("is_touched", &self.shared.is_touched()).finish()
    }
}
