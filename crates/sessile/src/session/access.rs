//! Reading and changing values.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AsKey, Session, SessionError};
use crate::engine::{EngineError, Step, UpdateValue, check_value};
use crate::record::{DataError, ListItem, RemovedKey, SessionData, ValueText, json};

/// Access to values. All of it is synchronous and costs no statement.
impl Session {
    /// The value under a key; `None` when there is none, or it is `null`.
    ///
    /// # Errors
    /// When there is a value and it is not a `T`. The value stays.
    pub fn get<T: DeserializeOwned>(&self, key: impl AsKey<T>) -> Result<Option<T>, SessionError> {
        Ok(self.state().data.get(key.name())?)
    }

    /// The value under a key.
    ///
    /// # Errors
    /// [`SessionError::Missing`] when there is none; as [`get`](Self::get) otherwise.
    pub fn require<T: DeserializeOwned>(&self, key: impl AsKey<T>) -> Result<T, SessionError> {
        let value = self.state().data.get(key.name())?;
        value.ok_or_else(|| SessionError::Missing { key: key.name().to_owned() })
    }

    /// The value under a key, or `default` when there is none or it is something else: for values that
    /// nobody would miss.
    pub fn get_or<T: DeserializeOwned>(&self, key: impl AsKey<T>, default: T) -> T {
        match self.state().data.get(key.name()) {
            Ok(value) => value.unwrap_or(default),
            Err(error) => {
                tracing::warn!(%error, "a session value is not what was expected, the default is used");
                default
            }
        }
    }

    /// The JSON text under a key, as it is stored.
    pub fn raw(&self, key: &str) -> Option<String> {
        self.state().data.raw(key).map(str::to_owned)
    }

    /// Whether there is a value under this key, `null` included.
    pub fn contains(&self, key: &str) -> bool {
        self.state().data.contains(key)
    }

    /// Whether there is a value under one of these keys.
    pub fn contains_any(&self, keys: &[&str]) -> bool {
        let state = self.state();
        keys.iter().any(|key| state.data.contains(key))
    }

    /// The keys, in the order in which they are stored: a key that is replaced keeps its place, a new one goes
    /// last, and so does one that was removed and is set again.
    pub fn keys(&self) -> Vec<String> {
        self.state().data.keys().map(|key| key.into_owned()).collect()
    }

    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.state().data.is_empty()
    }

    /// Sets a key. A value that is written as `null` (`None`, `()`) removes it.
    ///
    /// # Errors
    /// When the value cannot be written as JSON, the key is `_sessile`, or there is no room for it.
    pub fn insert<T: Serialize + ?Sized>(&self, key: impl AsKey<T>, value: &T) -> Result<(), SessionError> {
        let key = key.name();
        self.put(key, ValueText::of(key, value)?)
    }

    fn put(&self, key: &str, text: ValueText) -> Result<(), SessionError> {
        if text.is_null() {
            self.remove(key);
            return Ok(());
        }
        let mut state = self.state();
        self.check_room(&state.data, key, text.as_str().len())?;
        let is_there = state.data.contains(key);
        state.data.insert_text(key, text.clone())?;
        state.changes.set(key, text, is_there);
        Ok(())
    }

    /// Refuses a value of this length before anything is changed, if there is no room for it.
    fn check_room(&self, data: &SessionData, key: &str, length: usize) -> Result<(), EngineError> {
        check_value(data, key, length, self.sessions().policy(), self.sessions().data_limit())
    }

    /// Removes a key. Whether there was one; if not, nothing is changed.
    pub fn remove(&self, key: &str) -> bool {
        let mut state = self.state();
        let removed = state.data.remove(key);
        if removed {
            state.changes.remove(key);
        }
        removed
    }

    /// Takes a value out. If another request takes or changes it before this one commits, the commit fails with
    /// [`EngineError::AlreadyTaken`] (409): of two requests that take a value at once, one succeeds. To learn
    /// before the handler goes on whether this request has got it, see [`take_once`](Self::take_once).
    ///
    /// # Errors
    /// When the value is not a `T`. It then stays.
    pub fn take<T: DeserializeOwned>(&self, key: impl AsKey<T>) -> Result<Option<T>, SessionError> {
        let name = key.name();
        let mut state = self.state();
        let value = state.data.get(name)?;
        if value.is_some() {
            state.take(name);
        } else if state.data.remove(name) {
            state.changes.remove(name);
        }
        Ok(value)
    }

    /// The value under a key; `make` makes one when there is none, once, and it is stored.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`insert`](Self::insert).
    pub fn get_or_insert_with<T, F>(&self, key: impl AsKey<T>, make: F) -> Result<T, SessionError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> T,
    {
        let name = key.name();
        if let Some(value) = self.state().data.get(name)? {
            return Ok(value);
        }
        let value = make();
        self.insert(name, &value)?;
        Ok(value)
    }

    /// Changes a value in place, from `T::default()` when there is none; returns what it is then.
    ///
    /// Nothing is lost: when another request was faster, `change` runs again on what that one left. So
    /// it may run several times, and must depend on nothing but its argument.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`insert`](Self::insert).
    pub fn update<T, F>(&self, key: impl AsKey<T>, change: F) -> Result<T, SessionError>
    where
        T: Serialize + DeserializeOwned + Default,
        F: Fn(&mut T) + Send + Sync + 'static,
    {
        let key = key.name();
        let name: Box<str> = key.into();
        let apply = move |text: Option<&str>| {
            let mut value = match text.filter(|text| *text != "null") {
                Some(text) => {
                    json::from_text(text).map_err(|source| DataError::Decode { key: name.clone(), source })?
                }
                None => T::default(),
            };
            change(&mut value);
            let text = ValueText::of(&name, &value)?;
            Ok(Some(text).filter(|text| !text.is_null()))
        };
        self.update_text(key, Arc::new(apply))?;
        Ok(self.state().data.get(key)?.unwrap_or_default())
    }

    /// Appends to the list under a key, and makes one when there is none. Nothing is lost when several
    /// requests append at once.
    ///
    /// # Errors
    /// When the value under the key is not a list, or the item cannot be written as JSON, or there is no room
    /// for it.
    pub fn push<T: Serialize + ?Sized>(&self, key: &str, item: &T) -> Result<(), SessionError> {
        self.append(key, ListItem::of(key, item)?, false)
    }

    pub(super) fn append(
        &self,
        key: &str,
        item: ListItem,
        replaces_others: bool,
    ) -> Result<(), SessionError> {
        let mut state = self.state();
        let is_there = state.data.contains(key);
        let list = state.data.raw(key).filter(|text| text.trim_start().starts_with('['));
        let length = list.map_or(0, str::len) + item.as_str().len() + ", ".len();
        self.check_room(&state.data, key, length)?;
        state.data.append(key, &item, replaces_others)?;
        state.changes.update(key, Step::Append { item, replaces_others }, is_there);
        Ok(())
    }

    pub(super) fn update_text(&self, key: &str, apply: UpdateValue) -> Result<(), SessionError> {
        // Not under the lock: what the handler gave us to run may itself look into the session.
        let before = self.raw(key);
        let after = apply(before.as_deref())?;
        let mut state = self.state();
        let is_there = state.data.contains(key);
        match after {
            Some(text) => {
                self.check_room(&state.data, key, text.as_str().len())?;
                state.data.insert_text(key, text)?;
            }
            None => drop(state.data.remove(key)),
        }
        state.changes.update(key, Step::Update(apply), is_there);
        Ok(())
    }

    /// Sets all keys of a map or struct, and leaves the others. A value that is written as `null` removes
    /// its key, as in [`insert`](Self::insert).
    ///
    /// # Errors
    /// When `values` is not written as a JSON object, has the key `_sessile`, or there is no room for it.
    pub fn extend<T: Serialize + ?Sized>(&self, values: &T) -> Result<(), SessionError> {
        let (nulls, values): (Vec<_>, Vec<_>) =
            SessionData::take_apart(values)?.into_iter().partition(|(_, text)| text.is_null());
        let mut state = self.state();
        // On a copy: all of it is set, or nothing.
        let mut data = state.data.clone();
        let removed: Vec<_> = nulls.iter().filter(|(key, _)| data.remove(key)).collect();
        let mut set = Vec::with_capacity(values.len());
        for (key, text) in values {
            self.check_room(&data, &key, text.as_str().len())?;
            let is_there = data.contains(&key);
            data.insert_text(&key, text.clone())?;
            set.push((key, text, is_there));
        }
        state.data = data;
        removed.into_iter().for_each(|(key, _)| state.changes.remove(key));
        set.into_iter().for_each(|(key, text, is_there)| state.changes.set(&key, text, is_there));
        Ok(())
    }

    /// Removes all keys but these, also those that no `&str` can name (Python stores lone surrogates).
    pub fn keep_only(&self, keys: &[&str]) {
        let mut state = self.state();
        let keys = keys.iter().copied().collect();
        for key in state.data.keep_only(&keys) {
            match key {
                RemovedKey::Named(key) => state.changes.remove(&key),
                RemovedKey::Unnamed(key) => state.changes.remove_unnamed(key),
            }
        }
    }

    /// Removes all values. The visitor stays signed in: to sign out, see [`logout`](Self::logout).
    pub fn clear(&self) {
        let mut state = self.state();
        if !state.data.is_empty() {
            state.data.clear();
            state.changes.clear();
            if self.sessions().policy().is_lback() {
                // lback keeps the user in the data: clearing that is how its own views sign out.
                state.user = None;
            }
        }
    }
}
