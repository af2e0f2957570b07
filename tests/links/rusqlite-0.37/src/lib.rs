//! sessile's SQLite store and rusqlite 0.37 in one program.

use sessile::store::SqliteStore;

/// Names a type of each library, so that both are compiled and linked.
pub fn both(store: SqliteStore, other: rusqlite::Connection) -> (SqliteStore, rusqlite::Connection) {
    (store, other)
}
