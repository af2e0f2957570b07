//! Foreign tables in SQLite files.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use sessile::record::Timestamp;

use super::{Columns, Names, Row};
use crate::error::Error;

/// Opens a file to be read: nothing is made, nothing is changed.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    Ok(connection)
}

pub(super) fn count(connection: &Connection, names: &Names) -> Result<u64, Error> {
    let count: i64 = connection.query_row(&names.count(), (), |row| row.get(0)).map_err(failed)?;
    Ok(count.unsigned_abs())
}

/// The rows after this key.
pub(super) fn rows(connection: &Connection, names: &Names, after: &str) -> Result<Vec<Row>, Error> {
    let &Names { key, data, expires, .. } = names;
    let sql = names.page(&Columns { key, data, expires, after: "?1" });
    let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
    let rows = statement.query_map([after], |row| {
        let data = match row.get_ref(1)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Vec::new(),
        };
        Ok(Row::new(row.get(0)?, data, time(row.get_ref(2)?)))
    });
    rows.and_then(Iterator::collect).map_err(failed)
}

/// Both frameworks write text here, whatever the column was declared as.
fn time(value: ValueRef<'_>) -> Option<Timestamp> {
    match value {
        ValueRef::Text(text) => str::from_utf8(text).ok().and_then(Timestamp::parse),
        _ => None,
    }
}

fn failed(error: rusqlite::Error) -> Error {
    Error::Foreign(Box::new(error))
}
