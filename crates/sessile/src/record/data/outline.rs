//! Where the keys and values of a text stand, so that a text which was read once need not be checked again.

use std::ops::Range;
use std::sync::Arc;

use super::{Entries, Entry, Ordered, Piece, SessionData, key_in};

/// Eight bytes for each key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outline(Box<[Spot]>);

#[derive(Debug, Clone, Copy)]
struct Spot {
    key: (u16, u16),
    value: (u16, u16),
}

impl Outline {
    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val::<[Spot]>(&self.0)
    }
}

impl SessionData {
    /// The outline of the text that this was parsed from. `None` where there is none so short: the text is longer
    /// than 64 KiB, a key has escapes, something was changed.
    pub(crate) fn outline(&self) -> Option<Outline> {
        let short = |piece: &Piece| match piece {
            Piece::Span(range) => Some((u16::try_from(range.start).ok()?, u16::try_from(range.end).ok()?)),
            Piece::Own(_) | Piece::Growing(_) => None,
        };
        let spot = |entry: &Entry| {
            let spot = Spot { key: short(&entry.key)?, value: short(&entry.value)? };
            (!entry.escaped).then_some(spot)
        };
        let spots = self.entries.list.iter().map(spot).collect::<Option<_>>()?;
        (!self.changed).then_some(Outline(spots))
    }

    /// Whether it was read from just this text.
    pub(crate) fn is_of(&self, text: &Arc<str>) -> bool {
        !self.changed && Arc::ptr_eq(&self.source, text)
    }

    /// The data in this text, whose outline this is.
    pub(crate) fn outlined(text: Arc<str>, outline: &Outline) -> SessionData {
        if outline.0.is_empty() {
            return SessionData { source: text, ..SessionData::default() };
        }
        let long = |(start, end): (u16, u16)| Range { start: usize::from(start), end: usize::from(end) };
        let entry = |spot: &Spot| Entry {
            key: Piece::Span(long(spot.key)),
            escaped: false,
            value: Piece::Span(long(spot.value)),
        };
        let mut list: Ordered<Entry> = outline.0.iter().map(entry).collect();
        list.reindex(key_in(&text));
        let entries = Entries { bytes: list.iter().map(Entry::bytes).sum(), list };
        SessionData { source: text, entries: Arc::new(entries), changed: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_its_outline_a_text_is_what_it_was_read_as() {
        let many: Vec<String> = (0..100).map(|n| format!("\"key {n}\": [{n}]")).collect();
        let many = format!("{{{}}}", many.join(", "));
        for text in ["{}", "", r#"{"a": 1, "b": {"a": [2, "x"]}, "a": 3}"#, &many] {
            let read = SessionData::parse(text.into()).unwrap();
            let outline = read.outline().unwrap();
            let again = SessionData::outlined(text.into(), &outline);
            assert_eq!(again, read);
            assert_eq!(again.to_text(), read.to_text());
            assert_eq!(again.get::<u8>("a").ok(), read.get::<u8>("a").ok());
            assert_eq!(again.raw("key 77"), read.raw("key 77"));
        }
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(70_000));
        for text in [&*long, r#"{"\u0061": 1}"#] {
            assert!(SessionData::parse(text.into()).unwrap().outline().is_none());
        }
        let mut changed = SessionData::parse(r#"{"a": 1}"#.into()).unwrap();
        changed.insert("a", &2).unwrap();
        assert!(changed.outline().is_none());
    }
}
