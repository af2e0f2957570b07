//! The names of the keys, and which of them are in one slot of a Cluster.
//!
//! Rows are in 256 buckets by the first byte of their id. The hash tag is the bucket, so that a row and
//! both indexes of its bucket are always on one server, and change in one step:
//!
//! * `sessile:{6f}:6f1c4b1e-…` the row, a hash;
//! * `sessile:{6f}:ids` the ids of the bucket in their order;
//! * `sessile:{6f}:expiries` the same by expiry, in microseconds;
//! * `sessile:user:{ada}` the ids of a user, each with the time (in milliseconds) until which its row's key
//!   lives at least.

use crate::record::{SessionId, UserId};

/// One for each first byte of an id.
pub(super) const BUCKETS: usize = 256;

/// The keys of a store.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: String) -> Keys {
        Keys { prefix }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How all keys of a bucket begin.
    pub(super) fn bucket(&self, bucket: usize) -> String {
        format!("{}{{{bucket:02x}}}:", self.prefix)
    }

    pub(super) fn row(&self, id: SessionId) -> String {
        self.bucket(bucket_of(id)) + id.to_text().as_str()
    }

    /// How the keys of all buckets begin, and no others.
    pub(super) fn rows(&self) -> String {
        format!("{}{{", self.prefix)
    }

    /// Whose row stands under this key; none under those of the indexes.
    pub(super) fn row_at(&self, key: &[u8]) -> Option<SessionId> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?;
        let (_, name) = rest.split_at_checked("{6f}:".len())?;
        SessionId::parse_bytes(name).ok()
    }

    pub(super) fn ids(&self, bucket: usize) -> String {
        self.bucket(bucket) + "ids"
    }

    pub(super) fn expiries(&self, bucket: usize) -> String {
        self.bucket(bucket) + "expiries"
    }

    /// The keys of the scripts on one row.
    pub(super) fn of_row(&self, id: SessionId) -> Vec<String> {
        let bucket = bucket_of(id);
        vec![self.row(id), self.ids(bucket), self.expiries(bucket)]
    }

    /// How the keys of all users begin; `}` ends them.
    pub(super) fn users(&self) -> String {
        format!("{}user:{{", self.prefix)
    }

    pub(super) fn user(&self, user: &UserId) -> String {
        format!("{}{user}}}", self.users())
    }
}

pub(super) fn bucket_of(id: SessionId) -> usize {
    usize::from(id.as_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_and_its_indexes_share_their_hash_tag() {
        let keys = Keys::new("web:".to_owned());
        let id: SessionId = "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11".parse().unwrap();
        assert_eq!(
            keys.of_row(id),
            ["web:{6f}:6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11", "web:{6f}:ids", "web:{6f}:expiries"]
        );
        assert_eq!(keys.user(&UserId::new("ada").unwrap()), "web:user:{ada}");
        assert_eq!(keys.row_at(keys.row(id).as_bytes()), Some(id));
        assert!(keys.row(id).starts_with(&keys.rows()) && keys.ids(7).starts_with(&keys.rows()));
        for other in
            [keys.ids(7), keys.expiries(0xe1), keys.user(&UserId::new("ada").unwrap()), "web:".into()]
        {
            assert_eq!(keys.row_at(other.as_bytes()), None, "{other}");
        }
    }
}
