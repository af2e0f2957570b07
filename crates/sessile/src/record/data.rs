//! placeholder until the data text lands
use std::sync::Arc;
/// The reserved key.
pub const RESERVED_KEY: &str = "_sessile";
/// Data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionData(());
/// Error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("data")]
pub struct DataError;
impl DataError {
    pub(crate) fn not_utf8() -> DataError {
        DataError
    }
}
impl SessionData {
    /// New.
    pub fn new() -> SessionData {
        SessionData(())
    }
    /// Parse.
    pub fn parse(_: Arc<str>) -> Result<SessionData, DataError> {
        Ok(SessionData(()))
    }
    /// Text.
    pub fn to_text(&self) -> Arc<str> {
        "{}".into()
    }
}
