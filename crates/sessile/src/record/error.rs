//! What session data cannot be: the errors, and the key that is ours.

use super::json::JsonError;
use super::visible::Visible;

/// The key under which sessile keeps what it must itself remember about a session. Handlers neither see nor
/// change it.
pub const RESERVED_KEY: &str = "_sessile";

/// What was wrong with session data. Names keys, never values; the messages show keys as [`Visible`] text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The column's bytes are not UTF-8.
    #[error("session data is not UTF-8")]
    NotUtf8,
    /// More than [`MAX_STORED_BYTES`](crate::record::MAX_STORED_BYTES).
    #[error("session data has {bytes} bytes, more than are read")]
    TooLong {
        /// What it has.
        bytes: usize,
    },
    /// The text is not JSON.
    #[error("session data is not JSON")]
    NotJson(#[source] JsonError),
    /// The text is JSON, but not an object.
    #[error("session data is {found}, not an object")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// A stored value is not what was asked for.
    #[error("session value `{}` cannot be read", Visible(.key))]
    Decode {
        /// Its key.
        key: Box<str>,
        /// Why.
        #[source]
        source: JsonError,
    },
    /// A new value cannot be stored. Nothing was changed.
    #[error("session value `{}` cannot be stored", Visible(.key))]
    Encode {
        /// Its key.
        key: Box<str>,
        /// Why.
        #[source]
        source: JsonError,
    },
    /// The key is sessile's own.
    #[error("the session key `{RESERVED_KEY}` is reserved")]
    Reserved,
    /// The data holds a value that Python stores and strict JSON lacks: `NaN` or an infinity.
    #[error("session value `{}` holds NaN or an infinity, which strict JSON lacks", Visible(.key))]
    NotStrict {
        /// Its key.
        key: Box<str>,
    },
}
