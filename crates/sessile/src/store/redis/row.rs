//! Fields to [`SessionRecord`] and back. What a field holds is never part of a message: `data` is private,
//! and the others may hold anything that somebody wrote there.

use redis::{Cmd, Value};

use super::call::{Argument, Request, lent, made};
use super::fault::{Fault, strange};
use crate::record::{Columns, SessionId, SessionRecord, StoredData, Timestamp, UserId};
use crate::store::MalformedRow;

/// A key outlives its row by so much: a clock that differs, or that a test has set, does no harm, for whether
/// a row has expired is judged by the clock of whoever asks.
pub(super) const MARGIN_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// Fields of a row. `lua/others.lua` has them too.
const OWN: [&str; 8] =
    ["user_id", "data", "created_at", "expires_at", "updated_at", "attempt", "rotated_from", "rotated_to"];

/// What stands under a row's key.
pub(super) enum Found {
    Nothing,
    Row(Result<SessionRecord, MalformedRow>),
    /// It counts if the rotation from this row was decided.
    Moving(String),
}

/// Asks for a row.
pub(super) fn read(key: String) -> Request<'static> {
    let mut command = Cmd::with_capacity(9, key.len() + 80);
    command.arg("HMGET").arg(key);
    for field in ["user_id", "data", "created_at", "expires_at", "updated_at", "rotated_from", "rotated_to"] {
        command.arg(field);
    }
    Request::Plain(command)
}

/// Reads the answer to [`read`].
pub(super) fn found(id: SessionId, answer: Result<Value, Fault>) -> Result<Found, Fault> {
    let fields = match answer {
        Ok(Value::Array(fields)) => fields,
        Ok(_) => return Err(strange()),
        Err(fault) if fault.is_wrong_type() => {
            return Ok(Found::Row(Err(malformed(id, "its key holds no hash".to_owned()))));
        }
        Err(fault) => return Err(fault),
    };
    let mut fields = fields.into_iter().map(bytes);
    let mut next = || fields.next().flatten();
    let [user_id, data, created_at, expires_at, updated_at, from, to] = std::array::from_fn(|_| next());
    if to.is_some() {
        return Ok(Found::Nothing);
    }
    if let Some(from) = from {
        return Ok(Found::Moving(String::from_utf8_lossy(&from).into_owned()));
    }
    let fields = [user_id, data, created_at, expires_at, updated_at];
    if fields.iter().all(Option::is_none) {
        return Ok(Found::Nothing);
    }
    let columns = columns(id, fields).map_err(|problem| malformed(id, problem));
    Ok(Found::Row(columns.map(SessionRecord::from_columns)))
}

fn malformed(id: SessionId, problem: String) -> MalformedRow {
    MalformedRow { id: id.to_string(), problem }
}

fn columns(id: SessionId, fields: [Option<Vec<u8>>; 5]) -> Result<Columns, String> {
    let [user_id, data, created_at, expires_at, updated_at] = fields;
    let user_id = user_id.map(String::from_utf8).transpose().map_err(|_| "user_id is not UTF-8")?;
    Ok(Columns {
        id,
        user_id: user_id.map(|user| UserId::stored(&user)),
        data: data.map_or(StoredData::Null, stored),
        created_at: time("created_at", created_at)?,
        expires_at: time("expires_at", expires_at)?.ok_or("expires_at is missing: expected a timestamp")?,
        updated_at: time("updated_at", updated_at)?,
    })
}

fn stored(data: Vec<u8>) -> StoredData {
    match String::from_utf8(data) {
        Ok(text) => StoredData::Text(text.into()),
        Err(error) => StoredData::InvalidText(error.into_bytes().into()),
    }
}

/// Only the form that is compared as text: another one would be compared wrongly.
fn time(name: &str, field: Option<Vec<u8>>) -> Result<Option<Timestamp>, String> {
    let Some(text) = field else { return Ok(None) };
    let time = str::from_utf8(&text).ok().and_then(Timestamp::parse);
    time.filter(|time| time.to_sql_text().as_str().as_bytes() == text)
        .map(Some)
        .ok_or_else(|| format!("{name} is another text: expected YYYY-MM-DD HH:MM:SS.ffffff"))
}

/// A string, or nothing.
pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

/// Fields of a whole row that are not ours, and their values, one after the other.
pub(super) fn others(row: Value) -> Vec<Vec<u8>> {
    let Value::Map(pairs) = row else { return Vec::new() };
    let foreign = |(name, value)| {
        let (name, value) = (bytes(name)?, bytes(value)?);
        (!OWN.iter().any(|own| own.as_bytes() == name)).then_some([name, value])
    };
    pairs.into_iter().filter_map(foreign).flatten().collect()
}

/// The session ids among these strings.
pub(super) fn ids(value: Value) -> Result<Vec<SessionId>, Fault> {
    let Value::Array(members) = value else { return Err(strange()) };
    let id = |member| bytes(member).and_then(|text| SessionId::parse_bytes(&text).ok());
    Ok(members.into_iter().filter_map(id).collect())
}

/// A time as the fields hold it.
pub(super) fn text(time: Timestamp) -> Argument<'static> {
    made(time.to_sql_text().as_str())
}

/// A time as the index of expiries counts it.
pub(super) fn micros(time: Timestamp) -> Argument<'static> {
    made(time.as_micros())
}

/// When the key of a row with this expiry ends, in milliseconds.
pub(super) fn end(expires_at: Timestamp) -> i64 {
    (expires_at.as_micros().div_euclid(1_000) + MARGIN_MILLIS).max(1)
}

/// Whether text is expected, and which.
pub(super) fn expected(data: &StoredData) -> [Argument<'_>; 2] {
    match content(data) {
        Some(content) => [lent("1"), content],
        None => [lent("0"), lent("")],
    }
}

fn content(data: &StoredData) -> Option<Argument<'_>> {
    match data {
        StoredData::Text(text) => Some(lent(text)),
        StoredData::InvalidText(bytes) => Some(Argument::Borrowed(bytes)),
        StoredData::Null | StoredData::Bytes(_) => None,
    }
}

/// A row as the scripts write it down: its expiry, the end of its key, then fields and values.
pub(super) fn put(record: &SessionRecord) -> Vec<Argument<'_>> {
    let expires_at = record.expires_at();
    let mut row = vec![micros(expires_at), made(end(expires_at)), lent("expires_at"), text(expires_at)];
    let columns = [
        ("user_id", record.user_id().map(|user| lent(user.as_str()))),
        ("data", content(record.stored_data())),
        ("created_at", record.created_at().map(text)),
        ("updated_at", record.updated_at().map(text)),
    ];
    for (name, value) in columns {
        if let Some(value) = value {
            row.extend([lent(name), value]);
        }
    }
    row
}
