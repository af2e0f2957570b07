//! All sessions of one user: finding them, and ending them.

use std::collections::HashSet;

use redis::Value;

use super::Inner;
use super::call::{self, Request, lent, made};
use super::fault::{Fault, NAME, Place, strange};
use super::link::Link;
use super::row::{self, Found};
use super::script::{Verdict, verdict};
use crate::record::{SessionId, UserId};
use crate::store::StoreError;

/// Ids that one command names, at most.
const CHUNK: usize = 256;

/// How far the end of a user's sessions has come.
#[derive(Default)]
pub(super) struct Deletion {
    deleted: Vec<SessionId>,
    /// How many may be left, where something failed.
    left: usize,
    fault: Option<Fault>,
}

impl Deletion {
    /// One more is left.
    fn fail(&mut self, fault: Fault) {
        self.left += 1;
        self.fault = Some(fault);
    }

    /// # Errors
    /// What failed, and which rows were deleted all the same.
    pub(super) fn result(self, place: &Place) -> Result<Vec<SessionId>, StoreError> {
        let Some(fault) = self.fault else { return Ok(self.deleted) };
        let error = place.error("delete a user's sessions", fault);
        if self.deleted.is_empty() || !error.is_transient() {
            return Err(error);
        }
        tracing::warn!(store = NAME, %error, "not all sessions of a user could be deleted");
        Err(StoreError::PartlyDeleted { store: NAME, deleted: self.deleted, pending: self.left.max(1) })
    }
}

impl Inner {
    /// The ids in the user's index, in their order. It may name too many.
    pub(super) async fn ids_of(&self, link: &Link, user: &UserId) -> Result<Vec<SessionId>, Fault> {
        let request = call::plain(&["ZRANGE", &self.keys.user(user), "0", "-1"]);
        let answer = link.read(&[request]).await.pop();
        let mut ids = row::ids(answer.unwrap_or_else(|| Err(strange()))?)?;
        ids.sort_unstable();
        Ok(ids)
    }

    /// Takes ids without a row out of the user's index, when their time is over.
    pub(super) async fn prune_user(&self, user: &UserId, gone: &[SessionId]) {
        for chunk in gone.chunks(CHUNK) {
            let request = Request::Script {
                script: &call::PRUNE_USER,
                keys: vec![self.keys.user(user)],
                arguments: chunk.iter().map(made).collect(),
            };
            if let Err(fault) = self.link.ask(request).await {
                tracing::debug!(?fault, "a user's index was not pruned");
            }
        }
    }

    /// Chunk by chunk, until nothing is left but the session to keep. A session that is rotated meanwhile is in
    /// the index under its new id.
    pub(super) async fn delete_user_by_script(&self, user: &UserId, keep: Option<SessionId>) -> Deletion {
        let kept = keep.map(|id| id.to_string()).unwrap_or_default();
        let mut deletion = Deletion::default();
        loop {
            match self.delete_chunk(user, &kept, &mut deletion.deleted).await {
                Ok(0) => return Deletion { left: 0, ..deletion },
                Ok(left) => deletion.left = left,
                Err(fault) => return Deletion { fault: Some(fault), ..deletion },
            }
        }
    }

    /// Returns how many ids are left to look at.
    async fn delete_chunk(
        &self,
        user: &UserId,
        kept: &str,
        deleted: &mut Vec<SessionId>,
    ) -> Result<usize, Fault> {
        let request = Request::Script {
            script: &call::DELETE_USER,
            keys: vec![self.keys.user(user)],
            arguments: vec![lent(user.as_str()), lent(kept), lent(self.keys.prefix()), made(CHUNK)],
        };
        let Value::Array(mut told) = self.link.ask(request).await? else { return Err(strange()) };
        if told.is_empty() {
            return Err(strange());
        }
        let Value::Int(left) = told.remove(0) else { return Err(strange()) };
        deleted.extend(row::ids(Value::Array(told))?);
        usize::try_from(left).map_err(|_| strange())
    }

    /// Row by row, and again as long as the index names ids that were not looked at. A row whose server does not
    /// answer costs no other row.
    ///
    /// No session is missed: one that is rotated is in the index under its new id before the old one is deleted,
    /// so that the next look at the index finds it. A row that is prepared and not decided is looked at after
    /// all others: the row that it comes from is deleted by then, or not this user's.
    pub(super) async fn delete_user_by_row(&self, user: &UserId, keep: Option<SessionId>) -> Deletion {
        let mut seen: HashSet<SessionId> = keep.into_iter().collect();
        let mut deletion = Deletion::default();
        loop {
            let ids = match self.ids_of(&self.link, user).await {
                Ok(ids) => ids.into_iter().filter(|id| seen.insert(*id)).collect::<Vec<_>>(),
                Err(fault) => return Deletion { fault: Some(fault), ..deletion },
            };
            if ids.is_empty() {
                return deletion;
            }
            for chunk in ids.chunks(CHUNK) {
                let unresolved = self.delete_each(user, chunk, &mut deletion).await;
                self.delete_prepared(user, &unresolved, &mut deletion).await;
            }
        }
    }

    /// Deletes those that are the user's; returns those that are not decided on.
    async fn delete_each(&self, user: &UserId, ids: &[SessionId], deletion: &mut Deletion) -> Vec<SessionId> {
        let scribe = self.scribe("");
        let requests: Vec<_> = ids.iter().map(|&id| scribe.delete(id, Some(user))).collect();
        // A node that could not be reached before is not waited for again.
        let answers = match deletion.fault {
            None => self.link.send(&requests).await,
            Some(_) => self.link.try_send(&requests).await,
        };
        let mut unresolved = Vec::new();
        for (&id, answer) in ids.iter().zip(answers) {
            match verdict(answer) {
                Ok(Verdict::Applied { .. }) => {
                    self.leaves(user, id);
                    deletion.deleted.push(id);
                }
                Ok(Verdict::Unresolved) => unresolved.push(id),
                Ok(Verdict::Unmatched) => {}
                Err(fault) => deletion.fail(fault),
            }
        }
        unresolved
    }

    async fn delete_prepared(&self, user: &UserId, ids: &[SessionId], deletion: &mut Deletion) {
        for &id in ids {
            match self.load(id).await {
                Ok(Found::Row(_)) => drop(self.delete_each(user, &[id], deletion).await),
                Ok(Found::Nothing | Found::Moving(_)) => {}
                Err(fault) => deletion.fail(fault),
            }
        }
    }
}
