//! Sessions by hand, without a library: the bound that one is measured against.
//!
//! Each keeps a version beside the document and compares that; the document is read and written whole. A
//! read is one statement; a change is that and one conditional write, as a library's must be that loses
//! nothing.

mod mariadb;
mod postgres;
mod postgres_grouped;
mod redis;
mod sqlite;
mod sqlite_grouped;

use std::future::Future;
use std::time::{SystemTime, UNIX_EPOCH};

pub use mariadb::MariaDbByHand;
pub use postgres::PostgresByHand;
pub use postgres_grouped::PostgresGroupedByHand;
pub use redis::RedisByHand;
pub use sqlite::SqliteByHand;
pub use sqlite_grouped::SqliteGroupedByHand;

/// A session's key.
pub type Id = [u8; 16];

/// A store by hand.
pub trait ByHand: Send + Sync + 'static {
    /// Makes a session.
    fn create(&self, id: Id, data: Vec<u8>) -> impl Future<Output = ()> + Send;

    /// Reads a live one: what `read` makes of the document, and its version.
    fn load<T: Send>(
        &self,
        id: Id,
        read: impl FnOnce(&[u8]) -> T + Send,
    ) -> impl Future<Output = Option<(T, i64)>> + Send;

    /// Puts this document under the id `new`, which may be the old one, if the version is still this one.
    fn swap(&self, id: Id, new: Id, data: Vec<u8>, version: i64) -> impl Future<Output = bool> + Send;

    /// Ends a session.
    fn delete(&self, id: Id) -> impl Future<Output = ()> + Send;
}

/// A day, in seconds.
const LIFETIME: i64 = 86_400;

/// In seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
