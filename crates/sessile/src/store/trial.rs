//! A row's whole life, to find out whether a store takes what a service does to one.

use std::time::Duration;

use super::{Expiry, Finding, Rotation, Touch, Update, Write};
use crate::record::{Columns, SessionId, SessionRecord, StoredData, SystemRandom, Timestamp, UserId};

/// Whose the row is.
pub(super) const USER: &str = "Sessile-Doctor";

/// What it holds.
pub(super) const DATA: &str = "{\"Sessile\": \"Doctor\"}";

/// Writes to be made in their order, each of which applies where all is well.
pub(super) struct Trial {
    pub(super) writes: Vec<Write>,
    /// The row that is left when all of them are made.
    pub(super) left: SessionId,
}

/// A row that is made, changed, renewed and rotated, and lives for a minute unless it is deleted.
pub(super) fn trial(now: Timestamp) -> Result<Trial, Finding> {
    let id = || {
        SessionId::random(&SystemRandom).map_err(|_| {
            let meaning = "No session can be made without it.";
            Finding::wrong("writing", "the random generator of this machine fails", meaning)
        })
    };
    let (id, next) = (id()?, id()?);
    let minute = Duration::from_secs(60);
    let data = || StoredData::Text(DATA.into());
    let row = |id, expires_at| {
        SessionRecord::from_columns(Columns {
            id,
            user_id: Some(UserId::stored(USER)),
            data: data(),
            created_at: Some(now),
            expires_at,
            updated_at: Some(now),
        })
    };
    let end = now.saturating_add(minute);
    let update = |expected, data: &str| {
        let (data, now) = (data.into(), now.into());
        Write::Update(Update { id, expected, data, user_id: None, expires_at: Expiry::Keep, now })
    };
    let writes = vec![
        Write::Insert(row(id, now.saturating_add(minute / 2))),
        update(data(), "{}"),
        update(StoredData::empty(), DATA),
        Write::Touch(Touch { id, expires_at: end, now: now.into() }),
        Write::Rotate(Rotation { id, expected: data(), record: row(next, end), now: now.into() }),
    ];
    Ok(Trial { writes, left: next })
}

/// Makes the row's life in the store itself, where there is no transaction to undo; what is left of it when
/// something fails ends within a minute.
#[cfg(feature = "redis")]
pub(super) async fn try_out<S>(store: &S, now: Timestamp, remedy: &str) -> Finding
where
    S: super::SessionStore + ?Sized,
{
    let Trial { writes, left } = match trial(now) {
        Ok(trial) => trial,
        Err(finding) => return finding,
    };
    let begun = writes.first().map(Write::id);
    let mut tried = super::finding::wrote();
    for write in writes.into_iter().chain([Write::Delete(left)]) {
        tried = match store.apply(write).await {
            Ok(super::Outcome::Applied) => continue,
            Ok(super::Outcome::Unmatched) => had_no_effect(remedy),
            Err(error) => Finding::failed("writing", &error),
        };
        // Whichever of both is there; a store that fails cannot tell.
        for id in begun.into_iter().chain([left]) {
            let _ = store.apply(Write::Delete(id)).await;
        }
        break;
    }
    tried
}

/// The store said that it was done, and it was not.
pub(super) fn had_no_effect(remedy: &str) -> Finding {
    let meaning = "A change that seems to be made is not: a logout may leave the session alive.";
    Finding::wrong("writing", "a row that was written is not as it should be then", meaning)
        .with_remedy(remedy)
}
