//! sessile's SQLite store and sqlx 0.9 in one program.

use sessile::store::SqliteStore;

/// Names a type of each library, so that both are compiled and linked.
pub fn both(store: SqliteStore, other: sqlx::SqlitePool) -> (SqliteStore, sqlx::SqlitePool) {
    (store, other)
}
