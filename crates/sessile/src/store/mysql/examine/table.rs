//! The table: what its columns keep.

use mysql_async::Row;

use super::super::fault::Place;
use super::super::row::{number_at, text_at};
use crate::store::{Finding, finding};

/// The length of a UUID.
const UUID: u64 = 36;

/// Bytes of a TEXT, and of the data that policies allow unless they are told otherwise.
const DATA: u64 = 65_535;

/// Digits of a second that a time has.
const DIGITS: u64 = 6;

/// A column as it was declared.
pub(super) struct Column {
    name: String,
    /// `varchar(36)`.
    of: String,
    length: Option<u64>,
    characters: Option<String>,
    digits: Option<u64>,
    collation: Option<String>,
}

impl Column {
    pub(super) fn of(row: &Row) -> Option<Column> {
        Some(Column {
            name: text_at(row, 0)?.to_ascii_lowercase(),
            of: text_at(row, 1)?.to_owned(),
            length: number_at(row, 2),
            characters: text_at(row, 3).map(str::to_owned),
            digits: number_at(row, 4),
            collation: text_at(row, 5).map(str::to_owned),
        })
    }

    fn alter(&self, to: &str, place: &Place) -> String {
        format!("ALTER TABLE {} MODIFY {} {to}", place.table, self.name)
    }
}

/// The worst that is to be said of the columns. Their names and kinds were judged by `check`.
pub(super) fn columns(columns: &[Column], place: &Place) -> Finding {
    finding::worst(columns.iter().filter_map(|column| judged(column, place))).unwrap_or_else(|| {
        let seen = format!("{} with its six columns, kept by InnoDB", place.table);
        Finding::good("table", seen, "Sessions can be kept in it, one row each.")
    })
}

/// Whether every user can sign in.
pub(super) fn user(columns: &[Column], place: &Place) -> Option<Finding> {
    let column = columns.iter().find(|column| column.name == "user_id")?;
    // Without its character set, the column would take that of the table.
    let of = column.characters.as_deref().zip(column.collation.as_deref());
    let of = of.map_or(String::new(), |(set, collation)| format!(" CHARACTER SET {set} COLLATE {collation}"));
    finding::user_column(&column.of, column.length, |to| column.alter(&format!("{to}{of}"), place))
}

fn judged(column: &Column, place: &Place) -> Option<Finding> {
    let Column { name, of, length, characters, digits, .. } = column;
    let seen = format!("{name} is {of}");
    let alter = |to: &str| column.alter(to, place);
    Some(match &**name {
        "id" if length.is_some_and(|length| length < UUID) => {
            Finding::wrong("table", seen, "An id has 36 characters: no session can be made.")
                .with_remedy(alter("VARCHAR(36) NOT NULL"))
        }
        "data" if length.is_some_and(|length| length < DATA) => {
            let meaning = "A session that grows beyond it is refused.";
            Finding::note("table", seen, meaning).with_remedy(alter("MEDIUMTEXT"))
        }
        "user_id" | "data" if characters.as_deref().is_some_and(|set| !set.starts_with("utf8mb4")) => {
            let set = characters.as_deref().unwrap_or("?");
            let seen = format!("{name} is in the character set {set}");
            let meaning = "A session with a character that it lacks, such as an emoji, is refused.";
            Finding::note("table", seen, meaning)
                .with_remedy(alter(&format!("{of} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")))
        }
        "created_at" | "expires_at" | "updated_at" if of.starts_with("timestamp") => {
            let meaning = "It ends in January 2038, and for a program whose connection is not in UTC times are \
                moved by its time zone.";
            Finding::note("table", seen, meaning).with_remedy(alter(&time(name)))
        }
        "expires_at" if digits.is_some_and(|digits| digits < DIGITS) => {
            let meaning = "Times are cut: a session ends up to a second early.";
            Finding::note("table", seen, meaning).with_remedy(alter(&time(name)))
        }
        _ => return None,
    })
}

fn time(column: &str) -> String {
    format!("DATETIME(6){}", if column == "expires_at" { " NOT NULL" } else { "" })
}
