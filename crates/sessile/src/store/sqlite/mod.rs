//! Sessions in a SQLite file, next to the service or shared with other processes on the machine.
//!
//! Statements: `load` and `apply` 1; `load_many` 1 per id and BEGIN and ROLLBACK around each 64 of them;
//! `apply_many` 1 per write and BEGIN and COMMIT around all that waits at the time; `list`, `delete_user`, `stats` and `check` 1; `purge` 1 per
//! chunk; `init` 3 in a transaction; `examine` about 20.
//!
//! Reads by id happen inline on a few read connections; those that meet there read together, in one
//! transaction. All writes happen on one thread, in grouped transactions, the file in write-ahead logging. A process that holds the write lock (lback holds it
//! while its view runs) makes writes wait, never reads. The log is moved into the file by a thread of its
//! own, about every 1,000 pages; at 40 MiB by the writer, which bounds it. A file that is deleted or replaced under the
//! store is noticed, and opened again when it is there.
//!
//! Every statement is noted in the SQL log before it runs: `tracing` target `sessile::sql`, level TRACE,
//! without values.
//!
//! A writer never acknowledges what is not committed, and no statement makes a row that has expired
//! live again.

mod apply;
mod checkpoint;
mod examine;
mod fault;
mod files;
mod log_file;
mod lookup;
mod options;
mod reader;
mod reopen;
mod row;
mod schema;
mod sql;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use rusqlite::Connection;

use super::group::Group;
use super::loads::Loads;
use super::purge::{self, Chunk, Chunks};
use super::{
    Finding, ListPage, ListQuery, Loaded, MalformedRow, Outcome, PurgeBatch, PurgeLimits, SessionStore,
    StoreError, StoreStats, Write,
};
use crate::record::{Clock, SessionId, SessionRecord, Timestamp, UserId};

pub use options::{SqliteOptions, Synchronous};
pub use reader::ReadMode;

use fault::{NAME, Place};
use files::Files;
use lookup::Lookup;
use reader::Readers;
use row::Time;
use sql::Sql;
use writer::Writer;

/// A row as it was read: the record, or why it is none.
type Read = Result<SessionRecord, MalformedRow>;

/// Keeps sessions in a SQLite database.
///
/// Clones share the connections. When the last one is dropped, what is queued is still written, and
/// the drop waits for that.
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

/// The fields are dropped in this order: the writer closes last, and so tidies the log away.
struct Inner {
    place: Arc<Place>,
    sql: Arc<Sql>,
    /// None in memory.
    files: Option<Arc<Files>>,
    readers: Arc<Readers>,
    lookup: Arc<Lookup>,
    /// Single loads that meet.
    loads: Group<Loads<Arc<Lookup>>>,
    writer: Writer,
    chunks: Chunks,
}

impl SqliteStore {
    /// Opens the database at this path with the defaults: see [`SqliteOptions::open`].
    ///
    /// # Errors
    /// As [`SqliteOptions::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        SqliteStore::options().open(path).await
    }

    /// How to open it otherwise.
    pub fn options() -> SqliteOptions {
        SqliteOptions::default()
    }

    fn new(
        place: Arc<Place>,
        sql: Arc<Sql>,
        files: Option<Arc<Files>>,
        readers: Readers,
        writer: Writer,
    ) -> SqliteStore {
        let (readers, chunks) = (Arc::new(readers), Chunks::new());
        let lookup = Arc::new(Lookup::new(&readers, &sql));
        let loads = Group::new(Loads(Arc::clone(&lookup)), readers.bounds());
        SqliteStore(Arc::new(Inner { place, sql, files, readers, lookup, loads, writer, chunks }))
    }

    fn sql(&self) -> Arc<Sql> {
        Arc::clone(&self.0.sql)
    }

    /// Whether reads may go on: whether the file is the one that was opened.
    fn is_there(&self) -> Result<(), StoreError> {
        let Some(files) = &self.0.files else { return Ok(()) };
        let is_due = files.is_due();
        let seen = files.glance();
        if seen.is_err() && is_due {
            self.0.writer.wake();
        }
        seen
    }

    /// What was read, unless the file was lost meanwhile.
    fn unless_lost<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        match (&self.0.files, read) {
            (Some(files), Err(_)) if files.is_lost() => Err(files.error()),
            (_, read) => read,
        }
    }

    /// Reads the whole table.
    async fn long<T, R>(&self, action: &'static str, read: R) -> Result<T, StoreError>
    where
        T: Send + 'static,
        R: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.is_there()?;
        self.unless_lost(self.0.readers.long(action, read).await)
    }

    /// Deletes one chunk on the writer.
    async fn purge_chunk(&self, now: Timestamp, rows: usize) -> Result<Chunk, StoreError> {
        let sql = self.sql();
        let delete = move |connection: &Connection| {
            let started = Instant::now();
            let mut statement = sql::prepare(connection, &sql.purge)?;
            let limit = i64::try_from(rows).unwrap_or(i64::MAX);
            let rows = statement.query_map((Time::from(now), limit), row::id_and_user)?;
            let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(purge::removed(rows.into_iter(), started.elapsed()))
        };
        self.0.writer.run_behind("purge", delete).await
    }
}

fn list(connection: &Connection, sql: &Sql, query: &ListQuery) -> rusqlite::Result<ListPage> {
    let after = query.after.as_ref().and_then(row::Place::from_cursor);
    let limit = query.limit.max(1);
    let mut statement = sql::prepare(connection, &sql.list(query, after.is_some()))?;
    if let Some(user) = &query.user {
        statement.raw_bind_parameter(1, user.as_str())?;
    }
    if query.liveness != super::Liveness::Any {
        statement.raw_bind_parameter(2, Time::from(query.now))?;
    }
    if let Some(after) = &after {
        statement.raw_bind_parameter(3, after)?;
    }
    // One more than asked for tells whether there is a next page.
    statement.raw_bind_parameter(4, i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))?;
    let mut page = ListPage::default();
    let mut last = None;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        if page.records.len() + page.malformed.len() == limit {
            page.next = last.as_ref().map(row::Place::to_cursor);
            break;
        }
        last = row::Place::of(row.get_ref(0)?);
        match row::record(row)? {
            Ok(record) => page.records.push(record),
            Err(malformed) => page.malformed.push(malformed),
        }
    }
    Ok(page)
}

fn stats(connection: &Connection, sql: &Sql, now: Timestamp) -> rusqlite::Result<StoreStats> {
    sql::prepare(connection, &sql.stats)?.query_row([Time::from(now)], |row| {
        let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(StoreStats {
            live: count(0)?,
            expired: count(1)?,
            anonymous: count(2)?,
            users: count(3)?,
            data_bytes: count(4)?,
            oldest_expired: row.get::<_, Option<String>>(5)?.as_deref().and_then(Timestamp::parse),
        })
    })
}

#[async_trait]
impl SessionStore for SqliteStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(&self, id: SessionId) -> Loaded {
        self.is_there()?;
        self.unless_lost(self.0.loads.load(id, NAME).await)
    }

    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        if self.is_there().is_err() {
            return ids.iter().map(|_| self.is_there().map(|()| None)).collect();
        }
        let loaded = self.0.lookup.load_many(ids).await;
        loaded.into_iter().map(|loaded| self.unless_lost(loaded)).collect()
    }

    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        let mut outcomes = self.0.writer.apply(vec![write]).await;
        outcomes.pop().unwrap_or_else(|| Err(fault::unavailable("its writer gave no answer", None)))
    }

    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        if writes.is_empty() {
            return Vec::new();
        }
        self.0.writer.apply(writes).await
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        let (sql, query) = (self.sql(), query.clone());
        let is_of_one_user = query.user.is_some();
        let read = move |connection: &Connection| list(connection, &sql, &query);
        if !is_of_one_user {
            return self.long("list", read).await;
        }
        self.is_there()?;
        self.unless_lost(self.0.readers.listing("list", read).await)
    }

    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let (sql, user) = (self.sql(), user.clone());
        let delete = move |connection: &Connection| {
            let mut statement = sql::prepare(connection, &sql.delete_user)?;
            let keep = keep.as_ref().map(SessionId::to_text);
            let keep = keep.as_ref().map(|text| text.as_str());
            row::returned_ids(statement.query((user.as_str(), keep))?)
        };
        self.0.writer.run("delete a user's sessions", delete).await.map(|(ids, _)| ids)
    }

    /// In chunks, so that other writes get their turn, and those that wait already go before each chunk: after
    /// `max_time` on the writer it stops. Needs the index on `expires_at`; without it each chunk reads the whole table.
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.0.chunks.purge(NAME, limits, |rows| self.purge_chunk(now, rows)).await
    }

    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        let sql = self.sql();
        self.long("count", move |connection| stats(connection, &sql, now)).await
    }

    async fn init(&self) -> Result<(), StoreError> {
        let sql = self.sql();
        self.0.writer.run("make the table", move |connection| schema::create(connection, &sql)).await
    }

    fn schema(&self) -> String {
        schema::text(&self.0.sql)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let (sql, place) = (self.sql(), Arc::clone(&self.0.place));
        self.long("check", move |connection| schema::check(connection, &sql, &place)).await?
    }

    /// Reads the whole file, for ten seconds at most, and holds the write lock for some milliseconds. The
    /// journal is always in write-ahead logging by then, for opening saw to that:
    /// [`SqliteOptions::examine`] sees it as it was.
    async fn examine(&self, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
        let (sql, place, now) = (self.sql(), Arc::clone(&self.0.place), clock.now());
        let look = move |connection: &Connection| Ok(examine::look(connection, &sql, &place));
        let seen = self.long("examine", look).await?;
        let (sql, place) = (self.sql(), Arc::clone(&self.0.place));
        let try_out =
            move |connection: &Connection| Ok(examine::try_out(connection, &sql, &place, now, seen));
        self.0.writer.run("examine", try_out).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("place", &self.0.place).finish_non_exhaustive()
    }
}
