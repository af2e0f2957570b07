//! Commit: the changes of one request become one conditional write, merged onto the newest row.

use std::sync::Arc;

use super::Sessions;
use super::changes::Changes;
use super::credential::Credential;
use super::error::EngineError;
use super::event::Event;
use super::meta::Meta;
use super::plan::{self, Base};
use super::turns::Turn;
use crate::record::{Columns, SessionId, SessionRecord, StoredData};
use crate::store::{Expiry, NewData, Outcome, StoreError, Write};

/// What a commit did, so that the cookie can follow.
#[derive(Debug)]
pub(crate) enum Committed {
    /// Nothing had to be written.
    Unchanged,
    /// The session has this new name, and this row.
    Named(Credential, Arc<Base>),
    /// The row was changed under the name it had.
    Updated(Arc<Base>),
    /// The session ended and nothing took its place.
    Ended,
}

impl Sessions {
    /// Makes the changes. `base` is what the request loaded; on success it is on the newest row.
    ///
    /// Cost: 1 statement for a change, a rotation, a login, a logout or a new session; after a
    /// conflict 2 more for each further attempt.
    pub(crate) async fn commit(
        &self,
        base: Option<Arc<Base>>,
        changes: &Changes,
    ) -> Result<Committed, EngineError> {
        match base {
            _ if changes.is_empty() => Ok(Committed::Unchanged),
            Some(base) if changes.ends() => Box::pin(self.replace(base, changes)).await,
            Some(base) => self.merge(Arc::clone(&base), &base, changes).await,
            None => match Box::pin(self.begin(changes)).await {
                Ok(Committed::Unchanged) if changes.ends() => Ok(Committed::Ended),
                begun => begun,
            },
        }
    }

    /// Whether these changes make a new row, where there is none yet.
    pub(crate) fn begins(&self, changes: &Changes) -> Result<bool, EngineError> {
        Ok(plan::fresh(changes, self.rules(), self.now())?.is_some())
    }

    /// Makes a new row if there is anything to store.
    pub(super) async fn begin(&self, changes: &Changes) -> Result<Committed, EngineError> {
        let Some(fresh) = plan::fresh(changes, self.rules(), self.now())? else {
            return Ok(Committed::Unchanged);
        };
        let attempts = self.policy().max_attempts;
        for _ in 0..attempts {
            let credential = self.new_credential()?;
            let record = fresh.record(credential.id());
            let insert = Write::Insert(record.clone());
            if self.apply_known(insert, None, &record).await? == Outcome::Applied {
                self.tell_birth(changes, &credential);
                let base = Arc::new(fresh.into_base(record, self.rules()));
                return Ok(Committed::Named(credential, base));
            }
        }
        Err(EngineError::NoFreeId { attempts })
    }

    /// Merges the changes onto the row, reloading it whenever somebody else was faster. `seen` is the row that the
    /// request saw: one that belongs to another user by now is not changed, except by a login.
    ///
    /// Every request that changes something carries this future about: what is rare in it is boxed, so that it is
    /// small.
    async fn merge(
        &self,
        mut base: Arc<Base>,
        seen: &Base,
        changes: &Changes,
    ) -> Result<Committed, EngineError> {
        let id = base.record.id();
        let mut turn = None;
        for _ in 0..self.policy().max_attempts {
            let now = self.now();
            let credential = changes.renames().then(|| self.new_credential()).transpose()?;
            let new_id = credential.as_ref().map(Credential::id);
            let Some((write, data)) = plan::rewrite(&base, changes, new_id, self.rules(), now)? else {
                if !base.is_cached {
                    let is_newer = !std::ptr::eq(&*base, seen);
                    return Ok(match Box::pin(self.renew(Arc::clone(&base))).await? {
                        // Another request has written the same: what else it wrote is to be seen.
                        Committed::Unchanged if is_newer => Committed::Updated(base),
                        renewed => renewed,
                    });
                }
                // Nothing to change in what the cache holds: but the row may need it.
                let newest = Box::pin(self.load(id)).await?.ok_or(EngineError::Ended)?;
                self.check_user(&newest, seen, changes)?;
                return Box::pin(self.merge(Arc::new(newest), seen, changes)).await;
            };
            let written = written(&write, &base.record);
            let before = new_id.is_none().then_some(&base.record);
            if self.apply_known(write, before, &written).await? == Outcome::Applied {
                let base = Arc::new(Base::with(written, data, self.rules()));
                return Ok(match credential {
                    Some(credential) => {
                        self.tell(Event::Rotated { from: id, to: credential.id() });
                        self.tell_sign_in(changes, credential.id());
                        Committed::Named(credential, base)
                    }
                    None => Committed::Updated(base),
                });
            }
            self.tell(Event::Conflict { id });
            if turn.is_none() {
                turn = Some(Box::pin(self.turn(id)).await?);
            }
            base = match Box::pin(self.load(id)).await? {
                Some(newest) => {
                    self.check_user(&newest, seen, changes)?;
                    Arc::new(newest)
                }
                // The credentials were right, whatever became of the anonymous session: a fresh one.
                None if changes.signed_in().is_some() => return Box::pin(self.begin(changes)).await,
                None => return Err(EngineError::Ended),
            };
        }
        Err(EngineError::Contended { attempts: self.policy().max_attempts })
    }

    /// Refuses a row that belongs to another user than the one that the request saw: another program signed somebody
    /// in or out under the same id. A login may go on, because it drops what another user stored.
    fn check_user(&self, newest: &Base, seen: &Base, changes: &Changes) -> Result<(), EngineError> {
        let is_theirs = changes.signed_in().is_some() || newest.has_same_user(seen, self.policy());
        if is_theirs { Ok(()) } else { Err(EngineError::UserChanged) }
    }

    /// Moves the expiry forward before the response leaves, if that is due. It fails silently: the next request
    /// tries again.
    pub(crate) async fn renew(&self, base: Arc<Base>) -> Result<Committed, EngineError> {
        let now = self.now();
        let meta = Meta::of(&base.data);
        let Some(expires_at) = self.policy().renewal(&base.record, &meta, now) else {
            return Ok(Committed::Unchanged);
        };
        let id = base.record.id();
        let write = plan::renewal(&base, &meta, expires_at, now);
        let after = written(&write, &base.record);
        match self.apply_known(write, Some(&base.record), &after).await {
            Ok(Outcome::Applied) => {
                self.tell(Event::Renewed { id });
                let renewed = Base { record: after, ..Arc::unwrap_or_clone(base) };
                Ok(Committed::Updated(Arc::new(renewed)))
            }
            Ok(Outcome::Unmatched) => Ok(Committed::Unchanged),
            Err(error) => {
                tracing::warn!(session = %id, %error, "the session's expiry could not be moved forward");
                Ok(Committed::Unchanged)
            }
        }
    }

    /// Requests of this process that fight stand in line from here on, so that only other processes can
    /// still be faster, and a crowd is served one by one instead of all trying at once.
    pub(super) async fn turn(&self, id: SessionId) -> Result<Turn, StoreError> {
        self.in_time(self.inner.turns.take(id)).await
    }

    pub(super) fn tell_sign_in(&self, changes: &Changes, id: SessionId) {
        if let Some(sign_in) = changes.signed_in().filter(|sign_in| sign_in.authenticated) {
            self.tell(Event::Authenticated { id, user: sign_in.user.clone() });
        }
    }
}

/// The row as it is once `write` was applied to `before`.
fn written(write: &Write, before: &SessionRecord) -> SessionRecord {
    match write {
        Write::Rotate(rotation) => rotation.record.clone(),
        Write::Update(update) => {
            let user_id = update.user_id.clone().unwrap_or_else(|| before.user_id().cloned());
            let expires_at = match update.expires_at {
                Expiry::Keep => before.expires_at(),
                Expiry::Extend(at) => before.expires_at().max(at),
                Expiry::Set(at) => at,
            };
            SessionRecord::from_columns(Columns {
                id: before.id(),
                user_id,
                data: match &update.data {
                    NewData::Keep => update.expected.clone(),
                    NewData::Text(text) => StoredData::Text(Arc::clone(text)),
                },
                created_at: before.created_at(),
                expires_at,
                updated_at: Some(update.now.planned()),
            })
        }
        Write::Insert(record) => record.clone(),
        Write::Touch(touch) => {
            let mut record = before.clone();
            record.set_expires_at(touch.expires_at, touch.now.planned());
            record
        }
        Write::Delete(_) => before.clone(),
    }
}
