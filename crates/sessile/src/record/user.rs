//! Whose session it is.

use std::fmt;
use std::sync::Arc;

/// Characters of the longest user id. A column of a table that sessile makes holds them, an OIDC subject and an e-mail
/// address fit.
pub const MAX_USER_ID_CHARS: usize = 255;

/// The user a session belongs to: 1 to 255 characters, however many bytes they have.
///
/// Numbers, UUIDs, names, e-mail addresses and OIDC subjects all fit: `UserId::new(42)`, `UserId::new(uuid)`,
/// `UserId::new("ada")`.
///
/// A table that [`init`](crate::store::SessionStore::init) makes holds all of them. A table that lback made has
/// `user_id VARCHAR(36)`: PostgreSQL and MySQL refuse a longer id there, so a login with one returns
/// [`InvalidUserId::ColumnTooNarrow`] and writes nothing. SQLite stores longer ids whatever the declared length is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

/// The text cannot be stored in `user_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUserId {
    /// Nothing at all; a session without a user has no user id.
    #[error("a user id must not be empty")]
    Empty,
    /// Longer than any store holds.
    #[error("a user id has at most {MAX_USER_ID_CHARS} characters, this one has {0}")]
    TooLong(usize),
    /// Longer than the column `user_id` of this store's table. Nothing is written.
    #[error(
        "the user id has {chars} characters, the column `user_id` holds {limit}: widen it with `ALTER TABLE sessions \
         ALTER COLUMN user_id TYPE VARCHAR(255)` (PostgreSQL) or `ALTER TABLE sessions MODIFY user_id VARCHAR(255)` \
         (MySQL, MariaDB), and restart the service"
    )]
    ColumnTooNarrow {
        /// What it has.
        chars: usize,
        /// What the column holds.
        limit: usize,
    },
    /// A control character: PostgreSQL refuses NUL, and none of them belongs in a name.
    #[error("a user id must not contain control characters")]
    ControlCharacter,
}

impl UserId {
    /// The user id written as `user` displays itself.
    ///
    /// # Errors
    /// If that text is empty, has more than 255 characters or contains a control character.
    pub fn new(user: impl fmt::Display) -> Result<UserId, InvalidUserId> {
        let text = user.to_string();
        let chars = text.chars().count();
        if chars == 0 {
            return Err(InvalidUserId::Empty);
        }
        if chars > MAX_USER_ID_CHARS {
            return Err(InvalidUserId::TooLong(chars));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidUserId::ControlCharacter);
        }
        Ok(UserId(text.into()))
    }

    /// Checks the id against the width of a column: see
    /// [`SessionStore::user_id_limit`](crate::store::SessionStore::user_id_limit).
    ///
    /// # Errors
    /// [`InvalidUserId::ColumnTooNarrow`] if it has more than `limit` characters.
    pub fn check_fits(&self, limit: usize) -> Result<(), InvalidUserId> {
        // Most ids are short, and a character has a byte at least.
        let chars = if self.0.len() <= limit { 0 } else { self.0.chars().count() };
        if chars > limit { Err(InvalidUserId::ColumnTooNarrow { chars, limit }) } else { Ok(()) }
    }

    /// What a row holds, which somebody else may have written: taken as it is.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql", feature = "redis"))]
    pub(crate) fn stored(text: &str) -> UserId {
        UserId(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl PartialEq<str> for UserId {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for UserId {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_the_column_holds() {
        assert_eq!(UserId::new(42).unwrap(), "42");
        assert!(UserId::new("é".repeat(255)).is_ok());
        assert_eq!(UserId::new("a".repeat(256)), Err(InvalidUserId::TooLong(256)));
        assert_eq!(UserId::new(""), Err(InvalidUserId::Empty));
        assert_eq!(UserId::new("a\0"), Err(InvalidUserId::ControlCharacter));
        assert_eq!(UserId::new("a\nb"), Err(InvalidUserId::ControlCharacter));
    }

    #[test]
    fn a_column_counts_characters() {
        let narrow = |chars| Err(InvalidUserId::ColumnTooNarrow { chars, limit: 36 });
        for character in ["a", "é", "👩"] {
            let user = |chars| UserId::new(character.repeat(chars)).unwrap();
            assert_eq!(user(36).check_fits(36), Ok(()));
            assert_eq!(user(37).check_fits(36), narrow(37));
        }
    }
}
