//! Sessions in MySQL or MariaDB, for many processes on many machines.
//!
//! Statements: `load` 1, `load_many` 1 for up to 512 ids; `apply` 1; `apply_many`, for several writes, START
//! TRANSACTION, a SELECT that locks their rows and reads them, 1 for all changes of each kind (data, data and
//! expiry, expiry, another id, the end; new rows 16 at a time), and COMMIT: what the batch comes to is judged
//! here, on the locked rows; 1 for each write that changes a user, or meets an id that others make or end.
//! `delete_user` START TRANSACTION, SELECT, DELETE, COMMIT, and a SELECT of what is left; `purge` START TRANSACTION, SELECT,
//! DELETE, COMMIT per chunk; `list`, `stats` and `clock` 1; `check` 1 and four that are judged and not run;
//! `init` 2 and 1 for each index that is missing; `examine` 11 and four that are not run.
//!
//! Round trips: 1 per statement, for the protocol cannot be pipelined. One more when a connection uses a
//! statement for the first time and prepares it.
//!
//! A few connections, made when they are first needed: four for loads, two for writes and one for those whose rows are
//! locked, two for `delete_user` and one more where rows are locked, one for a user's listings, two for other listings,
//! counts and purges. A load or a write that finds one free goes its way at once, without a hop to another task; those
//! that find none wait together and share the next statement or the next transaction. A call whose caller goes away is
//! brought to its end, so that no connection is left in the middle of an answer. One that breaks is replaced when it is
//! needed. A read that was cut off is made once more on another connection; a write is not, for it may or may not have
//! been made.
//!
//! Rows that other programs have locked: a batch locks its rows with SKIP LOCKED (MySQL 8, MariaDB 10.6), so that it
//! waits for none. A write to a locked row waits in its row's queue and is tried again in such a batch, together with
//! all others that wait, after 5 to 50 ms; the time is read for each attempt, so that a session which expires during the
//! wait is dead. A lone write finds out by itself that its row is locked: at once on MariaDB; after a second on MySQL,
//! which knows no shorter wait, and for which other lone writes then use batches, as long as rows are locked. A row that
//! was locked is remembered for 5 s: its writes go to its queue at once. `delete_user` deletes the free rows and tries
//! the others again in the same way. Servers that cannot skip locked rows delete all rows of a user or none.
//!
//! A table that SQLAlchemy made is used as it is. Whatever its collation, ids, users and data are compared
//! as bytes. Times are cut to the digits that its columns keep, never rounded: on a column of whole seconds
//! a session ends up to one second early, as it does for Python.
//!
//! Every statement is noted in the SQL log before it is sent: `tracing` target `sessile::sql`, level
//! TRACE, without values.
//!
//! Commits are as durable as the server's `innodb_flush_log_at_trx_commit` and `sync_binlog` make them:
//! with less than 1, a crash of the server undoes the last moments, so that a session which was logged out
//! is live again until it expires; with asynchronous replication a failover does the same.

mod address;
mod apply;
mod batch;
mod call;
mod endings;
mod examine;
mod fault;
mod options;
mod pool;
mod reader;
mod row;
mod schema;
mod session;
mod settings;
mod sql;
mod tunnel;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use mysql_async::{Row, Value};

use super::answer::{Maker as _, Writes};
use super::finish::Finish;
use super::group::{Bounds, Group};
use super::loads::Loads;
use super::purge::{self, Chunk, Chunks};
use super::{
    Finding, ListPage, ListQuery, Liveness, Loaded, Outcome, PurgeBatch, PurgeLimits, SessionStore,
    StoreError, StoreStats, Write, key,
};
use crate::record::{Clock, SessionId, Timestamp, UserId};

pub(super) use address::Address;
pub use options::MySqlOptions;

use apply::{Attempts, BATCHES, Writer};
use call::bound_user;
use endings::Endings;
use fault::{Fault, NAME, Place};
use pool::{Dialler, Duty, Pool};
use reader::Reader;
use row::bound_time;
use session::in_time;
use sql::Sql;

/// A count of the whole table, and a purge beside it.
const SURVEYS: usize = 2;

/// Keeps sessions in a database of MySQL, version 8 or later, or MariaDB, version 10.5 or later.
///
/// Clones share the connections, which live in the runtime that they were made in.
#[derive(Clone)]
pub struct MySqlStore(Arc<Inner>);

struct Inner {
    place: Arc<Place>,
    sql: Arc<Sql>,
    reader: Arc<Reader>,
    /// Single loads that find no connection free share a statement.
    loads: Group<Loads<Arc<Reader>>>,
    writer: Arc<Writer>,
    /// Single writes that find no connection free share a transaction.
    writes: Group<Writes<Writer>>,
    endings: Arc<Endings>,
    /// For listings, which requests wait for.
    lists: Arc<Pool>,
    /// For what reads or deletes many rows, so that it never keeps a request waiting.
    surveys: Arc<Pool>,
    chunks: Chunks,
}

impl MySqlStore {
    /// Connects with the defaults: see [`MySqlOptions::connect`].
    ///
    /// # Errors
    /// As [`MySqlOptions::connect`].
    pub async fn connect(url: &str) -> Result<MySqlStore, StoreError> {
        MySqlStore::options().connect(url).await
    }

    /// How to connect otherwise.
    pub fn options() -> MySqlOptions {
        MySqlOptions::default()
    }

    async fn start(dialler: Arc<Dialler>, connections: usize) -> Result<MySqlStore, StoreError> {
        let (place, sql) = (Arc::clone(&dialler.place), Arc::clone(&dialler.sql));
        let surveys = Pool::new(&dialler, Duty::Surveys, SURVEYS);
        let lists = Pool::new(&dialler, Duty::Lists, 1);
        let endings = Arc::new(Endings::new(&dialler));
        let looked = async {
            let mut seat = surveys.seat().await?;
            in_time(&place.limit, schema::look(&mut seat, &sql, &place)).await.map(drop)
        };
        looked.await.map_err(|fault| place.error(&format!("connect to {}", place.server), fault))?;
        let reader = Arc::new(Reader::new(&dialler, connections));
        let loads =
            Group::new(Loads(Arc::clone(&reader)), Bounds::of_loads(connections, place.limit.length()));
        let writer = Arc::new(Writer::new(&dialler));
        let writes = Group::new(Writes(Arc::clone(&writer)), Bounds::new(BATCHES, place.limit.length()));
        let chunks = Chunks::new();
        Ok(MySqlStore(Arc::new(Inner {
            place,
            sql,
            reader,
            loads,
            writer,
            writes,
            endings,
            lists,
            surveys,
            chunks,
        })))
    }

    fn error(&self, action: &'static str) -> impl Fn(Fault) -> StoreError {
        move |fault| self.0.place.error(action, fault)
    }

    /// A read on one of the connections that no load waits for, once more if it breaks. No answer is too late for it,
    /// unless the connection breaks.
    async fn read(&self, pool: &Arc<Pool>, statement: &str, values: Vec<Value>) -> Result<Vec<Row>, Fault> {
        match pool.seat().await?.survey(statement, values.clone()).await {
            Err(Fault::Cut(_)) => pool.seat().await?.survey(statement, values).await,
            answer => answer,
        }
    }

    /// A read of many rows.
    async fn survey(&self, statement: &str, values: Vec<Value>) -> Result<Vec<Row>, Fault> {
        self.read(&self.0.surveys, statement, values).await
    }

    /// Locks and deletes a chunk of expired rows: renewed ones are not among them, nor those that others
    /// have locked. A DELETE that reads the whole of a small table meets those all the same, and two purges may then
    /// wait for each other. [R15]
    async fn purge_chunk(&self, now: Timestamp, rows: usize) -> Result<Chunk, StoreError> {
        let mut attempts = Attempts::default();
        loop {
            let started = Instant::now();
            let store = self.clone();
            let removed = Finish::new(async move {
                let mut seat = store.0.surveys.seat().await?;
                let values = vec![bound_time(now), Value::from(rows)];
                seat.begin().await?;
                let expired = store.0.sql.lock_expired(seat.skips);
                let removed = seat.survey_and_remove(expired, values).await;
                seat.end(removed).await
            })
            .await;
            if !attempts.has_another(&removed).await {
                let rows = removed.map_err(self.error("purge"))?;
                return Ok(purge::removed(rows.iter().map(row::id_and_user), started.elapsed()));
            }
        }
    }
}

fn page(rows: &[Row], limit: usize) -> ListPage {
    let mut page = ListPage::default();
    for row in rows.iter().take(limit) {
        match row::record(row) {
            Ok(record) => page.records.push(record),
            Err(malformed) => page.malformed.push(malformed),
        }
    }
    // One more than asked for tells whether there is a next page.
    if rows.len() > limit {
        page.next = rows.get(limit - 1).and_then(row::cursor);
    }
    page
}

fn counts(row: &Row) -> Result<StoreStats, Fault> {
    let count = |column: usize| row::number_at(row, column).ok_or_else(no_row);
    Ok(StoreStats {
        live: count(0)?,
        expired: count(1)?,
        anonymous: count(2)?,
        users: count(3)?,
        data_bytes: count(4)?,
        oldest_expired: row::time_at(row, 5),
    })
}

fn no_row() -> Fault {
    Fault::Other("the server's answer makes no sense".to_owned())
}

#[async_trait]
impl SessionStore for MySqlStore {
    fn name(&self) -> &'static str {
        NAME
    }

    /// As it was at the connect, or at the last `init` or `check`.
    fn data_limit(&self) -> Option<usize> {
        let bytes = self.0.place.data.load(std::sync::atomic::Ordering::Relaxed);
        usize::try_from(bytes).ok()
    }

    /// As it was at the connect, or at the last `init` or `check`. A table that is made later is looked at before the
    /// first write that names a user, and one that is altered when the server refuses a user id.
    fn user_id_limit(&self) -> usize {
        self.0.place.user.limit()
    }

    async fn load(&self, id: SessionId) -> Loaded {
        match self.0.reader.free() {
            Some(turn) => {
                let reader = Arc::clone(&self.0.reader);
                Finish::new(async move { reader.load(turn, id).await }).await
            }
            None => self.0.loads.load(id, NAME).await,
        }
    }

    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        let (reader, ids) = (Arc::clone(&self.0.reader), ids.to_vec());
        Finish::new(async move { reader.load_many(&ids).await }).await
    }

    /// At once where a connection is free, otherwise together with others that wait.
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        if let Some(queued) = self.0.writer.queued(&write) {
            return queued.get(NAME).await;
        }
        let answer = match self.0.writer.free() {
            Some(turn) => {
                let writer = Arc::clone(&self.0.writer);
                Finish::new(async move { writer.make_one(turn, write).await }).await
            }
            None => match self.0.writes.ask(write).await {
                Ok(answer) => answer,
                Err(unanswered) => return Err(unanswered.of_write(NAME)),
            },
        };
        answer.get(NAME).await
    }

    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        let writer = Arc::clone(&self.0.writer);
        let answers = Finish::new(async move { writer.make(&writes).await }).await;
        let mut outcomes = Vec::with_capacity(answers.len());
        for answer in answers {
            outcomes.push(answer.get(NAME).await);
        }
        outcomes
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        let limit = query.limit.max(1);
        let place = query.after.as_ref().and_then(key::place);
        let mut values = Vec::new();
        if query.user.is_some() {
            values.extend([bound_user(query.user.as_ref()), bound_user(query.user.as_ref())]);
        }
        if query.liveness != Liveness::Any {
            values.push(bound_time(query.now));
        }
        values.extend(place.as_deref().map(Value::from));
        values.push(Value::from(limit.saturating_add(1)));
        // A page of a user's rows is short; one of all rows may read the whole table to find what has expired.
        let pool = if query.user.is_some() { &self.0.lists } else { &self.0.surveys };
        let rows = self.read(pool, &self.0.sql.list(query, place.is_some()), values).await;
        Ok(page(&rows.map_err(self.error("list"))?, limit))
    }

    /// Deletes what is free at once and tries the rest again until it is, for as long as a write waits for a lock; a
    /// session that was rotated meanwhile is found under its new id. Needs the index on `user_id`; without it all
    /// rows are read, and locked for a moment each.
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let (endings, user) = (Arc::clone(&self.0.endings), user.clone());
        Finish::new(async move { endings.delete_user(&user, keep).await }).await
    }

    /// In chunks, and past rows that others have locked. Needs the index on `expires_at`; without it each
    /// chunk reads the whole table.
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.0.chunks.purge(NAME, limits, |rows| self.purge_chunk(now, rows)).await
    }

    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        let counted = self.survey(&self.0.sql.stats, vec![bound_time(now); 6]).await;
        let counted = counted.and_then(|rows| counts(rows.first().ok_or_else(no_row)?));
        counted.map_err(self.error("count"))
    }

    /// Adds the two indexes also to a table that is there without them.
    async fn init(&self) -> Result<(), StoreError> {
        let made = async {
            let mut seat = self.0.surveys.seat().await?;
            schema::create(&mut seat, &self.0.sql).await?;
            schema::look(&mut seat, &self.0.sql, &self.0.place).await.map(drop)
        };
        made.await.map_err(self.error("make the table"))
    }

    fn schema(&self) -> String {
        schema::text(&self.0.sql)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let looked = async {
            let mut seat = self.0.lists.seat().await?;
            let columns = schema::look(&mut seat, &self.0.sql, &self.0.place).await?;
            Ok((seat, columns))
        };
        let (mut seat, columns) = looked.await.map_err(self.error("check"))?;
        schema::judge(&columns, &self.0.place)?;
        schema::try_rights(&mut seat).await.map_err(self.error("check"))
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.read(&self.0.lists, sql::CLOCK, Vec::new()).await;
        let now = rows.and_then(|rows| rows.first().and_then(|row| row::time_at(row, 0)).ok_or_else(no_row));
        now.map(Some).map_err(self.error("ask for the time"))
    }

    async fn examine(&self, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
        examine::examine(self, clock).await
    }
}

impl fmt::Debug for MySqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { server, table, .. } = &*self.0.place;
        f.debug_struct("MySqlStore").field("server", server).field("table", table).finish_non_exhaustive()
    }
}
