//! Flash messages: said once, after the redirect, to whoever asks next. In lback's shape, so that
//! either language shows what the other one said.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Session, SessionError};
use crate::record::{ListItem, ValueText, json};

/// The key in the data: lback's.
const FLASHES: &str = "flash_messages";

/// One message for the visitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    /// What to say.
    pub message: String,
    /// What kind of message: `info`, `success`, `danger`, or what your pages know.
    #[serde(default = "info")]
    pub category: String,
}

fn info() -> String {
    "info".to_owned()
}

/// Flash messages.
impl Session {
    /// Says something to the visitor on the next page that asks: it stays until it is read.
    ///
    /// # Errors
    /// When the session's data would be too large.
    pub fn flash(&self, category: &str, message: impl Into<String>) -> Result<(), SessionError> {
        let flash = Flash { message: message.into(), category: category.to_owned() };
        // Anything but a list is started afresh, as lback does.
        let item = ListItem::of(FLASHES, &flash)?;
        self.append(FLASHES, item, true)
    }

    /// Takes all messages, the oldest first. Entries that are no messages are dropped. Reading when there
    /// are none changes nothing, so it costs no statement.
    ///
    /// # Errors
    /// Never in practice; the type leaves room.
    pub fn flashes(&self) -> Result<Vec<Flash>, SessionError> {
        self.take_flashes(|_| true)
    }

    /// Takes the messages of one category and leaves the others.
    ///
    /// # Errors
    /// As [`flashes`](Self::flashes).
    pub fn flashes_of(&self, category: &str) -> Result<Vec<Flash>, SessionError> {
        self.take_flashes(|flash| flash.category == category)
    }

    /// The messages, which stay.
    pub fn peek_flashes(&self) -> Vec<Flash> {
        let list = self.raw(FLASHES).unwrap_or_default();
        let entries = json::elements(&list).unwrap_or_default();
        entries.into_iter().filter_map(|text| json::from_text(text).ok()).collect()
    }

    fn take_flashes(&self, wanted: impl Fn(&Flash) -> bool) -> Result<Vec<Flash>, SessionError> {
        let Some(list) = self.raw(FLASHES) else { return Ok(Vec::new()) };
        let mut taken = Vec::new();
        let mut gone: Vec<String> = Vec::new();
        for text in json::elements(&list).unwrap_or_default() {
            match json::from_text::<Flash>(text) {
                Ok(flash) if wanted(&flash) => {
                    taken.push(flash);
                    gone.push(text.to_owned());
                }
                Ok(_) => {}
                Err(_) => gone.push(text.to_owned()),
            }
        }
        if gone.is_empty() {
            return Ok(taken);
        }
        // Exactly what was read goes: a message that another request adds meanwhile waits for its reader.
        let without = move |list: Option<&str>| {
            let mut gone = counted(&gone);
            let mut left = list.and_then(|list| json::elements(list).ok()).unwrap_or_default();
            left.retain(|text| match gone.get_mut(text) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    false
                }
                _ => true,
            });
            (!left.is_empty()).then(|| ValueText::checked(FLASHES, json::list(&left))).transpose()
        };
        self.update_text(FLASHES, Arc::new(without))?;
        Ok(taken)
    }
}

/// How often each text occurs.
fn counted(texts: &[String]) -> HashMap<&str, usize> {
    let mut counts = HashMap::with_capacity(texts.len());
    for text in texts {
        *counts.entry(text.as_str()).or_default() += 1;
    }
    counts
}
