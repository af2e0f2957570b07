//! The table: making it and looking whether it is there.

use rusqlite::Connection;

use super::fault::Place;
use super::sql::{self, Sql};
use crate::store::StoreError;

const COLUMNS: [&str; 6] = ["id", "user_id", "data", "created_at", "expires_at", "updated_at"];

/// Makes what is missing: all of it or, after an error, nothing.
pub(super) fn create(connection: &Connection, sql: &Sql) -> rusqlite::Result<()> {
    sql::run(connection, sql::BEGIN)?;
    let made = sql.create.iter().try_for_each(|statement| sql::run(connection, statement));
    match made.and_then(|()| sql::run(connection, sql::COMMIT)) {
        Err(error) if !connection.is_autocommit() => {
            sql::run(connection, sql::ROLLBACK)?;
            Err(error)
        }
        done => done,
    }
}

/// The same as text.
pub(super) fn text(sql: &Sql) -> String {
    sql.create.iter().map(|statement| format!("{statement};\n")).collect()
}

/// Whether the table has the six columns and one row per id. The outer error is SQLite's.
pub(super) fn check(
    connection: &Connection,
    sql: &Sql,
    place: &Place,
) -> rusqlite::Result<Result<(), StoreError>> {
    let mut statement = sql::prepare(connection, sql.columns)?;
    let columns: Vec<String> =
        statement.query_map([&place.table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    if columns.is_empty() {
        return Ok(Err(place.no_table()));
    }
    let missing = COLUMNS.iter().find(|&wanted| !columns.iter().any(|it| it.eq_ignore_ascii_case(wanted)));
    if let Some(column) = missing {
        return Ok(Err(place.no_column(column)));
    }
    // Compiled, not run: SQLite refuses it where `id` is not unique.
    connection.prepare_cached(&sql.insert).map(|_| Ok(()))
}
