//! Deleting all rows of a user.
//!
//! On two connections that nothing else uses: one for first attempts, which wait for no lock and so never for each
//! other, and one for those that come after them. Writes that wait for locked rows use another.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::{Fault, NAME, Place};
use super::link::{Dialler, Duty, Link, Parameter};
use super::row::{self, Bound, Key};
use super::sql::Sql;
use crate::record::{SessionId, UserId};
use crate::store::StoreError;
use crate::store::ending::{self, Failed, Left, Turn, UserRows};

/// How long a delete waits for a rotation: about the time of a commit on a busy disk.
const ROTATION_WAIT: Duration = Duration::from_millis(50);

/// Where the rows of users are deleted.
pub(super) struct Endings {
    first: Link,
    later: Link,
    place: Arc<Place>,
    sql: Arc<Sql>,
}

impl Endings {
    pub(super) fn start(dialler: &Arc<Dialler>) -> Endings {
        let wait = ROTATION_WAIT.min(dialler.place.lock_wait);
        Endings {
            first: Link::start(dialler, Duty::Endings(dialler.place.lock_wait)),
            later: Link::start(dialler, Duty::StuckEndings(wait)),
            place: Arc::clone(&dialler.place),
            sql: Arc::clone(&dialler.sql),
        }
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) -> Result<(), Fault> {
        self.first.session().await.map(drop)
    }

    pub(super) async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let rows = RowsOf { endings: self, user, keep: keep.map(Key) };
        ending::delete_all(&rows, NAME, self.place.lock_wait).await
    }
}

struct RowsOf<'a> {
    endings: &'a Endings,
    user: &'a UserId,
    keep: Option<Key>,
}

impl RowsOf<'_> {
    async fn run(&self, link: &Link, statement: &str) -> Result<Vec<Row>, Failed> {
        let parameters: [(Parameter<'_>, Type); 2] =
            [(&Bound(self.user.as_str()), Type::TEXT), (&self.keep, Type::TEXT)];
        link.survey(statement, &parameters).await.map_err(|fault| self.failed(fault))
    }

    fn failed(&self, fault: Fault) -> Failed {
        // Nothing here waits for a row: it is the table that is locked, by a change of its schema.
        let is_collision = fault.is_collision() || fault.is_locked();
        Failed { error: self.endings.place.error("delete a user's sessions", fault), is_collision }
    }
}

impl UserRows for RowsOf<'_> {
    /// One round trip.
    async fn delete_free(&self, turn: Turn, deleted: &mut Vec<SessionId>) -> Result<Left, Failed> {
        let Endings { first, later, sql, .. } = self.endings;
        let link = if turn == Turn::First { first } else { later };
        let (gone, left) =
            tokio::join!(self.run(link, &sql.delete_free_of_user), self.run(link, &sql.left_of_user));
        deleted.extend(row::ids(&gone?).0);
        let (ids, foreign) = row::ids(&left?);
        Ok(Left { ids: ids.into_iter().collect(), foreign: usize::try_from(foreign).unwrap_or(usize::MAX) })
    }

    async fn delete_rotated(&self, deleted: &mut Vec<SessionId>) -> Result<(), Failed> {
        let Endings { later, sql, .. } = self.endings;
        let parameters: [(Parameter<'_>, Type); 2] =
            [(&Bound(self.user.as_str()), Type::TEXT), (&self.keep, Type::TEXT)];
        match later.survey(&sql.delete_user, &parameters).await {
            Ok(gone) => deleted.extend(row::ids(&gone).0),
            Err(fault) if fault.is_locked() => {}
            Err(fault) => return Err(self.failed(fault)),
        }
        Ok(())
    }
}
