//! Deleting all rows of a user.
//!
//! On connections that nothing else uses: two for first attempts, which wait for no row and so never for each other's
//! locks, and one for those that come after them. Writes that wait for locked rows use another.

use std::sync::Arc;

use mysql_async::{Row, Value};

use super::call::bound_user;
use super::fault::{Fault, NAME, Place};
use super::pool::{Dialler, Duty, Pool};
use super::row;
use super::session::Session;
use super::sql::{Kept, Sql};
use crate::record::{SessionId, UserId};
use crate::store::StoreError;
use crate::store::ending::{self, Failed, Left, Turn, UserRows};

/// First attempts at the same time.
const FIRST: usize = 2;

/// How often the sessions of a user are looked for again because some were rotated in between.
const ROUNDS: usize = 100;

/// Where the rows of users are deleted.
pub(super) struct Endings {
    first: Arc<Pool>,
    later: Arc<Pool>,
    place: Arc<Place>,
    sql: Arc<Sql>,
}

impl Endings {
    pub(super) fn new(dialler: &Arc<Dialler>) -> Endings {
        Endings {
            first: Pool::new(dialler, Duty::Endings, FIRST),
            later: Pool::new(dialler, Duty::StuckEndings, 1),
            place: Arc::clone(&dialler.place),
            sql: Arc::clone(&dialler.sql),
        }
    }

    pub(super) async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let user = bound_user(Some(user));
        let values = vec![user.clone(), user, keep.map_or(Value::NULL, row::bound_id)];
        ending::delete_all(&RowsOf { endings: self, values }, NAME, self.place.lock_wait).await
    }
}

struct RowsOf<'a> {
    endings: &'a Endings,
    /// What each of the statements takes.
    values: Vec<Value>,
}

impl RowsOf<'_> {
    fn failed(&self, fault: Fault) -> Failed {
        let is_collision = fault.is_collision();
        Failed { error: self.endings.place.error("delete a user's sessions", fault), is_collision }
    }

    /// One transaction, and a look after it.
    async fn free(&self, pool: &Arc<Pool>, deleted: &mut Vec<SessionId>) -> Result<Left, Fault> {
        let sql = &self.endings.sql;
        let mut seat = pool.seat().await?;
        for one_by_one in [false, true] {
            seat.begin().await?;
            let gone = self.remove_free(&mut seat, one_by_one).await;
            match seat.end(gone).await {
                Ok(gone) => {
                    deleted.extend(row::ids(&gone).0);
                    break;
                }
                // A DELETE of many rows that reads the whole of a small table meets those that are locked, too; and so
                // does a server that cannot skip them.
                Err(fault) if fault.is_locked() => {}
                Err(fault) => return Err(fault),
            }
        }
        let (ids, foreign) = row::ids(&seat.survey(&sql.see_user, self.values.clone()).await?);
        Ok(Left { ids: ids.into_iter().collect(), foreign: usize::try_from(foreign).unwrap_or(usize::MAX) })
    }

    async fn remove_free(&self, session: &mut Session, one_by_one: bool) -> Result<Vec<Row>, Fault> {
        let locking = self.endings.sql.lock_user(session.skips);
        if !one_by_one {
            return session.survey_and_remove(locking, self.values.clone()).await;
        }
        let rows = session.survey(locking, self.values.clone()).await?;
        for row in &rows {
            session.run(Kept::Remove(0), vec![row::key_of(row)]).await?;
        }
        Ok(rows)
    }

    /// A locking read may run past the place to which a row is being rotated. So it is over only when a
    /// look at one committed state, in which every row stands in one place, finds none.
    async fn rotated(&self, session: &mut Session) -> Result<Vec<SessionId>, Fault> {
        let sql = &self.endings.sql;
        let mut deleted = Vec::new();
        for _ in 0..ROUNDS {
            let rows = session.survey_and_remove(sql.lock_user(false), self.values.clone()).await?;
            deleted.extend(row::ids(&rows).0);
            if session.survey(&sql.see_user, self.values.clone()).await?.is_empty() {
                break;
            }
        }
        Ok(deleted)
    }
}

impl UserRows for RowsOf<'_> {
    async fn delete_free(&self, turn: Turn, deleted: &mut Vec<SessionId>) -> Result<Left, Failed> {
        let pool = if turn == Turn::First { &self.endings.first } else { &self.endings.later };
        self.free(pool, deleted).await.map_err(|fault| self.failed(fault))
    }

    async fn delete_rotated(&self, deleted: &mut Vec<SessionId>) -> Result<(), Failed> {
        let waited = async {
            let mut seat = self.endings.later.seat().await?;
            seat.begin().await?;
            let gone = self.rotated(&mut seat).await;
            seat.end(gone).await
        };
        match waited.await {
            Ok(gone) => deleted.extend(gone),
            Err(fault) if fault.is_locked() => {}
            Err(fault) => return Err(self.failed(fault)),
        }
        Ok(())
    }
}
