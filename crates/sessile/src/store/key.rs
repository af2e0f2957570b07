//! Where a page of a SQL table ends: any text can be a primary key, and has to fit in a cursor.

use super::Cursor;
use super::hex::{from_hex, hex};
use crate::record::SessionId;

const TEXT: &str = "text:";

/// A place after this key: session ids as they are, other keys in hexadecimal.
pub(super) fn cursor(key: &[u8]) -> Cursor {
    match SessionId::parse_bytes(key) {
        Ok(id) => Cursor::new(id.to_string()),
        Err(_) => Cursor::new(format!("{TEXT}{}", hex(key))),
    }
}

/// The key to go on after; `None` for words that [`cursor`] does not give.
pub(super) fn place(cursor: &Cursor) -> Option<String> {
    match cursor.as_str().strip_prefix(TEXT) {
        Some(digits) => String::from_utf8(from_hex(digits)?).ok(),
        None => cursor.as_str().parse().ok().map(|id: SessionId| id.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_cursors_are_places() {
        let id = "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11";
        for key in [id, "aé", "", "6F1C"] {
            assert_eq!(place(&cursor(key.as_bytes())).as_deref(), Some(key));
        }
        assert_eq!(place(&Cursor::new("text:61c3a9")).as_deref(), Some("aé"));
        for wrong in ["", "text:6", "text:ff", "6F1C", "blob:01"] {
            assert_eq!(place(&Cursor::new(wrong)), None, "{wrong}");
        }
    }
}
