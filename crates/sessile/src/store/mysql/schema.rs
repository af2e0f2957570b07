//! The table: making it and looking whether it is there.

use std::sync::atomic::Ordering;

use mysql_async::{Row, Value};

use super::fault::{Fault, Place};
use super::row::{number_at, text_at};
use super::session::Session;
use super::sql::{self, Kept, Sql};
use crate::store::StoreError;

/// The columns, the types that will do for each, and what to make it.
const COLUMNS: [(&str, &[&str], &str); 6] = [
    ("id", &["varchar", "char"], "VARCHAR(36)"),
    ("user_id", &["varchar", "char"], "VARCHAR(255)"),
    ("data", &["mediumtext", "longtext", "text", "varchar"], "MEDIUMTEXT"),
    ("created_at", TIMES, "DATETIME(6)"),
    ("expires_at", TIMES, "DATETIME(6)"),
    ("updated_at", TIMES, "DATETIME(6)"),
];

const TIMES: &[&str] = &["datetime", "timestamp"];

/// Makes what is missing, table and indexes in one statement where there is no table.
pub(super) async fn create(session: &mut Session, sql: &Sql) -> Result<(), Fault> {
    session.bare(&sql.create_table).await?;
    let indexed = session.survey(sql::INDEXED, vec![Value::from(&*sql.name)]).await?;
    for (column, statement) in &sql.create_indexes {
        if indexed.iter().any(|row| text_at(row, 0).is_some_and(|name| name.eq_ignore_ascii_case(column))) {
            continue;
        }
        match session.bare(statement).await {
            // Another process has made it meanwhile.
            Err(fault) if fault.is_index_there() => {}
            made => made?,
        }
    }
    Ok(())
}

/// The same as text, for people: for a database without that table.
pub(super) fn text(sql: &Sql) -> String {
    format!("{};\n", sql.create_table)
}

/// The columns as the server describes them; what they hold is noted.
pub(super) async fn look(session: &mut Session, sql: &Sql, place: &Place) -> Result<Vec<Row>, Fault> {
    let columns = session.survey(sql::CHECK, vec![Value::from(&*sql.name)]).await?;
    if let Some(digits) = column(&columns, "expires_at").and_then(|row| number_at(row, 2)) {
        place.digits.store(u32::try_from(digits).unwrap_or(6).min(6), Ordering::Relaxed);
    }
    if let Some(bytes) = column(&columns, "data").and_then(|row| number_at(row, 5)) {
        place.data.store(bytes, Ordering::Relaxed);
    }
    if let Some(row) = column(&columns, "user_id") {
        place.user.see(number_at(row, 6));
    }
    Ok(columns)
}

/// Whether the table has the six columns, of types that will do, one row per id, and transactions.
pub(super) fn judge(columns: &[Row], place: &Place) -> Result<(), StoreError> {
    let Some(any) = columns.first() else { return Err(place.no_table()) };
    for (wanted, types, advice) in COLUMNS {
        let Some(column) = column(columns, wanted) else { return Err(place.no_column(wanted)) };
        let is = text_at(column, 1).unwrap_or("?");
        if !types.contains(&is.to_ascii_lowercase().as_str()) {
            return Err(place.wrong_column(wanted, is, advice));
        }
    }
    let engine = text_at(any, 3).unwrap_or("no engine");
    if !engine.eq_ignore_ascii_case("innodb") {
        return Err(place.wrong_engine(engine));
    }
    if number_at(any, 4).unwrap_or(0) == 0 {
        return Err(place.id_not_unique());
    }
    Ok(())
}

/// Whether we may do what the store does: the server judges the statements and runs none.
pub(super) async fn try_rights(session: &mut Session) -> Result<(), Fault> {
    for statement in [Kept::Load(0), Kept::Insert(0), Kept::Update(0), Kept::Delete] {
        session.prepare(statement).await?;
    }
    Ok(())
}

fn column<'a>(columns: &'a [Row], wanted: &str) -> Option<&'a Row> {
    columns.iter().find(|row| text_at(row, 0).is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
}
