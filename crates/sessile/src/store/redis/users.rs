//! All sessions of one user: finding them, and ending them.

use std::collections::HashSet;

use super::Inner;
use super::call::{self, Request, lent, made};
use super::fault::Fault;
use super::link::Link;
use super::row::{self, Found};
use super::script::{Verdict, verdict};
use crate::record::{SessionId, UserId};

/// Ids that one command names, at most.
const CHUNK: usize = 256;

impl Inner {
    /// The ids in the user's index, in their order. It may name too many.
    pub(super) async fn ids_of(&self, link: &Link, user: &UserId) -> Result<Vec<SessionId>, Fault> {
        let request = call::plain(&["ZRANGE", &self.keys.user(user), "0", "-1"]);
        let answer = link.read(&[request]).await.pop();
        let mut ids = row::ids(answer.unwrap_or_else(|| Err(super::fault::strange()))?)?;
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

    /// One script: nothing comes in between.
    pub(super) async fn delete_user_at_once(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, Fault> {
        let kept = keep.map(|id| id.to_string()).unwrap_or_default();
        let request = Request::Script {
            script: &call::DELETE_USER,
            keys: vec![self.keys.user(user)],
            arguments: vec![lent(user.as_str()), lent(&kept), lent(self.keys.prefix())],
        };
        row::ids(self.link.ask(request).await?)
    }

    /// Row by row, and again as long as the index names ids that were not looked at.
    ///
    /// Nobody is missed: who is rotated away stands under the new id in the index before the old one dies, so
    /// that the next look at the index finds them. A row that is prepared and not decided is looked at after
    /// all others: the row that it comes from is dead by then, or not this user's.
    pub(super) async fn delete_user_by_row(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, Fault> {
        let mut seen: HashSet<SessionId> = keep.into_iter().collect();
        let mut deleted = Vec::new();
        loop {
            let ids = self.ids_of(&self.link, user).await?.into_iter().filter(|id| seen.insert(*id));
            let ids: Vec<SessionId> = ids.collect();
            if ids.is_empty() {
                return Ok(deleted);
            }
            for chunk in ids.chunks(CHUNK) {
                let unresolved = self.delete_each(user, chunk, &mut deleted).await?;
                self.delete_prepared(user, &unresolved, &mut deleted).await?;
            }
        }
    }

    /// Deletes those that are the user's; returns those that are not decided on.
    async fn delete_each(
        &self,
        user: &UserId,
        ids: &[SessionId],
        deleted: &mut Vec<SessionId>,
    ) -> Result<Vec<SessionId>, Fault> {
        let scribe = self.scribe("");
        let requests: Vec<_> = ids.iter().map(|&id| scribe.delete(id, Some(user))).collect();
        let (mut done, mut unresolved) = (Vec::new(), Vec::new());
        let mut failed = None;
        for (&id, answer) in ids.iter().zip(self.link.send(&requests).await) {
            match verdict(answer) {
                Ok(Verdict::Applied { .. }) => done.push(id),
                Ok(Verdict::Unresolved) => unresolved.push(id),
                Ok(Verdict::Unmatched) => {}
                Err(fault) => failed = Some(fault),
            }
        }
        done.iter().for_each(|&id| self.leaves(user, id));
        deleted.extend(done);
        failed.map_or(Ok(unresolved), Err)
    }

    async fn delete_prepared(
        &self,
        user: &UserId,
        ids: &[SessionId],
        deleted: &mut Vec<SessionId>,
    ) -> Result<(), Fault> {
        for &id in ids {
            if let Found::Row(_) = self.load(id).await? {
                self.delete_each(user, &[id], deleted).await?;
            }
        }
        Ok(())
    }
}
