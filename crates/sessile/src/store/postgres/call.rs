//! Writes as the parameters of their statements: one array for each column.

use std::collections::HashSet;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::apply::Made;
use super::fault::{Fault, Place};
use super::link::Parameter;
use super::row::{self, Bound, Key, Micros};
use super::sql::Kept;
use crate::record::{SessionId, SessionRecord, StoredData, UserId};
use crate::store::wave::waves;
use crate::store::{Expiry, Outcome, Write};

pub(super) type Value<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// Writes of one kind and of different rows, in the order of their ids.
pub(super) struct Call {
    pub(super) kind: Kept,
    places: Vec<usize>,
}

/// What needs no database: data that no text column can equal, or hold, and a user id that is longer than its column.
pub(super) fn foregone(write: &Write, place: &Place) -> Option<Made> {
    let (expected, data, record) = match write {
        Write::Insert(record) => (None, None, Some(record)),
        Write::Update(update) => (Some(&update.expected), update.data.text(), None),
        Write::Rotate(rotation) => (Some(&rotation.expected), None, Some(&rotation.record)),
        Write::Touch(_) | Write::Delete(_) => return None,
    };
    let user = match write {
        Write::Update(update) => update.user_id.as_ref().and_then(Option::as_ref),
        _ => record.and_then(SessionRecord::user_id),
    };
    if expected.is_some_and(|expected| !is_storable(expected)) {
        return Some(Ok(Outcome::Unmatched));
    }
    let storable = !data.is_some_and(|data| data.contains('\0'))
        && !user.is_some_and(|user| user.as_str().contains('\0'))
        && record.is_none_or(|record| is_storable(record.stored_data()));
    if !storable {
        return Some(Err(Fault::Other("PostgreSQL holds only text there, and no NUL in it".to_owned())));
    }
    place.user.check(write).err().map(|error| Err(Fault::UserId(error)))
}

fn is_storable(data: &StoredData) -> bool {
    match data {
        StoredData::Null => true,
        StoredData::Text(text) => !text.contains('\0'),
        StoredData::Bytes(_) | StoredData::InvalidText(_) => false,
    }
}

fn text(data: &StoredData) -> Option<&str> {
    match data {
        StoredData::Text(text) => Some(text),
        StoredData::Null | StoredData::Bytes(_) | StoredData::InvalidText(_) => None,
    }
}

fn kind(write: &Write) -> Kept {
    match write {
        Write::Insert(_) => Kept::Insert,
        Write::Update(_) => Kept::Update,
        Write::Touch(_) => Kept::Touch,
        Write::Rotate(_) => Kept::Rotate,
        Write::Delete(_) => Kept::Delete,
    }
}

/// As few statements as do the same as the writes in their order.
pub(super) fn calls(writes: &[Write], open: &[usize]) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for wave in waves(open.iter().map(|&at| (at, &writes[at]))) {
        let first = calls.len();
        for at in wave {
            let kind = kind(&writes[at]);
            match calls[first..].iter_mut().find(|call| call.kind == kind) {
                Some(call) => call.places.push(at),
                None => calls.push(Call { kind, places: vec![at] }),
            }
        }
    }
    for call in &mut calls {
        // Whoever locks many rows locks them in the same order: no deadlock.
        call.places.sort_by_key(|&at| writes[at].id());
    }
    calls
}

/// The lookup of all rows that these writes are conditional on; `None` where there are only new ones.
pub(super) fn lookups(writes: &[Write]) -> Option<Call> {
    let mut known = HashSet::new();
    let mut places: Vec<usize> = (0..writes.len())
        .filter(|&at| !matches!(writes[at], Write::Insert(_)) && known.insert(writes[at].id()))
        .collect();
    places.sort_by_key(|&at| writes[at].id());
    (!places.is_empty()).then_some(Call { kind: Kept::Seen, places })
}

pub(super) fn parameters<'a>(values: &'a [Value<'_>]) -> Vec<Parameter<'a>> {
    values.iter().map(|value| &**value as Parameter<'a>).collect()
}

/// An array with an element for each of these.
fn array<'a, T, V>(of: &[&'a T], element: impl Fn(&'a T) -> V) -> Value<'a>
where
    V: ToSql + Sync + Send + 'a,
{
    Box::new(Bound(of.iter().map(|it| element(it)).collect::<Vec<V>>()))
}

impl Call {
    pub(super) fn one(writes: &[Write], at: usize) -> Call {
        Call { kind: kind(&writes[at]), places: vec![at] }
    }

    /// The places whose writes were applied: the statement returns their ids.
    pub(super) fn applied(&self, writes: &[Write], rows: &[Row]) -> Vec<usize> {
        let ids: HashSet<SessionId> = rows.iter().filter_map(row::id).collect();
        self.places.iter().copied().filter(|&at| ids.contains(&writes[at].id())).collect()
    }

    /// The statement's parameters, one array for each: made when it leaves, for the time is among them.
    pub(super) fn values<'a>(&self, writes: &'a [Write]) -> Vec<Value<'a>> {
        let of: Vec<&Write> = self.places.iter().map(|&at| &writes[at]).collect();
        let ids = array(&of, |write| Key(write.id()));
        match self.kind {
            Kept::Insert => {
                let of = only(&of, |write| match write {
                    Write::Insert(record) => Some(record),
                    _ => None,
                });
                std::iter::once(ids).chain(columns(&of)).collect()
            }
            Kept::Update => {
                let of = only(&of, |write| match write {
                    Write::Update(update) => Some(update),
                    _ => None,
                });
                vec![
                    ids,
                    array(&of, |update| text(&update.expected)),
                    array(&of, |update| Micros::from(update.now.get())),
                    array(&of, |update| update.data.text()),
                    array(&of, |update| match update.expires_at {
                        Expiry::Keep => None,
                        Expiry::Extend(to) | Expiry::Set(to) => Some(Micros::from(to)),
                    }),
                    array(&of, |update| matches!(update.expires_at, Expiry::Extend(_))),
                    array(&of, |update| update.user_id.as_ref().and_then(Option::as_ref).map(UserId::as_str)),
                    array(&of, |update| update.user_id.is_some()),
                ]
            }
            Kept::Touch => {
                let of = only(&of, |write| match write {
                    Write::Touch(touch) => Some(touch),
                    _ => None,
                });
                vec![
                    ids,
                    array(&of, |touch| Micros::from(touch.expires_at)),
                    array(&of, |touch| Micros::from(touch.now.get())),
                ]
            }
            Kept::Rotate => {
                let of = only(&of, |write| match write {
                    Write::Rotate(rotation) => Some(rotation),
                    _ => None,
                });
                let records: Vec<&SessionRecord> = of.iter().map(|rotation| &rotation.record).collect();
                let condition = [
                    ids,
                    array(&of, |rotation| text(&rotation.expected)),
                    array(&of, |rotation| Micros::from(rotation.now.get())),
                    array(&of, |rotation| Key(rotation.record.id())),
                ];
                condition.into_iter().chain(columns(&records)).collect()
            }
            Kept::Load | Kept::Delete | Kept::LockFree | Kept::Seen => vec![ids],
        }
    }
}

/// The writes by their kind: a call holds no others.
fn only<'a, T>(of: &[&'a Write], get: impl Fn(&'a Write) -> Option<&'a T>) -> Vec<&'a T> {
    of.iter().filter_map(|write| get(write)).collect()
}

/// The columns after the id.
fn columns<'a>(records: &[&'a SessionRecord]) -> [Value<'a>; 5] {
    [
        array(records, |record| record.user_id().map(UserId::as_str)),
        array(records, |record| text(record.stored_data())),
        array(records, |record| record.created_at().map(Micros::from)),
        array(records, |record| Micros::from(record.expires_at())),
        array(records, |record| record.updated_at().map(Micros::from)),
    ]
}
