//! Lookups by primary key.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mysql_async::Row;

use super::fault::{Fault, Place};
use super::pool::{Dialler, Duty, Pool, Seat, Turn};
use super::row;
use super::session::in_time;
use super::sql::Kept;
use crate::record::{SessionId, SessionRecord};
use crate::store::finish::Finish;
use crate::store::loads::Loader;
use crate::store::{Loaded, MalformedRow, StoreError};

/// Where rows are loaded.
pub(super) struct Reader {
    pool: Arc<Pool>,
    place: Arc<Place>,
}

impl Reader {
    pub(super) fn new(dialler: &Arc<Dialler>, connections: usize) -> Reader {
        let pool = Pool::new(dialler, Duty::Loads, connections);
        Reader { pool, place: Arc::clone(&dialler.place) }
    }

    /// A turn for one load that need not wait for others.
    pub(super) fn free(&self) -> Option<Turn> {
        self.pool.free()
    }

    pub(super) async fn load(&self, turn: Turn, id: SessionId) -> Loaded {
        let rows = self.look_up(Some(turn), &[id]).await.map_err(|fault| self.error(fault))?;
        // The server may take another key for this one.
        let row = rows.iter().find(|row| row::id(row) == Some(id));
        Ok(row.map(row::record).transpose()?)
    }

    /// The answers in the order of the ids, each of which is asked for once.
    pub(super) async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        if ids.is_empty() {
            return Vec::new();
        }
        let wanted: Vec<SessionId> = ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let rows = match self.look_up(None, &wanted).await {
            Ok(rows) => rows,
            Err(fault) => return ids.iter().map(|_| Err(self.error(fault.clone()))).collect(),
        };
        let read = |row: &Row| row::id(row).map(|id| (id, row::record(row)));
        let loaded: HashMap<SessionId, Result<SessionRecord, MalformedRow>> =
            rows.iter().filter_map(read).collect();
        ids.iter().map(|id| Ok(loaded.get(id).cloned().transpose()?)).collect()
    }

    /// On another connection if the first one breaks.
    async fn look_up(&self, turn: Option<Turn>, ids: &[SessionId]) -> Result<Vec<Row>, Fault> {
        let seat = match turn {
            Some(turn) => turn.seat().await?,
            None => self.pool.seat().await?,
        };
        match self.rows(seat, ids).await {
            Err(Fault::Cut(_)) => self.rows(self.pool.seat().await?, ids).await,
            answer => answer,
        }
    }

    async fn rows(&self, mut seat: Seat, ids: &[SessionId]) -> Result<Vec<Row>, Fault> {
        in_time(&self.place.limit, seat.rows_of(Kept::Load, ids)).await
    }

    fn error(&self, fault: Fault) -> StoreError {
        self.place.error("load", fault)
    }
}

impl Loader for Arc<Reader> {
    async fn one(&self, id: SessionId) -> Loaded {
        let reader = Arc::clone(self);
        let loaded = Finish::new(async move { reader.load_many(&[id]).await.pop() }).await;
        loaded.unwrap_or(Ok(None))
    }

    async fn many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        self.load_many(ids).await
    }
}
