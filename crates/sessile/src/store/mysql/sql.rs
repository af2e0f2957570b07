//! The SQL, all of it, for one table. No value ever stands in it: values are bound.
//!
//! A table that somebody else made may compare its texts without regard to case, accents and trailing
//! blanks, and keep them in another character set. So each condition on a text stands twice: plainly,
//! for the index, and as bytes of UTF-8 (`@exact`), for the truth. Our own table pads too: every
//! `_bin` collation that both servers know does.

use crate::store::{Expiry, ListQuery, Liveness, Update};

const COLUMNS: &str = "id, user_id, data, created_at, expires_at, updated_at";

const LOAD: &str = "SELECT @columns FROM @table WHERE id IN (@ids)";

/// Before a statement that skips locked rows. MariaDB, which alone reads it, fails the COMMIT after one that has skipped a
/// row (error 1180), if the connection waits for no lock. Nothing is waited for here either way.
const SKIPPING: &str = "/*M!100100 SET STATEMENT innodb_lock_wait_timeout = 1 FOR */ ";

/// Locks the rows that nobody else has locked, and reads them.
const LOCK: &str = "@skippingSELECT @columns FROM @table WHERE id IN (@ids) FOR UPDATE SKIP LOCKED";

/// Waits for nobody: which of these rows there are.
const SEEN: &str = "SELECT id FROM @table WHERE id IN (@ids)";

/// Of rows that are locked already.
const REMOVE: &str = "DELETE FROM @table WHERE id IN (@ids)";

const INSERT: &str = "INSERT INTO @table (@columns) VALUES @rows";

/// Of rows that are locked and judged already: each gets its own values, `@pick` by its id.
const CHANGE: &str = "UPDATE @table SET updated_at = @pick@columns WHERE id IN (@ids)";

/// The id comes last: assignments are made from left to right, and the others look at it.
const RENAME: &str = "UPDATE @table SET user_id = @pick, data = @pick, created_at = @pick, \
    expires_at = @pick, updated_at = @pick, id = @pick WHERE id IN (@ids)";

/// The value that belongs to the row's id. Those that only fill the statement up are never found.
const PICK: &str = "ELT(FIELD(id, @ids), @ids)";

/// Data of NULL is kept.
const UPDATE: &str = "UPDATE @table SET data = COALESCE(?, data), updated_at = ?@expiry@user \
    WHERE id = ? AND @exact(id) = ? AND @exact(data) <=> ? AND expires_at > ?";

const TOUCH: &str = "UPDATE @table SET expires_at = ?, updated_at = ? \
    WHERE id = ? AND @exact(id) = ? AND expires_at < ? AND expires_at > ?";

const ROTATE: &str = "UPDATE @table \
    SET id = ?, user_id = ?, data = ?, created_at = ?, expires_at = ?, updated_at = ? \
    WHERE id = ? AND @exact(id) = ? AND @exact(data) <=> ? AND expires_at > ?";

const DELETE: &str = "DELETE FROM @table WHERE id = ? AND @exact(id) = ?";

const LOCK_USER: &str = "SELECT id FROM @table WHERE user_id = ? AND @exact(user_id) = ? \
    AND NOT (@exact(id) <=> ?) FOR UPDATE@skip";

/// Sees what is committed at one instant, and our own deletions.
const SEE_USER: &str = "SELECT id FROM @table WHERE user_id = ? AND @exact(user_id) = ? \
    AND NOT (@exact(id) <=> ?)";

const LOCK_EXPIRED: &str = "SELECT id, user_id FROM @table WHERE expires_at <= ? \
    ORDER BY expires_at LIMIT ? FOR UPDATE@skip";

const STATS: &str = "SELECT COUNT(CASE WHEN expires_at > ? THEN 1 END), \
    COUNT(CASE WHEN expires_at <= ? THEN 1 END), \
    COUNT(CASE WHEN expires_at > ? AND user_id IS NULL THEN 1 END), \
    COUNT(DISTINCT CASE WHEN expires_at > ? THEN @exact(user_id) END), \
    CAST(COALESCE(SUM(CASE WHEN expires_at > ? THEN OCTET_LENGTH(data) END), 0) AS UNSIGNED), \
    MIN(CASE WHEN expires_at <= ? THEN expires_at END) FROM @table";

/// Each column with its type and precision; of the table its engine and whether `id` alone is unique; last, how many
/// bytes and how many characters the column holds.
/// No row: no table, or no right to see it.
pub(super) const CHECK: &str = "SELECT c.COLUMN_NAME, c.DATA_TYPE, c.DATETIME_PRECISION, t.ENGINE, \
    (SELECT COUNT(*) FROM information_schema.STATISTICS s WHERE s.TABLE_SCHEMA = c.TABLE_SCHEMA \
        AND s.TABLE_NAME = c.TABLE_NAME AND s.NON_UNIQUE = 0 AND s.SEQ_IN_INDEX = 1 \
        AND s.COLUMN_NAME = 'id' AND NOT EXISTS (SELECT 1 FROM information_schema.STATISTICS m \
            WHERE m.TABLE_SCHEMA = s.TABLE_SCHEMA AND m.TABLE_NAME = s.TABLE_NAME \
            AND m.INDEX_NAME = s.INDEX_NAME AND m.SEQ_IN_INDEX = 2)), c.CHARACTER_OCTET_LENGTH, \
    c.CHARACTER_MAXIMUM_LENGTH \
    FROM information_schema.COLUMNS c JOIN information_schema.TABLES t \
        ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME \
    WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = ?";

/// The columns with which an index begins.
pub(super) const INDEXED: &str = "SELECT DISTINCT COLUMN_NAME FROM information_schema.STATISTICS \
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND SEQ_IN_INDEX = 1";

pub(super) const CLOCK: &str = "SELECT UTC_TIMESTAMP(6)";

/// What decides on durability, and what other programs find.
pub(super) const SEEN_SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', \
    'innodb_flush_log_at_trx_commit', 'log_bin', 'sync_binlog', 'innodb_doublewrite', 'read_only', \
    'sql_mode', 'time_zone', 'system_time_zone', 'max_connections')";

/// Replicas are counted by MariaDB alone; the others are names of one thing.
pub(super) const SEEN_STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', \
    'Slaves_connected', 'Rpl_semi_sync_master_status', 'Rpl_semi_sync_source_status')";

/// Each column with its whole type, its length, its character set, the digits of a second, and its collation.
pub(super) const SEEN_COLUMNS: &str = "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH, \
    CHARACTER_SET_NAME, DATETIME_PRECISION, COLLATION_NAME FROM information_schema.COLUMNS \
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";

/// A row's whole life, to be undone. The key is no session's and no other connection's.
const TRY_OUT: [&str; 3] = [
    "INSERT INTO @table (@columns) VALUES (CONCAT('sessile-doctor-', CONNECTION_ID()), NULL, '{}', \
        UTC_TIMESTAMP(), UTC_TIMESTAMP(), UTC_TIMESTAMP())",
    "UPDATE @table SET data = '{\"sessile\": \"doctor\"}', user_id = 'sessile' \
        WHERE id = CONCAT('sessile-doctor-', CONNECTION_ID())",
    "DELETE FROM @table WHERE id = CONCAT('sessile-doctor-', CONNECTION_ID())",
];

pub(super) const BEGIN: &str = "START TRANSACTION";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

/// Only in rows of this format may an index have as many bytes as the user has.
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS @table (
  id VARCHAR(36) NOT NULL,
  user_id VARCHAR(255),
  data MEDIUMTEXT,
  created_at DATETIME(6),
  expires_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6),
  PRIMARY KEY (id),
  KEY @user_index (user_id),
  KEY @expiry_index (expires_at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

const CREATE_INDEX: &str = "CREATE INDEX @index ON @table (@column)";

/// How many ids a statement takes: few widths, so that all of them stay prepared.
const WIDTHS: [usize; 5] = [1, 8, 32, 128, 512];

/// Ids in one statement, at most.
pub(super) const WIDEST: usize = WIDTHS[WIDTHS.len() - 1];

/// How many rows an insert takes: these cannot be filled up.
const BIRTHS: [usize; 3] = [1, 4, 16];

/// Statements that a connection may keep prepared: above the number of texts in this file.
pub(super) const PREPARED: usize = 96;

/// The longest name, in characters, that the server takes.
pub(super) const MAX_NAME: usize = 64;

/// A statement that each connection prepares once; those on many rows by their width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Load(usize),
    Lock(usize),
    Seen(usize),
    Remove(usize),
    Change(Change, usize),
    Insert(usize),
    Update(usize),
    Touch,
    Rotate,
    Delete,
}

/// Which columns of locked rows are changed together, beside `updated_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    Data,
    DataAndExpiry,
    Expiry,
    /// All of them.
    Rename,
}

impl Change {
    const ALL: [Change; 4] = [Change::Data, Change::DataAndExpiry, Change::Expiry, Change::Rename];

    /// Columns that get a value of their own.
    pub(super) fn columns(self) -> usize {
        match self {
            Change::Data | Change::Expiry => 2,
            Change::DataAndExpiry => 3,
            Change::Rename => 6,
        }
    }

    fn template(self) -> String {
        let (template, columns) = match self {
            Change::Data => (CHANGE, ", data = @pick"),
            Change::DataAndExpiry => (CHANGE, ", data = @pick, expires_at = @pick"),
            Change::Expiry => (CHANGE, ", expires_at = @pick"),
            Change::Rename => (RENAME, ""),
        };
        template.replace("@columns", columns).replace("@pick", PICK)
    }
}

/// Ways to change the expiry, with a user and without.
const UPDATES: usize = 6;

impl Kept {
    pub(super) const COUNT: usize = 8 * WIDTHS.len() + BIRTHS.len() + UPDATES + 3;

    /// Which update does this one.
    pub(super) fn update(update: &Update) -> Kept {
        let expiry = match update.expires_at {
            Expiry::Keep => 0,
            Expiry::Extend(_) => 1,
            Expiry::Set(_) => 2,
        };
        Kept::Update(2 * expiry + usize::from(update.user_id.is_some()))
    }

    pub(super) fn at(self) -> usize {
        const WIDE: usize = WIDTHS.len();
        const NARROW: usize = 8 * WIDE + BIRTHS.len();
        match self {
            Kept::Load(width) => width,
            Kept::Lock(width) => WIDE + width,
            Kept::Seen(width) => 2 * WIDE + width,
            Kept::Remove(width) => 3 * WIDE + width,
            Kept::Change(change, width) => (4 + change as usize) * WIDE + width,
            Kept::Insert(width) => 8 * WIDE + width,
            Kept::Update(which) => NARROW + which,
            Kept::Touch => NARROW + UPDATES,
            Kept::Rotate => NARROW + UPDATES + 1,
            Kept::Delete => NARROW + UPDATES + 2,
        }
    }
}

/// The narrowest width that takes so many ids, and how many those are.
pub(super) fn width(ids: usize) -> (usize, usize) {
    let at = WIDTHS.iter().position(|&width| width >= ids).unwrap_or(WIDTHS.len() - 1);
    (at, WIDTHS[at])
}

/// The widest insert of at most so many rows, and how many those are.
pub(super) fn births(rows: usize) -> (usize, usize) {
    let at = BIRTHS.iter().rposition(|&width| width <= rows).unwrap_or(0);
    (at, BIRTHS[at])
}

/// The statements for one table.
pub(super) struct Sql {
    /// As the server knows it.
    pub(super) name: String,
    table: String,
    kept: Vec<String>,
    lock_user: [String; 2],
    pub(super) see_user: String,
    lock_expired: [String; 2],
    pub(super) stats: String,
    pub(super) try_out: [String; 3],
    pub(super) create_table: String,
    /// Each with the column it is on.
    pub(super) create_indexes: [(&'static str, String); 2],
}

impl Sql {
    /// For the table with this name, whatever characters it has, in the database of the connection.
    pub(super) fn new(name: &str) -> Sql {
        let table = quoted(name);
        // The table's name comes last: it may itself contain what looks like a place to fill.
        let on = |template: &str| exact(&template.replace("@columns", COLUMNS)).replace("@table", &table);
        let skipping = |template: &str| {
            [template.replace("@skip", ""), SKIPPING.to_owned() + &template.replace("@skip", " SKIP LOCKED")]
                .map(|statement| on(&statement))
        };
        let index = |column: &str| quoted(&index_name(name, column));
        let create_index = |column: &'static str| {
            let (head, tail) = CREATE_INDEX.split_once("@index").unwrap_or_default();
            (column, format!("{head}{}{}", index(column), on(&tail.replace("@column", column))))
        };
        let (head, tail) = CREATE_TABLE.split_once("@user_index").unwrap_or_default();
        let (middle, tail) = tail.split_once("@expiry_index").unwrap_or_default();
        let create_table = format!("{}{}{middle}{}{tail}", on(head), index("user_id"), index("expires_at"));
        Sql {
            kept: kept().iter().map(|template| on(template)).collect(),
            lock_user: skipping(LOCK_USER),
            see_user: on(SEE_USER),
            lock_expired: skipping(LOCK_EXPIRED),
            stats: on(STATS),
            try_out: TRY_OUT.map(&on),
            create_table,
            create_indexes: [create_index("user_id"), create_index("expires_at")],
            name: name.to_owned(),
            table,
        }
    }

    pub(super) fn kept(&self, statement: Kept) -> &str {
        &self.kept[statement.at()]
    }

    /// The table as SQL reads it.
    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// The rows of a user: past those that other transactions have locked, or waiting for them.
    pub(super) fn lock_user(&self, skips: bool) -> &str {
        &self.lock_user[usize::from(skips)]
    }

    /// Expired rows, oldest first: past those that others have locked, where the server can.
    pub(super) fn lock_expired(&self, skips: bool) -> &str {
        &self.lock_expired[usize::from(skips)]
    }

    /// Takes the user twice, if there is one, now, unless all rows are wanted, the place, if it goes on,
    /// and how many.
    ///
    /// In the order of the column's own collation, which the primary key serves; every collation
    /// puts UUIDs in the order of their bytes.
    pub(super) fn list(&self, query: &ListQuery, goes_on: bool) -> String {
        let user = if query.user.is_some() { "user_id = ? AND @exact(user_id) = ?" } else { "TRUE" };
        let liveness = match query.liveness {
            Liveness::Any => "TRUE",
            Liveness::Live => "expires_at > ?",
            Liveness::Expired => "expires_at <= ?",
        };
        let place = if goes_on { "id > ?" } else { "TRUE" };
        let conditions = exact(&format!("{user} AND {liveness} AND {place}"));
        format!("SELECT {COLUMNS} FROM {} WHERE {conditions} ORDER BY id LIMIT ?", self.table)
    }
}

/// The statements in the order of [`Kept::at`].
fn kept() -> Vec<String> {
    let places = |width: usize, place: &str| vec![place; width].join(", ");
    let changes = Change::ALL.map(Change::template);
    let lock = LOCK.replace("@skipping", SKIPPING);
    let wide = [LOAD, &lock, SEEN, REMOVE].map(str::to_owned).into_iter().chain(changes);
    let wide = wide.flat_map(|template| WIDTHS.map(|width| template.replace("@ids", &places(width, "?"))));
    let births = BIRTHS.map(|width| INSERT.replace("@rows", &places(width, "(?, ?, ?, ?, ?, ?)")));
    let updates =
        ["", ", expires_at = GREATEST(expires_at, ?)", ", expires_at = ?"].into_iter().flat_map(|expiry| {
            ["", ", user_id = ?"].map(|user| UPDATE.replace("@expiry", expiry).replace("@user", user))
        });
    let single = [TOUCH, ROTATE, DELETE].map(str::to_owned);
    wide.chain(births).chain(updates).chain(single).collect()
}

/// A text column as the bytes that we read and write.
fn exact(template: &str) -> String {
    ["id", "user_id", "data"].into_iter().fold(template.to_owned(), |text, column| {
        let bytes = format!("CAST(CONVERT({column} USING utf8mb4) AS BINARY)");
        text.replace(&format!("@exact({column})"), &bytes)
    })
}

/// `ix_<table>_<column>` as SQLAlchemy names it, shortened where the server would refuse it.
fn index_name(table: &str, column: &str) -> String {
    let room = MAX_NAME - "ix__".len() - column.len();
    let kept: String = table.chars().take(room).collect();
    format!("ix_{kept}_{column}")
}

/// The name as SQL reads it: in backticks, those inside doubled.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_index_names_fit() {
        let sql = Sql::new("a`b @user_index; @table");
        assert_eq!(sql.table(), "`a``b @user_index; @table`");
        assert!(sql.create_table.contains("KEY `ix_a``b @user_index; @table_user_id` (user_id)"));
        assert_eq!(
            Sql::new("sessions").create_indexes[1].1,
            "CREATE INDEX `ix_sessions_expires_at` ON `sessions` (expires_at)"
        );
        let long = "é".repeat(64);
        let [user, expiry] = ["user_id", "expires_at"].map(|column| index_name(&long, column));
        assert!(user.chars().count() <= MAX_NAME && expiry.chars().count() <= MAX_NAME && user != expiry);
    }

    #[test]
    fn each_statement_stands_in_its_place() {
        let sql = Sql::new("t");
        assert_eq!(sql.kept.len(), Kept::COUNT);
        for (kept, words) in [
            (
                Kept::Load(0),
                "SELECT id, user_id, data, created_at, expires_at, updated_at FROM `t` WHERE id IN (?)",
            ),
            (
                Kept::Lock(0),
                "/*M!100100 SET STATEMENT innodb_lock_wait_timeout = 1 FOR */ \
                 SELECT id, user_id, data, created_at, expires_at, updated_at FROM `t` WHERE id IN (?) \
                 FOR UPDATE SKIP LOCKED",
            ),
            (Kept::Seen(1), "SELECT id FROM `t` WHERE id IN (?, ?, ?, ?, ?, ?, ?, ?)"),
            (Kept::Remove(0), "DELETE FROM `t` WHERE id IN (?)"),
            (Kept::Update(0), "UPDATE `t` SET data = COALESCE(?, data), updated_at = ? WHERE id"),
            (
                Kept::Update(3),
                "UPDATE `t` SET data = COALESCE(?, data), updated_at = ?, expires_at = GREATEST(expires_at, ?), user_id = ? WHERE id",
            ),
            (
                Kept::Update(4),
                "UPDATE `t` SET data = COALESCE(?, data), updated_at = ?, expires_at = ? WHERE id",
            ),
            (Kept::Insert(0), "INSERT"),
            (
                Kept::Insert(1),
                "INSERT INTO `t` (id, user_id, data, created_at, expires_at, updated_at) VALUES (?,",
            ),
            (
                Kept::Change(Change::Data, 0),
                "UPDATE `t` SET updated_at = ELT(FIELD(id, ?), ?), data = ELT(FIELD(id, ?), ?) WHERE id IN (?)",
            ),
            (
                Kept::Change(Change::DataAndExpiry, 0),
                "UPDATE `t` SET updated_at = ELT(FIELD(id, ?), ?), data = ELT(FIELD(id, ?), ?), \
                 expires_at = ELT(FIELD(id, ?), ?) WHERE id IN (?)",
            ),
            (
                Kept::Change(Change::Expiry, 0),
                "UPDATE `t` SET updated_at = ELT(FIELD(id, ?), ?), expires_at = ELT(FIELD(id, ?), ?) WHERE id IN (?)",
            ),
            (
                Kept::Change(Change::Rename, 1),
                "UPDATE `t` SET user_id = ELT(FIELD(id, ?, ?, ?, ?, ?, ?, ?, ?), ?,",
            ),
            (Kept::Touch, "UPDATE `t` SET expires_at = ?, updated_at = ?"),
            (Kept::Rotate, "UPDATE `t` SET id = ?"),
            (Kept::Delete, "DELETE FROM `t` WHERE id = ? AND CAST(CONVERT(id USING utf8mb4) AS BINARY) = ?"),
        ] {
            assert!(sql.kept(kept).starts_with(words), "{}", sql.kept(kept));
        }
        assert!(
            !sql.kept.concat().contains('@')
                && !sql.stats.contains('@')
                && !sql.lock_user.concat().contains('@')
        );
        assert_eq!([1, 2, 33, 512, 9_999].map(|ids| width(ids).1), [1, 8, 128, 512, 512]);
        assert_eq!([1, 3, 4, 15, 16, 99].map(|rows| births(rows).1), [1, 1, 4, 4, 16, 16]);
    }
}
