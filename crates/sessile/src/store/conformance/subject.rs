//! The store under test, and the rows that the cases put into it.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Barrier;

use super::verdict::{Failure, Verdict, same, same_row};
use crate::record::{Columns, SessionId, SessionRecord, StoredData, Timestamp, UserId};
use crate::store::{
    Expiry, ListPage, ListQuery, Liveness, Outcome, Rotation, SessionStore, Touch, Update, Write,
};

/// A fresh store, and what cases often ask of it.
#[derive(Clone)]
pub(super) struct Subject(pub(super) Arc<dyn SessionStore>);

impl Deref for Subject {
    type Target = dyn SessionStore;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Subject {
    /// Inserts rows that must find their ids free.
    pub(super) fn insert<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a SessionRecord>,
    ) -> BoxFuture<'static, Verdict> {
        // Collected here: an iterator held across an await would not always be `Send`.
        let writes: Vec<_> = rows.into_iter().cloned().map(Write::Insert).collect();
        let store = self.clone();
        Box::pin(async move {
            for write in writes {
                store.applies(write, "inserting a new id").await?;
            }
            Ok(())
        })
    }

    pub(super) async fn applies(&self, write: Write, what: &str) -> Verdict {
        same(&self.apply(write).await?, &Outcome::Applied, what)
    }

    /// The write must not match, and must leave the row that its condition is about as it was.
    pub(super) async fn leaves_alone(&self, write: Write, what: &str) -> Verdict {
        let id = write.id();
        let before = self.load(id).await?;
        same(&self.apply(write).await?, &Outcome::Unmatched, what)?;
        same_row(self.load(id).await?.as_ref(), before.as_ref(), format!("the row after {what}"))
    }

    /// The row is there, exactly so.
    pub(super) async fn holds_row(&self, row: &SessionRecord, what: &str) -> Verdict {
        same_row(self.load(row.id()).await?.as_ref(), Some(row), what)
    }

    pub(super) async fn has_no_row(&self, id: SessionId, what: &str) -> Verdict {
        same_row(self.load(id).await?.as_ref(), None, what)
    }

    /// The ids of one large page; no row may be malformed.
    pub(super) async fn ids(
        &self,
        user: Option<&UserId>,
        liveness: Liveness,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, Failure> {
        let query = ListQuery { user: user.cloned(), liveness, now, after: None, limit: 10_000 };
        let page = self.list(&query).await?;
        same(&page.malformed.len(), &0, "malformed rows")?;
        Ok(ids_of(&page))
    }

    /// Makes both writes at once, each in a task of its own.
    pub(super) async fn race(&self, left: Write, right: Write) -> Result<(Outcome, Outcome), Failure> {
        let (one, other) = (self.clone(), self.clone());
        let (left, right) =
            race(async move { one.apply(left).await }, async move { other.apply(right).await }).await?;
        Ok((left?, right?))
    }
}

pub(super) fn ids_of(page: &ListPage) -> Vec<SessionId> {
    page.records.iter().map(SessionRecord::id).collect()
}

/// Starts both at the same moment, each in a task of its own.
pub(super) async fn race<L, R>(
    left: impl Future<Output = L> + Send + 'static,
    right: impl Future<Output = R> + Send + 'static,
) -> Result<(L, R), Failure>
where
    L: Send + 'static,
    R: Send + 'static,
{
    let start = Arc::new(Barrier::new(2));
    let started = Arc::clone(&start);
    let left = tokio::spawn(async move {
        started.wait().await;
        left.await
    });
    let right = tokio::spawn(async move {
        start.wait().await;
        right.await
    });
    Ok((left.await?, right.await?))
}

/// So many seconds after the moment at which all cases play: far ahead, so that a store which
/// removes expired rows by its own clock keeps these.
pub(super) fn at(seconds: u64) -> Timestamp {
    const START: i64 = 4_102_444_800_000_000; // 2100-01-01 00:00:00
    Timestamp::from_micros(START).unwrap_or(Timestamp::MAX).saturating_add(Duration::from_secs(seconds))
}

pub(super) fn microsecond_before(instant: Timestamp) -> Timestamp {
    instant.saturating_sub(Duration::from_micros(1))
}

/// When a [`row`] ends unless a case says otherwise.
pub(super) fn end() -> Timestamp {
    at(3_600)
}

/// Another id for every number, spread over the whole range.
pub(super) fn id(number: u64) -> SessionId {
    // The finaliser of SplitMix64: one to one, and near numbers end far apart.
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mixed.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    SessionId::with_version(bytes, 8)
}

pub(super) fn user(name: &str) -> UserId {
    UserId::stored(name)
}

pub(super) fn text(data: &str) -> StoredData {
    StoredData::Text(data.into())
}

/// A row in the making.
#[derive(Clone)]
pub(super) struct Row(pub(super) Columns);

/// An anonymous row with data `{}`, made at `at(0)`.
pub(super) fn row(number: u64) -> Row {
    Row(Columns {
        id: id(number),
        user_id: None,
        data: StoredData::empty(),
        created_at: Some(at(0)),
        expires_at: end(),
        updated_at: Some(at(0)),
    })
}

impl Row {
    pub(super) fn user(mut self, name: &str) -> Row {
        self.0.user_id = Some(user(name));
        self
    }

    pub(super) fn data(self, data: &str) -> Row {
        self.stored(text(data))
    }

    pub(super) fn stored(mut self, data: StoredData) -> Row {
        self.0.data = data;
        self
    }

    pub(super) fn expires(mut self, expires_at: Timestamp) -> Row {
        self.0.expires_at = expires_at;
        self
    }

    pub(super) fn updated(mut self, updated_at: Timestamp) -> Row {
        self.0.updated_at = Some(updated_at);
        self
    }

    pub(super) fn build(self) -> SessionRecord {
        SessionRecord::from_columns(self.0)
    }
}

/// Replaces the data and leaves the user and the expiry.
pub(super) fn update(row: &SessionRecord, data: &str, now: Timestamp) -> Update {
    Update {
        id: row.id(),
        expected: row.stored_data().clone(),
        data: data.into(),
        user_id: None,
        expires_at: Expiry::Keep,
        now: now.into(),
    }
}

pub(super) fn touch(row: &SessionRecord, expires_at: Timestamp, now: Timestamp) -> Write {
    Write::Touch(Touch { id: row.id(), expires_at, now: now.into() })
}

pub(super) fn rotate(from: &SessionRecord, to: &SessionRecord, now: Timestamp) -> Write {
    Write::Rotate(Rotation {
        id: from.id(),
        expected: from.stored_data().clone(),
        record: to.clone(),
        now: now.into(),
    })
}
