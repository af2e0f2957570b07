//! Where sessions are read from, page by page.

use std::sync::Arc;

use sessile::SessionId;
use sessile::record::{SessionRecord, Timestamp};
use sessile::store::{Cursor, ListQuery, Liveness, SessionStore};

use crate::commands::in_time;
use crate::error::Error;

/// Rows read and written at a time.
pub(super) const PAGE: usize = 500;

/// A row that cannot be copied.
pub(super) struct Unreadable {
    /// The primary key as people may see it: never a secret.
    pub(super) id: String,
    pub(super) problem: String,
}

/// Some rows of a source.
#[derive(Default)]
pub(super) struct Page {
    pub(super) records: Vec<SessionRecord>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// The live sessions of a store, in a stable order.
pub(super) struct Source {
    store: Arc<dyn SessionStore>,
    now: Timestamp,
    after: Option<Cursor>,
    at_end: bool,
}

impl Source {
    pub(super) fn new(store: Arc<dyn SessionStore>, now: Timestamp) -> Source {
        Source { store, now, after: None, at_end: false }
    }

    /// The next rows; `None` at the end.
    pub(super) async fn page(&mut self) -> Result<Option<Page>, Error> {
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
        let unreadable = |row: sessile::store::MalformedRow| Unreadable { id: row.id, problem: row.problem };
        Ok(Some(Page {
            records: page.records,
            unreadable: page.malformed.into_iter().map(unreadable).collect(),
        }))
    }

    /// Those of these sessions that are not live here: asked again, because much depends on it.
    pub(super) async fn ended(&self, ids: &[SessionId]) -> Result<Vec<SessionId>, Error> {
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
