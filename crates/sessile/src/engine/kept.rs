//! What the cache holds of a session.

use std::sync::Arc;

use tokio::time::Instant;

use crate::record::{Outline, SessionData, SessionRecord, StoredData};

/// What a row takes beside its data and its user's id: the columns, the key and the cache's own notes. Measured:
/// `tests/footprint.rs`.
pub(super) const ROW_BYTES: usize = 320;

/// A row, read and checked.
pub(super) struct Kept {
    pub(super) record: SessionRecord,
    /// Where its keys are: a hit need not check the text again.
    outline: Option<Outline>,
    /// When it was known to be so: when its load, or the write that made it so, began.
    pub(super) since: Instant,
}

impl Kept {
    pub(super) fn new(record: SessionRecord, since: Instant) -> Kept {
        // Text that is something else, such as Python's bytes, has no outline.
        let outline = match record.stored_data() {
            StoredData::Text(text) => record.try_data().ok().filter(|data| data.is_of(text)),
            StoredData::Null | StoredData::Bytes(_) | StoredData::InvalidText(_) => None,
        };
        Kept { outline: outline.and_then(|data| data.outline()), record, since }
    }

    /// The data, without reading all of the text; `None`: it has to be read.
    pub(super) fn data(&self) -> Option<SessionData> {
        match (self.record.stored_data(), &self.outline) {
            (StoredData::Text(text), Some(outline)) => Some(SessionData::outlined(Arc::clone(text), outline)),
            _ => None,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        let user = self.record.user_id().map_or(0, |user| user.as_str().len());
        let outline = self.outline.as_ref().map_or(0, Outline::bytes);
        (ROW_BYTES + self.record.stored_data().len() + user + outline) as u64
    }
}
