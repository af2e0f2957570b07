//! `ValueText`: the JSON text of a value that may be stored.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;

use super::data::{DataError, SessionData};
use super::json::{self, JsonError};

/// The JSON text of one value: written here or checked, so that nobody need check it again on its way to the row.
/// Nested at most [`json::MAX_WRITE_DEPTH`] deep.
#[derive(Clone)]
pub(crate) struct ValueText(Arc<str>);

impl ValueText {
    /// Writes a value; `key` is what an error names.
    pub(crate) fn of<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Self, DataError> {
        json::to_text(value).map(|text| Self(text.into())).map_err(|source| refused(key, source))
    }

    /// Takes a text, if it is one value that may be stored; `key` is what an error names.
    pub(crate) fn checked(key: &str, text: impl Into<Arc<str>>) -> Result<Self, DataError> {
        let text = text.into();
        json::check(&text).map_err(|source| refused(key, source))?;
        Ok(Self(text))
    }

    /// Writes a map or struct, and takes it apart into its keys and values.
    ///
    /// # Errors
    /// It is not written as a JSON object, or has sessile's own key.
    pub(crate) fn members<T: Serialize + ?Sized>(values: &T) -> Result<Vec<(String, Self)>, DataError> {
        let Self(text) = Self::of("", values)?;
        let data = SessionData::parse(text)?;
        if data.meta_raw().is_some() {
            return Err(DataError::Reserved);
        }
        // Each value stands less deep than the whole that was written.
        let member = |(key, text): (Cow<'_, str>, &str)| (key.into_owned(), Self(text.into()));
        Ok(data.iter().map(member).collect())
    }

    /// Whether it stands for what is not there.
    pub(crate) fn is_null(&self) -> bool {
        self.as_str() == "null"
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_text(self) -> Arc<str> {
        self.0
    }
}

fn refused(key: &str, source: JsonError) -> DataError {
    DataError::Encode { key: key.into(), source }
}
