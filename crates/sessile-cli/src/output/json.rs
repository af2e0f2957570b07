//! Sessions as JSON for programs, one object on one line.
//!
//! The data goes through as the text that is stored: big integers, the order of keys and the spelling of
//! numbers survive. It must never be decoded and written anew. Characters that a terminal would obey are escaped.

use serde::Serialize;
use serde_json::value::RawValue;
use sessile::record::{SessionRecord, Timestamp, Visible};
use sessile::store::MalformedRow;
use sessile::{SessionData, Sessions};

use crate::error::chain;

/// One session.
#[derive(Debug, Serialize)]
struct Session<'a> {
    id: String,
    user_id: Option<&'a str>,
    /// As stored; null for NULL and for what is not text.
    data_text: Option<&'a str>,
    /// The same as an object; null where it is none.
    data: Option<Box<RawValue>>,
    /// Why `data` is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_error: Option<String>,
    created_at: Option<String>,
    expires_at: String,
    updated_at: Option<String>,
    live: bool,
    remembered: bool,
    device: Option<String>,
    authenticated_at: Option<String>,
    repr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// A row that cannot be read.
#[derive(Debug, Serialize)]
struct Malformed<'a> {
    id: &'a str,
    error: &'a str,
}

/// The session's object; `token` only when it was asked for.
pub(crate) fn session(sessions: &Sessions, record: &SessionRecord, token: Option<&str>) -> String {
    let (data, data_error) = match record.try_data().map_err(|error| chain(&error)).and_then(embedded) {
        Ok(data) => (Some(data), None),
        Err(problem) => (None, Some(problem)),
    };
    let described = sessions.describe(record);
    text(&Session {
        id: record.id().to_string(),
        user_id: record.user_id().map(|user| user.as_str()),
        data_text: record.stored_data().as_text(),
        data,
        data_error,
        created_at: record.created_at().map(Timestamp::to_rfc3339),
        expires_at: record.expires_at().to_rfc3339(),
        updated_at: record.updated_at().map(Timestamp::to_rfc3339),
        live: sessions.is_live(record),
        remembered: described.remembered,
        device: described.device,
        authenticated_at: described.authenticated_at.map(Timestamp::to_rfc3339),
        repr: record.to_string(),
        token,
    })
}

/// The object for a row that cannot be read.
pub(crate) fn malformed(row: &MalformedRow) -> String {
    text(&Malformed { id: &row.id, error: &row.problem })
}

/// The data as a part of a larger JSON text on one line.
fn embedded(data: SessionData) -> Result<Box<RawValue>, String> {
    data.strict_json().map_err(|error| chain(&error))?;
    // Outside strings line breaks are mere space, and inside them JSON does not allow any.
    let text = data.to_text().replace(['\n', '\r'], " ");
    RawValue::from_string(text).map_err(|error| error.to_string())
}

/// The JSON text of a value that always has one: strings, numbers and maps of them.
pub(crate) fn text(value: &impl Serialize) -> String {
    #[expect(clippy::expect_used, reason = "only types with string keys and no failing Serialize come here")]
    escaped(
        serde_json::to_string(value).expect("a value made of strings, numbers and raw JSON has a JSON text"),
    )
}

/// The same JSON without the characters that a terminal would obey and that JSON allows as they are, the data's own
/// included: they stand in strings alone, where `\u009b` means the same.
fn escaped(text: String) -> String {
    if !text.chars().any(Visible::hides) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if Visible::hides(character) {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [S24] What a program reads is the same; a terminal sees no command.
    #[test]
    fn nothing_that_a_terminal_would_obey() {
        let wild = "a\u{9b}2J\u{202e}\u{7f}\u{2028}\x1b";
        let data = RawValue::from_string("{\"k\":\"\u{9b}\"}".to_owned()).unwrap();
        let shown = text(&(wild, data));
        assert_eq!(shown, r#"["a\u009b2J\u202e\u007f\u2028\u001b",{"k":"\u009b"}]"#);
        assert_eq!(serde_json::from_str::<(String, serde_json::Value)>(&shown).unwrap().0, wild);
    }
}
