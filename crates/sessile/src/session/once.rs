//! One-time values: given to one request only.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{AsKey, Session, SessionError, Shared};
use crate::engine::{Base, Changes, EngineError};
use crate::record::{DataError, SessionData, json};

/// Whether the data holds a value under the key, of the type that is asked for.
type HoldsValue = fn(&SessionData, &str) -> Result<bool, DataError>;

impl Session {
    /// Takes a value out and gives it to one request only: the removal is committed at once, and a request that comes
    /// too late gets `None`. For sign-in links, nonces, and whatever else may be used once.
    ///
    /// Other changes of this request stay uncommitted, except those of the same key. Whatever becomes of the request
    /// afterwards, the value is used up. Dropping the returned future does not stop a removal that has begun.
    ///
    /// ```
    /// use sessile::{Session, SessionError};
    ///
    /// async fn may_confirm(session: &Session, shown: &str) -> Result<bool, SessionError> {
    ///     let nonce: Option<String> = session.take_once("nonce").await?;
    ///     Ok(nonce.is_some_and(|nonce| nonce == shown))
    /// }
    /// ```
    ///
    /// Cost: 1 statement; 0 when there is no value, or this request itself has set it. Where another request was
    /// faster, 2 more.
    ///
    /// # Errors
    /// When the value is not a `T`: it then stays. When the removal cannot be committed: whether the value is used up
    /// is then unknown. [`EngineError::Ended`] when the session has ended.
    pub async fn take_once<T: DeserializeOwned>(
        &self,
        key: impl AsKey<T>,
    ) -> Result<Option<T>, SessionError> {
        let name: Arc<str> = key.name().into();
        let (shared, taken) = (Arc::clone(&self.shared), Arc::clone(&name));
        let holds: HoldsValue = |data, key| Ok(data.get::<T>(key)?.is_some());
        let text = super::uninterrupted(async move { shared.take_once(&taken, holds).await }).await?;
        let decode = |text: Arc<str>| {
            json::from_text(&text).map_err(|source| DataError::Decode { key: (&*name).into(), source })
        };
        Ok(text.map(decode).transpose()?)
    }
}

/// What there is to take.
enum Offer {
    Nothing,
    /// A value that this request itself has set: no other one can see it.
    Own(Arc<str>),
    /// This request has changed what the row holds, and that is not committed.
    Uncommitted,
    /// The row's value, and the changes that take it out.
    Stored(Arc<str>, Arc<Base>, Box<Changes>),
}

impl Shared {
    async fn take_once(&self, key: &str, holds: HoldsValue) -> Result<Option<Arc<str>>, SessionError> {
        let _turn = self.commit_turn().await;
        let attempts = self.sessions().policy().attempts();
        for _ in 0..attempts {
            let (text, base, changes) = match self.offer(key, holds)? {
                Offer::Nothing => return Ok(None),
                Offer::Own(text) => return Ok(Some(text)),
                Offer::Uncommitted => {
                    self.commit_in_turn().await?;
                    continue;
                }
                Offer::Stored(text, base, changes) => (text, base, changes),
            };
            match self.sessions().commit(Some(Arc::clone(&base)), &changes).await {
                Ok(committed) => {
                    let mut state = self.state();
                    state.settle(committed);
                    state.data.remove(key);
                    return Ok(Some(text));
                }
                Err(EngineError::AlreadyTaken { .. }) => self.look_again(key, &base).await?,
                Err(error) => {
                    self.state().abandon_commit(Changes::new());
                    return Err(error.into());
                }
            }
        }
        Err(EngineError::Contended { attempts }.into())
    }

    fn offer(&self, key: &str, holds: HoldsValue) -> Result<Offer, SessionError> {
        let has_head = self.has_head();
        let mut state = self.state();
        if !holds(&state.data, key)? {
            return Ok(Offer::Nothing);
        }
        let Some(text) = state.data.raw(key).map(Arc::from) else { return Ok(Offer::Nothing) };
        if state.base.is_none() || state.changes.ends() || state.changes.sets(key) {
            state.take(key);
            return Ok(Offer::Own(text));
        }
        if state.changes.touches(key) {
            return Ok(Offer::Uncommitted);
        }
        let Some((base, changes)) = state.begin_taking(key, has_head) else {
            return Ok(Offer::Nothing);
        };
        Ok(Offer::Stored(text, base, Box::new(changes)))
    }

    /// Shows what the row holds under the key by now.
    async fn look_again(&self, key: &str, seen: &Base) -> Result<(), SessionError> {
        let newest = self.sessions().load(seen.record.id()).await;
        let mut state = self.state();
        state.abandon_commit(Changes::new());
        let newest = newest?.ok_or(EngineError::Ended)?;
        if !newest.has_same_user(seen, self.sessions().policy()) {
            return Err(EngineError::UserChanged.into());
        }
        state.show(key, newest)?;
        Ok(())
    }
}
