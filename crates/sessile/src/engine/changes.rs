//! What one request did to a session: a list of operations, not a new blob.
//!
//! Operations are replayed onto the newest data, so two requests that change different keys both
//! win, and an [`update`](Changes::update) counts every time. This file knows no store.

use std::fmt;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use super::meta::Meta;
use crate::record::{DataError, SessionData, Timestamp, UserId, ValueText, json};

/// Makes a key's new JSON text from the one that is there; `None` on either side means no such key.
pub(crate) type UpdateValue = Arc<dyn Fn(Option<&str>) -> Result<Option<ValueText>, DataError> + Send + Sync>;

/// One operation on the data.
#[derive(Clone)]
enum Operation {
    Set {
        key: Arc<str>,
        text: ValueText,
    },
    Remove {
        key: Arc<str>,
    },
    Update {
        key: Arc<str>,
        apply: UpdateValue,
    },
    /// All keys of the handler; what sessile remembers stays.
    Clear,
    /// Everything: the data belonged to somebody else.
    Drop,
    /// All of it at once, for a session that begins.
    Begin(SessionData),
    Remember(bool),
    Device(Arc<str>),
    IdleTimeout(Option<Duration>),
}

/// A sign-in: who, and since when.
#[derive(Debug, Clone)]
pub(crate) struct SignIn {
    pub(crate) user: UserId,
    /// lback's `user_type`, which it keeps beside the id.
    pub(crate) user_type: Option<Arc<str>>,
    /// Whether the user has just shown who they are, so that the session may say since when.
    pub(crate) authenticated: bool,
}

/// What one request did to a session.
///
/// In the order it was done: after [`end`](Self::end) the rest describes a fresh session.
#[derive(Clone, Default)]
pub struct Changes {
    operations: Vec<Operation>,
    /// The session that was loaded ends.
    ends: bool,
    /// So do all sessions of this user.
    ends_user: Option<UserId>,
    rotates: bool,
    sign_in: Option<SignIn>,
    changes_lifetime: bool,
    /// A row is wanted even if there is nothing to put into it.
    keeps_empty: bool,
    /// The first expiry of a new row, where it is not the policy's.
    expires_in: Option<Duration>,
}

impl Changes {
    /// Nothing yet.
    pub fn new() -> Changes {
        Changes::default()
    }

    /// Sets a key.
    pub(crate) fn set(&mut self, key: &str, text: ValueText) {
        self.forget(key);
        self.operations.push(Operation::Set { key: key.into(), text });
    }

    /// Gives a session that begins all its data, with keys that no `&str` can name.
    pub(crate) fn begin_with(&mut self, data: SessionData) -> Result<(), DataError> {
        if data.meta_raw().is_some() {
            return Err(DataError::Reserved);
        }
        json::check(&data.to_text()).map_err(DataError::NotJson)?;
        if !data.is_empty() {
            self.operations.push(Operation::Begin(data));
        }
        Ok(())
    }

    /// Sets a key to a JSON text, as it stands.
    ///
    /// # Errors
    /// When the text is not one JSON value, or the key is reserved.
    pub fn set_raw(&mut self, key: &str, text: &str) -> Result<(), DataError> {
        let text = ValueText::checked(key, text)?;
        // The place that stores it is also the one that knows which keys it takes.
        SessionData::new().insert_text(key, text.clone())?;
        self.set(key, text);
        Ok(())
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) {
        self.forget(key);
        self.operations.push(Operation::Remove { key: key.into() });
    }

    /// Changes a key from what it then is, as often as the merge is tried again.
    pub(crate) fn update(&mut self, key: &str, apply: UpdateValue) {
        self.operations.push(Operation::Update { key: key.into(), apply });
    }

    /// Removes all keys.
    pub fn clear(&mut self) {
        self.operations.retain(|operation| operation.is_wish() || matches!(operation, Operation::Drop));
        self.operations.push(Operation::Clear);
    }

    /// Keeps the session, and its cookie, for the longer lifetimes of "remember me", or no longer.
    pub fn remember(&mut self, remember: bool) {
        self.wish(Operation::Remember(remember));
        self.changes_lifetime = true;
    }

    /// Gives this session an idle timeout of its own; `None` goes back to the policy's.
    pub fn idle_timeout(&mut self, idle: Option<Duration>) {
        self.wish(Operation::IdleTimeout(idle));
        self.changes_lifetime = true;
    }

    /// Notes where the session is, for the user's own list of sessions.
    pub fn device(&mut self, label: &str) {
        self.wish(Operation::Device(label.into()));
    }

    /// The last of its kind counts. Made too, the ones before could leave the same things in another order, which
    /// would be written though nothing has changed.
    fn wish(&mut self, wish: Operation) {
        self.operations.retain(|earlier| discriminant(earlier) != discriminant(&wish));
        self.operations.push(wish);
    }

    /// Gives the session a new name; the old one is dead.
    pub(crate) fn rotate(&mut self) {
        self.rotates = true;
    }

    /// Signs in. `keeps_data` tells whether what is there may go along.
    pub(crate) fn sign_in(&mut self, sign_in: SignIn, keeps_data: bool) {
        if !keeps_data {
            // Also what was wished for it: "remember me" was somebody else's wish.
            self.operations.clear();
            self.operations.push(Operation::Drop);
        }
        self.changes_lifetime = true;
        self.sign_in = Some(sign_in);
    }

    /// Ends the session; what follows describes a fresh one.
    pub fn end(&mut self) {
        *self = Changes { ends: true, ends_user: self.ends_user.take(), ..Changes::default() };
    }

    /// Ends the session and all sessions of the user; what follows describes a fresh one.
    pub(crate) fn end_everywhere(&mut self, user: Option<UserId>) {
        self.end();
        self.ends_user = user.or(self.ends_user.take());
    }

    pub(crate) fn ends_user(&self) -> Option<&UserId> {
        self.ends_user.as_ref()
    }

    /// Asks for a row even if it stays empty and anonymous: only the tool wants one.
    pub(crate) fn keep_empty(&mut self) {
        self.keeps_empty = true;
    }

    /// Gives a new row this long at first, whatever the policy says; renewals follow the policy.
    pub(crate) fn expire_in(&mut self, first: Option<Duration>) {
        self.expires_in = first;
    }

    pub(crate) fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    pub(crate) fn keeps_empty(&self) -> bool {
        self.keeps_empty
    }

    /// These changes and then those, as one list.
    #[must_use]
    pub(crate) fn followed_by(mut self, later: Changes) -> Changes {
        if later.ends {
            return Changes { ends_user: later.ends_user.clone().or(self.ends_user), ..later };
        }
        let Changes {
            operations,
            ends: _,
            ends_user: _,
            rotates,
            sign_in,
            changes_lifetime,
            keeps_empty,
            expires_in,
        } = later;
        self.operations.extend(operations);
        self.rotates |= rotates;
        self.sign_in = sign_in.or(self.sign_in);
        self.changes_lifetime |= changes_lifetime;
        self.keeps_empty |= keeps_empty;
        self.expires_in = expires_in.or(self.expires_in);
        self
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        !self.ends
            && !self.rotates
            && self.sign_in.is_none()
            && self.operations.is_empty()
            && !self.keeps_empty
    }

    /// Only the ending, if there is one: what is left of them when a request fails.
    #[must_use]
    pub(crate) fn endings(&self) -> Changes {
        Changes { ends: self.ends, ends_user: self.ends_user.clone(), ..Changes::default() }
    }

    /// What is left to do once the ending is done.
    #[must_use]
    pub(crate) fn after_end(self) -> Changes {
        Changes { ends: false, ends_user: None, ..self }
    }

    pub(crate) fn ends(&self) -> bool {
        self.ends
    }

    pub(crate) fn renames(&self) -> bool {
        self.rotates || self.sign_in.is_some()
    }

    pub(crate) fn signed_in(&self) -> Option<&SignIn> {
        self.sign_in.as_ref()
    }

    pub(crate) fn changes_lifetime(&self) -> bool {
        self.changes_lifetime
    }

    pub(crate) fn changes_data(&self) -> bool {
        !self.operations.is_empty()
    }

    /// Replays the operations onto `data`.
    pub(crate) fn apply_to(&self, data: &mut SessionData, now: Timestamp) -> Result<(), DataError> {
        for operation in &self.operations {
            operation.apply_to(data)?;
        }
        if self.sign_in.as_ref().is_some_and(|sign_in| sign_in.authenticated) {
            edit_meta(data, |meta| meta.set_authenticated_at(Some(now)));
        }
        Ok(())
    }

    /// A later operation on a key makes the earlier ones on it pointless.
    fn forget(&mut self, key: &str) {
        self.operations.retain(|operation| match operation {
            Operation::Set { key: other, .. }
            | Operation::Remove { key: other }
            | Operation::Update { key: other, .. } => **other != *key,
            _ => true,
        });
    }
}

impl Operation {
    /// Whether it is about the session itself and not about what is stored in it.
    fn is_wish(&self) -> bool {
        matches!(self, Operation::Remember(_) | Operation::Device(_) | Operation::IdleTimeout(_))
    }

    fn apply_to(&self, data: &mut SessionData) -> Result<(), DataError> {
        match self {
            Operation::Set { key, text } => data.insert_text(key, text.clone())?,
            Operation::Remove { key } => drop(data.remove(key)),
            Operation::Update { key, apply } => match apply(data.raw(key))? {
                Some(text) => data.insert_text(key, text)?,
                None => drop(data.remove(key)),
            },
            Operation::Clear => data.clear(),
            Operation::Drop => *data = SessionData::new(),
            Operation::Begin(begun) => *data = begun.clone(),
            Operation::Remember(remember) => edit_meta(data, |meta| meta.set_remember(*remember)),
            Operation::Device(label) => edit_meta(data, |meta| meta.set_device(label)),
            Operation::IdleTimeout(idle) => edit_meta(data, |meta| meta.set_idle_timeout(*idle)),
        }
        Ok(())
    }
}

fn edit_meta(data: &mut SessionData, edit: impl FnOnce(&mut Meta)) {
    let mut meta = Meta::of(data);
    edit(&mut meta);
    meta.store_in(data);
}

/// What kinds of operations, without keys and values.
impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("operations", &self.operations.len())
            .field("ends", &self.ends)
            .field("rotates", &self.rotates)
            .field("signs_in", &self.sign_in.is_some())
            .finish()
    }
}
