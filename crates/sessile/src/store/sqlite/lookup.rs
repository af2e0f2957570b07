//! Loads by primary key, many in one look at the file.
//!
//! What a load costs here is less the row than the way to it: a lock taken and given back in the file, and
//! locks inside SQLite that all connections of a process share, for which two workers that read at once put
//! each other to sleep. So loads that meet do their reading together, in one read transaction.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::Read;
use super::reader::{Readers, WIDEST};
use super::row;
use super::sql::{self, Sql};
use crate::record::SessionId;
use crate::store::loads::Loader;
use crate::store::{Loaded, StoreError};

/// Where rows are loaded.
pub(super) struct Lookup {
    readers: Arc<Readers>,
    sql: Arc<Sql>,
}

impl Lookup {
    pub(super) fn new(readers: &Arc<Readers>, sql: &Arc<Sql>) -> Lookup {
        Lookup { readers: Arc::clone(readers), sql: Arc::clone(sql) }
    }

    pub(super) async fn load(&self, id: SessionId) -> Loaded {
        let sql = Arc::clone(&self.sql);
        let read = self.readers.short("load", move |connection| load(connection, &sql, id)).await?;
        Ok(read.transpose()?)
    }

    /// The rows in the order of the ids.
    pub(super) async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        let mut loaded = Vec::with_capacity(ids.len());
        for some in ids.chunks(WIDEST) {
            match some {
                [one] => loaded.push(self.load(*one).await),
                some => self.load_some(some, &mut loaded).await,
            }
        }
        loaded
    }

    async fn load_some(&self, ids: &[SessionId], loaded: &mut Vec<Loaded>) {
        let (sql, wanted) = (Arc::clone(&self.sql), ids.to_vec());
        match self.readers.short("load", move |connection| load_together(connection, &sql, &wanted)).await {
            Ok(rows) => loaded.extend(rows.into_iter().map(|row| row.transpose().map_err(StoreError::from))),
            Err(_) => {
                // Errors cannot be copied, and a fault that hits one row may spare the others.
                for &id in ids {
                    loaded.push(self.load(id).await);
                }
            }
        }
    }
}

impl Loader for Arc<Lookup> {
    async fn one(&self, id: SessionId) -> Loaded {
        Lookup::load(self, id).await
    }

    async fn many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        Lookup::load_many(self, ids).await
    }
}

fn load(connection: &Connection, sql: &Sql, id: SessionId) -> rusqlite::Result<Option<Read>> {
    let mut statement = sql::prepare(connection, &sql.load)?;
    let mut rows = statement.query([id.to_text().as_str()])?;
    rows.next()?.map(row::record).transpose()
}

/// One statement for each in one transaction: one statement for all would first sort the ids.
fn load_together(
    connection: &Connection,
    sql: &Sql,
    ids: &[SessionId],
) -> rusqlite::Result<Vec<Option<Read>>> {
    sql::log(connection, sql::BEGIN_READ);
    // A connection that kept it would see no later write, so it rolls back on every way out.
    let moment = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let mut statement = sql::prepare(connection, &sql.load)?;
    let mut read = Vec::with_capacity(ids.len());
    for (at, id) in ids.iter().enumerate() {
        if at > 0 {
            sql::log(connection, &sql.load);
        }
        let mut rows = statement.query([id.to_text().as_str()])?;
        read.push(rows.next()?.map(row::record).transpose()?);
    }
    drop(statement);
    sql::log(connection, sql::ROLLBACK);
    moment.rollback()?;
    Ok(read)
}
