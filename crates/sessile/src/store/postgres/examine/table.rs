//! The table: what its columns keep, and what we may do to it.

use tokio_postgres::Row;

use super::super::fault::{Fault, Place};
use super::super::schema;
use super::text;
use crate::store::{Finding, finding};

/// The length of a UUID.
const UUID: u64 = 36;

/// Digits of a second that a timestamp has.
const DIGITS: i32 = 6;

/// A column as it was declared.
pub(super) struct Column {
    name: String,
    /// With length or precision: `character varying(36)`.
    of: String,
    modifier: i32,
    /// Whether only the same bytes are equal.
    exact: bool,
}

impl Column {
    pub(super) fn of(row: &Row) -> Result<Column, Fault> {
        let (modifier, exact) = (row.try_get(2)?, row.try_get(3)?);
        Ok(Column { name: text(row, 0)?, of: text(row, 1)?, modifier, exact })
    }

    /// Characters that it holds, where its type sets a limit.
    fn length(&self) -> Option<u64> {
        self.of.starts_with("character").then(|| schema::length(self.modifier)).flatten()
    }

    fn alter(&self, to: &str, place: &Place) -> String {
        format!("ALTER TABLE {} ALTER {} TYPE {to}", place.table, self.name)
    }
}

/// What may be done to the table, and how it is kept.
pub(super) struct Table {
    rights: [(&'static str, bool); 4],
    hides_rows: bool,
    unlogged: bool,
    never_vacuumed: bool,
}

impl Table {
    pub(super) fn of(row: &Row) -> Result<Table, tokio_postgres::Error> {
        Ok(Table {
            rights: [
                ("SELECT", row.try_get(0)?),
                ("INSERT", row.try_get(1)?),
                ("UPDATE", row.try_get(2)?),
                ("DELETE", row.try_get(3)?),
            ],
            hides_rows: row.try_get(4)?,
            unlogged: row.try_get(5)?,
            never_vacuumed: row.try_get(6)?,
        })
    }
}

/// The worst that is to be said of the columns. Their names and kinds were judged by `check`.
pub(super) fn columns(columns: &[Column], place: &Place) -> Finding {
    let worst = finding::worst(columns.iter().filter_map(|column| judged(column, place)));
    worst.unwrap_or_else(|| {
        let seen = format!("{} with its six columns", place.table);
        Finding::good("table", seen, "Sessions can be kept in it, one row each.")
    })
}

/// Whether every user can sign in.
pub(super) fn user(columns: &[Column], place: &Place) -> Option<Finding> {
    let column = columns.iter().find(|column| column.name == "user_id")?;
    finding::user_column(&column.of, column.length(), |to| column.alter(to, place))
}

fn judged(column: &Column, place: &Place) -> Option<Finding> {
    let Column { name, of, modifier, exact } = column;
    let seen = format!("{name} is {of}");
    let alter = |to: &str| column.alter(to, place);
    let length = column.length();
    Some(match (&**name, length) {
        ("id", Some(length)) if length < UUID => {
            Finding::wrong("table", seen, "An id has 36 characters: no session can be made.")
                .with_remedy(alter("VARCHAR(36)"))
        }
        ("id" | "user_id" | "data", _) if !exact => {
            let seen = format!("the collation of {name} takes different texts for the same");
            let meaning =
                "One user's sessions are ended with another's, and of two changes at once one is lost.";
            Finding::wrong("table", seen, meaning).with_remedy(alter(&format!("{of} COLLATE \"C\"")))
        }
        ("data", Some(length)) => {
            let meaning = format!("A session cannot grow beyond {length} characters: the change is refused.");
            Finding::note("table", seen, meaning).with_remedy(alter("TEXT"))
        }
        ("created_at" | "expires_at" | "updated_at", _) if of.contains("with time zone") => {
            let meaning = "Its times are right for sessile; for a program whose connection is not in UTC \
                they are moved by its time zone, and sessions end too early or too late.";
            let to = format!("timestamp USING {name} AT TIME ZONE 'UTC'");
            Finding::note("table", seen, meaning).with_remedy(alter(&to))
        }
        ("created_at" | "expires_at" | "updated_at", _) if (0..DIGITS).contains(modifier) => {
            let meaning = "Times are rounded, so that a session can live up to a second too long.";
            Finding::note("table", seen, meaning).with_remedy(alter("timestamp"))
        }
        _ => return None,
    })
}

/// Whether all that a service does is granted.
pub(super) fn rights(table: &Table, place: &Place) -> Vec<Finding> {
    let missing: Vec<&str> =
        table.rights.iter().filter(|(_, granted)| !granted).map(|(right, _)| *right).collect();
    let grant =
        |missing: &str| format!("as its owner: GRANT {missing} ON {} TO the user of the URL", place.table);
    let mut findings = vec![finding::rights(&missing, grant)];
    if table.hides_rows {
        let seen = "row-level security hides rows of the table from this role";
        let meaning =
            "A session in a hidden row is taken for one that has ended, and no revocation finds it.";
        findings.push(Finding::wrong("privileges", seen, meaning).with_remedy(format!(
            "as its owner: ALTER TABLE {} DISABLE ROW LEVEL SECURITY, or a policy of (true) for this role",
            place.table
        )));
    }
    findings
}

/// What becomes of the rows in the long run.
pub(super) fn keeping(table: &Table, place: &Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    if table.unlogged {
        let meaning =
            "A crash of the server empties it, and a standby has none of it: everybody is signed out.";
        findings.push(
            Finding::note("unlogged", "the table is UNLOGGED", meaning)
                .with_remedy(format!("ALTER TABLE {} SET LOGGED", place.table)),
        );
    }
    if table.never_vacuumed {
        let meaning = "Each change of a session leaves an old row behind: the table grows, and every request \
            gets slower.";
        findings.push(
            Finding::wrong("autovacuum", "switched off for the table", meaning)
                .with_remedy(format!("ALTER TABLE {} RESET (autovacuum_enabled)", place.table)),
        );
    }
    findings
}
