//! What a row is, in short: to tell whether a row that was announced is the one that is known already.

use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::model::SessionRecord;
use super::stored::StoredData;
use super::time::Timestamp;

/// 128 bits of SHA-256 over a row's user, times and data, all but `updated_at`: what is equal in them is the same
/// session in the same state, whoever wrote it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u128);

impl SessionRecord {
    /// The row's fingerprint; `None` where the data is no text.
    ///
    /// The hash is over lines that the trigger in PostgreSQL writes the same way: `=` and the value or `-` for
    /// NULL, of the user, `created_at` and `expires_at` (`YYYY-MM-DD HH:MM:SS.ffffff`) and, last, the data.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let StoredData::Text(data) = self.stored_data() else { return None };
        let mut hash = Sha256::new();
        let mut line = |value: Option<&str>| match value {
            Some(value) => {
                hash.update("=");
                hash.update(value);
                hash.update("\n");
            }
            None => hash.update("-\n"),
        };
        let text = |time: Option<Timestamp>| time.map(Timestamp::to_sql_text);
        line(self.user_id().map(super::UserId::as_str));
        line(text(self.created_at()).as_ref().map(|text| text.as_str()));
        line(text(Some(self.expires_at())).as_ref().map(|text| text.as_str()));
        hash.update(&**data);
        let hash = hash.finalize();
        let (first, _) = hash.split_first_chunk()?;
        Some(Fingerprint(u128::from_be_bytes(*first)))
    }
}

/// 32 hexadecimal digits.
impl FromStr for Fingerprint {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Fingerprint, Self::Err> {
        u128::from_str_radix(text, 16).map(Fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Columns, SessionId, UserId};

    #[test]
    fn whatever_differs_but_the_last_change_differs() {
        let time = |text| Timestamp::parse(text).unwrap();
        let columns = Columns {
            id: SessionId::from_bytes([7; 16]),
            user_id: None,
            data: StoredData::Text("{}".into()),
            created_at: None,
            expires_at: time("2030-01-02 03:04:05"),
            updated_at: None,
        };
        let of = |change: &dyn Fn(&mut Columns)| {
            let mut columns = columns.clone();
            change(&mut columns);
            SessionRecord::from_columns(columns).fingerprint()
        };
        let same = of(&|_| {});
        assert!(same.is_some());
        assert_eq!(of(&|row| row.updated_at = Some(time("2030-01-01 00:00:00"))), same);
        let user = |name: &str| Some(UserId::new(name).unwrap());
        let mut all = vec![
            same,
            of(&|row| row.user_id = user("-")),
            of(&|row| row.user_id = user("ada")),
            of(&|row| row.created_at = Some(time("2030-01-02 03:04:05"))),
            of(&|row| row.expires_at = time("2030-01-02 03:04:05.000001")),
            of(&|row| row.data = StoredData::Text("{} ".into())),
        ];
        assert!((0..all.len()).all(|at| all.iter().filter(|other| **other == all[at]).count() == 1));
        all.clear();
        assert_eq!(of(&|row| row.data = StoredData::Null), None);
    }
}
