//! Everything that is not one request: creating, listing, changing and ending sessions from outside.

use std::sync::Arc;
use std::time::Duration;

use super::changes::SignIn;
use super::ending::Ending;
use super::{Changes, Committed, Credential, EngineError, Event, Sessions};
use crate::record::{SessionData, SessionId, SessionRecord, UserId};
use crate::store::{Cursor, ListPage, ListQuery, Liveness, Outcome, StoreStats};

/// Rows read at a time where all of a user's sessions are wanted.
pub(super) const PAGE: usize = 500;

/// A session to be made without a request: by the tool, or by a service that signs users in itself.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    /// Whose it is.
    pub user: Option<UserId>,
    /// Whether the user has just shown who they are: the session then notes when. Default: no.
    pub authenticated: bool,
    /// How long it lives at first; `None`: as the policy says. The policy's absolute lifetime ends it all
    /// the same.
    pub ttl: Option<Duration>,
    /// What it starts with. The text is kept as it stands.
    pub data: SessionData,
}

/// Which sessions to list.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Only this user's.
    pub user: Option<UserId>,
    /// Live, expired or both.
    pub liveness: Liveness,
}

/// All live sessions.
impl Default for Selection {
    fn default() -> Selection {
        Selection { user: None, liveness: Liveness::Live }
    }
}

impl Sessions {
    /// Makes a session. Cost: 1 statement.
    ///
    /// # Errors
    /// When the data is too large, nested too deep or holds the reserved key, when the column `user_id` of the store
    /// does not hold the user id ([`EngineError::UserId`]), or the store fails.
    pub async fn create(&self, new: NewSession) -> Result<(Credential, SessionRecord), EngineError> {
        let mut changes = Changes::new();
        changes.begin_with(new.data)?;
        changes.expire_in(new.ttl);
        match new.user {
            Some(user) => {
                let authenticated = new.authenticated;
                changes.sign_in(SignIn { user, user_type: None, authenticated }, true);
            }
            None => changes.keep_empty(),
        }
        match self.commit(None, &changes).await? {
            Committed::Named(credential, base) => Ok((credential, base.record.clone())),
            Committed::Unchanged | Committed::Updated(_) | Committed::Ended => Err(EngineError::Ended),
        }
    }

    /// The row with this id, live or not. Cost: 1 statement.
    ///
    /// # Errors
    /// When the store fails or the row cannot be read.
    pub async fn get(&self, id: SessionId) -> Result<Option<SessionRecord>, EngineError> {
        Ok(self.in_time(self.store().load(id)).await??)
    }

    /// Whether this row is a live session under the policy in force.
    pub fn is_live(&self, record: &SessionRecord) -> bool {
        let meta = || record.try_data().map(|data| super::Meta::of(&data)).unwrap_or_default();
        self.policy().is_live(record, meta, self.now())
    }

    /// What a user should know about one of their sessions.
    pub fn describe(&self, record: &SessionRecord) -> Description {
        let meta = record.try_data().map(|data| super::Meta::of(&data)).unwrap_or_default();
        Description {
            remembered: meta.remember(),
            authenticated_at: meta.authenticated_at(),
            device: meta.device(),
        }
    }

    /// A page of sessions, ordered by id. Cost: 1 statement; for the first page of one user's under
    /// [`Policy::lback`](super::Policy::lback) 1 more for every 500 live sessions of the table, and 1 for each of
    /// that user's whom Python signed in or out since the last time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<ListPage, EngineError> {
        if let (Some(user), None) = (&selection.user, &after) {
            self.settle_owners(user).await?;
        }
        self.page(selection, after, limit).await
    }

    /// As [`list`](Self::list), by the column as it is.
    pub(super) async fn page(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<ListPage, EngineError> {
        let query = ListQuery {
            user: selection.user.clone(),
            liveness: selection.liveness,
            now: self.now(),
            after,
            limit,
        };
        Ok(self.in_time(self.store().list(&query)).await??)
    }

    /// All live sessions of a user, the newest first. A user id that the store's column does not hold has none. Cost: 1 statement for every 500 sessions, and what
    /// [`list`](Self::list) says of lback.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sessions_of(&self, user: &UserId) -> Result<Vec<SessionRecord>, EngineError> {
        let selection = Selection { user: Some(user.clone()), liveness: Liveness::Live };
        let mut records = Vec::new();
        let mut after = None;
        loop {
            let page = self.list(&selection, after, PAGE).await?;
            for row in page.malformed {
                self.tell(Event::Corrupt { id: row.id, problem: row.problem });
            }
            records.extend(page.records.into_iter().filter(|record| self.is_live(record)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        records.sort_by_key(|record| std::cmp::Reverse((record.created_at(), record.id())));
        Ok(records)
    }

    /// Changes a live session from outside, merged like a request's changes. `None`: there is no such
    /// live session. Cost: 2 statements.
    ///
    /// # Errors
    /// When the changes cannot be made, or the store fails.
    pub async fn change(
        &self,
        id: SessionId,
        changes: &Changes,
    ) -> Result<Option<SessionRecord>, EngineError> {
        let Some(base) = self.load(id).await? else { return Ok(None) };
        let (before, user) = (base.record.clone(), base.user.clone());
        let endings = self.endings(changes.ends().then_some(Ending::Logout { id, user }));
        let committed = self.commit(Some(Arc::new(base)), changes).await;
        if !matches!(&committed, Err(error) if error.is_transient()) {
            endings.withdraw();
        }
        match committed {
            Ok(Committed::Updated(base) | Committed::Named(_, base)) => Ok(Some(base.record.clone())),
            Ok(Committed::Unchanged) => Ok(Some(before)),
            Ok(Committed::Ended) | Err(EngineError::Ended) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Moves a live session's expiry forward as a request would, but at once, whatever
    /// [`Policy::renew_after`](super::Policy::renew_after) says. Cost: 2 statements. `None`: there is no
    /// such live session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn touch(&self, id: SessionId) -> Result<Option<SessionRecord>, EngineError> {
        let Some(base) = self.load(id).await? else { return Ok(None) };
        let now = self.now();
        let Some(created_at) = base.record.created_at() else { return Ok(Some(base.record)) };
        let meta = super::Meta::of(&base.data);
        let expires_at = self.policy().expiry(created_at, &meta, now);
        if expires_at <= base.record.expires_at() {
            return Ok(Some(base.record));
        }
        match self.apply(super::plan::renewal(&base, &meta, expires_at, now)).await? {
            Outcome::Applied => {
                self.tell(Event::Renewed { id });
                Ok(self.load(id).await?.map(|base| base.record))
            }
            // The session ended in the meantime, or another request moved its expiry further.
            Outcome::Unmatched => Ok(self.load(id).await?.map(|base| base.record)),
        }
    }

    /// Ends a session. Returns whether there was one. Cost: 1 statement.
    ///
    /// An ending that fails, or whose caller goes away, is retried in the background for two minutes: so are those
    /// of the other methods that end sessions. See [`drain`](Self::drain).
    ///
    /// # Errors
    /// When the store fails: the session may then still be alive.
    pub async fn revoke(&self, id: SessionId) -> Result<bool, EngineError> {
        Ok(self.endings([Ending::Revocation(id)]).carry_out().await? > 0)
    }

    /// Ends a session if it is this user's, also when a rotation has given it another name since the user
    /// saw it. Somebody else's answers like an unknown one. Cost: 2 statements.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_of(&self, user: &UserId, id: SessionId) -> Result<bool, EngineError> {
        let ending = Ending::RevocationOf { id, user: user.clone() };
        Ok(self.endings([ending]).carry_out().await? > 0)
    }

    /// Ends all sessions of a user; returns how many there were: 0 for a user id that the store's column does not hold.
    /// Cost: 1 statement, and what [`list`](Self::list)
    /// says of lback.
    ///
    /// A session whose row another program has locked does not protect the others: they end at once.
    ///
    /// # Errors
    /// [`EngineError::EndingsPending`] when rows are still locked after a while: they end in the background. When
    /// the store fails: the call is retried in the background.
    pub async fn revoke_user(&self, user: &UserId) -> Result<usize, EngineError> {
        self.endings([Ending::User(user.clone())]).carry_out().await
    }

    /// Ends all sessions of a user but this one; returns how many there were. The one that stays may have been
    /// rotated since the caller saw its id. Cost: 2 statements, and 1 for each session that ends; what
    /// [`list`](Self::list) says of lback.
    ///
    /// # Errors
    /// As [`revoke_user`](Self::revoke_user).
    pub async fn revoke_others(&self, user: &UserId, keep: SessionId) -> Result<usize, EngineError> {
        self.endings([Ending::Others { user: user.clone(), keep }]).carry_out().await
    }

    /// Counts. Reads the whole table.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stats(&self) -> Result<StoreStats, EngineError> {
        Ok(self.store().stats(self.now()).await?)
    }
}

/// What sessile remembers of a session beyond its columns, for the user's own list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// Whether "remember me" was asked for.
    pub remembered: bool,
    /// When the user signed in.
    pub authenticated_at: Option<crate::record::Timestamp>,
    /// Where, as the application labelled it.
    pub device: Option<String>,
}
