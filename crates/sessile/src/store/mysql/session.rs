//! One connection with its prepared statements.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row, Statement, Value};

use super::fault::{Fault, Place};
use super::row;
use super::sql::{self, Kept, Sql};
use crate::record::SessionId;
use crate::store::limit::TimeLimit;

/// What came back.
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// Rows that an UPDATE found, or that were inserted or deleted.
    pub(super) matched: u64,
}

/// A connection, set up for use by one caller at a time.
pub(super) struct Session {
    conn: Conn,
    kept: [Option<Statement>; Kept::COUNT],
    place: Arc<Place>,
    sql: Arc<Sql>,
    /// Whether the server can pass by what others have locked.
    pub(super) skips: bool,
    /// Whether a statement that does not skip waits for a locked row, a second at least.
    pub(super) waits_for_locks: bool,
    /// Which of the times of the store it is of: see the pool.
    pub(super) age: u64,
    pub(super) used: Instant,
    /// A connection that was idle for longer is checked before it is used.
    pub(super) idle_limit: Duration,
    in_transaction: bool,
    broken: bool,
}

impl Session {
    pub(super) fn new(
        conn: Conn,
        place: Arc<Place>,
        sql: Arc<Sql>,
        skips: bool,
        age: u64,
        idle_limit: Duration,
    ) -> Session {
        Session {
            conn,
            kept: [const { None }; Kept::COUNT],
            place,
            sql,
            skips,
            waits_for_locks: false,
            age,
            used: Instant::now(),
            idle_limit,
            in_transaction: false,
            broken: false,
        }
    }

    /// Whether the next caller finds it as this one did. One that was left in the middle of anything is
    /// closed, which undoes what was not committed.
    pub(super) fn is_clean(&self) -> bool {
        !self.broken && !self.in_transaction && !self.conn.is_disconnected()
    }

    /// Whether the way itself was what failed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken || self.conn.is_disconnected()
    }

    /// Runs a statement that the connection keeps prepared. One round trip, one more when it is not
    /// prepared yet.
    pub(super) async fn run(&mut self, kept: Kept, values: Vec<Value>) -> Result<Answer, Fault> {
        match self.once(kept, values.clone()).await {
            // The server has forgotten it (a pooler): nothing was done.
            Err(fault) if fault.is_stale() => {
                self.kept = [const { None }; Kept::COUNT];
                self.once(kept, values).await
            }
            answer => answer,
        }
    }

    async fn once(&mut self, kept: Kept, values: Vec<Value>) -> Result<Answer, Fault> {
        let statement = match &self.kept[kept.at()] {
            Some(statement) => statement.clone(),
            None => {
                let prepared = self.conn.prep(self.sql.kept(kept)).await;
                let prepared = self.judged(prepared)?;
                self.kept[kept.at()].insert(prepared).clone()
            }
        };
        self.log(self.sql.kept(kept));
        let rows = self.conn.exec(statement, Params::Positional(values)).await;
        let rows = self.judged(rows)?;
        Ok(Answer { rows, matched: self.conn.affected_rows() })
    }

    /// The rows with these ids, whatever the case of their letters.
    pub(super) async fn rows_of(
        &mut self,
        kept: fn(usize) -> Kept,
        ids: &[SessionId],
    ) -> Result<Vec<Row>, Fault> {
        let mut rows = Vec::new();
        for ids in ids.chunks(sql::WIDEST) {
            let (at, values) = padded(ids.iter().map(|&id| row::bound_id(id)));
            rows.extend(self.run(kept(at), values).await?.rows);
        }
        Ok(rows)
    }

    /// Which of these ids there are, exactly so.
    pub(super) async fn ids(
        &mut self,
        kept: fn(usize) -> Kept,
        ids: &[SessionId],
    ) -> Result<HashSet<SessionId>, Fault> {
        let rows = self.rows_of(kept, ids).await?;
        Ok(rows.iter().filter_map(row::id).collect())
    }

    /// Deletes the rows whose keys this statement gives, and locks. In a transaction.
    pub(super) async fn survey_and_remove(
        &mut self,
        statement: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, Fault> {
        let rows = self.survey(statement, values).await?;
        for rows in rows.chunks(sql::WIDEST) {
            let (at, values) = padded(rows.iter().map(row::key_of));
            self.run(Kept::Remove(at), values).await?;
        }
        Ok(rows)
    }

    /// Runs a statement that is not needed often.
    pub(super) async fn survey(&mut self, statement: &str, values: Vec<Value>) -> Result<Vec<Row>, Fault> {
        self.log(statement);
        let values = if values.is_empty() { Params::Empty } else { Params::Positional(values) };
        let rows = self.conn.exec(statement, values).await;
        self.judged(rows)
    }

    /// Asks the server to judge this statement, and runs nothing.
    pub(super) async fn prepare(&mut self, kept: Kept) -> Result<(), Fault> {
        let prepared = self.conn.prep(self.sql.kept(kept)).await;
        self.judged(prepared).map(drop)
    }

    /// Runs a statement without parameters, unprepared.
    pub(super) async fn bare(&mut self, statement: &str) -> Result<(), Fault> {
        self.log(statement);
        let done = self.conn.query_drop(statement).await;
        self.judged(done)
    }

    /// Begins a transaction: everything up to [`end`](Session::end) is done or, after an error, nothing,
    /// unless the connection broke.
    pub(super) async fn begin(&mut self) -> Result<(), Fault> {
        self.in_transaction = true;
        self.bare(sql::BEGIN).await
    }

    /// Commits what is done, or undoes what failed.
    pub(super) async fn end<T>(&mut self, done: Result<T, Fault>) -> Result<T, Fault> {
        let done = match done {
            Ok(done) => self.bare(sql::COMMIT).await.map(|()| done),
            Err(fault) => Err(fault),
        };
        // What cannot be undone here is undone by closing the connection.
        let settled = done.is_ok() || (!self.is_broken() && self.bare(sql::ROLLBACK).await.is_ok());
        self.in_transaction = !settled;
        done
    }

    /// Undoes what was done since it began.
    pub(super) async fn undo(&mut self) -> Result<(), Fault> {
        let undone = self.bare(sql::ROLLBACK).await;
        self.in_transaction = undone.is_err();
        undone
    }

    /// Whether the connection still stands, after it was not used for a while.
    pub(super) async fn answers(&mut self) -> bool {
        self.place.limit.keep(self.conn.ping()).await.is_some_and(|answer| answer.is_ok())
    }

    fn judged<T>(&mut self, answer: Result<T, mysql_async::Error>) -> Result<T, Fault> {
        answer.map_err(|error| {
            let fault = Fault::from(error);
            self.broken |= matches!(fault, Fault::Cut(_));
            fault
        })
    }

    /// The SQL log: target `sessile::sql`, one event per statement, without values.
    fn log(&self, statement: &str) {
        tracing::trace!(target: "sessile::sql", statement, database = &*self.place.server);
    }
}

/// Bounds the time in which an answer has to come; the connection that it was awaited on is given up.
pub(super) async fn in_time<T>(
    limit: &TimeLimit,
    answer: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    limit.keep(answer).await.unwrap_or(Err(Fault::Slow))
}

/// The values, the last of them again and again up to the width of a statement.
fn padded(values: impl ExactSizeIterator<Item = Value>) -> (usize, Vec<Value>) {
    let (at, width) = sql::width(values.len());
    let mut values: Vec<Value> = values.collect();
    if let Some(last) = values.last().cloned() {
        values.resize(width, last);
    }
    (at, values)
}
