//! Realms: parts of a service whose tokens are nothing to each other.

use std::fmt;
use std::sync::Arc;

/// The longest name of a realm, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A part of a service, such as its administration, whose tokens name no session anywhere else.
///
/// The name goes into the hash that makes a session's id of its token, so realms can share one table and one
/// [`Sessions`](crate::Sessions), and need no column. Another name makes other sessions: who renames a realm signs
/// its users out.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Realm(Arc<str>);

/// The text cannot be the name of a realm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no name of a realm: 1 to 64 letters, digits, hyphens and underscores are, such as \"admin\""
)]
#[non_exhaustive]
pub struct InvalidRealm {
    /// The text.
    pub name: String,
}

impl Realm {
    /// The realm of this name: 1 to 64 ASCII letters, digits, `-` and `_`, which can also be a part of a cookie's
    /// name. Case counts.
    ///
    /// # Errors
    /// For any other name.
    pub fn new(name: &str) -> Result<Realm, InvalidRealm> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_allowed) {
            Ok(Realm(name.into()))
        } else {
            Err(InvalidRealm { name: name.chars().take(MAX_NAME_BYTES).collect() })
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Realm").field(&self.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [S28]
    #[test]
    fn a_name_can_be_a_part_of_a_cookie_name() {
        for right in ["a", "admin", "Admin-2_x", &"a".repeat(64)] {
            assert_eq!(Realm::new(right).unwrap().name(), right);
        }
        for wrong in ["", "a b", "a;b", "a=b", "a.b", "é", "a\n", "\u{202e}", &"a".repeat(65)] {
            let text = Realm::new(wrong).unwrap_err().to_string();
            assert!(text.contains("admin") && !text.chars().any(char::is_control), "{text}");
        }
    }
}
