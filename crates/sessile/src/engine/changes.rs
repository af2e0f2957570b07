//! What one request did to a session: at most one entry for each key, not a new blob.
//!
//! The entries are replayed onto the newest data, so two requests that change different keys both
//! win, and an [`update`](Changes::update) counts every time. The order of the keys after a replay is the order
//! that the handler saw. This file knows no store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::EngineError;
use super::meta::Meta;
use crate::record::{DataError, ListItem, Ordered, ReadKey, SessionData, Timestamp, UserId, ValueText, json};

/// Makes a key's new JSON text from the one that is there; `None` on either side means no such key.
pub(crate) type UpdateValue = Arc<dyn Fn(Option<&str>) -> Result<Option<ValueText>, DataError> + Send + Sync>;

/// A change that depends on what a key holds, so that it runs again after a conflict.
#[derive(Clone)]
pub(crate) enum Step {
    Update(UpdateValue),
    /// Appends to a list. Another kind of value is an error, or is replaced if `replaces_others`.
    Append {
        item: ListItem,
        replaces_others: bool,
    },
}

/// What becomes of one key.
#[derive(Clone)]
struct KeyChange {
    key: Arc<str>,
    /// Removes the key first, so that what follows puts it last.
    removes: bool,
    /// Sets the key.
    value: Option<ValueText>,
    /// Then these, in this order.
    steps: Vec<Step>,
    /// Whether one of the steps left no value and a later one made one again, which put the key last.
    returns: bool,
}

/// What becomes of the data that is there, before the keys are changed.
#[derive(Clone, Default)]
enum Start {
    #[default]
    Keep,
    /// All keys of the handler are removed; what sessile remembers stays.
    Clear,
    /// Everything is removed: the data belonged to somebody else.
    Drop,
    /// All of it at once, for a session that begins.
    Begin(SessionData),
}

/// What is to be noted about the session itself: the last of each kind.
#[derive(Clone, Default)]
struct Notes {
    remember: Option<bool>,
    device: Option<Arc<str>>,
    idle_timeout: Option<Option<Duration>>,
    /// How often the CSRF token was made void.
    csrf_voided: u64,
}

/// A value that was taken out: the row must still hold it.
#[derive(Clone)]
struct Taken {
    key: Arc<str>,
    text: Box<str>,
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
    start: Start,
    /// In the order in which new keys are to stand.
    keys: Ordered<KeyChange>,
    /// Keys to remove that no `&str` can name.
    unnamed: Vec<Box<[u8]>>,
    notes: Notes,
    taken: Vec<Taken>,
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

    /// Sets a key. `is_there`: whether the handler sees the key, which then keeps its place among the others.
    pub(crate) fn set(&mut self, key: &str, text: ValueText, is_there: bool) {
        match self.position(key) {
            Some(position) if is_there => {
                if let Some(change) = self.keys.get_mut(position) {
                    change.set(text, Vec::new());
                }
            }
            Some(position) => {
                self.keys.remove(position, read_key());
                self.append(KeyChange { removes: true, value: Some(text), ..KeyChange::of(key) });
            }
            None => self.append(KeyChange { value: Some(text), ..KeyChange::of(key) }),
        }
    }

    /// Gives a session that begins all its data, with keys that no `&str` can name.
    pub(crate) fn begin_with(&mut self, data: SessionData) -> Result<(), DataError> {
        if data.meta_raw().is_some() {
            return Err(DataError::Reserved);
        }
        json::check(&data.to_text()).map_err(DataError::NotJson)?;
        if !data.is_empty() {
            self.start = Start::Begin(data);
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
        let is_removed = self.change_of(key).is_some_and(KeyChange::only_removes);
        self.set(key, text, !is_removed);
        Ok(())
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) {
        let removal = KeyChange { removes: true, ..KeyChange::of(key) };
        match self.position(key) {
            Some(position) => {
                if let Some(change) = self.keys.get_mut(position) {
                    *change = removal;
                }
            }
            None => self.append(removal),
        }
    }

    /// Removes a key that no `&str` can name.
    pub(crate) fn remove_unnamed(&mut self, key: Box<[u8]>) {
        self.unnamed.push(key);
    }

    /// Removes a key whose value is given to the caller, so that the commit fails if the row does not hold that
    /// value any more. `seen` is the data that the handler sees, `row` what the row held.
    pub(crate) fn take(&mut self, key: &str, seen: &SessionData, row: Option<&SessionData>) {
        let text = match self.change_of(key) {
            _ if !matches!(self.start, Start::Keep) => None,
            None => seen.raw(key),
            Some(change) if change.is_own() => None,
            Some(_) => row.and_then(|row| row.raw(key)),
        };
        if let Some(text) = text {
            self.taken.push(Taken { key: key.into(), text: text.into() });
        }
        self.remove(key);
    }

    /// Changes a key from what it then is, as often as the merge is tried again. `is_there`: as in
    /// [`set`](Self::set).
    pub(crate) fn update(&mut self, key: &str, step: Step, is_there: bool) {
        match self.position(key) {
            Some(position) if is_there => {
                if let Some(change) = self.keys.get_mut(position) {
                    change.steps.push(step);
                }
            }
            Some(position) => {
                if let Some(mut change) = self.keys.remove(position, read_key()) {
                    change.steps.push(step);
                    change.returns = true;
                    self.append(change);
                }
            }
            None => self.append(KeyChange { steps: vec![step], ..KeyChange::of(key) }),
        }
    }

    /// Removes all keys.
    pub fn clear(&mut self) {
        self.forget_keys();
        self.start = match self.start {
            Start::Drop | Start::Begin(_) => Start::Drop,
            Start::Keep | Start::Clear => Start::Clear,
        };
    }

    fn forget_keys(&mut self) {
        self.keys = Ordered::default();
        self.unnamed.clear();
    }

    /// Keeps the session, and its cookie, for the longer lifetimes of "remember me", or no longer.
    pub fn remember(&mut self, remember: bool) {
        self.notes.remember = Some(remember);
        self.changes_lifetime = true;
    }

    /// Gives this session an idle timeout of its own, rounded up to whole seconds and at least one; `None` goes
    /// back to the policy's.
    pub fn idle_timeout(&mut self, idle: Option<Duration>) {
        self.notes.idle_timeout = Some(idle);
        self.changes_lifetime = true;
    }

    /// Notes where the session is, for the user's own list of sessions.
    pub fn device(&mut self, label: &str) {
        self.notes.device = Some(label.into());
    }

    /// Makes the CSRF tokens void that were derived so far.
    pub(crate) fn void_csrf(&mut self) {
        self.notes.csrf_voided += 1;
    }

    /// Gives the session a new name; the old one is dead.
    pub(crate) fn rotate(&mut self) {
        self.rotates = true;
    }

    /// Signs in. `keeps_data` tells whether what is there may go along. Notes that were made before do not: they
    /// were the choice of whoever used the session until now.
    pub(crate) fn sign_in(&mut self, sign_in: SignIn, keeps_data: bool) {
        if !keeps_data {
            self.forget_keys();
            self.start = Start::Drop;
        }
        self.notes = Notes::default();
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
        match later.start {
            Start::Keep => {}
            Start::Clear => self.clear(),
            start @ (Start::Drop | Start::Begin(_)) => {
                self.forget_keys();
                self.start = start;
            }
        }
        later.keys.into_iter().for_each(|change| self.followed_by_change(change));
        self.unnamed.extend(later.unnamed);
        self.taken.extend(later.taken);
        if later.sign_in.is_some() {
            self.notes = Notes::default();
        }
        self.notes = self.notes.followed_by(later.notes);
        self.rotates |= later.rotates;
        self.sign_in = later.sign_in.or(self.sign_in);
        self.changes_lifetime |= later.changes_lifetime;
        self.keeps_empty |= later.keeps_empty;
        self.expires_in = later.expires_in.or(self.expires_in);
        self
    }

    fn followed_by_change(&mut self, later: KeyChange) {
        let Some(position) = self.position(&later.key) else { return self.append(later) };
        if later.removes && !later.only_removes() {
            self.keys.remove(position, read_key());
            return self.append(later);
        }
        let Some(mut change) = self.keys.get(position).cloned() else { return };
        let moves = later.returns;
        if later.only_removes() {
            change = later;
        } else if let Some(text) = later.value {
            change.set(text, later.steps);
        } else {
            change.steps.extend(later.steps);
            change.returns |= later.returns;
        }
        if moves {
            self.keys.remove(position, read_key());
            self.append(change);
        } else if let Some(there) = self.keys.get_mut(position) {
            *there = change;
        }
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        !self.ends && !self.rotates && self.sign_in.is_none() && !self.changes_data() && !self.keeps_empty
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
        !matches!(self.start, Start::Keep)
            || !self.keys.is_empty()
            || !self.unnamed.is_empty()
            || self.notes.are_any()
    }

    /// Whether the key holds what this request put there, whatever the row holds.
    pub(crate) fn sets(&self, key: &str) -> bool {
        !matches!(self.start, Start::Keep) || self.change_of(key).is_some_and(KeyChange::is_own)
    }

    /// Whether this request changed the key.
    pub(crate) fn touches(&self, key: &str) -> bool {
        !matches!(self.start, Start::Keep) || self.change_of(key).is_some()
    }

    /// Refuses a row that does not hold every value that was taken out of it.
    pub(crate) fn check_taken(&self, row: &SessionData) -> Result<(), EngineError> {
        let gone = self.taken.iter().find(|taken| row.raw(&taken.key) != Some(&*taken.text));
        gone.map_or(Ok(()), |taken| Err(EngineError::AlreadyTaken { key: taken.key.as_ref().into() }))
    }

    /// Replays the changes onto `data`.
    pub(crate) fn apply_to(&self, data: &mut SessionData, now: Timestamp) -> Result<(), DataError> {
        match &self.start {
            Start::Keep => {}
            Start::Clear => data.clear(),
            Start::Drop => *data = SessionData::new(),
            Start::Begin(begun) => *data = begun.clone(),
        }
        self.unnamed.iter().for_each(|key| data.remove_unnamed(key));
        for change in self.keys.iter() {
            change.apply_to(data)?;
        }
        if self.sign_in.is_some() || self.notes.are_any() {
            let mut meta = Meta::of(data);
            if let Some(sign_in) = &self.sign_in {
                meta.begin_login(sign_in.authenticated.then_some(now));
            }
            self.notes.apply_to(&mut meta);
            meta.store_in(data);
        }
        Ok(())
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.keys.find(key.as_bytes(), |change| *change.key == *key)
    }

    fn change_of(&self, key: &str) -> Option<&KeyChange> {
        self.keys.get(self.position(key)?)
    }

    fn append(&mut self, change: KeyChange) {
        let key = Arc::clone(&change.key);
        self.keys.push(key.as_bytes(), change, read_key());
    }
}

fn read_key() -> impl ReadKey<KeyChange> {
    |change: &KeyChange, use_key: &mut dyn FnMut(&[u8])| use_key(change.key.as_bytes())
}

impl KeyChange {
    fn of(key: &str) -> KeyChange {
        KeyChange { key: key.into(), removes: false, value: None, steps: Vec::new(), returns: false }
    }

    /// Sets the key from here on, where the handler sees it.
    fn set(&mut self, text: ValueText, steps: Vec<Step>) {
        self.removes |= self.returns;
        (self.value, self.steps, self.returns) = (Some(text), steps, false);
    }

    fn only_removes(&self) -> bool {
        self.removes && self.value.is_none() && self.steps.is_empty()
    }

    /// Whether the outcome does not depend on what the row holds.
    fn is_own(&self) -> bool {
        self.removes || self.value.is_some()
    }

    fn apply_to(&self, data: &mut SessionData) -> Result<(), DataError> {
        if self.removes {
            data.remove(&self.key);
        }
        if let Some(text) = &self.value {
            data.insert_text(&self.key, text.clone())?;
        }
        self.steps.iter().try_for_each(|step| step.apply_to(&self.key, data))
    }
}

impl Step {
    pub(crate) fn apply_to(&self, key: &str, data: &mut SessionData) -> Result<(), DataError> {
        match self {
            Step::Append { item, replaces_others } => data.append(key, item, *replaces_others)?,
            Step::Update(apply) => match apply(data.raw(key))? {
                Some(text) => data.insert_text(key, text)?,
                None => drop(data.remove(key)),
            },
        }
        Ok(())
    }
}

impl Notes {
    fn are_any(&self) -> bool {
        let Notes { remember, device, idle_timeout, csrf_voided } = self;
        remember.is_some() || device.is_some() || idle_timeout.is_some() || *csrf_voided > 0
    }

    fn followed_by(self, later: Notes) -> Notes {
        Notes {
            remember: later.remember.or(self.remember),
            device: later.device.or(self.device),
            idle_timeout: later.idle_timeout.or(self.idle_timeout),
            csrf_voided: self.csrf_voided + later.csrf_voided,
        }
    }

    fn apply_to(&self, meta: &mut Meta) {
        if let Some(remember) = self.remember {
            meta.set_remember(remember);
        }
        if let Some(device) = &self.device {
            meta.set_device(device);
        }
        if let Some(idle) = self.idle_timeout {
            meta.set_idle_timeout(idle);
        }
        meta.void_csrf(self.csrf_voided);
    }
}

/// What kinds of changes, without keys and values.
impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("keys", &self.keys.len())
            .field("ends", &self.ends)
            .field("rotates", &self.rotates)
            .field("signs_in", &self.sign_in.is_some())
            .finish_non_exhaustive()
    }
}
