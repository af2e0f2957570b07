//! Where sessions are read from, page by page.

use std::sync::Arc;

use sessile::SessionId;
use sessile::record::{SessionRecord, Timestamp};
use sessile::store::{Cursor, ListQuery, Liveness, MalformedRow, SessionStore};

use super::foreign::Foreign;

use crate::commands::in_time;
use crate::error::Error;

/// Rows read and written at a time.
pub(super) const PAGE: usize = 500;

/// A row that cannot be copied.
pub(super) struct Unreadable {
    /// The primary key as people may see it: never a secret.
    pub(super) id: String,
    pub(super) problem: String,
    /// Whether it is a live session all the same.
    pub(super) is_live: bool,
}

/// Some rows of a source.
#[derive(Default)]
pub(super) struct Page {
    pub(super) records: Vec<SessionRecord>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// Live sessions, page by page in a stable order.
pub(super) enum Source {
    Own(Own),
    Foreign(Box<Foreign>),
}

impl Source {
    /// Whether its rows say when they were made and changed.
    pub(super) fn is_dated(&self) -> bool {
        matches!(self, Source::Own(_))
    }

    /// Rows that are to come, about. Reads the whole table.
    pub(super) async fn count(&self) -> Result<u64, Error> {
        match self {
            Source::Own(own) => own.count().await,
            Source::Foreign(foreign) => foreign.count().await,
        }
    }

    /// The next rows; `None` at the end.
    pub(super) async fn page(&mut self) -> Result<Option<Page>, Error> {
        match self {
            Source::Own(own) => own.page().await,
            Source::Foreign(foreign) => foreign.page().await,
        }
    }

    /// Those of these sessions that are not live here. A foreign table cannot be asked for an id of ours: that
    /// none of its rows had it has to do.
    pub(super) async fn ended(&self, ids: &[SessionId]) -> Result<Vec<SessionId>, Error> {
        match self {
            Source::Own(own) => own.ended(ids).await,
            Source::Foreign(_) => Ok(ids.to_vec()),
        }
    }
}

/// The live sessions of a store of ours.
pub(super) struct Own {
    store: Arc<dyn SessionStore>,
    now: Timestamp,
    after: Option<Cursor>,
    at_end: bool,
}

impl Own {
    pub(super) fn new(store: Arc<dyn SessionStore>, now: Timestamp) -> Own {
        Own { store, now, after: None, at_end: false }
    }

    async fn count(&self) -> Result<u64, Error> {
        Ok(in_time(&*self.store, self.store.stats(self.now)).await??.live)
    }

    async fn page(&mut self) -> Result<Option<Page>, Error> {
        if self.at_end {
            return Ok(None);
        }
        let query = ListQuery {
            user: None,
            liveness: Liveness::Live,
            now: self.now,
            after: self.after.take(),
            limit: PAGE,
        };
        let page = in_time(&*self.store, self.store.list(&query)).await??;
        self.after = page.next;
        self.at_end = self.after.is_none();
        // Nobody could use such a row.
        let unreadable = |row: MalformedRow| Unreadable { id: row.id, problem: row.problem, is_live: false };
        Ok(Some(Page {
            records: page.records,
            unreadable: page.malformed.into_iter().map(unreadable).collect(),
        }))
    }

    /// Asked again, because much depends on it.
    async fn ended(&self, ids: &[SessionId]) -> Result<Vec<SessionId>, Error> {
        let loaded = in_time(&*self.store, self.store.load_many(ids)).await?;
        let is_live = |record: &SessionRecord| record.is_live(self.now);
        // What cannot be read may be live: it is left alone.
        let ended = ids.iter().zip(&loaded).filter(|(_, loaded)| match loaded {
            Ok(record) => !record.as_ref().is_some_and(is_live),
            Err(_) => false,
        });
        Ok(ended.map(|(&id, _)| id).collect())
    }
}
