//! Endings: a session that is to end, ends, whatever name it has got meanwhile.

use std::sync::Arc;

use super::changes::Changes;
use super::commit::Committed;
use super::credential::Credential;
use super::error::EngineError;
use super::event::Event;
use super::meta::Meta;
use super::plan::{self, Base};
use super::{Selection, Sessions};
use crate::record::{SessionId, UserId};
use crate::store::{Liveness, Outcome, StoreError, Write};

/// Whether a row was deleted by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deleted {
    Yes,
    /// It is gone, and the answer to our first attempt was lost.
    Perhaps,
    No,
}

impl Sessions {
    /// Ends the session that had this id when it was loaded, and was this user's; the id under which it
    /// was found, or `None` when it had ended already.
    ///
    /// A rotation that was faster has given it another name. The new row says so, and the user's rows are
    /// searched for it; who has no user has nothing to be signed out of.
    ///
    /// Cost: 1 statement; 2 more when the row is gone.
    pub(super) async fn end(
        &self,
        id: SessionId,
        user: Option<&UserId>,
    ) -> Result<Option<SessionId>, EngineError> {
        let deleted = self.delete(id).await?;
        if deleted == Deleted::Yes {
            return Ok(Some(id));
        }
        let successor = match user {
            Some(user) => self.end_successor(id, user).await?,
            None => None,
        };
        // Gone, after an answer was lost: that it was us is told rather than nothing.
        Ok(successor.or_else(|| (deleted == Deleted::Perhaps).then_some(id)))
    }

    /// Ends the user's session that had this id before it was rotated. Cost: 2 statements, 1 when there
    /// is none.
    pub(super) async fn end_successor(
        &self,
        id: SessionId,
        user: &UserId,
    ) -> Result<Option<SessionId>, EngineError> {
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

    /// A logout, and what the request did after it, which belongs to a fresh session: one takes the place
    /// of the other in one step.
    ///
    /// When the store is away or does not answer, that is an error at once, and the ending alone is tried once more
    /// in the background: whoever wanted to leave, and saw the error, may have gone. [R04]
    ///
    /// Cost: 1 statement; after a conflict 2 more for each further attempt.
    pub(super) async fn replace(&self, base: Arc<Base>, changes: &Changes) -> Result<Committed, EngineError> {
        let (id, user) = (base.record.id(), base.user.clone());
        let replaced = self.replaced(base, changes).await;
        self.end_later_unless_done(&replaced, id, user);
        replaced
    }

    /// Ends a session that the request names and has not read, so that nobody knows its user, with the same
    /// second attempt as [`replace`](Self::replace).
    ///
    /// That a rotation was faster is no matter here: what the request shows was dead before it was looked at.
    ///
    /// Cost: 1 statement.
    pub(crate) async fn end_unread(&self, id: SessionId) -> Result<(), EngineError> {
        let ended = self.log_out(id, None).await;
        self.end_later_unless_done(&ended, id, None);
        ended
    }

    /// Where the store was away or did not answer: tries once more to end the session, within the store's deadline
    /// for each statement.
    fn end_later_unless_done<T>(&self, ended: &Result<T, EngineError>, id: SessionId, user: Option<UserId>) {
        if !matches!(ended, Err(EngineError::Store(error)) if error.is_transient()) {
            return;
        }
        let errand = self.errand();
        tokio::spawn(async move {
            if let Err(error) = errand.sessions().log_out(id, user.as_ref()).await {
                tracing::error!(session = %id, %error, "a logout failed twice, the session may go on");
            }
        });
    }

    /// [Ends](Self::end) the session, and tells it.
    async fn log_out(&self, id: SessionId, user: Option<&UserId>) -> Result<(), EngineError> {
        if let Some(id) = self.end(id, user).await? {
            self.tell(Event::LoggedOut { id });
        }
        Ok(())
    }

    async fn replaced(&self, base: Arc<Base>, changes: &Changes) -> Result<Committed, EngineError> {
        let (id, user) = (base.record.id(), base.user.clone());
        let fresh = plan::fresh(changes, self.policy(), self.data_limit(), self.now())?;
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
                    let base = Arc::new(fresh.into_base(record, self.policy()));
                    return Ok(Committed::Named(credential, base));
                }
                self.tell(Event::Conflict { id });
                if turn.is_none() {
                    turn = Some(self.turn(id).await?);
                }
                newest = self.load(id).await?.map(Arc::new);
            }
        }
        // Nothing follows it, or it went under another name, or others are too fast: an ending waits for
        // nobody.
        self.log_out(id, user.as_ref()).await?;
        if is_followed { self.begin(changes).await } else { Ok(Committed::Ended) }
    }

    pub(super) fn tell_birth(&self, changes: &Changes, credential: &Credential) {
        self.tell(Event::Created { id: credential.id() });
        self.tell_sign_in(changes, credential.id());
    }

    /// Deletes a row, once more if the connection broke: who finds it gone then is right, too. [R04]
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
            // By the column as it is, lback or not: who rotates writes it.
            let page = self.page(&selection, after, super::admin::PAGE).await?;
            let had_it = |data| Meta::of(&data).previous().contains(&id);
            let found = page.records.iter().find(|record| record.try_data().is_ok_and(had_it));
            if let Some(record) = found {
                return Ok(Some(record.id()));
            }
            after = page.next;
            if after.is_none() {
                return Ok(None);
            }
        }
    }
}
