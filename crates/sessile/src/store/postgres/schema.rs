//! The table: making it and looking whether it is there.

use tokio_postgres::Row;

use super::fault::Place;
use super::sql::{self, Sql};
use crate::store::StoreError;

/// The columns, the types that will do for each, and what to make it.
const COLUMNS: [(&str, &[&str], &str); 6] = [
    ("id", &["character varying", "text", "character"], "VARCHAR(36)"),
    ("user_id", &["character varying", "text"], "VARCHAR(36)"),
    ("data", &["text", "character varying"], "TEXT"),
    ("created_at", TIMES, "TIMESTAMP"),
    ("expires_at", TIMES, "TIMESTAMP"),
    ("updated_at", TIMES, "TIMESTAMP"),
];

const TIMES: &[&str] = &["timestamp without time zone", "timestamp with time zone"];

/// Makes what is missing: all of it or, after an error, nothing. To be sent as one message, which is one
/// transaction.
pub(super) fn create(sql: &Sql) -> String {
    format!("{};\n{}", sql::INIT_LOCK, text(sql))
}

/// The same as text, for people.
pub(super) fn text(sql: &Sql) -> String {
    sql.create.iter().map(|statement| format!("{statement};\n")).collect()
}

/// Makes the triggers of the feed where they are missing, in one transaction.
pub(super) fn create_feed(sql: &Sql) -> String {
    format!("{};\n{}", sql::INIT_LOCK, sql.create_feed)
}

/// Whether the table has the six columns, of types that will do, one row per id, and lets us work.
pub(super) fn judge(rows: &[Row], place: &Place) -> Result<(), StoreError> {
    shape(rows, place)?;
    match rows.first().and_then(|any| any.try_get(3).ok()) {
        Some(true) => Ok(()),
        _ => Err(place.no_right(format!("permission denied for table {}", place.table))),
    }
}

/// The same whether or not it lets us work.
pub(super) fn shape(rows: &[Row], place: &Place) -> Result<(), StoreError> {
    let Some(any) = rows.first() else { return Err(place.no_table()) };
    for (wanted, types, advice) in COLUMNS {
        let named = |row: &&Row| row.try_get::<_, &str>(0).is_ok_and(|name| name == wanted);
        let Some(column) = rows.iter().find(named) else { return Err(place.no_column(wanted)) };
        let is = column.try_get::<_, &str>(1).unwrap_or("?");
        if !types.contains(&is) {
            return Err(place.wrong_column(wanted, is, advice));
        }
    }
    if !any.try_get(2).unwrap_or(false) {
        return Err(place.id_not_unique());
    }
    Ok(())
}
