//! A session that is loaded when it is asked for, and committed once.

use std::sync::{Arc, OnceLock};

use parking_lot::MutexGuard;
use tokio::sync::OnceCell;

use super::state::{Answer, State};
use super::{Session, SessionError, StateLock};
use crate::engine::{Base, Changes, Credential, Credentials, EngineError, Meta, Renewal, Sessions};
use crate::record::Timestamp;

/// What a request shows, read when somebody asks: most requests never do.
pub(crate) trait Shown: Send + Sync {
    /// The service whose sessions are named.
    fn sessions(&self) -> &Sessions;

    /// What it names.
    fn read(&self) -> Named;

    /// Whether it is the cookie of this name, so that a second layer under the first can tell whether it is the
    /// same.
    fn is_cookie(&self, name: &str) -> bool;
}

/// The sessions that a request names.
pub(crate) struct Named {
    pub(crate) ours: Credentials,
    /// By what it shows of a framework that was used before.
    pub(crate) old: Credentials,
}

impl Named {
    fn is_empty(&self) -> bool {
        self.ours.is_empty() && self.old.is_empty()
    }
}

/// Credentials that were given.
struct Given {
    sessions: Sessions,
    credentials: Credentials,
}

impl Shown for Given {
    fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    fn read(&self) -> Named {
        Named { ours: self.credentials.clone(), old: Credentials::new() }
    }

    fn is_cookie(&self, _: &str) -> bool {
        false
    }
}

/// What all handles of one request share: until somebody asks, only what the request shows.
pub(crate) struct Shared<S: ?Sized = dyn Shown> {
    opened: OnceLock<Opened>,
    pub(crate) shown: S,
}

impl<S: Shown> Shared<S> {
    pub(crate) fn new(shown: S) -> Shared<S> {
        Shared { opened: OnceLock::new(), shown }
    }
}

/// What there is to a session that somebody asked for.
struct Opened {
    named: Named,
    loaded: OnceCell<()>,
    /// One commit at a time: a second one begins where the first one ended.
    committing: tokio::sync::Mutex<()>,
    state: StateLock,
}

impl Opened {
    fn new(named: Named) -> Opened {
        Opened {
            named,
            loaded: OnceCell::new(),
            committing: tokio::sync::Mutex::new(()),
            state: StateLock::new(State::default()),
        }
    }
}

impl Shared {
    pub(crate) fn sessions(&self) -> &Sessions {
        self.shown.sessions()
    }

    fn opened(&self) -> &Opened {
        self.opened.get_or_init(|| Opened::new(self.shown.read()))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.opened().state.lock()
    }

    async fn load(&self) -> Result<(), SessionError> {
        let Opened { named, loaded, .. } = self.opened();
        loaded
            .get_or_try_init(async || {
                let found = self.sessions().find(&named.ours, &named.old).await?;
                self.state().load(found);
                Ok(())
            })
            .await
            .copied()
    }

    /// Whether anybody asked for the session at all. If not, there is nothing to do and nothing to vary.
    pub(crate) fn is_touched(&self) -> bool {
        let touched = |opened: &Opened| opened.loaded.initialized() || opened.state.lock().consulted;
        self.opened.get().is_some_and(touched)
    }

    /// Whether nothing was changed, and no commit is on its way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.state().is_at_rest()
    }

    /// Whether the response has to wait for a renewal; any other that is due is made in the background.
    /// `tells_expiry`: whether the response says until when the session lives.
    pub(crate) fn waits_for_renewal(&self, tells_expiry: bool) -> bool {
        let state = self.state();
        let waits = |base: &Base| {
            matches!(state.answer, Answer::Keep)
                && matches!(self.sessions().renew_later(base, tells_expiry), Renewal::AtOnce)
        };
        state.base.as_deref().is_some_and(waits)
    }

    pub(super) async fn commit(&self) -> Result<(), SessionError> {
        let _turn = self.commit_turn().await;
        self.commit_in_turn().await
    }

    /// Waits until no other commit of this request is on its way.
    pub(super) async fn commit_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.opened().committing.lock().await
    }

    pub(super) async fn commit_in_turn(&self) -> Result<(), SessionError> {
        let (base, changes) = self.state().begin_commit();
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
            let base = self.state().base.clone();
            if let Some(base) = base {
                let renewed = self.sessions().renew(base).await?;
                self.state().settle(renewed);
            }
        }
        Ok(())
    }

    /// The end of a request that failed: data changes and logins are dropped, endings are carried out.
    pub(crate) async fn finish_failed(&self) -> Result<(), SessionError> {
        let _turn = self.opened().committing.lock().await;
        let (base, changes) = self.state().begin_commit();
        self.carry_out(base, changes.endings()).await
    }

    async fn carry_out(&self, base: Option<Arc<Base>>, changes: Changes) -> Result<(), SessionError> {
        let committed = match self.end_others(base.as_deref(), &changes).await {
            Ok(()) => self.sessions().commit(base, &changes).await,
            Err(error) => Err(error),
        };
        let mut state = self.state();
        match committed {
            Ok(committed) => {
                state.settle(committed);
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
            let Named { ours, old } = &self.opened().named;
            let unread: &[Credential] = if base.is_none() { ours } else { &[] };
            let others = old.iter().chain(unread).map(Credential::id);
            for other in others.filter(|&other| Some(other) != loaded) {
                self.sessions().end_unread(other).await?;
            }
        }
        Ok(())
    }

    /// What the cookie must follow. Asked once, when the head is about to leave: also when the last
    /// commit failed, because an earlier one may have given the session its new name.
    pub(crate) fn take_answer(&self) -> Answer {
        std::mem::take(&mut self.state().answer)
    }

    pub(crate) fn consulted(&self) -> bool {
        self.state().consulted
    }

    /// Until when the cookie is to live: for a remembered session, or for every one if `always`, until
    /// the session's own end; otherwise until the browser is closed.
    pub(crate) fn cookie_until(&self, always: bool) -> Option<Timestamp> {
        let state = self.state();
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
        LazySession { shared: Arc::new(Shared::new(Given { sessions, credentials: named.into() })) }
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
        self.shared.state().end_named(self.is_named());
        // There is nothing left to load. Whoever is just loading it finds that out when done.
        let _ = self.shared.opened().loaded.set(());
        Session::new(Arc::clone(&self.shared))
    }

    /// Whether the request names a session at all, dead or alive. Costs nothing.
    pub fn is_named(&self) -> bool {
        !self.shared.opened().named.is_empty()
    }
}

impl std::fmt::Debug for LazySession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LazySession").field("is_touched", &self.shared.is_touched()).finish()
    }
}
