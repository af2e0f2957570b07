//! The session variables of every connection.
//!
//! The configuration of the server, `SET GLOBAL` and `init_connect` give each new connection its session
//! variables, and some of them change what a statement does: `completion_type = CHAIN` opens a transaction after
//! each commit, `sql_select_limit = 1` ends one session of a user who has twelve. So each connection sets all
//! variables of this file before its first statement, to fixed values: `DEFAULT` is the global value, which is
//! what others have set.
//!
//! Left to the server are variables that only change speed or memory (`optimizer_switch`, `big_tables`), that
//! only concern functions which no statement here uses (`group_concat_max_len`, `div_precision_increment`), that
//! end idle connections (`wait_timeout`, which is read), and that need a right of their own (`sql_log_bin`).

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

/// A variable and its value.
type Setting = (&'static str, &'static str);

/// Text is UTF-8 in both directions, and compared by its bytes where no column decides.
const CHARACTERS: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_bin";

/// Variables of both servers.
const BOTH: [Setting; 10] = [
    // COMMIT and ROLLBACK open no transaction (1, CHAIN) and do not disconnect (2, RELEASE).
    ("completion_type", "0"),
    // A statement outside a transaction is committed when it ends.
    ("autocommit", "1"),
    // No SELECT without a LIMIT loses rows.
    ("sql_select_limit", "18446744073709551615"),
    // No statement is refused for the rows that it might examine.
    ("sql_big_selects", "1"),
    // An UPDATE or DELETE without a key is not refused: a table may lack the index.
    ("sql_safe_updates", "0"),
    // `IS NULL` finds NULL and nothing else.
    ("sql_auto_is_null", "0"),
    // ORDER BY compares whole ids: pages of a listing depend on it.
    ("max_sort_length", "1024"),
    // A foreign key to or from the table works: `ON DELETE CASCADE` deletes.
    ("foreign_key_checks", "1"),
    // An insert into an empty table locks rows and is undone by rows: with 0, MariaDB undoes the whole table.
    ("unique_checks", "1"),
    // Values of TIMESTAMP columns, and the functions of time, are in UTC.
    ("time_zone", "'+00:00'"),
];

/// What does not fit is an error, and so is an engine that is not there. Fractions of a second that a column does
/// not keep are cut. No other mode is on, such as `ANSI_QUOTES` or `PAD_CHAR_TO_FULL_LENGTH`. The server cancels no
/// statement that takes long: the store has a time limit of its own for all but listings and purges.
const MARIADB: [Setting; 2] =
    [("sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"), ("max_statement_time", "0")];

/// The same for MySQL, which rounds fractions unless it is told to cut them.
const MYSQL: [Setting; 2] = [
    ("sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,TIME_TRUNCATE_FRACTIONAL'"),
    ("max_execution_time", "0"),
];

/// A statement sees what is committed when it begins, and may write.
const TRANSACTIONS: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE";

/// What `init_connect` may have begun.
const ROLLBACK: &str = "ROLLBACK";

const SERVER: &str = "SELECT VERSION(), @@max_allowed_packet, @@wait_timeout";

/// What a connection learns about its server.
pub(super) struct Server {
    pub(super) version: Version,
    /// The largest message that the server accepts, in bytes.
    pub(super) packet: u64,
    /// The server closes a connection that idles for longer.
    pub(super) wait_timeout: Duration,
}

/// Sets all variables, and returns what the server is.
pub(super) async fn apply(conn: &mut Conn) -> Result<Server, mysql_async::Error> {
    for statement in [CHARACTERS, &set(&BOTH), ROLLBACK] {
        conn.query_drop(statement).await?;
    }
    let server: Option<(String, u64, u64)> = conn.query_first(SERVER).await?;
    let (version, packet, seconds) =
        server.ok_or_else(|| mysql_async::Error::Other("the server does not tell its version".into()))?;
    let version = Version::parse(&version);
    let own = if version.is_mariadb { &MARIADB } else { &MYSQL };
    for statement in [&set(own), TRANSACTIONS] {
        conn.query_drop(statement).await?;
    }
    Ok(Server { version, packet, wait_timeout: Duration::from_secs(seconds) })
}

/// How long a statement waits for locks on rows, and for locks on the table, in whole seconds.
pub(super) fn lock_waits(rows: u64, table: u64) -> String {
    format!("SET SESSION innodb_lock_wait_timeout = {rows}, lock_wait_timeout = {table}")
}

fn set(settings: &[Setting]) -> String {
    let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!("SET SESSION {}", settings.join(", "))
}

/// Which server it is, and of which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) is_mariadb: bool,
    number: (u32, u32),
}

impl Version {
    /// `8.0.36`, `10.11.6-MariaDB-0+deb12u1`.
    fn parse(text: &str) -> Version {
        let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Version { is_mariadb: text.to_ascii_lowercase().contains("mariadb"), number }
    }

    /// Whether a SELECT can skip rows that others have locked.
    pub(super) fn skips_locked(self) -> bool {
        self.number >= if self.is_mariadb { (10, 6) } else { (8, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart() {
        for (text, is_mariadb, skips) in [
            ("8.0.36", false, true),
            ("9.1.0-commercial", false, true),
            ("5.7.44-log", false, false),
            ("10.11.6-MariaDB-0+deb12u1", true, true),
            ("10.5.23-MariaDB-log", true, false),
            ("11.4.2-MariaDB", true, true),
            ("?", false, false),
        ] {
            let version = Version::parse(text);
            assert_eq!((version.is_mariadb, version.skips_locked()), (is_mariadb, skips), "{text}");
        }
    }
}
