//! Columns to [`SessionRecord`] and back. What a column holds is never part of a message: `data` is
//! private, and the other columns may hold anything that somebody wrote there.

use rusqlite::types::{ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Row, Rows};

use crate::record::{Columns, SessionId, SessionRecord, SqlText, StoredData, Timestamp, UserId};
use crate::store::hex::{from_hex, hex};
use crate::store::{Cursor, MalformedRow};

/// A row in the order `id, user_id, data, created_at, expires_at, updated_at`.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Result<SessionRecord, MalformedRow>> {
    let mut values = [ValueRef::Null; 6];
    for (column, value) in values.iter_mut().enumerate() {
        *value = row.get_ref(column)?;
    }
    Ok(columns(values)
        .map(SessionRecord::from_columns)
        .map_err(|problem| MalformedRow { id: shown(values[0]), problem }))
}

fn columns(
    [id, user_id, data, created_at, expires_at, updated_at]: [ValueRef<'_>; 6],
) -> Result<Columns, String> {
    Ok(Columns {
        id: session_id(id).ok_or_else(|| not("id", "a UUID of 36 lower-case characters", id))?,
        user_id: user(user_id)?,
        data: stored_data(data)?,
        created_at: optional_time("created_at", created_at)?,
        expires_at: time("expires_at", expires_at)?,
        updated_at: optional_time("updated_at", updated_at)?,
    })
}

/// The id, if it is one that a session can have.
pub(super) fn session_id(value: ValueRef<'_>) -> Option<SessionId> {
    match value {
        ValueRef::Text(text) => SessionId::parse_bytes(text).ok(),
        _ => None,
    }
}

/// Numbers too, in case the column was not declared as text. Bytes are no user: no `user_id = ?` finds
/// them, so nobody could end the session.
fn user(value: ValueRef<'_>) -> Result<Option<UserId>, String> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(UserId::stored(&number.to_string()))),
        ValueRef::Text(text) => str::from_utf8(text)
            .map(|text| Some(UserId::stored(text)))
            .map_err(|_| "user_id is not UTF-8".to_owned()),
        ValueRef::Real(_) | ValueRef::Blob(_) => Err(not("user_id", "text", value)),
    }
}

fn stored_data(value: ValueRef<'_>) -> Result<StoredData, String> {
    match value {
        ValueRef::Null => Ok(StoredData::Null),
        ValueRef::Text(text) => Ok(match str::from_utf8(text) {
            Ok(text) => StoredData::Text(text.into()),
            Err(_) => StoredData::InvalidText(text.into()),
        }),
        ValueRef::Blob(bytes) => Ok(StoredData::Bytes(bytes.into())),
        ValueRef::Integer(_) | ValueRef::Real(_) => Err(not("data", "text", value)),
    }
}

fn optional_time(column: &str, value: ValueRef<'_>) -> Result<Option<Timestamp>, String> {
    match value {
        ValueRef::Null => Ok(None),
        _ => time(column, value).map(Some),
    }
}

fn time(column: &str, value: ValueRef<'_>) -> Result<Timestamp, String> {
    let ValueRef::Text(text) = value else {
        return Err(not(column, "text such as 2030-01-02 03:04:05.000000", value));
    };
    str::from_utf8(text).ok().and_then(Timestamp::parse).ok_or_else(|| {
        format!("{column} is text, but no time: expected text such as 2030-01-02 03:04:05.000000")
    })
}

fn not(column: &str, expected: &str, value: ValueRef<'_>) -> String {
    let kind = match value.data_type() {
        Type::Null => "NULL",
        Type::Integer => "an integer",
        Type::Real => "a real number",
        Type::Text => "another text",
        Type::Blob => "a BLOB",
    };
    format!("{column} is {kind}: expected {expected}")
}

/// The primary key for people.
fn shown(id: ValueRef<'_>) -> String {
    match id {
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("X'{}'", hex(bytes)),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => "NULL".to_owned(),
    }
}

/// A primary key to go on after. Texts sort before BLOBs, so the kind is part of the place.
pub(super) enum Place {
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

const BLOB: &str = "blob:";
const BYTES: &str = "text:";

impl Place {
    pub(super) fn of(id: ValueRef<'_>) -> Option<Place> {
        match id {
            ValueRef::Text(text) => Some(Place::Text(text.into())),
            ValueRef::Blob(bytes) => Some(Place::Blob(bytes.into())),
            // Numbers are text in a column of VARCHAR; there is no going on after NULL.
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
        }
    }

    /// Session ids as they are, other keys in hexadecimal.
    pub(super) fn to_cursor(&self) -> Cursor {
        match self {
            Place::Text(text) => match SessionId::parse_bytes(text) {
                Ok(id) => Cursor::new(id.to_string()),
                Err(_) => Cursor::new(format!("{BYTES}{}", hex(text))),
            },
            Place::Blob(bytes) => Cursor::new(format!("{BLOB}{}", hex(bytes))),
        }
    }

    /// `None` for words that no page of this store has given.
    pub(super) fn from_cursor(cursor: &Cursor) -> Option<Place> {
        let words = cursor.as_str();
        if let Some(digits) = words.strip_prefix(BLOB) {
            from_hex(digits).map(Place::Blob)
        } else if let Some(digits) = words.strip_prefix(BYTES) {
            from_hex(digits).map(Place::Text)
        } else {
            words.parse::<SessionId>().ok().map(|id| Place::Text(id.to_string().into_bytes()))
        }
    }
}

impl ToSql for Place {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Place::Text(text) => ValueRef::Text(text),
            Place::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The data exactly as it was read: `data IS ?` tells text from bytes, and NULL from both.
pub(super) struct Data<'a>(pub(super) &'a StoredData);

impl ToSql for Data<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            StoredData::Null => ValueRef::Null,
            StoredData::Text(text) => ValueRef::Text(text.as_bytes()),
            StoredData::Bytes(bytes) => ValueRef::Blob(bytes),
            StoredData::InvalidText(bytes) => ValueRef::Text(bytes),
        }))
    }
}

/// The 26 characters that Python writes and SQLite compares.
pub(super) struct Time(SqlText);

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Time {
        Time(time.to_sql_text())
    }
}

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_str()))
    }
}

/// The ids in the first column of a `RETURNING`, and how many others there were.
pub(super) fn returned_ids(mut rows: Rows<'_>) -> rusqlite::Result<(Vec<SessionId>, u64)> {
    let (mut ids, mut foreign) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        match session_id(row.get_ref(0)?) {
            Some(id) => ids.push(id),
            None => foreign += 1,
        }
    }
    Ok((ids, foreign))
}

/// The id and the user in a row of a `RETURNING`.
pub(super) fn id_and_user(row: &Row<'_>) -> rusqlite::Result<(Option<SessionId>, Option<UserId>)> {
    Ok((session_id(row.get_ref(0)?), user(row.get_ref(1)?).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_can_be_gone_on_after() {
        let id = "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11";
        for (key, words) in [
            (ValueRef::Text(id.as_bytes()), id),
            (ValueRef::Text(b"a\xff"), "text:61ff"),
            (ValueRef::Text(b""), "text:"),
            (ValueRef::Blob(b"\x01"), "blob:01"),
        ] {
            let cursor = Place::of(key).unwrap().to_cursor();
            assert_eq!(cursor.as_str(), words);
            let again = Place::from_cursor(&cursor).unwrap();
            assert_eq!(again.to_sql().unwrap(), ToSqlOutput::Borrowed(key));
        }
        for wrong in ["", "text:6", "blob:zz", "text:+1", "6F1C"] {
            assert!(Place::from_cursor(&Cursor::new(wrong)).is_none(), "{wrong}");
        }
    }
}
