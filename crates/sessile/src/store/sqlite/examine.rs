//! Looks at a database as a person on call would. It reads, and it tries a row out in a transaction that is
//! undone: the file stays as it is.

use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::fault::Place;
use super::files;
use super::sql::{self, Sql};
use super::{apply, checkpoint, schema};
use crate::record::{SessionId, Timestamp};
use crate::store::{Finding, Outcome, Verdict, Write, finding, trial};

/// How long the file is searched for damage.
const SEARCH: Duration = Duration::from_secs(10);

/// A write-ahead log of this size is held by a reader.
const LONG_LOG: u64 = checkpoint::BOUND / 4 * 5;

/// Everything that reading tells. After a finding of the file that is wrong there is nothing more to see.
pub(super) fn look(connection: &Connection, sql: &Sql, place: &Place) -> Vec<Finding> {
    let failed = |subject, error| Finding::failed(subject, &place.error("examine", error));
    let mut findings = match file(connection, place) {
        Ok(findings) => findings,
        Err(error) => return vec![failed("file", error)],
    };
    let judged = journal(connection, place).unwrap_or_else(|error| Some(failed("journal_mode", error)));
    findings.extend(judged);
    findings.push(damage(connection).unwrap_or_else(|error| failed("integrity", error)));
    match schema::check(connection, sql, place) {
        Err(error) => findings.push(failed("table", error)),
        Ok(Err(problem)) => findings.push(Finding::failed("table", &problem)),
        Ok(Ok(())) => {
            findings.push(columns(connection, place).unwrap_or_else(|error| failed("table", error)));
            findings.push(indexes(connection, place).unwrap_or_else(|error| failed("indexes", error)));
        }
    }
    findings
}

/// What was seen by looking, and what the connection that writes tells, when there is any use in trying.
pub(super) fn try_out(
    connection: &Connection,
    sql: &Sql,
    place: &Place,
    now: Timestamp,
    mut seen: Vec<Finding>,
) -> Vec<Finding> {
    let failed = |subject, error| Finding::failed(subject, &place.error("examine", error));
    let usable =
        !seen.iter().any(|it| it.verdict == Verdict::Wrong && ["file", "table"].contains(&&*it.subject));
    if usable {
        let writing = writing(connection, sql, now).unwrap_or_else(|error| failed("writing", error));
        seen.push(writing);
    }
    if usable && place.file.is_some() {
        let level = sql::value(connection, sql::SYNCHRONOUS);
        seen.push(level.map_or_else(|error| failed("synchronous", error), synchronous));
    }
    seen
}

fn file(connection: &Connection, place: &Place) -> rusqlite::Result<Vec<Finding>> {
    let version: String = sql::value(connection, sql::VERSION)?;
    // The first look into the file: it tells whether it is one of SQLite's.
    sql::value::<i64>(connection, sql::SCHEMA_VERSION)?;
    let Some(path) = &place.file else {
        let meaning = "When this process ends everybody is signed out.";
        return Ok(vec![Finding::note("file", format!("in memory, SQLite {version}"), meaning)]);
    };
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    let seen = format!("{}, {}, SQLite {version}", path.display(), size(bytes));
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        let meaning = "Nobody can sign in or out: every change is refused.";
        return Ok(vec![Finding::wrong("file", format!("{seen}, read-only"), meaning).with_remedy(
            "give the service's user the right to write the file and its directory, on a disk that is \
             mounted for writing",
        )]);
    }
    let mut findings = vec![Finding::good("file", seen, "It is a SQLite database, and may be written.")];
    findings.extend(reset_bug(rusqlite::version_number()));
    let log = std::fs::metadata(files::beside(path, "-wal")).map_or(0, |log| log.len());
    if log > LONG_LOG {
        let meaning = "A reader stays in one transaction and holds it: it grows, and at max_log_bytes (1 GiB) nobody \
            can sign in.";
        let seen = format!("the write-ahead log has {}", size(log));
        findings.push(Finding::note("log", seen, meaning).with_remedy(
            "find the program that holds a transaction open (`fuser` names those with the file open), and end it",
        ));
    }
    Ok(findings)
}

fn reset_bug(version: i32) -> Option<Finding> {
    let meaning = "A checkpoint of one program beside a write of another can damage the file, which is rare. Within this \
        program the two take turns.";
    checkpoint::has_reset_bug(version).then(|| {
        Finding::note("version", "this SQLite is older than 3.51.3", meaning).with_remedy(
            "build the program with rusqlite 0.39 or newer, and update others that write the file",
        )
    })
}

/// `None` in memory, where there is none.
fn journal(connection: &Connection, place: &Place) -> rusqlite::Result<Option<Finding>> {
    if place.file.is_none() {
        return Ok(None);
    }
    let mode: String = sql::value(connection, sql::JOURNAL_MODE)?;
    Ok(Some(match &*mode {
        "wal" => {
            let meaning = "Requests read while others write.";
            Finding::good("journal_mode", "wal", meaning)
        }
        _ => {
            let meaning = "No logout is lost by it, but requests wait for each other: nobody reads while \
                somebody writes.";
            Finding::note("journal_mode", mode, meaning)
                .with_remedy("start the service: opening the file switches it to write-ahead logging")
        }
    }))
}

fn synchronous(level: i64) -> Finding {
    const UNDONE: &str = "A power cut can undo the last moments: somebody who signed out is signed in again.";
    const FULL: &str = "open the store with `Synchronous::Full`, the default";
    match level {
        0 => {
            let meaning = format!("{UNDONE} It can also destroy the file, and everybody is signed out.");
            Finding::wrong("synchronous", "off", meaning).with_remedy(FULL)
        }
        1 => Finding::wrong("synchronous", "normal", UNDONE).with_remedy(FULL),
        _ => {
            let meaning =
                "A logout that was answered is on the disk: neither a crash nor a power cut undoes it.";
            Finding::good("synchronous", if level == 2 { "full" } else { "extra" }, meaning)
        }
    }
}

/// Searches for damage, no longer than [`SEARCH`].
fn damage(connection: &Connection) -> rusqlite::Result<Finding> {
    let handle = connection.get_interrupt_handle();
    let (done, waits) = mpsc::channel::<()>();
    let watch = move || {
        if waits.recv_timeout(SEARCH) == Err(mpsc::RecvTimeoutError::Timeout) {
            handle.interrupt();
        }
    };
    let found = std::thread::scope(|scope| {
        let watching = std::thread::Builder::new().spawn_scoped(scope, watch);
        let found = watching.map(|_| sql::value::<String>(connection, sql::INTEGRITY));
        drop(done);
        found
    });
    let Ok(found) = found else {
        let meaning = "This machine has no thread left for it.";
        return Ok(Finding::note("integrity", "the file was not searched for damage", meaning));
    };
    let seconds = SEARCH.as_secs();
    Ok(match found {
        Ok(found) if found == "ok" => Finding::good("integrity", "no damage found", "Every row can be read."),
        Ok(found) => damaged(&found),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Finding::note(
                "integrity",
                format!("no damage found in {seconds} s, and not all of the file was searched"),
                "It is large. The whole search keeps nobody waiting.",
            )
            .with_remedy("`sqlite3 FILE 'PRAGMA quick_check'` searches all of it"),
            Some(ErrorCode::DatabaseCorrupt) => damaged("the database disk image is malformed"),
            _ => return Err(error),
        },
    })
}

fn damaged(what: &str) -> Finding {
    // The first of its lines, which names pages and indexes, never what they hold.
    let what = what.lines().find(|line| !line.starts_with("***")).unwrap_or(what);
    let meaning = "Some sessions cannot be found or ended any more, and it may spread.";
    Finding::wrong("integrity", what, meaning).with_remedy(
        "stop the service, keep a copy of the file, and bring the rows into a new one with \
         `sqlite3 FILE .recover`; or begin with an empty one, which signs everybody out",
    )
}

fn columns(connection: &Connection, place: &Place) -> rusqlite::Result<Finding> {
    let mut statement = sql::prepare(connection, sql::TYPES)?;
    let mut rows = statement.query([&place.table])?;
    while let Some(row) = rows.next()? {
        let (name, declared): (String, String) = (row.get(0)?, row.get(1)?);
        if name.eq_ignore_ascii_case("user_id") && !keeps_text(&declared) {
            let meaning = "A user id of digits is kept as a number: 007 becomes 7, and so another user.";
            return Ok(Finding::note("table", format!("user_id is declared as {declared}"), meaning)
                .with_remedy(
                    "declare it as VARCHAR(255), unless every user id is a number as SQLite writes it",
                ));
        }
    }
    let seen = format!("{:?} with its six columns", place.table);
    Ok(Finding::good("table", seen, "Sessions can be kept in it, one row each."))
}

/// Whether a column declared so leaves text as it is, by SQLite's rules of affinity.
fn keeps_text(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    let names = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    !names(&["INT"]) && (declared.is_empty() || names(&["CHAR", "CLOB", "TEXT", "BLOB"]))
}

fn indexes(connection: &Connection, place: &Place) -> rusqlite::Result<Finding> {
    let mut statement = sql::prepare(connection, sql::INDEXED)?;
    let columns: Vec<String> =
        statement.query_map([&place.table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let has = |wanted: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(wanted));
    Ok(finding::indexes(has, &place.init()))
}

/// Does all that a service does to a row, in a transaction that is undone.
fn writing(connection: &Connection, sql: &Sql, now: Timestamp) -> rusqlite::Result<Finding> {
    sql::run(connection, sql::BEGIN)?;
    let tried = lifetime(connection, sql, now);
    // Some faults undo it by themselves.
    if !connection.is_autocommit() {
        sql::run(connection, sql::ROLLBACK)?;
    }
    tried
}

fn lifetime(connection: &Connection, sql: &Sql, now: Timestamp) -> rusqlite::Result<Finding> {
    const REMEDY: &str = "look for triggers on the table, and take them away: `sqlite3 FILE .schema`";
    let trial = match trial::trial(now) {
        Ok(trial) => trial,
        Err(finding) => return Ok(finding),
    };
    for write in &trial.writes {
        if apply::write(connection, sql, write)? != Outcome::Applied {
            return Ok(trial::had_no_effect(REMEDY));
        }
    }
    if let Some(column) = confused(connection, sql, trial.left)? {
        return Ok(collation(column));
    }
    Ok(match apply::write(connection, sql, &Write::Delete(trial.left))? {
        Outcome::Applied => finding::wrote(),
        Outcome::Unmatched => trial::had_no_effect(REMEDY),
    })
}

/// The column whose text is taken for another one: in other letters, or with a blank at its end.
fn confused(connection: &Connection, sql: &Sql, id: SessionId) -> rusqlite::Result<Option<&'static str>> {
    let id = id.to_text();
    let mut statement = sql::prepare(connection, &sql.taken_for)?;
    let mut taken_for = |id_as: &str, user: &str, data: &str| {
        statement.query_row((id.as_str(), id_as, user, data), |row| {
            Ok([row.get::<_, bool>(0)?, row.get(1)?, row.get(2)?])
        })
    };
    let upper = [id.as_str(), trial::USER, trial::DATA].map(str::to_uppercase);
    let padded = [id.as_str(), trial::USER, trial::DATA].map(|text| format!("{text} "));
    for [id, user, data] in [upper, padded] {
        let taken = taken_for(&id, &user, &data)?;
        let columns = ["id", "user_id", "data"].into_iter().zip(taken);
        if let Some((column, _)) = columns.into_iter().find(|(_, taken)| *taken) {
            return Ok(Some(column));
        }
    }
    Ok(None)
}

fn collation(column: &str) -> Finding {
    let meaning = match column {
        "user_id" => "Two users whose ids look alike are one: who ends the sessions of Ada ends ada's too.",
        "data" => "Two changes at once can be taken for one, and one of them is lost.",
        _ => "An id is taken for another one.",
    };
    let seen = format!("the collation of {column} ignores case or blanks");
    Finding::wrong("collation", seen, meaning)
        .with_remedy(format!("declare {column} without COLLATE, or as COLLATE BINARY"))
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = "bytes";
    for larger in UNITS {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_is_sqlites() {
        for text in ["VARCHAR(36)", "text", "CLOB", "BLOB", "", "NCHAR(5)"] {
            assert!(keeps_text(text), "{text}");
        }
        for number in ["INTEGER", "NUMERIC", "REAL", "uuid", "CHARINT"] {
            assert!(!keeps_text(number), "{number}");
        }
    }

    #[test]
    fn sizes_are_for_people() {
        let sizes = [0, 1023, 1024, 1_572_864, 5 << 40].map(size);
        assert_eq!(sizes, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "5.0 TiB"]);
    }

    /// [R06]
    #[test]
    fn only_what_survives_a_power_cut_is_good() {
        let verdicts = [0, 1, 2, 3].map(|level| synchronous(level).verdict);
        assert_eq!(verdicts, [Verdict::Wrong, Verdict::Wrong, Verdict::Good, Verdict::Good]);
        assert!(synchronous(1).meaning.contains("somebody who signed out is signed in again"));
    }
}
