//! Rows and writes by numbers, for the tests of one store. Which ids the numbers mean, and when it is, is
//! the store's own to say.
#![allow(dead_code, reason = "shared by several test programs")]

use std::time::{Duration, Instant};

use sessile::record::{Columns, SessionId, SessionRecord, StoredData, Timestamp, UserId};
use sessile::store::{Expiry, ListQuery, Liveness, Rotation, Touch, Update, Write};

use super::{LATER, NOW, id};

pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A different id for every number, small ones close together.
pub(crate) fn numbered(number: u32, rest: u8) -> SessionId {
    let mut bytes = [rest; 16];
    bytes[..2].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
    SessionId::from_bytes(bytes)
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A live row.
pub(crate) fn record(number: u32, owner: Option<&str>, data: &str) -> SessionRecord {
    SessionRecord::from_columns(Columns {
        id: id(number),
        user_id: owner.map(user),
        data: StoredData::Text(data.into()),
        created_at: Some(time(NOW)),
        expires_at: time(LATER),
        updated_at: Some(time(NOW)),
    })
}

pub(crate) fn insert(number: u32) -> Write {
    Write::Insert(record(number, None, "{}"))
}

pub(crate) fn change(number: u32, expected: StoredData, data: &str) -> Update {
    Update {
        id: id(number),
        expected,
        data: data.into(),
        user_id: None,
        expires_at: Expiry::Keep,
        now: time(NOW).into(),
    }
}

pub(crate) fn update(number: u32, expected: &str, data: &str) -> Write {
    Write::Update(change(number, StoredData::Text(expected.into()), data))
}

pub(crate) fn touch(number: u32, expires_at: &str, now: &str) -> Write {
    Write::Touch(Touch { id: id(number), expires_at: time(expires_at), now: time(now).into() })
}

pub(crate) fn rotate(from: u32, expected: &str, to: SessionRecord) -> Write {
    let expected = StoredData::Text(expected.into());
    Write::Rotate(Rotation { id: id(from), expected, record: to, now: time(NOW).into() })
}

pub(crate) fn everything(limit: usize) -> ListQuery {
    ListQuery { user: None, liveness: Liveness::Any, now: time(NOW), after: None, limit }
}

/// What comes of a wait that the store has to end.
pub(crate) async fn answered<T>(waiting: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    answer.unwrap_or_else(|_| panic!("nobody answers"))
}

/// Waits for what has to happen.
pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(60), "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
