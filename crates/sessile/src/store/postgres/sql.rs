//! The SQL, all of it, for one table. No value ever stands in it: values are bound.
//!
//! Statements on many rows take arrays, one for each column, and join the table to them row by row
//! through the primary key: in the order of the arrays, so that whoever sorts them by id takes the locks
//! in one order with everybody else.

use sha2::{Digest as _, Sha256};

use crate::store::hex::hex;
use crate::store::{ListQuery, Liveness};

const LOAD: &str = "SELECT id, user_id, data, created_at, expires_at, updated_at \
    FROM @table WHERE id = ANY ($1::text[])";

const INSERT: &str = "INSERT INTO @table AS t (id, user_id, data, created_at, expires_at, updated_at) \
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamp[], $5::timestamp[], \
    $6::timestamp[]) ON CONFLICT (id) DO NOTHING RETURNING t.id";

/// Data and an expiry of NULL are kept. PostgreSQL does not write a long text again that stays what it is.
const UPDATE: &str = "UPDATE @table AS t SET data = coalesce(u.data, t.data), updated_at = u.now, \
    expires_at = CASE WHEN u.extends THEN greatest(t.expires_at, u.expires_at) \
    ELSE coalesce(u.expires_at, t.expires_at) END, \
    user_id = CASE WHEN u.sets_user THEN u.user_id ELSE t.user_id END \
    FROM unnest($1::text[], $2::text[], $3::timestamp[], $4::text[], $5::timestamp[], $6::bool[], \
    $7::text[], $8::bool[]) AS u (id, expected, now, data, expires_at, extends, user_id, sets_user) \
    WHERE t.id = u.id AND t.data IS NOT DISTINCT FROM u.expected AND t.expires_at > u.now RETURNING u.id";

const TOUCH: &str = "UPDATE @table AS t SET expires_at = u.expires_at, updated_at = u.now \
    FROM unnest($1::text[], $2::timestamp[], $3::timestamp[]) AS u (id, expires_at, now) \
    WHERE t.id = u.id AND t.expires_at > u.now AND t.expires_at < u.expires_at RETURNING u.id";

const ROTATE: &str = "UPDATE @table AS t SET id = u.new_id, user_id = u.user_id, data = u.data, \
    created_at = u.created_at, expires_at = u.expires_at, updated_at = u.updated_at \
    FROM unnest($1::text[], $2::text[], $3::timestamp[], $4::text[], $5::text[], $6::text[], \
    $7::timestamp[], $8::timestamp[], $9::timestamp[]) \
    AS u (id, expected, now, new_id, user_id, data, created_at, expires_at, updated_at) \
    WHERE t.id = u.id AND t.data IS NOT DISTINCT FROM u.expected AND t.expires_at > u.now RETURNING u.id";

/// Locks the rows that no other transaction has locked.
const LOCK_FREE: &str = "SELECT id FROM @table WHERE id = ANY ($1::text[]) FOR UPDATE SKIP LOCKED";

/// Which of these rows there are, locked or not.
const SEEN: &str = "SELECT id FROM @table WHERE id = ANY ($1::text[])";

const DELETE: &str = "DELETE FROM @table WHERE id = ANY ($1::text[]) RETURNING id";

/// Deletes the user's rows that no other transaction has locked. A row that is rotated while this runs may be
/// missed: [`LEFT_OF_USER`] shows it under its new id.
const DELETE_FREE_OF_USER: &str = "DELETE FROM @table WHERE id = ANY (ARRAY(SELECT id FROM @table \
    WHERE user_id = $1 AND id IS DISTINCT FROM $2 FOR UPDATE SKIP LOCKED)) \
    AND user_id = $1 AND id IS DISTINCT FROM $2 RETURNING id";

const LEFT_OF_USER: &str = "SELECT id FROM @table WHERE user_id = $1 AND id IS DISTINCT FROM $2";

/// Plainly on the table: a row that is rotated while this runs is waited for and followed to its new id,
/// which a subselect on the ids would miss.
const DELETE_USER: &str = "DELETE FROM @table WHERE user_id = $1 AND id IS DISTINCT FROM $2 RETURNING id";

/// The last condition judges a row that somebody renewed in between once more.
const PURGE: &str = "DELETE FROM @table WHERE id = ANY (ARRAY(SELECT id FROM @table \
    WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)) \
    AND expires_at <= $1 RETURNING id, user_id";

const STATS: &str = "SELECT count(*) FILTER (WHERE expires_at > $1), \
    count(*) FILTER (WHERE expires_at <= $1), \
    count(*) FILTER (WHERE expires_at > $1 AND user_id IS NULL), \
    count(DISTINCT user_id) FILTER (WHERE expires_at > $1), \
    coalesce(sum(octet_length(data)) FILTER (WHERE expires_at > $1), 0)::bigint, \
    min(expires_at) FILTER (WHERE expires_at <= $1) FROM @table";

/// Each column with its type, and of the table: whether `id` alone is unique, whether all that the
/// store does is granted; last, the column's length as `atttypmod` holds it. No row: no table.
pub(super) const CHECK: &str = "SELECT a.attname::text, format_type(a.atttypid, NULL), \
    EXISTS (SELECT FROM pg_index i JOIN pg_attribute k ON k.attrelid = i.indrelid \
        AND k.attnum = i.indkey[0] AND k.attname = 'id' WHERE i.indrelid = c.oid AND i.indisunique \
        AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = 1), \
    has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
        AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'), a.atttypmod \
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    WHERE c.oid = to_regclass($1)";

pub(super) const CLOCK: &str = "SELECT clock_timestamp()";

/// What decides on durability, with where it was set. As this connection has it, so that what was set for
/// the role or the database counts.
pub(super) const SEEN_SETTINGS: &str = "SELECT name, setting, source FROM pg_settings WHERE name IN (\
    'server_version', 'server_version_num', 'synchronous_commit', 'fsync', 'full_page_writes', \
    'autovacuum', 'track_counts', 'synchronous_standby_names', 'max_connections')";

/// What anybody may know of the server: whether it follows another one, who we are, how many follow it
/// and how many are connected.
pub(super) const SEEN_SERVER: &str = "SELECT pg_is_in_recovery(), current_user::text, \
    (SELECT count(*) FROM pg_stat_replication), \
    (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_stat_database)";

/// The four rights, whether rows are hidden from us, how the table is kept, and its autovacuum.
pub(super) const SEEN_TABLE: &str = "SELECT has_table_privilege(oid, 'SELECT'), \
    has_table_privilege(oid, 'INSERT'), has_table_privilege(oid, 'UPDATE'), \
    has_table_privilege(oid, 'DELETE'), row_security_active(oid), relpersistence = 'u', \
    coalesce((SELECT NOT option_value::bool FROM pg_options_to_table(reloptions) \
        WHERE option_name = 'autovacuum_enabled'), false) \
    FROM pg_class WHERE oid = to_regclass($1)";

/// Each column with its whole type, its length or precision, and whether only the same bytes are equal.
pub(super) const SEEN_COLUMNS: &str = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
    a.atttypmod, coalesce((to_jsonb(c) ->> 'collisdeterministic')::bool, true) \
    FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation \
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";

/// The columns that begin an index of all rows which is fit for use.
pub(super) const SEEN_INDEXES: &str = "SELECT DISTINCT a.attname::text FROM pg_index i \
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
    WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indisready AND i.indpred IS NULL";

/// A row's whole life, undone. The key is no session's and no other connection's.
const TRY_OUT: &str = "BEGIN; \
    INSERT INTO @table (id, user_id, data, created_at, expires_at, updated_at) \
    VALUES ('sessile-doctor-' || pg_backend_pid(), NULL, '{}', localtimestamp, localtimestamp, \
    localtimestamp); \
    UPDATE @table SET data = '{\"sessile\": \"doctor\"}', user_id = 'sessile', updated_at = localtimestamp \
    WHERE id = 'sessile-doctor-' || pg_backend_pid(); \
    DELETE FROM @table WHERE id = 'sessile-doctor-' || pg_backend_pid(); \
    ROLLBACK";

/// Two processes that make the table at once would each find it missing: the second waits. The number
/// is any, and always the same.
pub(super) const INIT_LOCK: &str = "SELECT pg_advisory_xact_lock(8317413702)";

/// A tenth of each page is left free for new versions of its rows: of the changes to rows of 1 KiB 100% then stay
/// in their page and touch no index, instead of 94%, and the table is no larger for it. More room gained
/// nothing (20,000 rows, 60,000 updates, one of ten a renewal).
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS @table (
  id VARCHAR(36) NOT NULL,
  user_id VARCHAR(255),
  data TEXT,
  created_at TIMESTAMP WITHOUT TIME ZONE,
  expires_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
  updated_at TIMESTAMP WITHOUT TIME ZONE,
  PRIMARY KEY (id)
) WITH (fillfactor = 90)";

const CREATE_INDEX: &str = "CREATE INDEX IF NOT EXISTS @index ON @table (@column)";

/// Sends the id of each row that is changed or deleted, and of what a changed one has become the first half of
/// [`SessionRecord::fingerprint`](crate::record::SessionRecord::fingerprint): no data travels. The first argument is
/// the channel. A failure here would fail the writer, so it computes nothing that can fail.
const CREATE_FEED_FUNCTION: &str = "CREATE OR REPLACE FUNCTION @schema\"sessile_tell\"() RETURNS trigger \
LANGUAGE plpgsql AS $sessile$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM pg_catalog.pg_notify(TG_ARGV[0], '*');
  ELSIF TG_OP = 'UPDATE' AND NEW.id = OLD.id AND pg_catalog.current_setting('server_encoding') = 'UTF8' THEN
    PERFORM pg_catalog.pg_notify(TG_ARGV[0], pg_catalog.concat(OLD.id, ' ', pg_catalog.left(pg_catalog.encode(
      pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat(
        coalesce('=' || NEW.user_id, '-'), pg_catalog.chr(10),
        coalesce('=' || pg_catalog.to_char(NEW.created_at, 'YYYY-MM-DD HH24:MI:SS.US'), '-'), pg_catalog.chr(10),
        coalesce('=' || pg_catalog.to_char(NEW.expires_at, 'YYYY-MM-DD HH24:MI:SS.US'), '-'), pg_catalog.chr(10),
        NEW.data), 'UTF8')), 'hex'), 32)));
  ELSE
    PERFORM pg_catalog.pg_notify(TG_ARGV[0], OLD.id);
  END IF;
  RETURN NULL;
END
$sessile$;
";

/// ALWAYS: also where rows are applied from another server.
const CREATE_FEED_TRIGGERS: &str = "DO @tag
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger \
WHERE tgrelid = to_regclass(@literal) AND tgname = 'sessile_changed') THEN
    CREATE TRIGGER sessile_changed AFTER UPDATE OR DELETE ON @table
      FOR EACH ROW EXECUTE FUNCTION @schema\"sessile_tell\"('@channel');
    ALTER TABLE @table ENABLE ALWAYS TRIGGER sessile_changed;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger \
WHERE tgrelid = to_regclass(@literal) AND tgname = 'sessile_emptied') THEN
    CREATE TRIGGER sessile_emptied AFTER TRUNCATE ON @table
      FOR EACH STATEMENT EXECUTE FUNCTION @schema\"sessile_tell\"('@channel');
    ALTER TABLE @table ENABLE ALWAYS TRIGGER sessile_emptied;
  END IF;
END
@tag;
";

/// The channel that both triggers on the table tell; no row where one of them is missing or switched off.
/// `$1` the table.
pub(super) const FEED_CHANNEL: &str = "SELECT split_part(encode(r.tgargs, 'escape'), '\\000', 1) \
    FROM pg_trigger r JOIN pg_trigger e ON e.tgrelid = r.tgrelid AND e.tgargs = r.tgargs \
    WHERE r.tgrelid = to_regclass($1) AND r.tgname = 'sessile_changed' AND r.tgenabled IN ('O', 'A') \
    AND e.tgname = 'sessile_emptied' AND e.tgenabled IN ('O', 'A')";

/// `$1` the channel, `$2` the text. A sign of life is nothing to wait for the disk for.
pub(super) const NOTIFY: &str = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)";

/// The longest name that PostgreSQL keeps whole.
pub(super) const MAX_NAME_BYTES: usize = 63;

/// A statement that each connection prepares once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Load,
    Insert,
    Update,
    Touch,
    Rotate,
    Delete,
    LockFree,
    Seen,
}

impl Kept {
    pub(super) const COUNT: usize = Kept::Seen as usize + 1;
    #[cfg(test)]
    pub(super) const ALL: [Kept; Kept::COUNT] = {
        use Kept::{Delete, Insert, Load, LockFree, Rotate, Seen, Touch, Update};
        [Load, Insert, Update, Touch, Rotate, Delete, LockFree, Seen]
    };
}

/// The statements for one table.
pub(super) struct Sql {
    table: String,
    kept: [String; Kept::COUNT],
    pub(super) delete_free_of_user: String,
    pub(super) left_of_user: String,
    pub(super) delete_user: String,
    pub(super) purge: String,
    pub(super) stats: String,
    pub(super) try_out: String,
    /// The table and its indexes.
    pub(super) create: [String; 3],
    /// What the feed needs, as one script.
    pub(super) create_feed: String,
}

impl Sql {
    /// For the table with this name, whatever characters it has; without a schema where the search
    /// path leads.
    pub(super) fn new(schema: Option<&str>, name: &str) -> Sql {
        let table = match schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(name)),
            None => quoted(name),
        };
        let on = |template: &str| template.replace("@table", &table);
        let index = |column: &str| {
            let fixed = CREATE_INDEX.replace("@column", column);
            let (head, tail) = fixed.split_once("@index").unwrap_or_default();
            format!("{head}{}{}", quoted(&index_name(name, column)), on(tail))
        };
        Sql {
            kept: [
                on(LOAD),
                on(INSERT),
                on(UPDATE),
                on(TOUCH),
                on(ROTATE),
                on(DELETE),
                on(LOCK_FREE),
                on(SEEN),
            ],
            delete_free_of_user: on(DELETE_FREE_OF_USER),
            left_of_user: on(LEFT_OF_USER),
            delete_user: on(DELETE_USER),
            purge: on(PURGE),
            stats: on(STATS),
            try_out: on(TRY_OUT),
            create: [on(CREATE_TABLE), index("user_id"), index("expires_at")],
            create_feed: feed(schema, name, &table),
            table,
        }
    }

    pub(super) fn kept(&self, statement: Kept) -> &str {
        &self.kept[statement as usize]
    }

    /// The table as SQL reads it.
    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// `$1` the user, `$2` now, `$3` the place, `$4` how many; those that are not needed are NULL.
    ///
    /// In the order of the column's own collation, which the primary key serves; every collation
    /// puts UUIDs in the order of their bytes.
    pub(super) fn list(&self, query: &ListQuery, goes_on: bool) -> String {
        // Each parameter stands somewhere, so that all of them are bound whatever the conditions.
        let user = if query.user.is_some() { "user_id = $1::text" } else { "$1::text IS NULL" };
        let liveness = match query.liveness {
            Liveness::Any => "$2::timestamp IS NOT NULL",
            Liveness::Live => "expires_at > $2::timestamp",
            Liveness::Expired => "expires_at <= $2::timestamp",
        };
        let place = if goes_on { "id > $3::text" } else { "$3::text IS NULL" };
        format!(
            "SELECT id, user_id, data, created_at, expires_at, updated_at FROM {} \
             WHERE {user} AND {liveness} AND {place} ORDER BY id LIMIT $4",
            self.table
        )
    }
}

/// The script for the feed of a table. The channel is any, as long as it is not another table's: listeners
/// read it from the triggers.
fn feed(schema: Option<&str>, name: &str, table: &str) -> String {
    let digest = Sha256::digest(format!("{}\0{name}", schema.unwrap_or_default()));
    let digest = hex(&digest[..8]);
    let schema = schema.map(|schema| format!("{}.", quoted(schema))).unwrap_or_default();
    let literal = format!("'{}'", table.replace('\'', "''"));
    let fixed = (CREATE_FEED_FUNCTION.to_owned() + CREATE_FEED_TRIGGERS)
        .replace("@channel", &format!("session_feed_{digest}"))
        .replace("@tag", &format!("$sessile_{digest}$"));
    // Piece by piece: whatever characters the names have, nothing in them is replaced.
    let mut pieces = fixed.split('@');
    let mut script = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        for (mark, text) in [("table", table), ("schema", &*schema), ("literal", &*literal)] {
            if let Some(rest) = piece.strip_prefix(mark) {
                script.push_str(text);
                script.push_str(rest);
            }
        }
    }
    script
}

/// `ix_<table>_<column>` as SQLAlchemy names it, shortened where PostgreSQL would cut off the column.
fn index_name(table: &str, column: &str) -> String {
    let room = MAX_NAME_BYTES - "ix__".len() - column.len();
    let kept = table.floor_char_boundary(room.min(table.len()));
    format!("ix_{}_{column}", &table[..kept])
}

/// The name as SQL reads it: in double quotes, those inside doubled.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_index_names_fit() {
        let sql = Sql::new(Some("a\"b"), "@table; x");
        assert_eq!(sql.table(), "\"a\"\"b\".\"@table; x\"");
        assert!(sql.purge.starts_with("DELETE FROM \"a\"\"b\".\"@table; x\" WHERE"));
        assert_eq!(
            Sql::new(None, "sessions").create[1],
            "CREATE INDEX IF NOT EXISTS \"ix_sessions_user_id\" ON \"sessions\" (user_id)"
        );
        let long = "é".repeat(31);
        let [user, expiry] = ["user_id", "expires_at"].map(|column| index_name(&long, column));
        assert!(user.len() <= MAX_NAME_BYTES && expiry.len() <= MAX_NAME_BYTES && user != expiry);
    }
}
