//! What Redis and the way to it report, as the store's errors: what is wrong, where, and what would be
//! right. Never what a row holds, and never the password.

use std::error::Error;
use std::fmt;

use redis::{ErrorKind, RedisError, Value};

use super::connect::Endpoint;
use crate::store::StoreError;
use crate::store::limit::TimeLimit;

pub(super) const NAME: &str = "redis";

/// What would give a user the rights that the store needs.
pub(super) const RIGHTS: &str = "as its administrator: ACL SETUSER the user of the URL with +@read +@write \
    +@scripting +@connection +info on all keys that begin with the prefix";

/// Which server: what a message about it has to name.
#[derive(Debug)]
pub(super) struct Place {
    /// `host:port/database`, or the hosts of a Cluster.
    pub(super) server: String,
    /// How long an answer may take.
    pub(super) limit: TimeLimit,
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
    /// The server cannot keep sessions: what is wrong with it, and what would be right.
    Unfit { problem: String, remedy: String },
    /// Anything else, such as an answer that makes no sense.
    Other(String),
}

/// The server's own words.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    code: String,
    message: String,
}

impl Refusal {
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Whether the credentials are refused: a password that was changed while the store was open, for example.
    fn is_of_login(&self) -> bool {
        matches!(&*self.code, "WRONGPASS" | "NOAUTH" | "DENIED")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

impl Error for Refusal {}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Fault {
        if error.is_timeout() {
            return Fault::Slow;
        }
        match (error.kind(), error.code()) {
            (ErrorKind::Io | ErrorKind::Parse, _) => Fault::Cut(words(&error)),
            (ErrorKind::Server(_) | ErrorKind::Extension, Some(code)) => {
                let said = error.detail().unwrap_or_default();
                // General errors quote arguments, which may be anything.
                let said = match code {
                    "ERR" => said.split(['\'', '"', '`']).next().unwrap_or_default(),
                    _ => said,
                };
                Fault::Refused(Refusal { code: code.to_owned(), message: said.trim_end().to_owned() })
            }
            _ => Fault::Other(words(&error)),
        }
    }
}

/// An error with its causes, in one line.
pub(super) fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let further = error.to_string();
        // Its errors often repeat their cause.
        if !words.contains(&further) {
            words = format!("{words}: {further}");
        }
        cause = error.source();
    }
    words
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Away(why) | Fault::Cut(why) | Fault::Other(why) => f.write_str(why),
            Fault::Slow => f.write_str("no answer in time"),
            Fault::Refused(refusal) => refusal.fmt(f),
            Fault::Unfit { problem, remedy } => write!(f, "{problem} ({remedy})"),
        }
    }
}

impl Fault {
    /// The same, from an attempt to connect: nothing of ours was sent.
    pub(super) fn unsent(self) -> Fault {
        match self {
            Fault::Cut(why) => Fault::Away(why),
            Fault::Slow => Fault::Away("it cannot be made in time".to_owned()),
            fault => fault,
        }
    }

    /// The same, from an attempt to connect again: whatever the server says, it cannot be reached.
    pub(super) fn unreachable(self) -> Fault {
        match self {
            Fault::Away(_) => self,
            fault => Fault::Away(fault.to_string()),
        }
    }

    /// The same, with the node of a Cluster that it is about.
    pub(super) fn at(self, node: &Endpoint) -> Fault {
        match self {
            Fault::Away(why) => Fault::Away(format!("{node}: {why}")),
            Fault::Cut(why) => Fault::Cut(format!("{node}: {why}")),
            fault => fault,
        }
    }

    /// Whether the same request may be answered a moment later, here or by another node of the Cluster.
    pub(super) fn passes_in_a_cluster(&self) -> bool {
        match self {
            Fault::Away(_) | Fault::Cut(_) | Fault::Slow => true,
            Fault::Refused(Refusal { code, .. }) => matches!(
                &**code,
                "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY"
            ),
            Fault::Other(_) | Fault::Unfit { .. } => false,
        }
    }

    /// Whether the server does not know the script: nothing was done.
    pub(super) fn is_unknown_script(&self) -> bool {
        matches!(self, Fault::Refused(Refusal { code, .. }) if code == "NOSCRIPT")
    }

    /// Whether the key holds something that is no row.
    pub(super) fn is_wrong_type(&self) -> bool {
        matches!(self, Fault::Refused(Refusal { code, .. }) if code == "WRONGTYPE")
    }

    /// Whether the connection it came over is worth nothing any more.
    pub(super) fn ends_the_connection(&self) -> bool {
        match self {
            Fault::Cut(_) | Fault::Slow => true,
            // A primary that has become a replica, or a user who is no longer logged in: another connection may
            // find the new one, or be let in.
            Fault::Refused(Refusal { code, .. }) => matches!(&**code, "READONLY" | "NOAUTH"),
            Fault::Away(_) | Fault::Other(_) | Fault::Unfit { .. } => false,
        }
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
            Fault::Refused(refusal) => self.refused(action, refusal),
            Fault::Unfit { problem, remedy } => StoreError::Unsupported { store: NAME, problem, remedy },
        }
    }

    /// The error for what happened when the store was opened.
    pub(super) fn opening_error(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Refused(refusal) if refusal.is_of_login() => StoreError::Refused {
                store: NAME,
                reason: format!("{}: {refusal}", self.server),
                source: Some(refusal.into()),
            },
            fault => self.error(&format!("connect to {}", self.server), fault),
        }
    }

    fn refused(&self, action: &str, refusal: Refusal) -> StoreError {
        let reason = format!("{}: {refusal}", self.server);
        match &*refusal.code {
            "OOM" => StoreError::Full {
                store: NAME,
                reason: format!("{} has no memory left: purge, or raise its maxmemory", self.server),
                source: Some(refusal.into()),
            },
            // Loading, failing over, without enough replicas, unable to persist, busy with a script; a password
            // that is about to be changed here, too.
            "WRONGPASS" | "NOAUTH" | "DENIED" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN"
            | "MOVED" | "ASK" | "READONLY" | "NOREPLICAS" | "MISCONF" | "BUSY" | "UNBLOCKED" => {
                StoreError::Unavailable { store: NAME, reason, source: Some(refusal.into()) }
            }
            "NOPERM" => StoreError::Schema {
                problem: format!("{refusal} in {}", self.server),
                remedy: RIGHTS.to_owned(),
            },
            _ => backend(action, refusal),
        }
    }
}

pub(super) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { store: NAME, reason: reason.into(), source: None }
}

pub(super) fn backend(action: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Backend { store: NAME, action: action.to_owned(), source: source.into() }
}

/// An answer that is an error is one.
pub(super) fn answer(value: Value) -> Result<Value, Fault> {
    match value {
        Value::ServerError(error) => Err(RedisError::from(error).into()),
        value => Ok(value),
    }
}

pub(super) fn strange() -> Fault {
    Fault::Other("the server's answer is not what was asked for".to_owned())
}
