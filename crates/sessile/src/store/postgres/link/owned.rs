//! A connection that one task uses at a time, so that a transaction on it may take several round trips.
//!
//! Everywhere else a transaction is queued as a whole, for other callers share the connection. Here the borrow checker
//! keeps other statements out: a [`Transaction`] borrows the [`Owned`] connection, and nothing else can reach it.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Row;

use super::super::fault::Fault;
use super::super::pipeline::{Parameter, Request};
use super::super::sql::Kept;
use super::{BEGIN, COMMIT, Dialler, Duty, Link, Session};

const ROLLBACK: &str = "ROLLBACK";

/// A connection that comes back, for one task at a time.
pub(in super::super) struct OwnLink {
    link: Link,
    turn: Mutex<()>,
}

/// The connection, for as long as it is held.
pub(in super::super) struct Owned<'a> {
    session: Arc<Session>,
    /// Whether a transaction was begun and not ended.
    is_open: bool,
    _turn: MutexGuard<'a, ()>,
}

/// A transaction that holds locks while its caller decides.
pub(in super::super) struct Transaction<'a> {
    session: &'a Session,
    is_open: &'a mut bool,
}

impl OwnLink {
    pub(in super::super) fn start(dialler: &Arc<Dialler>, duty: Duty) -> OwnLink {
        OwnLink { link: Link::start(dialler, duty), turn: Mutex::new(()) }
    }

    pub(in super::super) async fn take(&self) -> Result<Owned<'_>, Fault> {
        let turn = self.turn.lock().await;
        Ok(Owned { session: self.link.session().await?, is_open: false, _turn: turn })
    }
}

impl Owned<'_> {
    /// Begins a transaction with these statements, in one round trip.
    pub(in super::super) async fn begin(
        &mut self,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<(Transaction<'_>, Vec<Vec<Row>>), Fault> {
        let session = &*self.session;
        let prepared = session.in_time(session.all_prepared(statements)).await?;
        session.log(BEGIN);
        let requests = session.requests(&prepared, statements);
        let begin = session.local.as_deref().unwrap_or(BEGIN);
        self.is_open = true;
        let opened = session.in_time(session.pipeline.open(begin, requests)).await;
        let transaction = Transaction { session, is_open: &mut self.is_open };
        match opened {
            Ok(rows) => Ok((transaction, rows)),
            Err(fault) => {
                if !fault.is_outage() {
                    transaction.roll_back().await?;
                }
                if fault.is_stale() {
                    session.forget().await;
                }
                Err(fault)
            }
        }
    }

    /// For statements outside of a transaction.
    pub(in super::super) fn session(&mut self) -> Result<&Session, Fault> {
        if self.is_open {
            return Err(Fault::Cut("a transaction on the connection was not ended".to_owned()));
        }
        Ok(&self.session)
    }
}

/// A connection with an open transaction is given up, which undoes it.
impl Drop for Owned<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.session.broken.notify_one();
        }
    }
}

impl Transaction<'_> {
    /// Runs the last statements and commits, in one round trip. An error means that nothing was done, or that the
    /// connection broke.
    pub(in super::super) async fn commit(
        self,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let session = self.session;
        let prepared = match session.in_time(session.all_prepared(statements)).await {
            Ok(prepared) => prepared,
            Err(fault) => {
                self.roll_back().await?;
                return Err(fault);
            }
        };
        let requests = session.requests(&prepared, statements);
        session.log(COMMIT);
        let rows = session.in_time(session.pipeline.close(requests)).await;
        // COMMIT ends the transaction also where a statement has failed.
        *self.is_open = rows.as_ref().is_err_and(Fault::is_outage);
        if rows.as_ref().is_err_and(Fault::is_stale) {
            session.forget().await;
        }
        rows
    }

    /// Undoes it.
    pub(in super::super) async fn roll_back(self) -> Result<(), Fault> {
        let session = self.session;
        session.log(ROLLBACK);
        session.in_time(session.pipeline.run(Request::Simple(ROLLBACK))).await?;
        *self.is_open = false;
        Ok(())
    }
}
