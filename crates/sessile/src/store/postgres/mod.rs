//! Sessions in PostgreSQL, for many processes on many machines.
//!
//! Statements: `load` and `load_many` 1 for all ids; `apply` 1; `apply_many` 1 for each kind of write
//! (insert, update, touch, rotate, delete) and, for several, BEGIN and COMMIT around them; `list`, `stats`,
//! `check` and `clock` 1; `delete_user` 2, a DELETE and a SELECT of what is left; `purge` 1 per chunk; `init` 4 in a
//! transaction and 1; `examine` 11; connecting 1, and more for the settings of each connection.
//!
//! Round trips: 1 for each of these, also for a batch with its BEGIN and COMMIT, which are sent without
//! waiting for answers. One more when a connection uses a statement for the first time and prepares it;
//! and a batch that fails as a whole is made again apart: 1 for all its writes.
//!
//! Rows that other programs have locked: a batch that meets one waits 10 ms, once. All of its writes are then made on
//! another connection, in a transaction of 2 round trips: BEGIN, a SELECT FOR UPDATE that skips locked rows and a
//! SELECT that tells which of them there are; then the writes to the rows that are ours, and COMMIT. A write to a
//! locked row waits in its row's queue and is tried again so, together with all others that wait, after 5 to 50 ms. The
//! time is read for each attempt, so that a session which expires during the wait is dead. A row that was locked is
//! remembered for 5 s: its writes go to its queue at once. `delete_user` deletes the free rows and tries the others
//! again in the same way, on connections of its own.
//!
//! There is no pool. Requests share a few connections and pipeline on them: two for loads, two for
//! grouped writes, one for `delete_user`, one for counts and purges; and, made when first needed, one for listings,
//! one for writes whose rows are locked, and one for `delete_user` where rows are locked. Each comes back by itself
//! when it breaks. A read that was cut off is made once more on another connection; a write is not, for it may or may
//! not have been made.
//!
//! Statements are prepared once per connection. After `DISCARD ALL` or a change of the table they are
//! prepared anew. A pooler in session mode (PgBouncer) works as the server itself does. One in transaction mode is
//! refused when the store connects, unless [`PostgresOptions::transaction_pooler`] or `?pooler=transaction` says that
//! it is to be expected: then each statement is planned for its values and stands in a transaction that makes its own
//! settings, with BEGIN and COMMIT in the same round trip.
//!
//! Every statement is noted in the SQL log before it is sent: `tracing` target `sessile::sql`, level
//! TRACE, without values.
//!
//! Commits are as durable as the server's `synchronous_commit` makes them: with `off`, a crash of the
//! server undoes the last moments, so that a session which was logged out is live again until it
//! expires; with asynchronous replication a failover does the same.
//!
//! The feed of changes ([`SessionStore::feed`]) needs two triggers, which `init_feed` or `sessile init --feed`
//! makes: they send the id of each row that is changed or deleted through NOTIFY, also when psql or another
//! program did it, and a hash of what a changed row has become: so a process knows its own changes again. Load and
//! listen on the primary: a standby tells nothing.
//!
//! What that costs those who write: some 30 µs of the server's processor for each row, and a lock. PostgreSQL makes
//! commits that notify one after the other, in all databases of the server, each from before its way to the disk to
//! the end of it; so a store that listens has one batch of writes on its way, not two. Measured with 64 writers on two
//! cores: this store, which commits many writes at once, keeps 0.62 of its writes per second, and programs that commit
//! each change by itself, as lback does, keep 0.31, about 1,900 commits per second on that disk (a lone writer 0.82 and
//! 0.76). Do without the feed, and so without the cache, where sessions are changed about as often as they are read,
//! where other programs write many sessions one by one, or where the same server notifies much for other ends.
//!
//! An update never moves `updated_at` into an index, and an expiry that is renewed seldom leaves most
//! updates within their page (HOT): all but the renewals, on a table that `init` made, for it leaves a tenth of each
//! page free. A table that others made has no such room; `ALTER TABLE sessions SET (fillfactor = 90)` gives it
//! some. The store holds no row's lock while it waits for a caller; that of a
//! blocked write for one round trip.

mod address;
mod apply;
mod call;
mod endings;
mod examine;
mod fault;
mod feed;
mod link;
mod options;
mod pipeline;
mod pooler;
mod row;
mod schema;
mod settings;
mod sql;
mod tls;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::answer::{Maker as _, Writes};
use super::group::{Bounds, Group};
use super::purge::{self, Chunk, Chunks};
use super::{
    Feed, Finding, Grouping, Hearer, ListPage, ListQuery, Loaded, MalformedRow, Outcome, PurgeBatch,
    PurgeLimits, SessionStore, StoreError, StoreStats, Write,
};
use crate::record::{Clock, SessionId, SessionRecord, Timestamp, UserId};

pub(super) use address::Address;
pub use options::PostgresOptions;

use apply::{Writer, again};
use endings::Endings;
use fault::{Fault, NAME, Place};
use link::{Dialler, Duty, Link, Parameter, Session};
use row::{Bound, Key, Micros};
use sql::{Kept, Sql};

/// Keeps sessions in a PostgreSQL database, version 12 or later.
///
/// Clones share the connections, which live in the runtime that they were made in. When the last one is
/// dropped, what is queued is still sent.
#[derive(Clone)]
pub struct PostgresStore(Arc<Inner>);

struct Inner {
    dialler: Arc<Dialler>,
    place: Arc<Place>,
    sql: Arc<Sql>,
    loads: Vec<Link>,
    turn: AtomicUsize,
    /// For listings, which requests wait for.
    lists: Link,
    /// For what reads or deletes many rows, so that it never keeps a request waiting.
    surveys: Link,
    writer: Arc<Writer>,
    endings: Endings,
    /// Single writes that come at the same time share a statement.
    group: Group<Writes<Writer>>,
    chunks: Chunks,
}

impl Inner {
    /// The connections that serve sessions at this moment.
    fn serving(&self) -> Vec<Arc<Session>> {
        self.loads.iter().chain(self.writer.links()).filter_map(Link::standing).collect()
    }
}

impl PostgresStore {
    /// Connects with the defaults: see [`PostgresOptions::connect`].
    ///
    /// # Errors
    /// As [`PostgresOptions::connect`].
    pub async fn connect(url: &str) -> Result<PostgresStore, StoreError> {
        PostgresStore::options().connect(url).await
    }

    /// How to connect otherwise.
    pub fn options() -> PostgresOptions {
        PostgresOptions::default()
    }

    async fn start(dialler: Arc<Dialler>, connections: usize) -> Result<PostgresStore, StoreError> {
        let (place, sql) = (Arc::clone(&dialler.place), Arc::clone(&dialler.sql));
        let loads: Vec<Link> = (0..connections).map(|_| Link::start(&dialler, Duty::Loads)).collect();
        let lists = Link::start(&dialler, Duty::Lists);
        let surveys = Link::start(&dialler, Duty::Surveys);
        let writer = Arc::new(Writer::start(&dialler));
        let endings = Endings::start(&dialler);
        let connected = async {
            for link in loads.iter().chain([&surveys]) {
                link.session().await?;
            }
            writer.connected().await?;
            endings.connected().await
        };
        let looked = async {
            connected.await?;
            match schema::look(&surveys, &sql, &place).await {
                // No right to the schema: `check` tells it, and the first write that names a user looks again.
                Ok(_) | Err(Fault::Refused(_)) => Ok(()),
                Err(fault) => Err(fault),
            }
        };
        looked.await.map_err(|fault| place.error(&format!("connect to {}", place.server), fault))?;
        dialler.has_opened();
        let bounds = Bounds { crowd: apply::CROWD, ..Bounds::new(apply::BATCHES, place.limit.length()) };
        let group = Group::new(Writes(Arc::clone(&writer)), bounds);
        let (turn, chunks) = (AtomicUsize::new(0), Chunks::new());
        Ok(PostgresStore(Arc::new(Inner {
            dialler,
            place,
            sql,
            loads,
            turn,
            lists,
            surveys,
            writer,
            endings,
            group,
            chunks,
        })))
    }

    fn error(&self, action: &'static str) -> impl Fn(Fault) -> StoreError {
        move |fault| self.0.place.error(action, fault)
    }

    /// A lookup, on whichever connection stands, and on another one if that breaks.
    async fn look_up(&self, ids: &[SessionId]) -> Result<Vec<Row>, Fault> {
        let wanted = Bound(ids.iter().map(|&id| Key(id)).collect::<Vec<_>>());
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let links = &self.0.loads;
        for turn in turn..turn.saturating_add(links.len()) {
            let Some(session) = links[turn % links.len()].standing() else { continue };
            match session.run(Kept::Load, &[&wanted]).await {
                Err(Fault::Cut(_) | Fault::Away(_)) => {}
                answer => return answer,
            }
        }
        links[turn % links.len()].run(Kept::Load, &[&wanted]).await
    }

    /// A read on one of the connections that no load waits for, once more if it breaks.
    async fn read(
        &self,
        link: &Link,
        statement: &str,
        parameters: &[(Parameter<'_>, Type)],
    ) -> Result<Vec<Row>, Fault> {
        match link.survey(statement, parameters).await {
            Err(Fault::Cut(_)) => link.survey(statement, parameters).await,
            answer => answer,
        }
    }

    /// A read of many rows.
    async fn survey(&self, statement: &str, parameters: &[(Parameter<'_>, Type)]) -> Result<Vec<Row>, Fault> {
        self.read(&self.0.surveys, statement, parameters).await
    }

    async fn purge_chunk(&self, now: Timestamp, rows: usize) -> Result<Chunk, StoreError> {
        let limit = i64::try_from(rows).unwrap_or(i64::MAX);
        let parameters: [(Parameter<'_>, Type); 2] =
            [(&Micros::from(now), Type::TIMESTAMP), (&limit, Type::INT8)];
        let removed = again(|| async {
            let started = Instant::now();
            let rows = self.0.surveys.survey(&self.0.sql.purge, &parameters).await?;
            Ok(purge::removed(rows.iter().map(row::id_and_user), started.elapsed()))
        });
        removed.await.map_err(self.error("purge"))
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
    let count = |column: usize| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
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
    Fault::Other("the server gave no row".to_owned())
}

#[async_trait]
impl SessionStore for PostgresStore {
    fn name(&self) -> &'static str {
        NAME
    }

    /// As it was at the connect, or at the last `init` or `check`. A table that is made later is looked at before the
    /// first write that names a user, and one that is altered when the server refuses a user id.
    fn user_id_limit(&self) -> usize {
        self.0.place.user.limit()
    }

    async fn load(&self, id: SessionId) -> Loaded {
        let rows = self.look_up(&[id]).await.map_err(self.error("load"))?;
        Ok(rows.first().map(row::record).transpose()?)
    }

    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        if ids.is_empty() {
            return Vec::new();
        }
        let rows = match self.look_up(ids).await {
            Ok(rows) => rows,
            Err(fault) => return ids.iter().map(|_| Err(self.error("load")(fault.clone()))).collect(),
        };
        let read = |row: &Row| row::id(row).map(|id| (id, row::record(row)));
        let loaded: HashMap<SessionId, Result<SessionRecord, MalformedRow>> =
            rows.iter().filter_map(read).collect();
        ids.iter().map(|id| Ok(loaded.get(id).cloned().transpose()?)).collect()
    }

    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        if let Some(queued) = self.0.writer.queued(&write) {
            return queued.get(NAME).await;
        }
        match self.0.group.ask(write).await {
            Ok(answer) => answer.get(NAME).await,
            Err(unanswered) => Err(unanswered.of_write(NAME)),
        }
    }

    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        let mut outcomes = Vec::with_capacity(writes.len());
        for answer in self.0.writer.make(&writes).await {
            outcomes.push(answer.get(NAME).await);
        }
        outcomes
    }

    /// Writes are grouped here, where one that has to wait for a lock can be answered later than its
    /// neighbours.
    fn grouping(&self) -> Grouping {
        Grouping { loads: self.0.loads.len(), writes: 0 }
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        let limit = query.limit.max(1);
        let user = query.user.as_ref().map(UserId::as_str);
        if user.is_some_and(|user| user.contains('\0')) {
            return Ok(ListPage::default());
        }
        let place = query.after.as_ref().and_then(row::place);
        let rows = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let parameters: [(Parameter<'_>, Type); 4] = [
            (&Bound(user), Type::TEXT),
            (&Micros::from(query.now), Type::TIMESTAMP),
            (&Bound(place.as_deref()), Type::TEXT),
            (&rows, Type::INT8),
        ];
        // A page of a user's rows is short; one of all rows may read the whole table to find what has expired.
        let link = if user.is_some() { &self.0.lists } else { &self.0.surveys };
        let rows = self.read(link, &self.0.sql.list(query, place.is_some()), &parameters).await;
        Ok(page(&rows.map_err(self.error("list"))?, limit))
    }

    /// Deletes what is free at once and tries the rest again until it is, for as long as a write waits for a lock.
    /// Needs the index on `user_id`; without it all rows are read.
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        if user.as_str().contains('\0') {
            return Ok(Vec::new());
        }
        self.0.endings.delete_user(user, keep).await
    }

    /// In chunks, and past rows that others have locked. Needs the index on `expires_at`; without it each
    /// chunk reads the whole table.
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.0.chunks.purge(NAME, limits, |rows| self.purge_chunk(now, rows)).await
    }

    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        let counted = self.survey(&self.0.sql.stats, &[(&Micros::from(now), Type::TIMESTAMP)]).await;
        let counted = counted.and_then(|rows| counts(rows.first().ok_or_else(no_row)?));
        counted.map_err(self.error("count"))
    }

    async fn init(&self) -> Result<(), StoreError> {
        let made = async {
            self.0.surveys.batch(&schema::create(&self.0.sql)).await?;
            schema::look(&self.0.surveys, &self.0.sql, &self.0.place).await.map(drop)
        };
        made.await.map_err(self.error("make the table"))
    }

    fn schema(&self) -> String {
        schema::text(&self.0.sql)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let table = self.0.sql.table();
        let columns = self.read(&self.0.lists, sql::CHECK, &[(&table, Type::TEXT)]).await;
        let columns = columns.map_err(self.error("check"))?;
        schema::note(&columns, &self.0.place);
        schema::judge(&columns, &self.0.place)
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.read(&self.0.lists, sql::CLOCK, &[]).await;
        let now = rows.and_then(|rows| rows.first().and_then(|row| row::time_at(row, 0)).ok_or_else(no_row));
        now.map(Some).map_err(self.error("ask for the time"))
    }

    /// Makes one more connection, for as long as it takes to try a row out on it.
    async fn examine(&self, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
        examine::examine(self, clock).await
    }

    /// One more connection, which listens. Statements: 6 at first; then, for each third of `bound`, 1 there and 1 on
    /// each connection for loads and for grouped writes. Must be called within the runtime that it is to live in.
    async fn feed(&self, hearer: Hearer, bound: Duration) -> Result<Option<Feed>, StoreError> {
        if !self.0.dialler.can_listen() {
            return Err(self.0.place.no_listening());
        }
        let feed = feed::subscribe(&self.0, hearer, bound).await?;
        // From its commit on whoever notifies has a lock that all of them need, so a second batch would only wait
        // for the first one's commit, and both be smaller: 64 clients made a seventh more changes with one.
        self.0.group.narrow(1);
        Ok(Some(feed))
    }

    async fn init_feed(&self) -> Result<(), StoreError> {
        let made = self.0.surveys.batch(&schema::create_feed(&self.0.sql)).await;
        made.map_err(self.error("make the feed"))
    }

    fn feed_schema(&self) -> String {
        self.0.sql.create_feed.clone()
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { server, table, .. } = &*self.0.place;
        f.debug_struct("PostgresStore").field("server", server).field("table", table).finish_non_exhaustive()
    }
}
