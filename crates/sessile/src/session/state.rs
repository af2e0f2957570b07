//! What one request knows of its session, and what it did to it.

use crate::engine::{Base, Changes, Committed, Credential, Policy};
use crate::record::{SessionData, UserId};

/// What the cookie must follow when the response leaves.
#[derive(Debug, Default)]
pub(crate) enum Answer {
    /// The browser has the right cookie.
    #[default]
    Keep,
    /// The session has a new name, or a persistent cookie a new date.
    Set(Credential),
    /// The session ended.
    Remove,
}

/// The request's view: what was loaded, with the changes applied.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The name under which the browser knows the session.
    pub(crate) credential: Option<Credential>,
    /// What was loaded, or last committed.
    pub(crate) base: Option<Base>,
    /// The data as the handler sees it.
    pub(crate) data: SessionData,
    /// The user as the handler sees it.
    pub(crate) user: Option<UserId>,
    /// What was done since `base`.
    pub(crate) changes: Changes,
    /// What the cookie must follow, from commits so far.
    pub(crate) answer: Answer,
    /// Whether the handler looked at the session, so that the response depends on the cookie.
    pub(crate) consulted: bool,
}

impl State {
    /// Takes in what was found in the store.
    pub(crate) fn load(&mut self, found: Option<(Credential, Base)>) {
        self.consulted = true;
        if let Some((credential, base)) = found {
            self.credential = Some(credential);
            self.rest_on(base);
        }
    }

    fn rest_on(&mut self, base: Base) {
        self.data = base.data.clone();
        self.user = base.user.clone();
        self.base = Some(base);
        self.changes = Changes::new();
    }

    /// Takes in what a commit did.
    pub(crate) fn settle(&mut self, committed: Committed, policy: &Policy) {
        match committed {
            Committed::Unchanged => self.changes = Changes::new(),
            Committed::Named(credential, record) => {
                self.answer = Answer::Set(credential.clone());
                self.credential = Some(credential);
                self.rest_on(Base::of(record, policy));
            }
            Committed::Updated(record) => {
                let moved =
                    self.base.as_ref().is_none_or(|base| base.record.expires_at() != record.expires_at());
                self.rest_on(Base::of(record, policy));
                // Only a persistent cookie carries a date, and only the writer of cookies knows; it leaves
                // a cookie for the browser's session alone.
                if moved && matches!(self.answer, Answer::Keep) {
                    self.answer = self.credential.clone().map_or(Answer::Keep, Answer::Set);
                }
            }
            Committed::Ended => {
                *self = State { answer: Answer::Remove, consulted: true, ..State::default() };
            }
        }
    }

    /// Ends what there is; what follows is a fresh session.
    pub(crate) fn end(&mut self) {
        if self.base.is_some() {
            self.changes.end();
        } else {
            self.changes = Changes::new();
        }
        self.data = SessionData::new();
        self.user = None;
    }

    /// Whether a session exists, or will when the response leaves.
    pub(crate) fn exists(&self) -> bool {
        (self.base.is_some() && !self.changes.ends()) || self.user.is_some() || !self.data.is_empty()
    }
}
