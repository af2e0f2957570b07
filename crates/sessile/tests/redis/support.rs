//! Rows, and a log of one test.

#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/rows.rs"]
mod rows;

use sessile::record::{SessionId, SessionRecord};
use sessile::store::{ListQuery, SessionStore};

pub(crate) use logs::Log;
pub(crate) use rows::*;

pub(crate) const NOW: &str = "2090-01-02 03:04:05.000000";
pub(crate) const LATER: &str = "2090-01-02 04:00:00.000000";

/// A different id for every number, in all buckets.
pub(crate) fn id(number: u32) -> SessionId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

pub(crate) async fn listed(store: &impl SessionStore, owner: Option<&str>) -> Vec<SessionId> {
    let page = store.list(&ListQuery { user: owner.map(user), ..everything(10_000) }).await.unwrap();
    page.records.iter().map(SessionRecord::id).collect()
}
