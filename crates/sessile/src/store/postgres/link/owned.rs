//! A connection that one task uses at a time, so that a transaction on it may take several round trips.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Row;

use super::super::fault::Fault;
use super::super::pipeline::{OpenTransaction, Parameter};
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
    _turn: MutexGuard<'a, ()>,
}

/// A transaction that holds locks while its caller decides. Dropped in the middle, it gives its connection up, which
/// undoes it.
pub(in super::super) struct Transaction<'a> {
    session: &'a Session,
    open: OpenTransaction<'a>,
}

impl OwnLink {
    pub(in super::super) fn start(dialler: &Arc<Dialler>, duty: Duty) -> OwnLink {
        OwnLink { link: Link::start(dialler, duty), turn: Mutex::new(()) }
    }

    pub(in super::super) async fn take(&self) -> Result<Owned<'_>, Fault> {
        let turn = self.turn.lock().await;
        Ok(Owned { session: self.link.session().await?, _turn: turn })
    }
}

impl Owned<'_> {
    /// Begins a transaction with these statements, in one round trip.
    pub(in super::super) async fn begin(
        &mut self,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<(Transaction<'_>, Vec<Vec<Row>>), Fault> {
        let session = &*self.session;
        let opened = async {
            let access = session.pipeline.own().await?;
            let prepared = session.all_prepared(&access, statements).await?;
            session.log(BEGIN);
            access.open(session.begin(), session.requests(&prepared, statements)).await
        };
        let (open, rows) = session.unless_stale(session.in_time(opened).await).await?;
        Ok((Transaction { session, open }, rows))
    }

    /// For statements outside of a transaction.
    pub(in super::super) fn session(&mut self) -> &Session {
        &self.session
    }
}

impl Transaction<'_> {
    /// Runs the last statements and commits, in one round trip. An error means that nothing was done, or that the
    /// connection broke.
    pub(in super::super) async fn commit(
        self,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let Transaction { session, open } = self;
        let all = async {
            let prepared = match session.all_prepared(open.access(), statements).await {
                Ok(prepared) => prepared,
                Err(fault) => {
                    open.roll_back().await?;
                    return Err(fault);
                }
            };
            session.log(COMMIT);
            open.commit(session.requests(&prepared, statements)).await
        };
        session.unless_stale(session.in_time(all).await).await
    }

    /// Undoes it.
    pub(in super::super) async fn roll_back(self) -> Result<(), Fault> {
        self.session.log(ROLLBACK);
        self.session.in_time(self.open.roll_back()).await
    }
}

impl Session {
    /// What the server has forgotten is prepared anew for the next attempt.
    async fn unless_stale<T>(&self, answer: Result<T, Fault>) -> Result<T, Fault> {
        if answer.as_ref().is_err_and(Fault::is_stale) {
            self.forget().await;
        }
        answer
    }
}
