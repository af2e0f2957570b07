//! How wide the column `user_id` is, as a look at the table found it.
//!
//! A server cuts blanks at the end of a text that is too long, without an error: the row would belong to another user.
//! So the width is known before the first user id is written, and a longer id never reaches the server.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::record::{InvalidUserId, MAX_USER_ID_CHARS, UserId};
use crate::store::Write;

/// There was no table to look at.
const UNSEEN: usize = usize::MAX;

/// The width of the column `user_id`.
#[derive(Debug)]
pub(super) struct UserColumn(AtomicUsize);

impl UserColumn {
    /// Before the first look.
    pub(super) const fn unseen() -> UserColumn {
        UserColumn(AtomicUsize::new(UNSEEN))
    }

    /// Notes the characters that the column holds; `None` where its type sets no limit.
    pub(super) fn see(&self, chars: Option<u64>) {
        let chars = chars.and_then(|chars| usize::try_from(chars).ok()).unwrap_or(MAX_USER_ID_CHARS);
        self.0.store(chars.min(MAX_USER_ID_CHARS), Ordering::Relaxed);
    }

    /// The characters that a user id may have.
    pub(super) fn limit(&self) -> usize {
        self.0.load(Ordering::Relaxed).min(MAX_USER_ID_CHARS)
    }

    /// Whether the table has to be looked at before these writes: one of them names a user, and there was no table
    /// yet.
    pub(super) fn is_due<'a>(&self, writes: impl IntoIterator<Item = &'a Write>) -> bool {
        self.0.load(Ordering::Relaxed) == UNSEEN && writes.into_iter().any(|write| user(write).is_some())
    }

    /// Refuses a write whose user id the column does not hold.
    pub(super) fn check(&self, write: &Write) -> Result<(), InvalidUserId> {
        user(write).map_or(Ok(()), |user| user.check_fits(self.limit()))
    }
}

/// The user that a write puts into the column.
fn user(write: &Write) -> Option<&UserId> {
    match write {
        Write::Insert(record) => record.user_id(),
        Write::Update(update) => update.user_id.as_ref().and_then(Option::as_ref),
        Write::Rotate(rotation) => rotation.record.user_id(),
        Write::Touch(_) | Write::Delete(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_columns_or_ours() {
        let column = UserColumn::unseen();
        assert_eq!(column.limit(), 255);
        for (chars, limit) in [(Some(36), 36), (Some(255), 255), (Some(1 << 40), 255), (None, 255)] {
            column.see(chars);
            assert_eq!(column.limit(), limit, "{chars:?}");
        }
    }
}
