//! A session that is loaded when it is asked for, and committed once.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::MutexGuard;
use tokio::sync::OnceCell;

use super::state::{Answer, State};
use super::{Session, SessionError, StateLock};
use crate::engine::{
    Base, Changes, Committed, Credential, Credentials, Ending, Endings, Renewal, SessionIds, Sessions,
};
use crate::record::SessionId;

/// What a request shows, read when somebody asks: most requests never do.
pub(crate) trait Shown: Send + Sync {
    /// The service whose sessions are named.
    fn sessions(&self) -> &Sessions;

    /// What it names.
    fn read(&self) -> Named;

    /// Whether a session that begins in this request can be given a name.
    ///
    /// # Errors
    /// Why it cannot.
    fn can_name(&self) -> Result<(), SessionError> {
        Ok(())
    }

    /// Whether it is the cookie of this name, so that a second layer under the first can tell whether it is the
    /// same.
    fn is_cookie(&self, name: &str) -> bool;
}

/// The sessions that a request names.
#[derive(Default)]
pub(crate) struct Named {
    pub(crate) ours: Credentials,
    /// By what it shows of a framework that was used before.
    pub(crate) old: Credentials,
}

impl Named {
    fn is_empty(&self) -> bool {
        self.ours.is_empty() && self.old.is_empty()
    }

    fn ids(&self) -> SessionIds {
        self.ours.iter().chain(&self.old).map(Credential::id).collect()
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

/// What all handles of one request share: until the session is asked for, only what the request shows.
pub(crate) struct Shared<S: ?Sized + Shown = dyn Shown> {
    opened: OnceLock<Opened>,
    /// A [`Head`].
    head: AtomicU8,
    pub(crate) shown: S,
}

/// What happened to the response head, which alone can carry a new name of the session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// It has not left yet.
    Waits = 0,
    /// It has left; its body may go on.
    Left = 1,
    /// The request was dropped before its response.
    Dropped = 2,
}

impl<S: Shown> Shared<S> {
    pub(crate) fn new(shown: S) -> Shared<S> {
        Shared { opened: OnceLock::new(), head: AtomicU8::new(Head::Waits as u8), shown }
    }
}

impl<S: ?Sized + Shown> Shared<S> {
    /// The request is over. An ending that is still recorded is carried out in the background.
    pub(crate) fn release(&self, head: Head) {
        self.head.store(head as u8, Ordering::SeqCst);
        self.hand_over();
    }

    pub(super) fn head_is(&self, head: Head) -> bool {
        self.head.load(Ordering::SeqCst) == head as u8
    }

    /// Hands an ending that is recorded to the background, whatever the request does from here on. [S26]
    fn hand_over(&self) {
        let Some(opened) = self.opened.get() else { return };
        let mut state = opened.state.lock();
        if let Some((base, changes)) = state.take_ending() {
            let others = std::mem::take(&mut state.others);
            drop(state);
            drop(endings(self.shown.sessions(), base.as_deref(), &others, &changes));
        }
    }
}

/// The last handle is gone: nothing can be saved any more.
impl<S: ?Sized + Shown> Drop for Shared<S> {
    fn drop(&mut self) {
        self.hand_over();
        let Some(opened) = self.opened.get() else { return };
        if opened.state.lock().changes.is_empty() {
            return;
        }
        if self.head_is(Head::Dropped) {
            tracing::debug!("a request was dropped before its response, its session changes are discarded");
        } else {
            tracing::warn!(
                "session changes are discarded: nothing saved them after the response head had left \
                 (call `Session::save` in streams and websockets)"
            );
        }
    }
}

/// What these changes end: the session that was loaded, then whatever else the request names, then all of the user's.
fn endings(sessions: &Sessions, base: Option<&Base>, others: &[SessionId], changes: &Changes) -> Endings {
    let main = base.filter(|_| changes.ends());
    let others = if changes.ends() || changes.signed_in().is_some() { others } else { &[] };
    let id = base.map(|base| base.record.id());
    let main = main.map(|base| Ending::Logout { id: base.record.id(), user: base.user.clone() });
    let others = others.iter().filter(|other| Some(**other) != id);
    let others = others.map(|&id| Ending::Logout { id, user: None });
    let user = changes.ends_user().map(|user| Ending::User(user.clone()));
    sessions.endings(main.into_iter().chain(others).chain(user))
}

/// What there is to a session that was asked for.
struct Opened {
    named: Named,
    loaded: OnceCell<()>,
    /// One commit at a time: a second one begins where the first one ended.
    committing: tokio::sync::Mutex<()>,
    state: StateLock,
    /// Whether the handler asked if the request names a session, so that the response depends on the cookie.
    asked_named: AtomicBool,
}

impl Opened {
    fn new(named: Named) -> Opened {
        Opened {
            loaded: OnceCell::new(),
            committing: tokio::sync::Mutex::new(()),
            state: StateLock::new(State::of(named.ids())),
            asked_named: AtomicBool::new(false),
            named,
        }
    }

    /// Whether the response depends on what the request shows.
    fn is_consulted(&self) -> bool {
        self.asked_named.load(Ordering::Relaxed) || self.state.lock().consulted
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
        let touched = |opened: &Opened| opened.loaded.initialized() || opened.is_consulted();
        self.opened.get().is_some_and(touched)
    }

    /// Records an ending; where the head has left, no commit follows by itself, so the background carries it out.
    pub(super) fn end(&self, end: impl FnOnce(&mut State)) {
        end(&mut self.state());
        if !self.head_is(Head::Waits) {
            self.hand_over();
        }
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

    /// Whether the response can still give the session a new name.
    pub(super) fn has_head(&self) -> bool {
        self.head_is(Head::Waits)
    }

    pub(super) async fn commit_in_turn(&self) -> Result<(), SessionError> {
        let has_head = self.has_head();
        let (base, changes) = {
            let mut state = self.state();
            if !has_head && state.needs_name() {
                return Err(SessionError::HeadLeft);
            }
            state.begin_commit(has_head)
        };
        self.carry_out(base, changes).await
    }

    /// Ends a request that succeeded: commits, or moves the expiry forward when that is due. Dropped in the middle,
    /// as the request is dropped, its endings go to the background.
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
        let (base, changes) = self.state().begin_commit(true);
        self.carry_out(base, changes.endings()).await
    }

    /// Makes the changes, and ends what they end: the main session first. A logout is done only when all of it is; of
    /// a sign-in the rest is left to the background where it fails. Dropped in the middle, the endings are carried
    /// out in the background.
    ///
    /// Cost: that of the commit; 1 statement for each other session that the request names, if it signs in or out.
    async fn carry_out(&self, base: Option<Arc<Base>>, changes: Changes) -> Result<(), SessionError> {
        let others = std::mem::take(&mut self.state().others);
        let mut endings = endings(self.sessions(), base.as_deref(), &others, &changes);
        if base.is_none() && changes.ends() {
            return self.end_unread(endings, changes).await;
        }
        let ends_main = changes.ends();
        let committed = match self.commit_onto(base, &changes).await {
            Ok(committed) => committed,
            Err(error) => {
                // They are recorded still, and so are all other changes.
                endings.withdraw();
                let mut state = self.state();
                state.others = others;
                state.abandon_commit(changes);
                return Err(error);
            }
        };
        if ends_main {
            endings.first_is_done();
        }
        if let (Committed::Named(credential, _), true) = (&committed, changes.signed_in().is_some()) {
            endings.keep(credential.id());
        }
        let ends = changes.ends();
        self.settle(committed, changes, others);
        match endings.carry_out().await {
            Err(error) if ends => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A logout of sessions that were not loaded, or of which none counts: first they end, then what follows begins.
    async fn end_unread(&self, endings: Endings, changes: Changes) -> Result<(), SessionError> {
        let committed = match endings.carry_out().await {
            Ok(_) => self.commit_onto(None, &changes).await,
            Err(error) => Err(error.into()),
        };
        match committed {
            Ok(committed) => {
                self.settle(committed, changes, SessionIds::new());
                Ok(())
            }
            Err(error) => {
                self.state().abandon_commit(changes);
                Err(error)
            }
        }
    }

    fn settle(&self, committed: Committed, changes: Changes, others: SessionIds) {
        let mut state = self.state();
        if !changes.ends() && changes.signed_in().is_none() {
            state.others = others;
        }
        state.settle(committed);
        if state.base.is_none() {
            // There was nowhere to note a setting such as "remember me": it waits for a row.
            state.abandon_commit(changes.after_end());
        }
    }

    async fn commit_onto(
        &self,
        base: Option<Arc<Base>>,
        changes: &Changes,
    ) -> Result<Committed, SessionError> {
        if let (None, Err(cannot)) = (&base, self.shown.can_name())
            && self.sessions().begins(changes)?
        {
            return Err(cannot);
        }
        Ok(self.sessions().commit(base, changes).await?)
    }

    pub(crate) fn consulted(&self) -> bool {
        self.opened().is_consulted()
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
        self.shared.end(State::end);
        // There is nothing left to load. A load that is under way finds that out when it is done.
        let _ = self.shared.opened().loaded.set(());
        Session::new(Arc::clone(&self.shared))
    }

    /// Whether the request names a session at all, dead or alive. Costs nothing. The response then depends on the
    /// cookie, and says so with `Vary: Cookie`.
    pub fn is_named(&self) -> bool {
        let opened = self.shared.opened();
        opened.asked_named.store(true, Ordering::Relaxed);
        !opened.named.is_empty()
    }
}

impl std::fmt::Debug for LazySession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LazySession").field("is_touched", &self.shared.is_touched()).finish()
    }
}
