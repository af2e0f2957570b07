//! `SessionData`: the JSON object in the `data` column.
//!
//! Each top-level value stays the text it was read as and is decoded when somebody asks for it; what nobody
//! changed goes back byte for byte. It must never re-serialise an untouched value, reorder keys, or show a
//! value in an error or in `Debug`: session data is private.

mod index;
mod ordered;
mod outline;
mod seen;

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt, mem,
    ops::Range,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use self::ordered::{Ordered, ReadKey};
pub(crate) use self::outline::Outline;
use self::seen::Seen;
use super::error::{DataError, RESERVED_KEY};
use super::json::{self, Kind, Lone, Member};
use super::value::{ListItem, ValueText};

/// The ordered JSON object of one session.
///
/// Cloning is cheap: clones share their content until one of them changes. Equality is that of the keys, their
/// order and the values' texts; `1.0` and `1.00` differ.
#[derive(Clone)]
pub struct SessionData {
    /// The text this was parsed from; entries are spans of it until they are replaced.
    source: Arc<str>,
    entries: Arc<Entries>,
    /// Whether `source` no longer says what `entries` do.
    changed: bool,
}

/// Every request begins with data that is empty, and most end with it: that allocates nothing.
impl Default for SessionData {
    fn default() -> Self {
        static NONE: LazyLock<Arc<Entries>> = LazyLock::new(Arc::default);
        Self { source: Arc::default(), entries: Arc::clone(&NONE), changed: false }
    }
}

#[derive(Clone, Default)]
struct Entries {
    list: Ordered<Entry>,
    /// Bytes of all members, as [`Entry::bytes`] counts them.
    bytes: usize,
}

/// Bytes beside the key and the value of a member: `: `, and `, ` or the braces.
const BESIDE_MEMBER: usize = 4;

#[derive(Clone)]
struct Entry {
    /// The key's literal, quotes included.
    key: Piece,
    /// Whether that literal holds escapes.
    escaped: bool,
    value: Piece,
}

/// A piece of text: a span of the source, or its own.
#[derive(Clone)]
enum Piece {
    Span(Range<usize>),
    Own(Arc<str>),
    /// A list that elements are appended to.
    Growing(String),
}

impl Piece {
    fn text<'a>(&'a self, source: &'a str) -> &'a str {
        match self {
            Self::Span(range) => &source[range.clone()],
            Self::Own(text) => text,
            Self::Growing(text) => text,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Span(range) => range.len(),
            Self::Own(text) => text.len(),
            Self::Growing(text) => text.len(),
        }
    }

    fn bytes<'a>(&'a self, source: &'a str) -> &'a [u8] {
        match self {
            Self::Span(range) => &source.as_bytes()[range.clone()],
            Self::Own(text) => text.as_bytes(),
            Self::Growing(text) => text.as_bytes(),
        }
    }
}

/// A key as it stands in a text.
#[derive(Clone, Copy)]
struct KeyLiteral<'a> {
    /// What stands between the quotes.
    content: &'a str,
    escaped: bool,
}

impl<'a> KeyLiteral<'a> {
    fn new(literal: &'a str, escaped: bool) -> Self {
        Self { content: &literal[1..literal.len() - 1], escaped }
    }

    /// What it stands for. Not always UTF-8: Python's keys may hold lone surrogates.
    fn bytes(self) -> Cow<'a, [u8]> {
        if !self.escaped {
            return Cow::Borrowed(self.content.as_bytes());
        }
        let mut bytes = Vec::with_capacity(self.content.len());
        json::unescape(self.content, &mut bytes, Lone::Keep);
        Cow::Owned(bytes)
    }

    /// What it stands for, with U+FFFD for what Rust cannot hold.
    fn shown(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.content);
        }
        let mut bytes = Vec::with_capacity(self.content.len());
        json::unescape(self.content, &mut bytes, Lone::Replace);
        Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Entry {
    fn key<'a>(&'a self, source: &'a str) -> KeyLiteral<'a> {
        KeyLiteral::new(self.key.text(source), self.escaped)
    }

    fn is(&self, source: &str, key: &[u8]) -> bool {
        if self.escaped {
            return *self.key(source).bytes() == *key;
        }
        // Keys are compared more often than anything else is done with them, and most differ in length.
        self.key.len() == key.len() + 2 && self.key.bytes(source)[1..=key.len()] == *key
    }

    fn is_reserved(&self, source: &str) -> bool {
        self.is(source, RESERVED_KEY.as_bytes())
    }

    /// Bytes in a text that [`SessionData::to_text`] assembles, with `: ` and its share of the rest.
    fn bytes(&self) -> usize {
        self.key.len() + self.value.len() + BESIDE_MEMBER
    }
}

impl Entries {
    fn position(&self, source: &str, key: &[u8]) -> Option<usize> {
        self.list.find(key, |entry| entry.is(source, key))
    }

    /// Appends an entry whose key is not there yet.
    fn push(&mut self, source: &str, key: &[u8], entry: Entry) {
        self.bytes += entry.bytes();
        self.list.push(key, entry, key_in(source));
    }

    /// Replaces the value at this position.
    fn replace(&mut self, position: usize, value: Piece) {
        if let Some(entry) = self.list.get_mut(position) {
            self.bytes = self.bytes + value.len() - entry.value.len();
            entry.value = value;
        }
    }

    /// Appends an element to the list at this position.
    fn append(&mut self, source: &str, position: usize, item: &str) {
        let Some(Entry { value, .. }) = self.list.get_mut(position) else { return };
        let before = value.len();
        let mut list = match mem::replace(value, Piece::Span(0..0)) {
            Piece::Growing(list) => list,
            other => {
                let mut list = String::with_capacity(before + item.len() + BESIDE_MEMBER);
                list.push_str(other.text(source));
                list
            }
        };
        json::append(&mut list, item);
        self.bytes = self.bytes + list.len() - before;
        *value = Piece::Growing(list);
    }

    fn remove(&mut self, source: &str, position: usize) {
        let removed = self.list.remove(position, key_in(source));
        self.bytes -= removed.as_ref().map_or(0, Entry::bytes);
    }

    fn retain(&mut self, source: &str, keep: impl FnMut(&Entry) -> bool) {
        self.list.retain(keep, key_in(source));
        self.bytes = self.list.iter().map(Entry::bytes).sum();
    }
}

/// Reads the key of an entry of this source.
fn key_in(source: &str) -> impl ReadKey<Entry> {
    move |entry: &Entry, use_key: &mut dyn FnMut(&[u8])| use_key(&entry.key(source).bytes())
}

impl SessionData {
    /// No keys: `{}`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The data in this text, as `json.loads` would read it. An empty text is `{}`; of a key that stands there
    /// twice the last value counts, in the first one's place.
    ///
    /// # Errors
    /// The text is not JSON, or not an object.
    pub fn parse(text: Arc<str>) -> Result<Self, DataError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut entries = Entries { list: Ordered::with_capacity(index::LINEAR), bytes: 0 };
        let mut seen = Seen::default();
        let kind = json::members(&text, |member: Member| {
            let key = KeyLiteral::new(&text[member.key.clone()], member.escaped).bytes();
            let value = Piece::Span(member.value);
            let before = if seen.perhaps(&key) { entries.position(&text, &key) } else { None };
            match before {
                Some(position) => entries.replace(position, value),
                None => {
                    let entry = Entry { key: Piece::Span(member.key), escaped: member.escaped, value };
                    entries.push(&text, &key, entry);
                }
            }
        })
        .map_err(DataError::NotJson)?;
        if kind != Kind::Object {
            return Err(DataError::NotAnObject { found: kind.name() });
        }
        Ok(Self { source: text, entries: Arc::new(entries), changed: false })
    }

    /// The value under this key; `None` without one. A stored `null` is `None` too, unless `T` takes null:
    /// Python stores its `None` so.
    ///
    /// # Errors
    /// The value is not a `T`, or is nested too deep for one; see [`json::from_text`].
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, DataError> {
        let Some(text) = self.raw(key) else { return Ok(None) };
        match json::from_text(text) {
            Ok(value) => Ok(Some(value)),
            Err(_) if text == "null" => Ok(None),
            Err(source) => Err(DataError::Decode { key: key.into(), source }),
        }
    }

    /// The value's text as it is stored.
    #[must_use]
    pub fn raw(&self, key: &str) -> Option<&str> {
        if key == RESERVED_KEY { None } else { self.raw_any(key) }
    }

    /// The value's text, to be stored elsewhere.
    pub(crate) fn value(&self, key: &str) -> Option<ValueText> {
        self.raw(key).map(ValueText::part_of_written)
    }

    /// Whether there is a value under this key, `null` included.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// The keys in order. A lone surrogate in a key, which Python allows, shows as U+FFFD.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.visible().map(|entry| entry.key(&self.source).shown())
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.list.len() - usize::from(self.meta_raw().is_some())
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores a value. A key that is there keeps its place, a new one goes last.
    ///
    /// # Errors
    /// The key is reserved, or the value has no JSON form; see [`json::to_text`]. Then nothing is changed.
    pub fn insert<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), DataError> {
        refuse_reserved(key)?;
        self.set(key, ValueText::of(key, value)?);
        Ok(())
    }

    /// Stores a value that is JSON text already, as it is.
    ///
    /// # Errors
    /// The key is reserved, or the text is not one JSON value; see [`json::check`]. Then nothing is changed.
    pub fn insert_raw(&mut self, key: &str, text: impl Into<Arc<str>>) -> Result<(), DataError> {
        refuse_reserved(key)?;
        self.set(key, ValueText::checked(key, text)?);
        Ok(())
    }

    /// Stores a value whose text is known to be one.
    pub(crate) fn insert_text(&mut self, key: &str, text: ValueText) -> Result<(), DataError> {
        refuse_reserved(key)?;
        self.set(key, text);
        Ok(())
    }

    /// Appends an element to the list under a key, or begins one where there is nothing or `null`.
    ///
    /// # Errors
    /// The key is reserved, or its value is no list: that is replaced if `replaces_others`.
    pub(crate) fn append(
        &mut self,
        key: &str,
        item: &ListItem,
        replaces_others: bool,
    ) -> Result<(), DataError> {
        refuse_reserved(key)?;
        let place = self.entries.position(&self.source, key.as_bytes());
        let value = self.raw_any(key).filter(|text| *text != "null").filter(|text| {
            // A value that stands here was checked, so its first character tells its kind.
            !replaces_others || text.trim_start().starts_with('[')
        });
        let (Some(position), Some(text)) = (place, value) else {
            self.set(key, item.alone());
            return Ok(());
        };
        if !text.trim_start().starts_with('[') {
            let source = json::elements(text).err();
            return source.map_or(Ok(()), |source| Err(DataError::Decode { key: key.into(), source }));
        }
        self.changed = true;
        Arc::make_mut(&mut self.entries).append(&self.source, position, item.as_str());
        Ok(())
    }

    /// Bytes, as [`counted_bytes`](Self::counted_bytes) counts them, with a text of this length under the key.
    pub(crate) fn counted_with(&self, key: &str, length: usize) -> usize {
        let counted = self.counted_bytes();
        match self.entry(key.as_bytes()).filter(|_| key != RESERVED_KEY) {
            Some(entry) => counted - entry.value.len() + length,
            None => counted + json::quoted_len(key) + length + BESIDE_MEMBER,
        }
    }

    /// Removes a key; false when it was not there.
    pub fn remove(&mut self, key: &str) -> bool {
        key != RESERVED_KEY && self.take_out(key.as_bytes())
    }

    /// Removes every key.
    pub fn clear(&mut self) {
        self.retain(|_| false);
    }

    /// Keeps the keys for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let source = &self.source;
        let kept: Vec<bool> = (self.entries.list.iter())
            .map(|entry| entry.is_reserved(source) || keep(&entry.key(source).shown()))
            .collect();
        if kept.iter().all(|&kept| kept) {
            return;
        }
        let mut kept = kept.into_iter();
        Arc::make_mut(&mut self.entries).retain(source, |_| kept.next().unwrap_or(true));
        self.changed = true;
    }

    /// Removes all keys but these, and returns the removed ones.
    pub(crate) fn keep_only(&mut self, keys: &HashSet<&str>) -> Vec<RemovedKey> {
        let source = &self.source;
        let mut removed = Vec::new();
        for entry in self.visible() {
            match String::from_utf8(entry.key(source).bytes().into_owned()) {
                Ok(key) if keys.contains(&*key) => {}
                Ok(key) => removed.push(RemovedKey::Named(key)),
                Err(key) => removed.push(RemovedKey::Unnamed(key.into_bytes().into())),
            }
        }
        if !removed.is_empty() {
            let is_kept = |entry: &Entry| {
                entry.is_reserved(source)
                    || str::from_utf8(&entry.key(source).bytes()).is_ok_and(|key| keys.contains(key))
            };
            Arc::make_mut(&mut self.entries).retain(source, is_kept);
            self.changed = true;
        }
        removed
    }

    /// Removes a key by its bytes, as [`RemovedKey::Unnamed`] holds them.
    pub(crate) fn remove_unnamed(&mut self, key: &[u8]) {
        self.take_out(key);
    }

    /// Bytes that the text has once something is changed, without what stands under [`RESERVED_KEY`].
    pub(crate) fn counted_bytes(&self) -> usize {
        self.entries.bytes - self.member_bytes(RESERVED_KEY)
    }

    /// What a key and its value add to the text; 0 without the key.
    pub(crate) fn member_bytes(&self, key: &str) -> usize {
        self.entry(key.as_bytes()).map_or(0, Entry::bytes)
    }

    /// The text for the `data` column: the very text that was parsed when nothing was changed, otherwise its
    /// keys and values as they stand, with the separators of `json.dumps`.
    #[must_use]
    pub fn to_text(&self) -> Arc<str> {
        if !self.changed {
            return if self.source.is_empty() { "{}".into() } else { self.source.clone() };
        }
        let pieces = || self.entries.list.iter().map(|entry| self.texts(entry));
        let length: usize = pieces().map(|(key, value)| key.len() + value.len() + 4).sum();
        let mut text = String::with_capacity(length + 2);
        for (key, value) in pieces() {
            text.push_str(if text.is_empty() { "{" } else { ", " });
            text.push_str(key);
            text.push_str(": ");
            text.push_str(value);
        }
        text.push_str(if text.is_empty() { "{}" } else { "}" });
        text.into()
    }

    /// Whether the whole text is strict JSON, without `NaN` and the infinities.
    ///
    /// # Errors
    /// Names the first key whose value is not.
    pub fn strict_json(&self) -> Result<(), DataError> {
        let text = self.to_text();
        let mut first = None;
        json::members(&text, |member| {
            if !member.finite {
                first.get_or_insert(member);
            }
        })
        .map_err(DataError::NotJson)?;
        let Some(member) = first else { return Ok(()) };
        let key = KeyLiteral::new(&text[member.key], member.escaped).shown();
        Err(DataError::NotStrict { key: key.into() })
    }

    /// The text under [`RESERVED_KEY`].
    pub(crate) fn meta_raw(&self) -> Option<&str> {
        self.raw_any(RESERVED_KEY)
    }

    /// Replaces or removes what stands under [`RESERVED_KEY`].
    pub(crate) fn set_meta_raw(&mut self, text: Option<Arc<str>>) -> Result<(), DataError> {
        match text {
            Some(text) => self.set(RESERVED_KEY, ValueText::checked(RESERVED_KEY, text)?),
            None => drop(self.take_out(RESERVED_KEY.as_bytes())),
        }
        Ok(())
    }

    /// Writes a map or struct, and takes it apart into its keys and values.
    ///
    /// # Errors
    /// It is not written as a JSON object, or has sessile's own key.
    pub(crate) fn take_apart<T: Serialize + ?Sized>(
        values: &T,
    ) -> Result<Vec<(String, ValueText)>, DataError> {
        let data = Self::parse(ValueText::of("", values)?.into_text())?;
        if data.meta_raw().is_some() {
            return Err(DataError::Reserved);
        }
        let member = |entry: &Entry| {
            let (key, value) = (entry.key(&data.source).shown(), entry.value.text(&data.source));
            (key.into_owned(), ValueText::part_of_written(value))
        };
        Ok(data.entries.list.iter().map(member).collect())
    }

    fn visible(&self) -> impl Iterator<Item = &Entry> {
        self.entries.list.iter().filter(|entry| !entry.is_reserved(&self.source))
    }

    /// An entry's key literal and value.
    fn texts<'a>(&'a self, entry: &'a Entry) -> (&'a str, &'a str) {
        (entry.key.text(&self.source), entry.value.text(&self.source))
    }

    fn entry(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.list.get(self.entries.position(&self.source, key)?)
    }

    fn raw_any(&self, key: &str) -> Option<&str> {
        Some(self.entry(key.as_bytes())?.value.text(&self.source))
    }

    /// Puts a text under a key. The text that is there already is no change.
    fn set(&mut self, key: &str, text: ValueText) {
        let text = text.into_text();
        let place = self.entries.position(&self.source, key.as_bytes());
        let entry = place.and_then(|position| self.entries.list.get(position));
        if entry.is_some_and(|entry| entry.value.text(&self.source) == &*text) {
            return;
        }
        self.changed = true;
        let entries = Arc::make_mut(&mut self.entries);
        if let Some(position) = place {
            return entries.replace(position, Piece::Own(text));
        }
        let mut literal = String::new();
        json::quote(key, &mut literal);
        let escaped = literal.contains('\\');
        let entry = Entry { key: Piece::Own(literal.into()), escaped, value: Piece::Own(text) };
        entries.push(&self.source, key.as_bytes(), entry);
    }

    fn take_out(&mut self, key: &[u8]) -> bool {
        let Some(position) = self.entries.position(&self.source, key) else { return false };
        Arc::make_mut(&mut self.entries).remove(&self.source, position);
        self.changed = true;
        true
    }
}

/// A key that [`SessionData::keep_only`] removed.
pub(crate) enum RemovedKey {
    Named(String),
    /// With a lone surrogate, which Python allows and no `&str` holds: its bytes as they are compared.
    Unnamed(Box<[u8]>),
}

fn refuse_reserved(key: &str) -> Result<(), DataError> {
    if key == RESERVED_KEY { Err(DataError::Reserved) } else { Ok(()) }
}

impl FromStr for SessionData {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        Self::parse(text.into())
    }
}

/// The text for the `data` column.
impl fmt::Display for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// Sizes only.
impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_text().len();
        f.debug_struct("SessionData")
            .field("keys", &self.len())
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

impl PartialEq for SessionData {
    fn eq(&self, other: &Self) -> bool {
        let same = |(mine, theirs): (&Entry, &Entry)| {
            mine.value.text(&self.source) == theirs.value.text(&other.source)
                && mine.key(&self.source).bytes() == theirs.key(&other.source).bytes()
        };
        self.entries.list.len() == other.entries.list.len()
            && self.entries.list.iter().zip(other.entries.list.iter()).all(same)
    }
}

impl Eq for SessionData {}

#[cfg(test)]
mod tests {
    use super::*;

    /// [A26] What sessile keeps is set, replaced in its place and removed beside the handler's keys.
    #[test]
    fn the_reserved_key_is_set_and_removed_from_within() {
        let mut data = SessionData::parse("{\"a\":1}".into()).unwrap();
        assert_eq!(data.meta_raw(), None);
        data.set_meta_raw(Some("{}".into())).unwrap();
        data.insert("b", &2).unwrap();
        assert!(data.set_meta_raw(Some("{".into())).is_err());
        data.set_meta_raw(Some("[1]".into())).unwrap();
        assert_eq!((data.meta_raw(), data.len()), (Some("[1]"), 2));
        assert_eq!(&*data.to_text(), "{\"a\": 1, \"_sessile\": [1], \"b\": 2}");
        data.set_meta_raw(None).unwrap();
        assert_eq!(&*data.to_text(), "{\"a\": 1, \"b\": 2}");
    }
}
