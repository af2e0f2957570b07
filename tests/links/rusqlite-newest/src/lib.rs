//! sessile's SQLite store and the newest rusqlite in one program.

use sessile::store::SqliteStore;

/// Names a type of each library, so that both are compiled and linked.
pub fn both(store: SqliteStore, other: rusqlite::Connection) -> (SqliteStore, rusqlite::Connection) {
    (store, other)
}
