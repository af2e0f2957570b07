//! The table: making it and looking whether it is there.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::{Fault, Place};
use super::link::Link;
use super::sql::{self, Sql};
use crate::store::StoreError;

/// The columns, the types that will do for each, and what to make it.
const COLUMNS: [(&str, &[&str], &str); 6] = [
    ("id", &["character varying", "text", "character"], "VARCHAR(36)"),
    ("user_id", &["character varying", "text"], "VARCHAR(255)"),
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

/// Asks on this connection for the columns, and notes what they hold. 1 statement.
pub(super) async fn look(link: &Link, sql: &Sql, place: &Place) -> Result<Vec<Row>, Fault> {
    let table = sql.table();
    let rows = place.limit.keep(link.survey(sql::CHECK, &[(&table, Type::TEXT)])).await;
    let rows = rows.unwrap_or(Err(Fault::Slow))?;
    note(&rows, place);
    Ok(rows)
}

/// Notes what the columns hold.
pub(super) fn note(rows: &[Row], place: &Place) {
    let is_user = |row: &&Row| row.try_get::<_, &str>(0).is_ok_and(|name| name == "user_id");
    if let Some(modifier) = rows.iter().find(is_user).and_then(|row| row.try_get(4).ok()) {
        place.user.see(length(modifier));
    }
}

/// The characters that a text column holds, of its `atttypmod`; `None` where it has no limit.
pub(super) fn length(modifier: i32) -> Option<u64> {
    /// What precedes the length.
    const HEADER: i32 = 4;
    u64::try_from(modifier.checked_sub(HEADER)?).ok()
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
