//! What the server and the way to it report, as the store's errors: what is wrong, where, and what
//! would be right. Never what a row holds: what the server quotes of it is left out, and so is the
//! password.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use mysql_async::{DriverError, IoError, ServerError};

use super::tunnel::Failure;
use crate::record::InvalidUserId;
use crate::store::StoreError;
use crate::store::limit::TimeLimit;
use crate::store::tls;
use crate::store::url::for_shell;
use crate::store::user_column::UserColumn;

pub(super) const NAME: &str = "mysql";

/// Which database and which table: what a message about it has to name.
#[derive(Debug)]
pub(super) struct Place {
    /// `host:port/database`.
    pub(super) server: String,
    /// The store URL without its password.
    pub(super) url: String,
    /// As SQL reads it.
    pub(super) table: String,
    /// How long an answer may take.
    pub(super) limit: TimeLimit,
    /// How long a write waits for a row that somebody else has locked: the server counts seconds.
    pub(super) lock_wait: Duration,
    /// Digits of a fraction of a second that `expires_at` keeps.
    pub(super) digits: AtomicU32,
    /// Bytes that `data` holds.
    pub(super) data: AtomicU64,
    /// How wide `user_id` is.
    pub(super) user: UserColumn,
    /// Bytes that the server takes in one message.
    pub(super) packet: AtomicU64,
}

/// What went wrong. It can be told to many callers, which an error cannot.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// There is no connection, and nothing was sent.
    Away(String),
    /// The connection broke with the answer outstanding.
    Cut(String),
    /// No answer in time.
    Slow,
    /// The server refused.
    Refused(Refusal),
    /// The column does not hold the user id: nothing was sent, or the server refused it.
    UserId(InvalidUserId),
    /// Anything else, such as an answer that makes no sense.
    Other(String),
}

/// The server's own words, without what it quotes.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) code: u16,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error {})", self.message, self.code)
    }
}

impl Error for Refusal {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused(refusal) => refusal.fmt(f),
            Fault::Slow => f.write_str("no answer in time"),
            Fault::UserId(error) => error.fmt(f),
            Fault::Away(why) | Fault::Cut(why) | Fault::Other(why) => f.write_str(why),
        }
    }
}

/// The server's error numbers, by what they mean here.
mod code {
    pub(super) const TAKEN: &[u16] = &[1062, 1586];
    /// Deadlock; "record has changed since last read".
    pub(super) const COLLISION: &[u16] = &[1213, 1020];
    pub(super) const LOCKED: &[u16] = &[1205, 3572];
    /// Unknown statement; "needs to be re-prepared".
    pub(super) const STALE: &[u16] = &[1243, 1615];
    /// The server shuts down, has killed the connection or has waited too long for us; and it was the
    /// primary and is so no longer: another connection may find the new one.
    pub(super) const ENDS: &[u16] = &[1053, 1152, 1158, 1159, 1160, 1161, 1927, 3169, 4031, 1290, 1792, 1836];
    /// Access denied, host not allowed, no such database, account locked, password expired.
    pub(super) const LETS_NOBODY_IN: &[u16] =
        &[1044, 1045, 1049, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 4151];
    pub(super) const NO_TABLE: &[u16] = &[1146];
    pub(super) const NO_COLUMN: &[u16] = &[1054];
    pub(super) const NO_RIGHT: &[u16] = &[1142, 1143];
    pub(super) const TOO_LONG: &[u16] = &[1406];
    pub(super) const FULL: &[u16] = &[1021, 1114];
    /// Too many connections, of all or of ours; interrupted; too slow for the server; packet too large
    /// for now.
    pub(super) const BUSY: &[u16] = &[1040, 1203, 1226, 1317, 1969, 3024, 1461];
}

impl From<mysql_async::Error> for Fault {
    fn from(error: mysql_async::Error) -> Fault {
        match error {
            mysql_async::Error::Server(ServerError { code, message, .. }) => {
                let refusal = Refusal { code, message: redacted(code, &message) };
                match code::ENDS.contains(&code) {
                    true => Fault::Cut(refusal.to_string()),
                    false => Fault::Refused(refusal),
                }
            }
            mysql_async::Error::Io(IoError::Io(error)) => Fault::Cut(error.to_string()),
            mysql_async::Error::Driver(DriverError::ConnectionClosed) => {
                Fault::Cut("the server hung up".to_owned())
            }
            mysql_async::Error::Driver(DriverError::PacketTooLarge) => Fault::too_large(),
            // What these hold may be a row or a parameter.
            mysql_async::Error::Driver(
                DriverError::FromRow { .. }
                | DriverError::FromValue { .. }
                | DriverError::UnexpectedPacket { .. },
            ) => Fault::Other("the server's answer makes no sense".to_owned()),
            other => Fault::Other(words(&other)),
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        match failure {
            Failure::Unsupported => {
                Fault::Other("the server does not support TLS, which the URL demands".to_owned())
            }
            Failure::Driver(error) => Fault::from(error),
            Failure::Io(error) => match tls::explained(&error) {
                Some(explained) => Fault::Cut(explained.to_owned()),
                None => Fault::Cut(words(&error)),
            },
        }
    }
}

/// An error with its causes, in one line.
fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !words.contains(&said) {
            words = format!("{words}: {said}");
        }
        cause = error.source();
    }
    words
}

/// The message without its quotations, which may be a piece of a row. Messages that quote only names stay whole.
fn redacted(code: u16, message: &str) -> String {
    let names: [&[u16]; 5] =
        [code::LETS_NOBODY_IN, code::NO_TABLE, code::NO_COLUMN, code::NO_RIGHT, code::TOO_LONG];
    if names.iter().any(|codes| codes.contains(&code)) {
        return message.to_owned();
    }
    without_quotations(message)
}

/// The text with everything from its first quotation mark to its last replaced: a quoted value may itself hold
/// quotation marks, and the end of a long message is cut off.
fn without_quotations(message: &str) -> String {
    let mut before = None;
    let opening = message.char_indices().find(|&(at, character)| {
        let before = before.replace(character);
        let after = message[at..].chars().nth(1);
        character == '\'' && !(before.is_some_and(is_latin) && after.is_some_and(is_latin))
    });
    let Some((opening, _)) = opening else { return message.to_owned() };
    let rest = &message[opening + 1..];
    let closing = rest.rfind('\'').map_or("", |closing| &rest[closing + 1..]);
    format!("{}'…'{closing}", &message[..opening])
}

/// Between two of these stands an apostrophe: `Can't`, `d'accès`. Messages in other scripts quote without blanks.
fn is_latin(character: char) -> bool {
    character < '\u{250}' && character.is_alphabetic()
}

impl Fault {
    pub(super) fn too_large() -> Fault {
        let why = "it is larger than the server's max_allowed_packet: raise that, or store less";
        Fault::Other(why.to_owned())
    }

    /// Whether the database undid the write for the sake of others: it may be tried again at once.
    pub(super) fn is_collision(&self) -> bool {
        self.is(code::COLLISION)
    }

    /// Whether somebody else held the lock for too long.
    pub(super) fn is_locked(&self) -> bool {
        self.is(code::LOCKED)
    }

    /// Whether a row with that id is there already.
    pub(super) fn is_taken(&self) -> bool {
        self.is(code::TAKEN)
    }

    /// Whether the connection has lost a prepared statement: nothing was done.
    pub(super) fn is_stale(&self) -> bool {
        self.is(code::STALE)
    }

    /// Whether we may not do that.
    pub(super) fn is_forbidden(&self) -> bool {
        self.is(code::NO_RIGHT)
    }

    /// Whether the server did not accept the user, the password or the database.
    pub(super) fn is_not_let_in(&self) -> bool {
        self.is(code::LETS_NOBODY_IN)
    }

    /// Whether an index of that name is there already.
    pub(super) fn is_index_there(&self) -> bool {
        self.is(&[1061])
    }

    /// Whether a text was longer than its column.
    pub(super) fn is_too_long(&self) -> bool {
        self.is(code::TOO_LONG)
    }

    /// Whether the way to the server is what failed, so that nothing can be known of the statement.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Fault::Away(_) | Fault::Cut(_) | Fault::Slow)
    }

    fn is(&self, codes: &[u16]) -> bool {
        matches!(self, Fault::Refused(refusal) if codes.contains(&refusal.code))
    }
}

impl Place {
    /// The error for what happened while the store was to `action`.
    pub(super) fn error(&self, action: &str, fault: Fault) -> StoreError {
        match fault {
            Fault::Away(why) => unavailable(format!("no connection to {}: {why}", self.server)),
            Fault::Cut(why) => unavailable(format!(
                "the connection to {} broke in the middle, a write may be made or not: {why}",
                self.server
            )),
            Fault::Slow => StoreError::Timeout { store: NAME, after: self.limit.length() },
            Fault::Other(what) => backend(action, what),
            Fault::UserId(error) => error.into(),
            Fault::Refused(refusal) => self.refused(action, refusal),
        }
    }

    fn refused(&self, action: &str, refusal: Refusal) -> StoreError {
        let is = |codes: &[u16]| codes.contains(&refusal.code);
        if is(code::NO_TABLE) {
            return self.no_table();
        }
        if is(code::NO_COLUMN) {
            // `Unknown column 'x' in 'field list'`
            return self.no_column(refusal.message.split('\'').nth(1).unwrap_or("?"));
        }
        if is(code::NO_RIGHT) {
            return self.no_right(refusal.message);
        }
        if is(code::TOO_LONG) {
            return self.too_small(&refusal.message);
        }
        if is(code::LOCKED) {
            return self.locked();
        }
        let reason = format!("{}: {}", self.server, refusal.message);
        if is(code::LETS_NOBODY_IN) {
            return StoreError::Refused { store: NAME, reason, source: Some(refusal.into()) };
        }
        if is(code::FULL) {
            let reason = format!("no room on the disk of {}: free some", self.server);
            return StoreError::Full { store: NAME, reason, source: Some(refusal.into()) };
        }
        if is(code::BUSY) || is(code::COLLISION) {
            return StoreError::Unavailable { store: NAME, reason, source: Some(refusal.into()) };
        }
        backend(action, refusal)
    }

    /// The error for a write whose row another transaction had locked all the time.
    pub(super) fn locked(&self) -> StoreError {
        let waited = self.lock_wait.as_millis();
        unavailable(format!("the row is locked by another transaction, waited {waited} ms"))
    }

    pub(super) fn no_table(&self) -> StoreError {
        StoreError::Schema {
            problem: format!("no table {} in {}", self.table, self.server),
            remedy: self.init(),
        }
    }

    /// What makes the table and the indexes that are missing.
    pub(super) fn init(&self) -> String {
        format!("run `sessile init --store {}`, or call `init()`", for_shell(&self.url))
    }

    pub(super) fn no_column(&self, column: &str) -> StoreError {
        StoreError::Schema {
            problem: format!("no column {column:?} in the table {} in {}", self.table, self.server),
            remedy: "add it, or name another table: the columns are id, user_id, data, created_at, \
                expires_at and updated_at"
                .to_owned(),
        }
    }

    pub(super) fn wrong_column(&self, column: &str, is: &str, wanted: &str) -> StoreError {
        StoreError::Schema {
            problem: format!(
                "the column {column:?} of the table {} in {} is of type {is}",
                self.table, self.server
            ),
            remedy: format!("make it {wanted}"),
        }
    }

    pub(super) fn id_not_unique(&self) -> StoreError {
        StoreError::Schema {
            problem: format!(
                "the column \"id\" of the table {} in {} is neither primary key nor unique",
                self.table, self.server
            ),
            remedy: "make it the primary key".to_owned(),
        }
    }

    pub(super) fn wrong_engine(&self, engine: &str) -> StoreError {
        StoreError::Schema {
            problem: format!(
                "the table {} in {} is kept by {engine}, which has no transactions",
                self.table, self.server
            ),
            remedy: format!("ALTER TABLE {} ENGINE=InnoDB", self.table),
        }
    }

    /// The server's message alone says which column it is.
    fn too_small(&self, message: &str) -> StoreError {
        StoreError::Schema {
            problem: format!(
                "a column of the table {} in {} is too small, and nothing was stored: {message}",
                self.table, self.server
            ),
            remedy: format!(
                "ALTER TABLE {} MODIFY data MEDIUMTEXT, or bound the data with `max_data_bytes`",
                self.table
            ),
        }
    }

    fn no_right(&self, problem: String) -> StoreError {
        StoreError::Schema {
            problem: format!("{problem} in {}", self.server),
            remedy: format!(
                "as an administrator: GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO the user of the URL",
                self.table
            ),
        }
    }
}

pub(super) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { store: NAME, reason: reason.into(), source: None }
}

pub(super) fn backend(action: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Backend { store: NAME, action: action.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [S14]
    #[test]
    fn what_the_server_quotes_of_a_row_is_left_out() {
        let said = "Incorrect string value: '\\xF0\\x9F\\x91' for column `d`.`t`.`data` at row 1";
        assert_eq!(redacted(1366, said), "Incorrect string value: '…' for column `d`.`t`.`data` at row 1");
        assert_eq!(redacted(1054, "Unknown column 'x' in 'WHERE'"), "Unknown column 'x' in 'WHERE'");
        assert_eq!(redacted(1105, "cut 'off"), "cut '…'");
        // A value that holds the mark itself.
        assert_eq!(redacted(1366, "Incorrect value: 'a' or 'b' for x"), "Incorrect value: '…' for x");
        assert_eq!(redacted(1062, "重复条目'abc' 用于键'k'"), "重复条目'…'");
    }

    #[test]
    fn an_apostrophe_is_not_a_quotation_mark() {
        let said = "Can't create more than max_prepared_stmt_count statements (current value: 16382)";
        assert_eq!(redacted(1461, said), said);
        assert_eq!(redacted(1032, "Can't find record in 'sessions'"), "Can't find record in '…'");
        assert_eq!(redacted(1021, "Erreur d'écriture du fichier 'x'"), "Erreur d'écriture du fichier '…'");
    }
}
