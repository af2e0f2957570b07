//! Endings: a session that is to end, ends, whatever name it has by then and whatever happens to its request.

use std::sync::Arc;

use futures_util::future::join_all;

use super::changes::Changes;
use super::commit::Committed;
use super::credential::Credential;
use super::error::EngineError;
use super::event::Event;
use super::meta::Meta;
use super::plan::{self, Base};
use super::{Selection, Sessions};
use crate::record::{SessionId, SessionRecord, UserId};
use crate::store::{Liveness, Outcome, StoreError, Write};

/// Whether this call deleted a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deleted {
    Yes,
    /// The row is gone, and the answer to the first attempt was lost.
    Perhaps,
    No,
}

/// What is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The user signed out of this session. `user`: whose it was when it was loaded, if it was.
    Logout { id: SessionId, user: Option<UserId> },
    /// This session is ended from outside.
    Revocation(SessionId),
    /// This session is ended from outside, if it is this user's.
    RevocationOf { id: SessionId, user: UserId },
    /// All sessions of the user.
    User(UserId),
    /// All sessions of the user but this one, under the name that it has by then.
    Others { user: UserId, keep: SessionId },
}

impl Ending {
    /// The session, where it is one.
    pub(super) fn id(&self) -> Option<SessionId> {
        match self {
            Ending::Logout { id, .. } | Ending::Revocation(id) | Ending::RevocationOf { id, .. } => Some(*id),
            Ending::User(_) | Ending::Others { .. } => None,
        }
    }

    /// The user, where the ending is about one.
    pub(super) fn user(&self) -> Option<&UserId> {
        match self {
            Ending::Logout { user, .. } => user.as_ref(),
            Ending::Revocation(_) => None,
            Ending::RevocationOf { user, .. } | Ending::User(user) | Ending::Others { user, .. } => {
                Some(user)
            }
        }
    }
}

/// Endings that were called and are not carried out yet, in the order in which they are to be.
///
/// Whatever is left when it is dropped goes to the background, which retries it: so an ending does not depend on
/// its request, its caller or one answer of the store. [S26]
pub(crate) struct Endings {
    sessions: Sessions,
    left: Vec<Ending>,
}

impl Endings {
    /// Carries them out, the first one first, and stops at the first one that fails: that one and the others go to
    /// the background. Returns how many sessions ended.
    pub(crate) async fn carry_out(mut self) -> Result<usize, EngineError> {
        let mut ended = 0;
        self.left.reverse();
        while let Some(ending) = self.left.last() {
            ended += self.sessions.end_now(ending).await?;
            self.left.pop();
        }
        Ok(ended)
    }

    /// The first one is carried out.
    pub(crate) fn first_is_done(&mut self) {
        self.left.remove(0);
    }

    /// Where all sessions of a user are to end, keeps this one, which has begun since.
    pub(crate) fn keep(&mut self, id: SessionId) {
        for ending in &mut self.left {
            if let Ending::User(user) = ending {
                *ending = Ending::Others { user: user.clone(), keep: id };
            }
        }
    }

    /// They are not to be carried out from here.
    pub(crate) fn withdraw(mut self) {
        self.left.clear();
    }
}

impl Drop for Endings {
    fn drop(&mut self) {
        for ending in self.left.drain(..) {
            self.sessions.end_in_background(ending);
        }
    }
}

impl Sessions {
    /// Takes charge of these endings.
    pub(crate) fn endings(&self, endings: impl IntoIterator<Item = Ending>) -> Endings {
        Endings { sessions: self.clone(), left: endings.into_iter().collect() }
    }

    /// Carries out one ending, and tells it. Returns how many sessions ended.
    pub(super) async fn end_now(&self, ending: &Ending) -> Result<usize, EngineError> {
        match ending {
            Ending::Logout { id, user } => {
                let ended = self.end(*id, user.as_ref()).await?;
                Ok(self.tell_ended(ended.map(|id| Event::LoggedOut { id })))
            }
            Ending::Revocation(id) => {
                let ended = self.end(*id, None).await?;
                Ok(self.tell_ended(ended.map(|id| Event::Revoked { id })))
            }
            Ending::RevocationOf { id, user } => {
                let ended = self.end_of(*id, user).await?;
                Ok(self.tell_ended(ended.map(|id| Event::Revoked { id })))
            }
            Ending::User(user) => self.end_user(user).await,
            Ending::Others { user, keep } => self.end_others(user, *keep).await,
        }
    }

    fn tell_ended(&self, event: Option<Event>) -> usize {
        let ended = usize::from(event.is_some());
        if let Some(event) = event {
            self.tell(event);
        }
        ended
    }

    /// Ends the session that had this id when it was loaded, and was this user's. Returns the id under which it was
    /// found, or `None` when it had ended already.
    ///
    /// A rotation that was faster has given it another name. The new row says so, and the user's rows are searched
    /// for it; a session without a user has nothing to be signed out of.
    ///
    /// Cost: 1 statement; 2 more when the row is gone.
    async fn end(&self, id: SessionId, user: Option<&UserId>) -> Result<Option<SessionId>, EngineError> {
        let deleted = self.delete(id).await?;
        if deleted == Deleted::Yes {
            return Ok(Some(id));
        }
        let successor = match user {
            Some(user) => self.end_successor(id, user).await?,
            None => None,
        };
        // The row is gone after an answer was lost: the event is told rather than left out.
        Ok(successor.or_else(|| (deleted == Deleted::Perhaps).then_some(id)))
    }

    /// Ends the session if it is this user's, also under the name that a rotation has given it. A foreign id costs
    /// what an unknown one costs: 2 statements.
    async fn end_of(&self, id: SessionId, user: &UserId) -> Result<Option<SessionId>, EngineError> {
        let is_owner = |base: &Base| base.owner() == Some(user);
        // A session never changes hands under its id: a login gives it a new one. lback's does not, and a sign-in
        // there in just this instant is signed out again.
        match self.load(id).await?.as_ref().is_some_and(is_owner) {
            true => self.end(id, Some(user)).await,
            false => self.end_successor(id, user).await,
        }
    }

    /// Ends the user's session that had this id before it was rotated. Cost: 2 statements, 1 when there
    /// is none.
    async fn end_successor(&self, id: SessionId, user: &UserId) -> Result<Option<SessionId>, EngineError> {
        let attempts = self.policy().max_attempts;
        let mut perhaps = None;
        for _ in 0..attempts {
            let Some(successor) = self.successor(id, user).await? else { return Ok(perhaps) };
            match self.delete(successor).await? {
                Deleted::Yes => return Ok(Some(successor)),
                Deleted::Perhaps => perhaps = Some(successor),
                Deleted::No => {}
            }
        }
        Err(EngineError::Contended { attempts })
    }

    /// Ends all sessions of the user: those that are free at once, the locked ones as soon as they are free.
    async fn end_user(&self, user: &UserId) -> Result<usize, EngineError> {
        self.settle_owners(user).await?;
        let deleting = Box::pin({
            let (sessions, user) = (self.clone(), user.clone());
            async move { sessions.delete_user(&user).await }
        });
        match self.to_its_end(deleting).await {
            Ok(ended) => Ok(self.tell_revoked(&ended)),
            Err(StoreError::PartlyDeleted { deleted, pending, .. }) => {
                Err(EngineError::EndingsPending { ended: self.tell_revoked(&deleted), pending })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the user's rows, and makes the cache and the watchers forget them.
    async fn delete_user(&self, user: &UserId) -> Result<Vec<SessionId>, StoreError> {
        // The store itself bounds the wait for locked rows, and then says what it has deleted.
        let deleted = self.in_twice_the_time(self.store().delete_user(user, None)).await.flatten();
        let known = match &deleted {
            Ok(ids) | Err(StoreError::PartlyDeleted { deleted: ids, .. }) => Some(ids),
            // They may be deleted, and the answer names none of them.
            Err(_) => None,
        };
        if let Some(cache) = &self.inner.cache {
            match known {
                Some(ids) => ids.iter().for_each(|id| cache.forget(*id)),
                None => cache.forget_all(),
            }
        }
        if known.is_none() {
            self.inner.watchers.doubt_all();
        }
        deleted
    }

    fn tell_revoked(&self, ids: &[SessionId]) -> usize {
        for &id in ids {
            self.tell(Event::Revoked { id });
        }
        ids.len()
    }

    /// Ends the user's sessions but one, each by itself: which one is kept, its row says, for a rotation may have
    /// renamed it. Looks again until there is no other, so that none gets away by a rotation.
    async fn end_others(&self, user: &UserId, keep: SessionId) -> Result<usize, EngineError> {
        let mut ended = 0;
        for _ in 0..self.policy().max_attempts {
            let others: Vec<SessionId> = self
                .rows_of(user)
                .await?
                .iter()
                .filter(|row| row.id() != keep && !had_id(row, keep))
                .map(SessionRecord::id)
                .collect();
            if others.is_empty() {
                return Ok(ended);
            }
            let mut failed = Vec::new();
            for (id, deleted) in others.iter().zip(join_all(others.iter().map(|&id| self.delete(id))).await) {
                match deleted {
                    Ok(Deleted::Yes | Deleted::Perhaps) => ended += self.tell_revoked(&[*id]),
                    Ok(Deleted::No) => {}
                    Err(error) => failed.push(error),
                }
            }
            let pending = failed.len();
            match failed.pop() {
                None => {}
                Some(error) if pending == others.len() && ended == 0 => return Err(error.into()),
                Some(_) => return Err(EngineError::EndingsPending { ended, pending }),
            }
        }
        Err(EngineError::Contended { attempts: self.policy().max_attempts })
    }

    /// All live rows of the user.
    async fn rows_of(&self, user: &UserId) -> Result<Vec<SessionRecord>, EngineError> {
        let selection = Selection { user: Some(user.clone()), liveness: Liveness::Live };
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = self.list(&selection, after, super::admin::PAGE).await?;
            rows.extend(page.records);
            after = page.next;
            if after.is_none() {
                return Ok(rows);
            }
        }
    }

    /// A logout, and what the request did after it, which belongs to a fresh session: one replaces the other in one
    /// step.
    ///
    /// Cost: 1 statement; after a conflict 2 more for each further attempt.
    pub(super) async fn replace(&self, base: Arc<Base>, changes: &Changes) -> Result<Committed, EngineError> {
        let (id, user) = (base.record.id(), base.user.clone());
        let fresh = plan::fresh(changes, self.rules(), self.now())?;
        let mut turn = None;
        let is_followed = fresh.is_some();
        if let Some(fresh) = fresh {
            let mut newest = Some(base);
            for _ in 0..self.policy().max_attempts {
                let Some(base) = &newest else { break };
                let credential = self.new_credential()?;
                let record = fresh.record(credential.id());
                let write = plan::succession(&base.record, record.clone(), self.now());
                if self.apply_known(write, None, &record).await? == Outcome::Applied {
                    self.tell(Event::LoggedOut { id });
                    self.tell_birth(changes, &credential);
                    let base = Arc::new(fresh.into_base(record, self.rules()));
                    return Ok(Committed::Named(credential, base));
                }
                self.tell(Event::Conflict { id });
                if turn.is_none() {
                    turn = Some(self.turn(id).await?);
                }
                newest = self.load(id).await?.map(Arc::new);
            }
        }
        // Nothing follows it, or the session has another name, or other requests are too fast: an ending does not
        // wait for them.
        self.end_now(&Ending::Logout { id, user }).await?;
        if is_followed { self.begin(changes).await } else { Ok(Committed::Ended) }
    }

    pub(super) fn tell_birth(&self, changes: &Changes, credential: &Credential) {
        self.tell(Event::Created { id: credential.id() });
        self.tell_sign_in(changes, credential.id());
    }

    /// Deletes a row, once more if the connection broke: a row that is gone then counts as deleted. [R04]
    async fn delete(&self, id: SessionId) -> Result<Deleted, StoreError> {
        let (outcome, or_else) = match self.apply(Write::Delete(id)).await {
            Err(StoreError::Unavailable { .. }) => (self.apply(Write::Delete(id)).await?, Deleted::Perhaps),
            outcome => (outcome?, Deleted::No),
        };
        Ok(if outcome == Outcome::Applied { Deleted::Yes } else { or_else })
    }

    /// The user's session that had this id before it was rotated.
    async fn successor(&self, id: SessionId, user: &UserId) -> Result<Option<SessionId>, EngineError> {
        let selection = Selection { user: Some(user.clone()), liveness: Liveness::Live };
        let mut after = None;
        loop {
            // By the column as it is, lback or not: a rotation writes it.
            let page = self.page(&selection, after, super::admin::PAGE).await?;
            if let Some(record) = page.records.iter().find(|record| had_id(record, id)) {
                return Ok(Some(record.id()));
            }
            after = page.next;
            if after.is_none() {
                return Ok(None);
            }
        }
    }
}

/// Whether the session had this id before it was rotated.
fn had_id(record: &SessionRecord, id: SessionId) -> bool {
    record.try_data().is_ok_and(|data| Meta::of(&data).previous().contains(&id))
}
