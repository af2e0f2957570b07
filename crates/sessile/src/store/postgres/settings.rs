//! What each connection is set to, whatever the server, the database or the role sets.
//!
//! `ALTER SYSTEM`, `ALTER DATABASE … SET` and `ALTER ROLE … SET` can change what a statement means, or end it.
//! [`settings`] is the complete list of what is set against that. What is not on it:
//!
//! * `search_path`: stays the user's own, for triggers on the table may depend on it. The table is looked up in it
//!   once, when the store connects, and named with its schema from then on. Where the path names
//!   `pg_catalog` behind other schemas, `pg_catalog` is put first, so that functions and operators are the
//!   server's own.
//! * `synchronous_commit`: the administrator's choice; `sessile doctor` says what it is worth. Only the feed's
//!   signs of life are sent without waiting for the disk.
//! * `session_replication_role`: only privileged roles may set it. It switches triggers off, and those of the feed
//!   are `ENABLE ALWAYS`.
//! * `role`: an administrator's way to choose whose rights count.
//! * what only changes texts (`lc_messages`, `bytea_output`, `IntervalStyle`): no decision reads one.
//!
//! On connections of our own they are set for the session. The limits that could end a connection before that
//! are lifted in the message that asks for it, where the other end takes such settings there
//! ([`FROM_THE_START`]); a pooler mostly does not. Behind a pooler that deals out transactions they are
//! set with SET LOCAL in each transaction: other programs never see them.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::fault::Fault;
use super::link::Duty;
use super::pipeline::{Parameter, Pipeline, Request};

/// For every connection, where the server knows them.
const ALWAYS: &[(&str, &str)] = &[
    // The meaning of literals and times. A time without zone means UTC.
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("extra_float_digits", "1"),
    ("transform_null_equals", "off"),
    // The transaction that a statement is.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    // The rows that it sees: policies hide rows or not, `off` makes it an error.
    ("row_security", "on"),
    // What ends a statement or the connection. The store has time limits of its own.
    ("statement_timeout", "0"),
    ("transaction_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("exit_on_error", "off"),
    // What is sent unasked, and what is compiled.
    ("client_min_messages", "warning"),
    ("jit", "off"),
];

/// For connections that only look up primary keys. A plan made while the table was small would read all of
/// it, and be kept when it has grown.
const KEY_LOOKUPS: &[(&str, &str)] = &[
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_indexscan", "on"),
    ("enable_nestloop", "on"),
];

/// Lifts the time limits of a connection from its first moment on, as options of the startup message.
pub(super) const FROM_THE_START: &str = "-c statement_timeout=0 -c lock_timeout=0 \
    -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0";

/// Said by BEGIN itself, where every transaction has one.
const OF_TRANSACTIONS: &str = "default_transaction_";

/// Begins a transaction before the settings are made, so that no time limit ends it: all in one message, for
/// a limit counts as soon as the server waits for the next one. COMMIT keeps what is then set for the session.
pub(super) const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = 0; \
    SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = 0";

/// Each also where the path leads to functions and operators that hide the server's own. `$1` the process
/// that must answer, `$2` whether any other may.
const PUT_CATALOG_FIRST: &str = "SELECT pg_catalog.set_config('search_path', \
    pg_catalog.concat('pg_catalog, ', pg_catalog.current_setting('search_path')), false) \
    WHERE ($2::pg_catalog.bool OR pg_catalog.int4eq($1::pg_catalog.int4, pg_catalog.pg_backend_pid())) \
    AND pg_catalog.int4gt(pg_catalog.array_position(pg_catalog.current_schemas(false), \
        'pg_catalog'::pg_catalog.name), 1)";

/// The same conditions, and `$3` the names, `$4` the values.
const SET: &str = "SELECT pg_catalog.set_config(name, wanted.value, false) \
    FROM unnest($3::text[], $4::text[]) AS wanted (name, value) JOIN pg_catalog.pg_settings USING (name) \
    WHERE $2::bool OR $1::int4 = pg_backend_pid()";

/// Those of `$1` that the server knows, and the search path, if it hides functions of the server.
const KNOWN: &str = "SELECT name FROM pg_catalog.pg_settings WHERE name = ANY ($1::text[])";
const HIDING_PATH: &str = "SELECT pg_catalog.concat('pg_catalog, ', pg_catalog.current_setting('search_path')) \
    WHERE pg_catalog.int4gt(pg_catalog.array_position(pg_catalog.current_schemas(false), \
        'pg_catalog'::pg_catalog.name), 1)";

/// The schemas of the search path that are there, in its order.
const SEARCH_PATH: &str = "SELECT pg_catalog.current_schemas(false)::pg_catalog.text[]";

/// The first of these schemas (`$1`) with a table of this name (`$2`).
const SCHEMA: &str = "SELECT s.name FROM unnest($1::text[]) WITH ORDINALITY AS s (name, place) \
    JOIN pg_namespace n ON n.nspname = s.name JOIN pg_class c ON c.relnamespace = n.oid \
    WHERE c.relname = $2::text AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY s.place LIMIT 1";

/// From here to the end of the transaction names are the server's own, whatever the search path was.
const OWN_NAMES: &str = "SET LOCAL search_path = pg_catalog";

/// The schema that an unqualified name leads to, or would be made in.
pub(super) async fn schema_of(pipeline: &Pipeline, table: &str) -> Result<Option<String>, Fault> {
    let path = pipeline.transaction(BEGIN, vec![Request::Typed(SEARCH_PATH, Vec::new())]).await?;
    let path = path.first().and_then(|rows| rows.first()).map(|row| row.try_get(0)).transpose()?;
    let schemas: Vec<String> = path.unwrap_or_default();
    let schemas: Vec<&str> =
        schemas.iter().map(String::as_str).filter(|name| *name != "pg_catalog").collect();
    let parameters: Vec<(Parameter<'_>, Type)> = vec![(&schemas, Type::TEXT_ARRAY), (&table, Type::TEXT)];
    let requests = vec![Request::Simple(OWN_NAMES), Request::Typed(SCHEMA, parameters)];
    let found = pipeline.transaction(BEGIN, requests).await?;
    let found = found.last().and_then(|rows| rows.first()).map(|row| row.try_get(0)).transpose()?;
    Ok(found.or_else(|| schemas.first().map(|name| (*name).to_owned())))
}

/// The complete list, each name once.
pub(super) fn settings(duty: Duty) -> Vec<(&'static str, String)> {
    let (looks_up, lock_timeout) = match duty {
        Duty::Loads => (true, None),
        Duty::Writes(wait) | Duty::Retries(wait) => (true, Some(wait)),
        Duty::Endings(wait) | Duty::StuckEndings(wait) => (false, Some(wait)),
        Duty::Lists | Duty::Surveys | Duty::Feed => (false, None),
    };
    let looks_up = if looks_up { KEY_LOOKUPS } else { &[] };
    let fixed = ALWAYS.iter().chain(looks_up).map(|(name, value)| (*name, (*value).to_owned()));
    let lock_timeout = match lock_timeout {
        Some(wait) => format!("{}ms", wait.max(Duration::from_millis(1)).as_millis()),
        None => "0".to_owned(),
    };
    fixed.chain([("lock_timeout", lock_timeout)]).collect()
}

/// Sets the connection, if it is served by this process of the server, or `by_any`. Returns whether it is set.
pub(super) async fn set(pipeline: &Pipeline, duty: Duty, process: i32, by_any: bool) -> Result<bool, Fault> {
    let (names, values): (Vec<&str>, Vec<String>) = settings(duty).into_iter().unzip();
    let condition: [(Parameter<'_>, Type); 2] = [(&process, Type::INT4), (&by_any, Type::BOOL)];
    let lists: [(Parameter<'_>, Type); 2] = [(&names, Type::TEXT_ARRAY), (&values, Type::TEXT_ARRAY)];
    let requests = vec![
        Request::Typed(PUT_CATALOG_FIRST, condition.to_vec()),
        Request::Typed(SET, condition.into_iter().chain(lists).collect()),
    ];
    let mut answers = pipeline.transaction(BEGIN, requests).await?;
    Ok(answers.pop().is_some_and(|set| !set.is_empty()))
}

/// What begins each transaction of a connection that is ours for no longer than a transaction.
pub(super) async fn local(pipeline: &Pipeline, duty: Duty) -> Result<String, Fault> {
    let settings = settings(duty);
    let names: Vec<&str> = settings.iter().map(|(name, _)| *name).collect();
    let parameters: Vec<(Parameter<'_>, Type)> = vec![(&names, Type::TEXT_ARRAY)];
    let requests = vec![
        Request::Typed(HIDING_PATH, Vec::new()),
        Request::Simple(OWN_NAMES),
        Request::Typed(KNOWN, parameters),
    ];
    let told = pipeline.transaction(BEGIN, requests).await?;
    let path = told.first().and_then(|rows| rows.first()).map(|row| row.try_get(0)).transpose()?;
    let path: Option<String> = path;
    let known: Vec<&str> = told.iter().skip(1).flatten().filter_map(|row| row.try_get(0).ok()).collect();
    let mut begin = "BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE".to_owned();
    if !matches!(duty, Duty::Loads | Duty::Lists) {
        begin += ", READ WRITE";
    }
    for (name, value) in settings {
        // Statements are planned anew each time: no plan grows old.
        let is_needed = !name.starts_with(OF_TRANSACTIONS) && !KEY_LOOKUPS.iter().any(|(it, _)| *it == name);
        if is_needed && known.contains(&name) {
            begin += &format!("; SET LOCAL {name} = '{value}'");
        }
    }
    if let Some(path) = path {
        begin += &format!("; SET LOCAL search_path = {path}");
    }
    Ok(begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [R17] `set_config` is called in any order.
    #[test]
    fn each_setting_has_one_value() {
        for duty in [Duty::Loads, Duty::Writes(Duration::ZERO), Duty::Surveys, Duty::Feed] {
            let mut names: Vec<_> = settings(duty).into_iter().map(|(name, _)| name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
        }
        let wait = settings(Duty::Writes(Duration::ZERO)).pop();
        assert_eq!(wait, Some(("lock_timeout", "1ms".to_owned())), "0 would be no limit");
    }
}
