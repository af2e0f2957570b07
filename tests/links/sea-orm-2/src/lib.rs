//! sessile's SQLite store and SeaORM 2 in one program.

use sessile::store::SqliteStore;

/// Names a type of each library, so that both are compiled and linked.
pub fn both(store: SqliteStore, other: sea_orm::DatabaseConnection) -> (SqliteStore, sea_orm::DatabaseConnection) {
    (store, other)
}
