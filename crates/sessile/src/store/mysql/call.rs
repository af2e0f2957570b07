//! Writes as statements with their values.

use std::sync::atomic::Ordering;

use mysql_async::Value;

use super::apply::Made;
use super::fault::{Fault, Place};
use super::row::{bound_id, bound_time, cut};
use super::session::Answer;
use super::sql::Kept;
use crate::record::{SessionRecord, StoredData, Timestamp, UserId};
use crate::store::{Expiry, Outcome, Write};

/// What a message may hold beside the data.
pub(super) const BESIDE: u64 = 4_096;

/// What needs no database: data that no text column can equal, or hold; a user id that is longer than its column; and
/// what the server would take for an attack, and close the connection with everybody's writes.
pub(super) fn foregone(write: &Write, place: &Place) -> Option<Made> {
    let (expected, data, record) = match write {
        Write::Insert(record) => (None, 0, Some(record)),
        Write::Update(update) => (Some(&update.expected), update.data.text().map_or(0, str::len), None),
        Write::Rotate(rotation) => (Some(&rotation.expected), 0, Some(&rotation.record)),
        Write::Touch(_) | Write::Delete(_) => return None,
    };
    if expected.is_some_and(|expected| !is_text(expected)) {
        return Some(Ok(Outcome::Unmatched));
    }
    if record.is_some_and(|record| !is_text(record.stored_data())) {
        return Some(Err(Fault::Other("the column holds only text".to_owned())));
    }
    if let Err(error) = place.user.check(write) {
        return Some(Err(Fault::UserId(error)));
    }
    let stored = |data: &StoredData| data.len();
    let bytes = data + expected.map_or(0, stored) + record.map_or(0, |record| stored(record.stored_data()));
    let too_large = (bytes as u64).saturating_add(BESIDE) > place.packet.load(Ordering::Relaxed);
    too_large.then(|| Err(Fault::too_large()))
}

fn is_text(data: &StoredData) -> bool {
    matches!(data, StoredData::Null | StoredData::Text(_))
}

/// The statement for this write. To be made when it leaves: the time is among its values.
pub(super) fn statement(write: &Write, place: &Place) -> (Kept, Vec<Value>) {
    let digits = place.digits.load(Ordering::Relaxed);
    let expiry = |time: Timestamp| bound_time(cut(time, digits));
    match write {
        Write::Insert(record) => {
            let id = bound_id(record.id());
            (Kept::Insert(0), std::iter::once(id).chain(columns(record, digits)).collect())
        }
        Write::Update(update) => {
            let now = bound_time(update.now.get());
            let mut values = vec![update.data.text().map_or(Value::NULL, Value::from), now.clone()];
            match update.expires_at {
                Expiry::Keep => {}
                Expiry::Extend(to) | Expiry::Set(to) => values.push(expiry(to)),
            }
            values.extend(update.user_id.as_ref().map(|user| bound_user(user.as_ref())));
            let id = bound_id(update.id);
            values.extend([id.clone(), id, bound_data(&update.expected), now]);
            (Kept::update(update), values)
        }
        Write::Touch(touch) => {
            let (id, to, now) = (bound_id(touch.id), expiry(touch.expires_at), bound_time(touch.now.get()));
            (Kept::Touch, vec![to.clone(), now.clone(), id.clone(), id, to, now])
        }
        Write::Rotate(rotation) => {
            let (id, now) = (bound_id(rotation.id), bound_time(rotation.now.get()));
            let mut values = vec![bound_id(rotation.record.id())];
            values.extend(columns(&rotation.record, digits));
            values.extend([id.clone(), id, bound_data(&rotation.expected), now]);
            (Kept::Rotate, values)
        }
        Write::Delete(id) => (Kept::Delete, vec![bound_id(*id), bound_id(*id)]),
    }
}

/// What the answer to a write means. A row in the way of a new id fails the statement, which then has
/// changed nothing.
pub(super) fn outcome(write: &Write, answer: Result<Answer, Fault>) -> Made {
    match answer {
        Ok(answer) if answer.matched > 0 => Ok(Outcome::Applied),
        Ok(_) => Ok(Outcome::Unmatched),
        Err(fault) if fault.is_taken() && matches!(write, Write::Insert(_) | Write::Rotate(_)) => {
            Ok(Outcome::Unmatched)
        }
        Err(fault) => Err(fault),
    }
}

/// The columns after the id.
pub(super) fn columns(record: &SessionRecord, digits: u32) -> [Value; 5] {
    let time = |time: Option<Timestamp>| time.map_or(Value::NULL, bound_time);
    [
        bound_user(record.user_id()),
        bound_data(record.stored_data()),
        time(record.created_at()),
        bound_time(cut(record.expires_at(), digits)),
        time(record.updated_at()),
    ]
}

pub(super) fn bound_user(user: Option<&UserId>) -> Value {
    user.map_or(Value::NULL, |user| Value::from(user.as_str()))
}

fn bound_data(data: &StoredData) -> Value {
    data.as_text().map_or(Value::NULL, Value::from)
}
