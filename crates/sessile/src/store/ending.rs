//! Deleting all rows of a user in a database where other transactions may have locked some: what is free at once, the
//! rest when it becomes free.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::StoreError;
use crate::record::SessionId;

/// The pause before the rows that are left are tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How often an attempt is repeated that the database undid because of another transaction.
const ATTEMPTS: u32 = 8;

/// The rows of a user that are still there.
#[derive(Default)]
pub(super) struct Left {
    pub(super) ids: HashSet<SessionId>,
    /// Rows whose ids are not ours.
    pub(super) foreign: usize,
}

impl Left {
    fn len(&self) -> usize {
        self.ids.len() + self.foreign
    }
}

/// Which of the attempts at a user's rows it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    Later,
}

/// What went wrong in an attempt.
pub(super) struct Failed {
    pub(super) error: StoreError,
    /// Whether the database undid the attempt because of another transaction.
    pub(super) is_collision: bool,
}

/// The rows of one user, in one store.
pub(super) trait UserRows: Send + Sync {
    /// Deletes the rows that no other transaction has locked and notes their ids, then looks which are left. A row
    /// that is rotated in between may be missed, and is then among those that are left.
    fn delete_free(
        &self,
        turn: Turn,
        deleted: &mut Vec<SessionId>,
    ) -> impl Future<Output = Result<Left, Failed>> + Send;

    /// Deletes all rows, waiting a moment for each that is locked and following it to its new id.
    fn delete_rotated(&self, deleted: &mut Vec<SessionId>)
    -> impl Future<Output = Result<(), Failed>> + Send;
}

/// Deletes all rows of a user, and waits so long for those that are locked.
pub(super) async fn delete_all(
    rows: &impl UserRows,
    store: &'static str,
    wait: Duration,
) -> Result<Vec<SessionId>, StoreError> {
    let until = Instant::now() + wait;
    let mut deleted = Vec::new();
    let mut left: Option<Left> = None;
    let (mut pause, mut collisions) = (FIRST_PAUSE, 0);
    loop {
        let turn = if left.is_none() && collisions == 0 { Turn::First } else { Turn::Later };
        match attempt(rows, turn, left.as_ref(), &mut deleted).await {
            Ok(now) if now.len() == 0 => return Ok(deleted),
            Ok(now) if Instant::now() >= until => {
                return Err(StoreError::PartlyDeleted { store, deleted, pending: now.len() });
            }
            Ok(now) => left = Some(now),
            Err(Failed { is_collision: true, .. }) if collisions < ATTEMPTS => collisions += 1,
            Err(failed) if deleted.is_empty() => return Err(failed.error),
            // What is deleted must be told.
            Err(_) => {
                let pending = left.map_or(1, |left| left.len());
                return Err(StoreError::PartlyDeleted { store, deleted, pending });
            }
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

async fn attempt(
    rows: &impl UserRows,
    turn: Turn,
    before: Option<&Left>,
    deleted: &mut Vec<SessionId>,
) -> Result<Left, Failed> {
    let left = rows.delete_free(turn, deleted).await?;
    let is_rotated = before.is_some_and(|before| !left.ids.is_subset(&before.ids));
    if !is_rotated {
        return Ok(left);
    }
    // A session that is rotated again and again can only be met by waiting for it.
    rows.delete_rotated(deleted).await?;
    rows.delete_free(turn, deleted).await
}
