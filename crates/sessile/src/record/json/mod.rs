//! JSON text exactly as Python's `json` module reads and writes it.
//!
//! The `data` column is shared with programs whose reader is `json.loads` and whose writer is
//! `json.dumps`, so this module accepts what the first accepts (`NaN`, lone surrogates, hundreds of
//! levels) and writes the bytes that the second writes. It must never put a piece of what it reads into an
//! error, overflow the stack, or replace silently what it cannot represent.

mod escape;
mod float;
mod plain;
mod read;
mod scan;
mod write;

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use escape::{Lone, quote, quoted_len, unescape};
pub(crate) use scan::{Kind, Member, elements, members, whole_value};

/// The deepest nesting that is read: what `json.loads` manages in a bare CPython process (its recursion
/// limit of 1,000, less the interpreter's own frames).
pub const MAX_DEPTH: usize = 993;

/// The deepest nesting that is written. Below [`MAX_DEPTH`], because `json.loads` inside a running Python
/// server has less of its recursion limit left.
pub const MAX_WRITE_DEPTH: usize = 900;

pub use read::MAX_DECODE_DEPTH;

/// The longest integer `json.loads` reads, in digits.
pub const MAX_INTEGER_DIGITS: usize = 4_300;

/// What was wrong with a JSON text, or with a value on its way into or out of one.
///
/// Positions are byte offsets into the text that was being read. Neither `Display` nor `Debug` shows any of
/// the text, because session data is private.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text does not follow the grammar.
    #[error("not JSON at byte {at}: found {found}, expected {expected}")]
    Syntax {
        /// Where.
        at: usize,
        /// The kind of character that stands there.
        found: &'static str,
        /// What could stand there.
        expected: &'static str,
    },
    /// More levels than can be read or written.
    #[error("nested deeper than {limit} levels{}", Place(*at))]
    TooDeep {
        /// Where, when reading.
        at: Option<usize>,
        /// The deepest that would have done.
        limit: usize,
    },
    /// An integer that Python itself refuses to read.
    #[error("integer of {digits} digits at byte {at}: at most {MAX_INTEGER_DIGITS} are read")]
    LongInteger {
        /// Where it begins.
        at: usize,
        /// Its length.
        digits: usize,
    },
    /// A string with half of a surrogate pair, which Python stores and a Rust `String` cannot hold.
    #[error(
        "lone surrogate in the string at byte {at}: not representable as a Rust string; take the value's raw text"
    )]
    LoneSurrogate {
        /// Where the string begins.
        at: usize,
    },
    /// A number outside the type that was asked for.
    #[error("integer at byte {at} does not fit {wanted}")]
    IntegerRange {
        /// Where it begins.
        at: usize,
        /// The type.
        wanted: &'static str,
    },
    /// Another kind of value than the type that was asked for.
    #[error("found {found}{}, expected {expected}", Place(*at))]
    Mismatch {
        /// Where the value begins.
        at: Option<usize>,
        /// The kind of value that stands there.
        found: &'static str,
        /// What the type takes.
        expected: Box<str>,
    },
    /// The type's own `Serialize` or `Deserialize` refused the value.
    #[error("the type refused the value{}", Place(*at))]
    Refused {
        /// Where the value begins, when reading.
        at: Option<usize>,
        /// Its reason.
        detail: Detail,
    },
    /// A map key that has no text form.
    #[error("a map key cannot be {found}: strings, numbers, booleans and null can")]
    Key {
        /// The kind of value.
        found: &'static str,
    },
}

/// A reason in the words of a type's own `Serialize` or `Deserialize`. It may quote session data, so only
/// [`Detail::expose`] shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Detail(Box<str>);

impl Detail {
    /// The reason. Keep it out of logs unless you know the type.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// ` at byte n`, or nothing.
struct Place(Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, " at byte {at}"),
            None => Ok(()),
        }
    }
}

impl JsonError {
    /// Names the place, unless a deeper level has done so already.
    fn or_at(mut self, position: usize) -> Self {
        if let Self::TooDeep { at, .. } | Self::Mismatch { at, .. } | Self::Refused { at, .. } = &mut self {
            at.get_or_insert(position);
        }
        self
    }

    fn refused(reason: &dyn fmt::Display) -> Self {
        Self::Refused { at: None, detail: Detail(reason.to_string().into()) }
    }
}

/// The text `json.dumps` writes for this value.
///
/// # Errors
/// A value nested deeper than [`MAX_WRITE_DEPTH`], a map key that is itself a list or a map, or a
/// `Serialize` that refuses.
pub fn to_text<T: Serialize + ?Sized>(value: &T) -> Result<String, JsonError> {
    write::to_text(value)
}

/// The value in this text, which must hold one value and nothing else.
///
/// Numbers: an integer beyond 64 bits decodes into `i128`, `u128` or a float; a type that takes anything
/// (such as `serde_json::Value`) gets it as `f64`, as `serde_json` would give it. `1e999` is infinite, as in
/// Python, and `serde_json::Value` turns what is not finite into null.
///
/// # Errors
/// Not JSON, not the type, nested deeper than [`MAX_DECODE_DEPTH`] (parts that the type ignores:
/// [`MAX_DEPTH`]), or a string with a lone surrogate.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    read::from_text(text)
}

/// Whether this text is one value that may be stored: nested at most [`MAX_WRITE_DEPTH`] deep.
///
/// # Errors
/// What is wrong with it.
pub fn check(text: &str) -> Result<(), JsonError> {
    whole_value(text, MAX_WRITE_DEPTH).map(|_| ())
}

/// Appends an element to the text of a list. On average it costs what the element costs, not what the list costs.
pub(crate) fn append(list: &mut String, item: &str) {
    let is_blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
    let without_bracket = list.trim_end_matches(is_blank).len().saturating_sub(1);
    list.truncate(without_bracket);
    list.truncate(list.trim_end_matches(is_blank).len());
    if !list.ends_with('[') {
        list.push_str(", ");
    }
    list.push_str(item);
    list.push(']');
}

/// The list of these values' texts.
pub(crate) fn list(items: &[&str]) -> String {
    format!("[{}]", items.join(", "))
}
