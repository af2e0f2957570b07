//! What is to become of one session: pure decisions, no store.

use std::sync::Arc;

use sessile::record::{Columns, SessionRecord, StoredData, Timestamp};
use sessile::store::{Expiry, Update, Write};

use super::Prefer;

/// What is to become of a session that is live at the source.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is not there.
    Insert,
    /// Another row with its id is there, which gives way.
    Replace(Vec<Write>),
    /// It is there already, as it is.
    Present,
    /// Another row with its id is there, and stays.
    Stays,
    /// It ended there since an earlier run.
    Ended,
    /// It cannot be put in the place of what is there.
    Impossible(&'static str),
}

/// The row with its data as text, which is what every store holds; the bytes are the same.
///
/// # Errors
/// Bytes that are no text cannot be read by anybody.
pub(super) fn storable(record: SessionRecord) -> Result<SessionRecord, String> {
    let text = match record.stored_data() {
        StoredData::Null | StoredData::Text(_) => return Ok(record),
        StoredData::Bytes(bytes) | StoredData::InvalidText(bytes) => str::from_utf8(bytes),
    };
    let data = StoredData::Text(text.map_err(|_| "its data is not UTF-8".to_owned())?.into());
    Ok(SessionRecord::from_columns(Columns {
        id: record.id(),
        user_id: record.user_id().cloned(),
        data,
        created_at: record.created_at(),
        expires_at: record.expires_at(),
        updated_at: record.updated_at(),
    }))
}

/// A foreign row, which does not say when it was made and changed: as the row that was made of it before, or as
/// one that is made now.
pub(super) fn dated(source: &SessionRecord, there: Option<&SessionRecord>, now: Timestamp) -> SessionRecord {
    let made = there.map_or(Some(now), SessionRecord::created_at);
    SessionRecord::from_columns(Columns {
        id: source.id(),
        user_id: source.user_id().cloned(),
        data: source.stored_data().clone(),
        created_at: made,
        expires_at: source.expires_at(),
        updated_at: made,
    })
}

/// Decides about `source`, of which `there` is what the target has. `known`: an earlier run saw it there;
/// `is_dated`: the source says itself when it was changed.
pub(super) fn judge(
    source: &SessionRecord,
    there: Option<&SessionRecord>,
    known: bool,
    is_dated: bool,
    prefer: Prefer,
    now: Timestamp,
) -> Verdict {
    let Some(there) = there else {
        return if known { Verdict::Ended } else { Verdict::Insert };
    };
    if is_copy(source, there) {
        return Verdict::Present;
    }
    let gives_way = match prefer {
        Prefer::From => true,
        Prefer::To => false,
        Prefer::Newer if is_dated => is_newer(source, there),
        // Nobody has used it there since it was copied.
        Prefer::Newer => there.updated_at() == there.created_at(),
    };
    if gives_way { replacement(source, there, now) } else { Verdict::Stays }
}

/// The writes that replace `there`, as it was read, by `source`. They do not match a row that was changed meanwhile.
fn replacement(source: &SessionRecord, there: &SessionRecord, now: Timestamp) -> Verdict {
    if !there.is_live(now) {
        // Nobody uses it, and an expired row takes no other write.
        return Verdict::Replace(vec![Write::Delete(there.id()), Write::Insert(source.clone())]);
    }
    if !same_instant(source.created_at(), there.created_at()) {
        return Verdict::Impossible("another session with its id is there: created_at differs");
    }
    let StoredData::Text(data) = source.stored_data() else {
        return Verdict::Impossible("the row there differs, and NULL cannot be put in its place");
    };
    Verdict::Replace(vec![Write::Update(Update {
        id: source.id(),
        expected: there.stored_data().clone(),
        data: Arc::clone(data).into(),
        user_id: Some(source.user_id().cloned()),
        expires_at: Expiry::Set(source.expires_at()),
        // It becomes the row's `updated_at`.
        now: source.updated_at().unwrap_or(now).into(),
    })])
}

/// Whether the target's row is the source's.
pub(super) fn is_copy(source: &SessionRecord, there: &SessionRecord) -> bool {
    is_as_good(source, there)
        && same_instant(source.created_at(), there.created_at())
        && same_instant(source.updated_at(), there.updated_at())
}

/// Whether the target's row says the same of the same session.
pub(super) fn is_as_good(source: &SessionRecord, there: &SessionRecord) -> bool {
    source.user_id() == there.user_id()
        && same_data(source.stored_data(), there.stored_data())
        && same_instant(Some(source.expires_at()), Some(there.expires_at()))
}

/// Whether the source's row was changed after the target's.
pub(super) fn is_newer(source: &SessionRecord, there: &SessionRecord) -> bool {
    source.updated_at() > there.updated_at() && !same_instant(source.updated_at(), there.updated_at())
}

/// The same bytes, whether the column holds them as text or not.
fn same_data(one: &StoredData, other: &StoredData) -> bool {
    match (one, other) {
        (StoredData::Null, StoredData::Null) => true,
        _ => matches!((one.as_text(), other.as_text()), (Some(one), Some(other)) if one == other),
    }
}

/// The same instant, or what a column of milliseconds or of whole seconds keeps of it.
fn same_instant(source: Option<Timestamp>, there: Option<Timestamp>) -> bool {
    let (Some(source), Some(there)) = (source, there) else { return source == there };
    let (source, there) = (source.as_micros(), there.as_micros());
    [1, 1_000, 1_000_000].iter().any(|unit| source.div_euclid(*unit) * unit == there)
}
