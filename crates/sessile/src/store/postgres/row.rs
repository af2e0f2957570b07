//! Columns to [`SessionRecord`] and back. What a column holds is never part of a message or of a log:
//! `data` is private, and the other columns may hold anything that somebody wrote there.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::record::{Columns, SessionId, SessionRecord, StoredData, Timestamp, UserId};
use crate::store::hex::hex;
use crate::store::{Cursor, MalformedRow, key};

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH: i64 = 946_684_800_000_000;

/// A column as the server sent it.
#[derive(Clone, Copy)]
struct Value<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Value<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Value(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Value<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Value(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A column of a row, with its type.
#[derive(Clone, Copy)]
struct Column<'a> {
    value: Value<'a>,
    of: &'a Type,
}

impl<'a> Column<'a> {
    fn of(row: &'a Row, at: usize) -> Column<'a> {
        let value = row.try_get(at).unwrap_or(Value(None));
        Column { value, of: row.columns().get(at).map_or(&Type::UNKNOWN, |column| column.type_()) }
    }

    fn bytes(self) -> Option<&'a [u8]> {
        self.value.0
    }

    fn is_text(self) -> bool {
        matches!(*self.of, Type::TEXT | Type::VARCHAR | Type::BPCHAR)
    }
}

/// A row in the order `id, user_id, data, created_at, expires_at, updated_at`.
pub(super) fn record(row: &Row) -> Result<SessionRecord, MalformedRow> {
    columns([0, 1, 2, 3, 4, 5].map(|at| Column::of(row, at)))
        .map(SessionRecord::from_columns)
        .map_err(|problem| MalformedRow { id: shown(row), problem })
}

fn columns(
    [id, user_id, data, created_at, expires_at, updated_at]: [Column<'_>; 6],
) -> Result<Columns, String> {
    Ok(Columns {
        id: session_id(id).ok_or_else(|| not("id", "a UUID of 36 lower-case characters", id))?,
        user_id: user(user_id)?,
        data: stored_data(data)?,
        created_at: time("created_at", created_at)?,
        expires_at: time("expires_at", expires_at)?
            .ok_or_else(|| not("expires_at", "a timestamp", expires_at))?,
        updated_at: time("updated_at", updated_at)?,
    })
}

fn session_id(column: Column<'_>) -> Option<SessionId> {
    column.bytes().filter(|_| column.is_text()).and_then(|text| SessionId::parse_bytes(text).ok())
}

fn user(column: Column<'_>) -> Result<Option<UserId>, String> {
    match column.bytes() {
        None => Ok(None),
        Some(text) if column.is_text() => match str::from_utf8(text) {
            Ok(text) => Ok(Some(UserId::stored(text))),
            Err(_) => Err("user_id is not UTF-8".to_owned()),
        },
        Some(_) => Err(not("user_id", "text", column)),
    }
}

/// A server whose encoding is SQL_ASCII hands out bytes of any kind.
fn stored_data(column: Column<'_>) -> Result<StoredData, String> {
    match column.bytes() {
        None => Ok(StoredData::Null),
        Some(text) if column.is_text() => Ok(match str::from_utf8(text) {
            Ok(text) => StoredData::Text(text.into()),
            Err(_) => StoredData::InvalidText(text.into()),
        }),
        Some(_) => Err(not("data", "text", column)),
    }
}

fn time(name: &str, column: Column<'_>) -> Result<Option<Timestamp>, String> {
    let Some(bytes) = column.bytes() else { return Ok(None) };
    if !matches!(*column.of, Type::TIMESTAMP | Type::TIMESTAMPTZ) {
        return Err(not(name, "a timestamp", column));
    }
    let micros = bytes.try_into().map(i64::from_be_bytes).map_err(|_| format!("{name} has no 8 bytes"))?;
    instant(micros).map(Some).ok_or_else(|| format!("{name} is out of range: expected a year from 1 to 9999"))
}

/// `infinity` and `-infinity` are the ends of Python's time, as its driver reads them.
fn instant(since_2000: i64) -> Option<Timestamp> {
    match since_2000 {
        i64::MAX => Some(Timestamp::MAX),
        i64::MIN => Some(Timestamp::MIN),
        micros => Timestamp::from_micros(micros.checked_add(EPOCH)?),
    }
}

fn not(name: &str, expected: &str, column: Column<'_>) -> String {
    let kind = match column.bytes() {
        None => "NULL",
        Some(_) if column.is_text() => "another text",
        Some(_) => column.of.name(),
    };
    format!("{name} is {kind}: expected {expected}")
}

/// The primary key for people.
fn shown(row: &Row) -> String {
    let id = Column::of(row, 0);
    match id.bytes() {
        None => "NULL".to_owned(),
        Some(text) if id.is_text() => String::from_utf8_lossy(text).into_owned(),
        Some(bytes) => hex(bytes),
    }
}

/// The id in the first column, if it is one that a session can have.
pub(super) fn id(row: &Row) -> Option<SessionId> {
    session_id(Column::of(row, 0))
}

/// The id and the user in the first two columns.
pub(super) fn id_and_user(row: &Row) -> (Option<SessionId>, Option<UserId>) {
    (id(row), user(Column::of(row, 1)).unwrap_or_default())
}

/// The ids in the first column, and how many others there were.
pub(super) fn ids(rows: &[Row]) -> (Vec<SessionId>, u64) {
    let ids: Vec<SessionId> = rows.iter().filter_map(id).collect();
    let foreign = rows.len() - ids.len();
    (ids, foreign.try_into().unwrap_or(u64::MAX))
}

/// The time in this column, if it is one.
pub(super) fn time_at(row: &Row, at: usize) -> Option<Timestamp> {
    time("", Column::of(row, at)).ok().flatten()
}

/// Where a page ends.
pub(super) fn cursor(row: &Row) -> Option<Cursor> {
    Column::of(row, 0).bytes().map(key::cursor)
}

/// The key to go on after; `None` for words that no page of this store has given.
pub(super) fn place(cursor: &Cursor) -> Option<String> {
    key::place(cursor).filter(|key| !key.contains('\0'))
}

/// A value, or an array of them, that no log shows.
pub(super) struct Bound<T>(pub(super) T);

impl<T> fmt::Debug for Bound<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[not shown]")
    }
}

impl<T: ToSql> ToSql for Bound<T> {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.to_sql(of, out)
    }

    fn accepts(of: &Type) -> bool {
        T::accepts(of)
    }

    to_sql_checked!();
}

/// A session's id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(pub(super) SessionId);

impl ToSql for Key {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.to_text().as_str().to_sql(of, out)
    }

    fn accepts(of: &Type) -> bool {
        <&str as ToSql>::accepts(of)
    }

    to_sql_checked!();
}

/// A time as PostgreSQL counts it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Micros(i64);

impl From<Timestamp> for Micros {
    fn from(time: Timestamp) -> Micros {
        Micros(time.as_micros() - EPOCH)
    }
}

impl ToSql for Micros {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.to_sql(of, out)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMP
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_that_python_has() {
        assert_eq!(instant(0), Timestamp::parse("2000-01-01"));
        assert_eq!(instant(i64::MAX), Some(Timestamp::MAX));
        assert_eq!(instant(i64::MIN), Some(Timestamp::MIN));
        for edge in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(instant(Micros::from(edge).0), Some(edge));
        }
        assert_eq!(instant(Micros::from(Timestamp::MIN).0 - 1), None);
        assert_eq!(instant(Micros::from(Timestamp::MAX).0 + 1), None);
        assert_eq!(instant(i64::MAX - 1), None);
    }

    #[test]
    fn no_place_has_what_no_key_has() {
        assert_eq!(place(&Cursor::new("text:61c3a9")).as_deref(), Some("aé"));
        assert_eq!(place(&Cursor::new("text:00")), None);
    }

    #[test]
    fn what_is_bound_is_not_shown() {
        assert_eq!(format!("{:?}", Bound(vec![Some("secret")])), "[not shown]");
    }
}
