//! What the `data` column really holds, kept so exactly that it can be compared with the row.

use std::fmt;
use std::sync::Arc;

use super::data::SessionData;
use super::error::DataError;

/// Bytes that are read as session data, at most: whoever can write to the table must not be able to
/// keep every request busy. What policies allow to be written is far below.
pub const MAX_STORED_BYTES: usize = 16 * 1024 * 1024;

/// The content of the `data` column, byte for byte.
///
/// Compare-and-swap compares this with the row, so it also tells text from bytes and NULL from `{}`.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredData {
    /// SQL NULL, read as `{}`.
    Null,
    /// Text: what everybody should write.
    Text(Arc<str>),
    /// Bytes: a BLOB (SQLite has no other way to hold what lback's `set_session_data` writes).
    Bytes(Arc<[u8]>),
    /// A text column whose bytes are not UTF-8 (only SQLite allows it). Nobody can read it.
    InvalidText(Arc<[u8]>),
}

impl StoredData {
    /// The text `{}` of a session without data.
    pub fn empty() -> StoredData {
        StoredData::Text("{}".into())
    }

    /// The text as it is stored; `None` for NULL and for bytes that are not UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            StoredData::Text(text) => Some(text),
            StoredData::Bytes(bytes) => str::from_utf8(bytes).ok(),
            StoredData::Null | StoredData::InvalidText(_) => None,
        }
    }

    /// How many bytes the column holds.
    pub fn len(&self) -> usize {
        match self {
            StoredData::Null => 0,
            StoredData::Text(text) => text.len(),
            StoredData::Bytes(bytes) | StoredData::InvalidText(bytes) => bytes.len(),
        }
    }

    /// Whether the column holds nothing: NULL or an empty text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the column as a JSON object; NULL and the empty text are `{}`.
    ///
    /// PostgreSQL shows bytes that lback wrote into the text column as `\x7b…`: those are read too.
    ///
    /// # Errors
    /// When it is not a JSON object as Python's `json` module reads it.
    pub fn decode(&self) -> Result<SessionData, DataError> {
        if self.len() > MAX_STORED_BYTES {
            return Err(DataError::TooLong { bytes: self.len() });
        }
        match self {
            StoredData::Null => Ok(SessionData::new()),
            StoredData::Text(text) => match decode_hex(text) {
                Some(json) => SessionData::parse(json),
                None => SessionData::parse(Arc::clone(text)),
            },
            StoredData::Bytes(bytes) | StoredData::InvalidText(bytes) => match str::from_utf8(bytes) {
                Ok(text) => SessionData::parse(text.into()),
                Err(_) => Err(DataError::NotUtf8),
            },
        }
    }
}

/// The text behind PostgreSQL's `\x` form of bytes, if it is one.
fn decode_hex(text: &str) -> Option<Arc<str>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let bytes: Option<Vec<u8>> =
        digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect();
    String::from_utf8(bytes?).ok().map(Arc::from)
}

impl From<&SessionData> for StoredData {
    fn from(data: &SessionData) -> StoredData {
        StoredData::Text(data.to_text())
    }
}

/// Shows the kind and the size: data is private.
impl fmt::Debug for StoredData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            StoredData::Null => return f.write_str("Null"),
            StoredData::Text(_) => "Text",
            StoredData::Bytes(_) => "Bytes",
            StoredData::InvalidText(_) => "InvalidText",
        };
        write!(f, "{kind}({} bytes)", self.len())
    }
}
