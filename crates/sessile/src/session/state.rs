//! What one request knows of its session, and what it did to it.

use std::mem;
use std::sync::Arc;

use crate::engine::{Base, Changes, Committed, Credential, Meta, SessionIds, Sighting};
use crate::record::{DataError, SessionData, UserId};

/// What the cookie must follow when the response leaves.
#[derive(Debug, Default)]
pub(crate) enum Answer {
    /// The browser has the right cookie.
    #[default]
    Keep,
    /// The session has a new name, or is remembered from now on, or no longer.
    Set(Credential),
    /// The session ends later than before: a cookie with a date needs a new one.
    Renew(Credential),
    /// The session ended.
    Remove,
}

/// The request's view: what was loaded, with the changes applied.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The name under which the browser knows the session.
    pub(crate) credential: Option<Credential>,
    /// What was loaded, or last committed.
    pub(crate) base: Option<Arc<Base>>,
    /// The data as the handler sees it.
    pub(crate) data: SessionData,
    /// The user as the handler sees it.
    pub(crate) user: Option<UserId>,
    /// What was done since `base`, or since the commit that is on its way.
    pub(crate) changes: Changes,
    /// Whether a commit is on its way, after which `base` is another one.
    committing: bool,
    /// What the cookie must follow, from commits so far.
    pub(crate) answer: Answer,
    /// Whether the handler looked at the session, so that the response depends on the cookie.
    pub(crate) consulted: bool,
    /// Whether the request names a session, dead or alive.
    is_named: bool,
    /// Sessions beside `base` that the request names and that may be live.
    pub(crate) others: SessionIds,
}

impl State {
    /// Of a request that names these sessions.
    pub(crate) fn of(named: SessionIds) -> State {
        State { is_named: !named.is_empty(), others: named, ..State::default() }
    }

    /// Takes in what was found in the store; nothing of it where the session has ended in the meantime.
    pub(crate) fn load(&mut self, sighting: Sighting) {
        if self.consulted {
            return;
        }
        self.consulted = true;
        self.others = sighting.others;
        if let Some((credential, base)) = sighting.found {
            self.credential = Some(credential);
            self.data = base.data.clone();
            self.user = base.user.clone();
            self.base = Some(base);
        }
    }

    /// Takes a key out whose value is given to the handler.
    pub(crate) fn take(&mut self, key: &str) {
        self.changes.take(key, &self.data, self.base.as_deref().map(|base| &base.data));
        self.data.remove(key);
    }

    /// Whether there is nothing to commit, and no commit on its way.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.committing && self.changes.is_empty()
    }

    /// Hands the changes over to a commit. Later changes are recorded for the next one. `has_head`: whether the
    /// response can still give the session a new name.
    pub(crate) fn begin_commit(&mut self, has_head: bool) -> (Option<Arc<Base>>, Changes) {
        self.committing = true;
        if has_head
            && matches!(self.credential, Some(Credential::Old(_)))
            && !self.changes.is_empty()
            && !self.changes.ends()
        {
            // The moment to leave the old cookie behind: the row is written anyway.
            self.changes.rotate();
        }
        (self.base.clone(), mem::take(&mut self.changes))
    }

    /// Hands over a commit that takes one key out of the row and does nothing else, except that it leaves an old
    /// cookie behind.
    pub(crate) fn begin_taking(&mut self, key: &str, has_head: bool) -> Option<(Arc<Base>, Changes)> {
        let base = self.base.clone()?;
        let mut changes = Changes::new();
        changes.take(key, &self.data, None);
        if has_head && matches!(self.credential, Some(Credential::Old(_))) {
            changes.rotate();
        }
        self.committing = true;
        Some((base, changes))
    }

    /// Rests on a newer row, and shows what that holds under one key.
    pub(crate) fn show(&mut self, key: &str, newest: Base) -> Result<(), DataError> {
        match newest.data.value(key) {
            Some(text) => self.data.insert_text(key, text)?,
            None => drop(self.data.remove(key)),
        }
        self.rest_on(Arc::new(newest));
        Ok(())
    }

    /// Takes the changes of a commit that failed back, before those that were made meanwhile.
    pub(crate) fn abandon_commit(&mut self, changes: Changes) {
        self.committing = false;
        let later = mem::take(&mut self.changes);
        self.changes = changes.followed_by(later);
    }

    /// Takes in what a commit did.
    pub(crate) fn settle(&mut self, committed: Committed) {
        self.committing = false;
        match committed {
            Committed::Unchanged => {}
            Committed::Named(credential, base) => {
                self.answer = Answer::Set(credential.clone());
                self.credential = Some(credential);
                self.rest_on(base);
            }
            Committed::Updated(base) => {
                let before = self.base.take();
                self.answer = match (mem::take(&mut self.answer), &self.credential, before) {
                    (answer @ (Answer::Keep | Answer::Renew(_)), Some(credential), Some(before)) => {
                        follow(credential, &before, &base).unwrap_or(answer)
                    }
                    (answer, ..) => answer,
                };
                self.rest_on(base);
            }
            Committed::Ended => {
                self.answer = Answer::Remove;
                self.credential = None;
                self.base = None;
                self.view(SessionData::new(), None);
            }
        }
    }

    fn rest_on(&mut self, base: Arc<Base>) {
        self.view(base.data.clone(), base.user.clone());
        self.base = Some(base);
    }

    /// Shows these, with what was done since the commit began.
    fn view(&mut self, data: SessionData, user: Option<UserId>) {
        if self.changes.is_empty() {
            (self.data, self.user) = (data, user);
        }
        // Otherwise the handler has gone on: it sees its own changes, and the next commit merges them.
    }

    /// Ends every session that the request names, read or not; what follows is a fresh session.
    pub(crate) fn end(&mut self) {
        self.consulted = true;
        if self.is_named || self.base.is_some() || self.committing || self.changes.ends() {
            self.changes.end();
        } else {
            self.changes = Changes::new();
        }
        self.data = SessionData::new();
        self.user = None;
    }

    /// Does the same, and ends all sessions of the user who is signed in.
    pub(crate) fn end_everywhere(&mut self) {
        let user = self.user.take();
        self.end();
        if user.is_some() {
            self.changes.end_everywhere(user);
        }
    }

    /// Whether the commit of the changes would give the session a new name.
    pub(crate) fn needs_name(&self) -> bool {
        self.changes.renames() || (self.base.is_none() && !self.data.is_empty())
    }

    /// Takes the ending out, and all that was done after it. Nothing is left of the session.
    pub(crate) fn take_ending(&mut self) -> Option<(Option<Arc<Base>>, Changes)> {
        if !self.changes.ends() {
            return None;
        }
        self.credential = None;
        Some((self.base.take(), mem::take(&mut self.changes)))
    }

    /// Whether a session exists, or will when the response leaves.
    pub(crate) fn exists(&self) -> bool {
        (self.base.is_some() && !self.changes.ends()) || self.user.is_some() || !self.data.is_empty()
    }
}

/// What becomes of the cookie when the row changed under its name; `None`: nothing more than before.
fn follow(credential: &Credential, before: &Base, after: &Base) -> Option<Answer> {
    if Meta::of(&before.data).remember() != Meta::of(&after.data).remember() {
        Some(Answer::Set(credential.clone()))
    } else if before.record.expires_at() != after.record.expires_at() {
        Some(Answer::Renew(credential.clone()))
    } else {
        None
    }
}
