//! Columns to [`SessionRecord`] and back. What a column holds is never part of a message or of a log:
//! `data` is private, and the other columns may hold anything that somebody wrote there.

use jiff::civil::{Date, Time};
use mysql_async::{Row, Value};

use crate::record::{Columns, SessionId, SessionRecord, StoredData, Timestamp, UserId};
use crate::store::hex::hex;
use crate::store::{Cursor, MalformedRow, key};

/// A row in the order `id, user_id, data, created_at, expires_at, updated_at`.
pub(super) fn record(row: &Row) -> Result<SessionRecord, MalformedRow> {
    columns([0, 1, 2, 3, 4, 5].map(|at| value(row, at)))
        .map(SessionRecord::from_columns)
        .map_err(|problem| MalformedRow { id: shown(row), problem })
}

fn value(row: &Row, at: usize) -> &Value {
    row.as_ref(at).unwrap_or(&Value::NULL)
}

fn columns([id, user_id, data, created_at, expires_at, updated_at]: [&Value; 6]) -> Result<Columns, String> {
    Ok(Columns {
        id: session_id(id).ok_or_else(|| not("id", "a UUID of 36 lower-case characters", id))?,
        user_id: user(user_id)?,
        data: stored_data(data)?,
        created_at: time("created_at", created_at)?,
        expires_at: time("expires_at", expires_at)?
            .ok_or_else(|| not("expires_at", "a date and time", expires_at))?,
        updated_at: time("updated_at", updated_at)?,
    })
}

fn session_id(value: &Value) -> Option<SessionId> {
    match value {
        Value::Bytes(text) => SessionId::parse_bytes(text).ok(),
        _ => None,
    }
}

fn user(value: &Value) -> Result<Option<UserId>, String> {
    match value {
        Value::NULL => Ok(None),
        Value::Bytes(text) => match str::from_utf8(text) {
            Ok(text) => Ok(Some(UserId::stored(text))),
            Err(_) => Err("user_id is not UTF-8".to_owned()),
        },
        other => Err(not("user_id", "text", other)),
    }
}

fn stored_data(value: &Value) -> Result<StoredData, String> {
    match value {
        Value::NULL => Ok(StoredData::Null),
        Value::Bytes(text) => Ok(match str::from_utf8(text) {
            Ok(text) => StoredData::Text(text.into()),
            Err(_) => StoredData::InvalidText(text.as_slice().into()),
        }),
        other => Err(not("data", "text", other)),
    }
}

fn time(name: &str, value: &Value) -> Result<Option<Timestamp>, String> {
    match value {
        Value::NULL => Ok(None),
        Value::Date(..) => instant(value)
            .map(Some)
            .ok_or_else(|| format!("{name} is no time: expected one in the years 1 to 9999")),
        other => Err(not(name, "a date and time", other)),
    }
}

/// `None` for the zero dates that a server may hold: `0000-00-00`, `2030-00-00`.
fn instant(value: &Value) -> Option<Timestamp> {
    let Value::Date(year, month, day, hour, minute, second, micros) = *value else { return None };
    let narrow = |part: u8| i8::try_from(part).ok();
    let year = i16::try_from(year).ok().filter(|&year| year > 0)?;
    let date = Date::new(year, narrow(month)?, narrow(day)?).ok()?;
    let nanos = i32::try_from(micros).ok()?.checked_mul(1_000)?;
    let time = Time::new(narrow(hour)?, narrow(minute)?, narrow(second)?, nanos).ok()?;
    Some(Timestamp::from_civil(date, time))
}

fn not(name: &str, expected: &str, value: &Value) -> String {
    let kind = match value {
        Value::NULL => "NULL",
        Value::Bytes(_) => "another text",
        Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Double(_) => "a number",
        Value::Date(..) => "a date",
        Value::Time(..) => "a time of day",
    };
    format!("{name} is {kind}: expected {expected}")
}

/// The primary key for people.
fn shown(row: &Row) -> String {
    match value(row, 0) {
        Value::NULL => "NULL".to_owned(),
        Value::Bytes(text) => match str::from_utf8(text) {
            Ok(text) => text.to_owned(),
            Err(_) => hex(text),
        },
        _ => "(no text)".to_owned(),
    }
}

/// The id in the first column, if it is one that a session can have.
pub(super) fn id(row: &Row) -> Option<SessionId> {
    session_id(value(row, 0))
}

/// The id and the user in the first two columns.
pub(super) fn id_and_user(row: &Row) -> (Option<SessionId>, Option<UserId>) {
    (id(row), user(value(row, 1)).unwrap_or_default())
}

/// What stands in the first column, whatever it is.
pub(super) fn key_of(row: &Row) -> Value {
    value(row, 0).clone()
}

/// The ids in the first column, and how many others there were.
pub(super) fn ids(rows: &[Row]) -> (Vec<SessionId>, u64) {
    let ids: Vec<SessionId> = rows.iter().filter_map(id).collect();
    let foreign = rows.len() - ids.len();
    (ids, foreign.try_into().unwrap_or(u64::MAX))
}

/// The text in this column, if it is one.
pub(super) fn text_at(row: &Row, at: usize) -> Option<&str> {
    match value(row, at) {
        Value::Bytes(text) => str::from_utf8(text).ok(),
        _ => None,
    }
}

/// The number in this column, if it is one that is not negative.
pub(super) fn number_at(row: &Row, at: usize) -> Option<u64> {
    match *value(row, at) {
        Value::Int(number) => u64::try_from(number).ok(),
        Value::UInt(number) => Some(number),
        _ => None,
    }
}

/// The time in this column, if it is one.
pub(super) fn time_at(row: &Row, at: usize) -> Option<Timestamp> {
    instant(value(row, at))
}

/// Where a page ends.
pub(super) fn cursor(row: &Row) -> Option<Cursor> {
    match value(row, 0) {
        Value::Bytes(text) => Some(key::cursor(text)),
        _ => None,
    }
}

/// A session's id as a parameter.
pub(super) fn bound_id(id: SessionId) -> Value {
    Value::from(id.to_text().as_str())
}

/// A time as a parameter.
pub(super) fn bound_time(time: Timestamp) -> Value {
    let (date, micros) = time.civil();
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    // All of these are within the range of their types.
    let small = |part: u64| u8::try_from(part).unwrap_or(0);
    Value::Date(
        date.year().unsigned_abs(),
        date.month().unsigned_abs(),
        date.day().unsigned_abs(),
        small(seconds / 3_600),
        small(seconds / 60 % 60),
        small(seconds % 60),
        u32::try_from(micros).unwrap_or(0),
    )
}

/// The time with so many digits of its fraction, the others cut off.
pub(super) fn cut(time: Timestamp, digits: u32) -> Timestamp {
    let step = 10i64.pow(6 - digits.min(6));
    let micros = time.as_micros();
    Timestamp::from_micros(micros - micros.rem_euclid(step)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        for text in [
            "0001-01-01 00:00:00",
            "1969-12-31 23:59:59.999999",
            "2030-01-02 03:04:05.678901",
            "9999-12-31 23:59:59.999999",
        ] {
            let time = Timestamp::parse(text).unwrap();
            assert_eq!(instant(&bound_time(time)), Some(time));
        }
        for zero in [Value::Date(0, 0, 0, 0, 0, 0, 0), Value::Date(2030, 0, 0, 0, 0, 0, 0)] {
            assert_eq!(instant(&zero), None);
        }
    }

    #[test]
    fn fractions_are_cut() {
        let time = |text: &str| Timestamp::parse(text).unwrap();
        for (digits, cut_to) in [(6, ".999999"), (3, ".999"), (1, ".9"), (0, "")] {
            for second in ["2030-01-02 03:04:05", "1969-12-31 23:59:59"] {
                let whole = time(&format!("{second}.999999"));
                assert_eq!(cut(whole, digits), time(&format!("{second}{cut_to}")));
            }
        }
        assert_eq!(cut(Timestamp::MIN, 0), Timestamp::MIN);
    }
}
