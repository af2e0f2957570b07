//! `ValueText`: the JSON text of a value that may be stored.

use std::sync::Arc;

use serde::Serialize;

use super::error::DataError;
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

    /// A value that stands in a text which was written here, so less deep than the whole.
    pub(super) fn part_of_written(text: &str) -> Self {
        Self(text.into())
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

/// An element to append to a list: the text of a list that holds it alone.
#[derive(Clone)]
pub(crate) struct ListItem(ValueText);

impl ListItem {
    /// Writes a value; `key` is what an error names.
    pub(crate) fn of<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Self, DataError> {
        let text = json::to_text(value).map_err(|source| refused(key, source))?;
        // The list is one level deeper than its element.
        ValueText::checked(key, format!("[{text}]")).map(Self)
    }

    /// The text of the element.
    pub(crate) fn as_str(&self) -> &str {
        let list = self.0.as_str();
        &list[1..list.len() - 1]
    }

    /// The list that holds it alone.
    pub(crate) fn alone(&self) -> ValueText {
        self.0.clone()
    }
}

fn refused(key: &str, source: JsonError) -> DataError {
    DataError::Encode { key: key.into(), source }
}
