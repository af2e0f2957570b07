//! The SQL, all of it, for one table. No value ever stands in it: values are bound.
//!
//! `OR ABORT` is what SQLite does by itself, unless the table was declared with another conflict clause: with
//! `PRIMARY KEY ON CONFLICT REPLACE`, a rotation to an id that is taken would delete that other session.
//!
//! `sessile_time(text)` is [`register_functions`]: the 26 characters of the instant that the text
//! means, NULL when it means none. Rows that others wrote may hold their times in forms which
//! SQLite would order wrongly as text (`T` between date and time, an offset), so every condition on
//! an expiry reads it the way [`Timestamp::parse`] does.

use rusqlite::functions::FunctionFlags;
use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{CachedStatement, Connection};

use crate::record::Timestamp;
use crate::store::{Expiry, ListQuery, Liveness};

const LOAD: &str = "SELECT id, user_id, data, created_at, expires_at, updated_at FROM @table WHERE id = ?1";

const INSERT: &str = "INSERT OR ABORT INTO @table (id, user_id, data, created_at, expires_at, updated_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING";

/// Data of NULL is kept. SQLite writes no page again that stays what it is.
const UPDATE: &str = "UPDATE OR ABORT @table SET data = coalesce(?4, data), updated_at = ?3@expiry@user \
    WHERE id = ?1 AND data IS ?2 AND sessile_time(expires_at) > ?3";

const TOUCH: &str = "UPDATE OR ABORT @table SET expires_at = ?2, updated_at = ?3 \
    WHERE id = ?1 AND sessile_time(expires_at) > ?3 AND sessile_time(expires_at) < ?2";

const ROTATE: &str = "UPDATE OR ABORT @table \
    SET id = ?4, user_id = ?5, data = ?6, created_at = ?7, expires_at = ?8, updated_at = ?9 \
    WHERE id = ?1 AND data IS ?2 AND sessile_time(expires_at) > ?3";

const DELETE: &str = "DELETE FROM @table WHERE id = ?1";

const DELETE_USER: &str = "DELETE FROM @table WHERE user_id = ?1 AND id IS NOT ?2 RETURNING id";

/// The first two conditions are the range in the index (numbers sort before `''`), the third is
/// the truth. A form of text that sorts late is purged late, never early.
const PURGE: &str = "DELETE FROM @table WHERE id IN (\
    SELECT id FROM @table WHERE expires_at >= '' AND expires_at <= ?1 \
    AND sessile_time(expires_at) <= ?1 ORDER BY expires_at LIMIT ?2) RETURNING id, user_id";

const STATS: &str = "SELECT count(*) FILTER (WHERE expiry > ?1), \
    count(*) FILTER (WHERE expiry <= ?1), \
    count(*) FILTER (WHERE expiry > ?1 AND user_id IS NULL), \
    count(DISTINCT user_id) FILTER (WHERE expiry > ?1), \
    coalesce(sum(size) FILTER (WHERE expiry > ?1), 0), \
    min(expiry) FILTER (WHERE expiry <= ?1) \
    FROM (SELECT sessile_time(expires_at) AS expiry, user_id, octet_length(data) AS size FROM @table)";

const COLUMNS: &str = "SELECT name FROM pragma_table_info(?1)";

/// Each column with its declared type.
pub(super) const TYPES: &str = "SELECT name, type FROM pragma_table_info(?1)";

/// The columns that begin an index of all rows.
pub(super) const INDEXED: &str = "SELECT k.name FROM pragma_index_list(?1) AS i \
    JOIN pragma_index_info(i.name) AS k WHERE k.seqno = 0 AND k.name IS NOT NULL AND NOT i.partial";

/// Whether the row's columns are taken for these other texts.
const TAKEN_FOR: &str = "SELECT id = ?2, user_id = ?3, data IS ?4 FROM @table WHERE id = ?1";

pub(super) const VERSION: &str = "SELECT sqlite_version()";
pub(super) const SCHEMA_VERSION: &str = "PRAGMA schema_version";
pub(super) const PAGE_SIZE: &str = "PRAGMA page_size";
pub(super) const JOURNAL_MODE: &str = "PRAGMA journal_mode";
pub(super) const SYNCHRONOUS: &str = "PRAGMA synchronous";
pub(super) const INTEGRITY: &str = "PRAGMA quick_check(1)";

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS @table (
  id VARCHAR(36) NOT NULL,
  user_id VARCHAR(255),
  data TEXT,
  created_at DATETIME,
  expires_at DATETIME NOT NULL,
  updated_at DATETIME,
  PRIMARY KEY (id)
)";

const CREATE_INDEX: &str = "CREATE INDEX IF NOT EXISTS @index ON @table (@column)";

pub(super) const BEGIN_READ: &str = "BEGIN DEFERRED";
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

/// Prepared statements kept on each connection: above the number of texts in this file.
pub(super) const CACHED_STATEMENTS: usize = 64;

/// The statements for one table.
pub(super) struct Sql {
    table: String,
    pub(super) load: String,
    pub(super) insert: String,
    updates: [[String; 2]; 3],
    pub(super) touch: String,
    pub(super) rotate: String,
    pub(super) delete: String,
    pub(super) delete_user: String,
    pub(super) purge: String,
    pub(super) stats: String,
    pub(super) columns: &'static str,
    pub(super) taken_for: String,
    /// The table and its indexes.
    pub(super) create: [String; 3],
}

impl Sql {
    /// For the table with this name, whatever characters it has.
    pub(super) fn new(name: &str) -> Sql {
        let table = quoted(name);
        let on = |template: &str| template.replace("@table", &table);
        // The table's name comes last: it may itself contain what looks like a place to fill.
        let update = |expiry: &str, user: &str| on(&UPDATE.replace("@expiry", expiry).replace("@user", user));
        let updates = |expiry: &str| [update(expiry, ""), update(expiry, ", user_id = ?6")];
        let index = |column: &str| {
            let fixed = CREATE_INDEX.replace("@column", column);
            let (head, tail) = fixed.split_once("@index").unwrap_or_default();
            format!("{head}{}{}", quoted(&format!("ix_{name}_{column}")), on(tail))
        };
        Sql {
            load: on(LOAD),
            insert: on(INSERT),
            updates: [
                updates(""),
                updates(", expires_at = max(sessile_time(expires_at), ?5)"),
                updates(", expires_at = ?5"),
            ],
            touch: on(TOUCH),
            rotate: on(ROTATE),
            delete: on(DELETE),
            delete_user: on(DELETE_USER),
            purge: on(PURGE),
            stats: on(STATS),
            columns: COLUMNS,
            taken_for: on(TAKEN_FOR),
            create: [on(CREATE_TABLE), index("user_id"), index("expires_at")],
            table,
        }
    }

    pub(super) fn update(&self, expiry: Expiry, sets_user: bool) -> &str {
        let kind = match expiry {
            Expiry::Keep => 0,
            Expiry::Extend(_) => 1,
            Expiry::Set(_) => 2,
        };
        &self.updates[kind][usize::from(sets_user)]
    }

    /// `?1` the user, `?2` now, `?3` the place, `?4` how many; those that are not needed are not there.
    /// A row whose expiry means nothing is in every listing, to be reported.
    pub(super) fn list(&self, query: &ListQuery, goes_on: bool) -> String {
        let mut conditions = Vec::new();
        if query.user.is_some() {
            conditions.push("user_id = ?1");
        }
        match query.liveness {
            Liveness::Any => {}
            Liveness::Live => conditions.push("ifnull(sessile_time(expires_at) > ?2, true)"),
            Liveness::Expired => conditions.push("ifnull(sessile_time(expires_at) <= ?2, true)"),
        }
        if goes_on {
            conditions.push("id > ?3");
        }
        let conditions = if conditions.is_empty() {
            String::new()
        } else {
            format!("WHERE {} ", conditions.join(" AND "))
        };
        format!(
            "SELECT id, user_id, data, created_at, expires_at, updated_at FROM {} {conditions}\
             ORDER BY id LIMIT ?4",
            self.table
        )
    }
}

/// The name as SQL reads it: in double quotes, those inside doubled.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The statement, prepared once per connection; noted in the SQL log without its values.
pub(super) fn prepare<'c>(connection: &'c Connection, sql: &str) -> rusqlite::Result<CachedStatement<'c>> {
    log(connection, sql);
    connection.prepare_cached(sql)
}

/// The one value that a statement without values gives.
pub(super) fn value<T: FromSql>(connection: &Connection, sql: &str) -> rusqlite::Result<T> {
    prepare(connection, sql)?.query_row((), |row| row.get(0))
}

/// Runs a statement that has no values.
pub(super) fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    prepare(connection, sql)?.raw_execute().map(drop)
}

/// The SQL log: target `sessile::sql`, one event per statement, with the file it goes to.
pub(super) fn log(connection: &Connection, statement: &str) {
    tracing::trace!(target: "sessile::sql", statement, database = connection.path());
}

/// Makes `sessile_time` known to the connection.
pub(super) fn register_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    // Without the type of the context: it differs between the versions of rusqlite that are supported.
    connection.create_scalar_function("sessile_time", 1, flags, |context| {
        let ValueRef::Text(text) = context.get_raw(0) else {
            return Ok(None);
        };
        let time = str::from_utf8(text).ok().and_then(Timestamp::parse);
        Ok(time.map(|time| time.to_sql_text().as_str().to_owned()))
    })
}
