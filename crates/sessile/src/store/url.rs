//! Store URLs: one way to name a store everywhere a store is named.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::{Finding, SessionStore, StoreError};
use crate::record::Clock;

/// Which store, and where: `sqlite:PATH`, `sqlite::memory:`, `memory:`,
/// `postgres://user:password@host/database`, `mysql://user:password@host/database` (also `mariadb:`),
/// `redis://:password@host`, `redis-sentinel://:password@host,host/primary` or
/// `redis-cluster://:password@host,host`.
///
/// `?table=NAME` names another table than `sessions`; in Redis, `?prefix=NAME` other keys than
/// `sessile:`. A password is never shown, neither by `Display` nor by `Debug`: what is displayed has to be
/// given the password anew, by the environment or otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    place: Place,
    table: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Memory,
    SqliteMemory,
    SqliteFile(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Box<super::postgres::Address>),
    #[cfg(feature = "redis")]
    Redis(Box<super::redis::Address>),
    #[cfg(feature = "mysql")]
    MySql(Box<super::mysql::Address>),
}

/// The text names no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreUrlError {
    /// No such kind of store.
    #[error(
        "unknown store {scheme:?}: expected sqlite:PATH, sqlite::memory:, memory:, postgres://HOST/DATABASE, \
         mysql://HOST/DATABASE, redis://HOST, redis-sentinel://HOST,HOST/NAME or redis-cluster://HOST,HOST"
    )]
    UnknownScheme {
        /// What stood before the colon.
        scheme: String,
    },
    /// The kind of store is known and the feature for it is not compiled in.
    #[error("this program was built without the {feature:?} store: build it with that feature")]
    NotBuilt {
        /// The cargo feature.
        feature: &'static str,
    },
    /// Nothing after `sqlite:`.
    #[error("no path in the store URL: expected sqlite:PATH, for example sqlite:sessile.db")]
    NoPath,
    /// An option that does not exist.
    #[error("unknown option {option:?} in the store URL: expected for example ?table=NAME")]
    UnknownOption {
        /// The option.
        option: String,
    },
    /// The rest of the URL cannot be read.
    #[error("the {store} store URL cannot be read: {problem}")]
    Invalid {
        /// The kind of store.
        store: &'static str,
        /// What is wrong, without the URL, for there may be a password in it.
        problem: String,
    },
}

impl StoreUrl {
    /// Opens the store. Makes nothing but, for SQLite, the file: `init` makes the table.
    ///
    /// # Errors
    /// When the store cannot be reached or opened.
    pub async fn connect(&self) -> Result<Arc<dyn SessionStore>, StoreError> {
        self.open(true).await
    }

    /// Opens the store, and makes nothing at all: a SQLite file has to be there.
    ///
    /// # Errors
    /// When the store cannot be reached or opened, or is not there.
    pub async fn connect_existing(&self) -> Result<Arc<dyn SessionStore>, StoreError> {
        self.open(false).await
    }

    /// Looks at the store as it is: [`SessionStore::examine`], and a SQLite file keeps its journal mode,
    /// which opening changes. Makes nothing.
    ///
    /// # Errors
    /// When the store cannot be reached or opened, or is not there.
    pub async fn examine(&self, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
        match &self.place {
            #[cfg(feature = "sqlite")]
            Place::SqliteFile(path) => {
                super::SqliteStore::options().table(&self.table).examine(path, clock).await
            }
            #[cfg(feature = "redis")]
            Place::Redis(address) => super::RedisStore::options().examine(address, clock).await,
            _ => self.open(false).await?.examine(clock).await,
        }
    }

    /// What [`init`](SessionStore::init) would execute there, without opening anything. Empty for a store
    /// that needs no table.
    pub fn schema(&self) -> String {
        match &self.place {
            #[cfg(feature = "sqlite")]
            Place::SqliteMemory | Place::SqliteFile(_) => {
                super::SqliteStore::options().table(&self.table).schema()
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => super::PostgresStore::options().text(address),
            #[cfg(feature = "mysql")]
            Place::MySql(address) => super::MySqlStore::options().text(address),
            _ => String::new(),
        }
    }

    /// What [`init_feed`](SessionStore::init_feed) would execute there, without opening anything. Empty for a
    /// store that needs nothing for its feed, or has none.
    pub fn feed_schema(&self) -> String {
        match &self.place {
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => super::PostgresStore::options().feed_text(address),
            _ => String::new(),
        }
    }

    /// Whether what is stored there is gone with the process.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory | Place::SqliteMemory)
    }

    #[cfg_attr(not(feature = "sqlite"), allow(unused_variables, reason = "only a file can be made"))]
    async fn open(&self, create: bool) -> Result<Arc<dyn SessionStore>, StoreError> {
        match &self.place {
            Place::Memory => Ok(Arc::new(super::MemoryStore::new())),
            #[cfg(feature = "sqlite")]
            Place::SqliteMemory => {
                Ok(Arc::new(super::SqliteStore::options().table(&self.table).open_in_memory().await?))
            }
            #[cfg(feature = "sqlite")]
            Place::SqliteFile(path) => {
                let options = super::SqliteStore::options().table(&self.table).create(create);
                Ok(Arc::new(options.open(path).await?))
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => {
                Ok(Arc::new(super::PostgresStore::options().connect_to(address).await?))
            }
            #[cfg(feature = "redis")]
            Place::Redis(address) => Ok(Arc::new(super::RedisStore::options().connect_to(address).await?)),
            #[cfg(feature = "mysql")]
            Place::MySql(address) => Ok(Arc::new(super::MySqlStore::options().connect_to(address).await?)),
            #[cfg(not(feature = "sqlite"))]
            Place::SqliteMemory | Place::SqliteFile(_) => Err(StoreError::Unavailable {
                store: "sqlite",
                reason: StoreUrlError::NotBuilt { feature: "sqlite" }.to_string(),
                source: None,
            }),
        }
    }

    /// The table's name; `sessions` unless the URL says otherwise.
    pub fn table(&self) -> &str {
        &self.table
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<StoreUrl, StoreUrlError> {
        match text.split(':').next().unwrap_or_default() {
            "postgres" | "postgresql" => return postgres(text),
            "redis" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
            | "rediss-sentinel" | "redis+unix" | "unix" => return redis(text),
            "mysql" | "mariadb" => return mysql(text),
            _ => {}
        }
        let (address, options) = text.split_once('?').unwrap_or((text, ""));
        let mut table = "sessions".to_owned();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("table", name)) if !name.is_empty() => table = name.to_owned(),
                _ => return Err(StoreUrlError::UnknownOption { option: option.to_owned() }),
            }
        }
        let (scheme, rest) = address.split_once(':').unwrap_or((address, ""));
        let place = match (scheme, rest) {
            ("memory", "") => Place::Memory,
            ("sqlite", ":memory:") => Place::SqliteMemory,
            ("sqlite", "") => return Err(StoreUrlError::NoPath),
            ("sqlite", path) => Place::SqliteFile(PathBuf::from(path.strip_prefix("//").unwrap_or(path))),
            _ => return Err(StoreUrlError::UnknownScheme { scheme: scheme.to_owned() }),
        };
        Ok(StoreUrl { place, table })
    }
}

#[cfg(feature = "postgres")]
fn postgres(text: &str) -> Result<StoreUrl, StoreUrlError> {
    let address = super::postgres::Address::parse(text)?;
    let table = address.table.clone().unwrap_or_else(|| "sessions".to_owned());
    Ok(StoreUrl { place: Place::Postgres(Box::new(address)), table })
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &str) -> Result<StoreUrl, StoreUrlError> {
    Err(StoreUrlError::NotBuilt { feature: "postgres" })
}

#[cfg(feature = "redis")]
fn redis(text: &str) -> Result<StoreUrl, StoreUrlError> {
    let address = super::redis::Address::parse(text)?;
    Ok(StoreUrl { place: Place::Redis(Box::new(address)), table: "sessions".to_owned() })
}

#[cfg(not(feature = "redis"))]
fn redis(_: &str) -> Result<StoreUrl, StoreUrlError> {
    Err(StoreUrlError::NotBuilt { feature: "redis" })
}

#[cfg(feature = "mysql")]
fn mysql(text: &str) -> Result<StoreUrl, StoreUrlError> {
    let address = super::mysql::Address::parse(text)?;
    let table = address.table.clone().unwrap_or_else(|| "sessions".to_owned());
    Ok(StoreUrl { place: Place::MySql(Box::new(address)), table })
}

#[cfg(not(feature = "mysql"))]
fn mysql(_: &str) -> Result<StoreUrl, StoreUrlError> {
    Err(StoreUrlError::NotBuilt { feature: "mysql" })
}

/// An option's name, unless it might be a piece of a password.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "redis"))]
pub(super) fn option_name<'a>(option: &'a str, all: &str) -> &'a str {
    let name = option.split('=').next().unwrap_or_default();
    let plain = name.len() <= 32 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if plain && !all.contains('@') { name } else { "(not shown)" }
}

/// A URL to type into a shell.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn for_shell(url: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%,=".contains(c);
    match url.chars().all(plain) {
        true => url.to_owned(),
        false => format!("'{}'", url.replace('\'', r"'\''")),
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Memory => f.write_str("memory:"),
            Place::SqliteMemory => f.write_str("sqlite::memory:"),
            Place::SqliteFile(path) => write!(f, "sqlite:{}", path.display()),
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => return address.fmt(f),
            #[cfg(feature = "redis")]
            Place::Redis(address) => return address.fmt(f),
            #[cfg(feature = "mysql")]
            Place::MySql(address) => return address.fmt(f),
        }?;
        if self.table == "sessions" { Ok(()) } else { write!(f, "?table={}", self.table) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "postgres")]
    #[test]
    fn the_schema_of_a_server_needs_no_server() {
        let url: StoreUrl = "postgres://h/d?table=web&schema=s".parse().unwrap();
        assert!(url.schema().starts_with("CREATE TABLE IF NOT EXISTS \"s\".\"web\" ("));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_postgres_url_keeps_its_password_to_itself() {
        let text = "postgresql://ada:hunter2@db.example:5433/shop?table=web&schema=s";
        let url: StoreUrl = text.parse().unwrap();
        let shown = "postgres://ada@db.example:5433/shop?table=web&schema=s";
        assert_eq!((url.to_string().as_str(), url.table()), (shown, "web"));
        assert!(!format!("{url:?}").contains("hunter2"));
    }

    #[cfg(feature = "redis")]
    #[test]
    fn a_redis_url_keeps_its_password_to_itself() {
        for (text, shown) in [
            ("redis://:hunter2@cache.example:6380/2?prefix=web:", "redis://cache.example:6380/2?prefix=web:"),
            ("rediss-cluster://ada:hunter2@a,b:1", "rediss-cluster://ada@a,b:1"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.schema().as_str()), (shown, ""));
            assert!(!format!("{url:?}").contains("hunter2"));
        }
    }

    #[cfg(not(feature = "redis"))]
    #[test]
    fn a_redis_store_that_is_not_built_in_is_named() {
        for text in ["redis://:hunter2@h", "rediss-cluster://:hunter2@h"] {
            let error = text.parse::<StoreUrl>().unwrap_err();
            assert_eq!(error, StoreUrlError::NotBuilt { feature: "redis" });
        }
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn a_mysql_url_keeps_its_password_to_itself() {
        for scheme in ["mysql", "mariadb"] {
            let url: StoreUrl =
                format!("{scheme}://ada:hunter2@db.example:3307/shop?table=web").parse().unwrap();
            assert_eq!(url.to_string(), "mysql://ada@db.example:3307/shop?table=web");
            assert_eq!(url.table(), "web");
            assert!(!format!("{url:?}").contains("hunter2"));
            assert!(url.schema().starts_with("CREATE TABLE IF NOT EXISTS `web` ("));
        }
    }

    #[cfg(not(feature = "mysql"))]
    #[test]
    fn a_mysql_store_that_is_not_built_in_is_named() {
        for text in ["mysql://ada:hunter2@h/d", "mariadb://ada:hunter2@h/d"] {
            let error = text.parse::<StoreUrl>().unwrap_err();
            assert_eq!(error, StoreUrlError::NotBuilt { feature: "mysql" });
        }
    }

    #[cfg(not(feature = "postgres"))]
    #[test]
    fn a_store_that_is_not_built_in_is_named() {
        let error = "postgres://ada:hunter2@h/d".parse::<StoreUrl>().unwrap_err();
        assert_eq!(error, StoreUrlError::NotBuilt { feature: "postgres" });
    }

    #[test]
    fn reads_what_it_writes() {
        for text in ["memory:", "sqlite::memory:", "sqlite:a b.db", "sqlite:/x/y.db?table=web_sessions"] {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), text);
        }
        assert_eq!("sqlite:///x/y.db".parse::<StoreUrl>().unwrap().to_string(), "sqlite:/x/y.db");
    }

    #[test]
    fn the_schema_needs_no_file() {
        assert_eq!("memory:".parse::<StoreUrl>().unwrap().schema(), "");
        #[cfg(feature = "sqlite")]
        assert!(
            "sqlite:no/such/dir?table=web"
                .parse::<StoreUrl>()
                .unwrap()
                .schema()
                .contains("TABLE IF NOT EXISTS \"web\"")
        );
    }

    #[test]
    fn says_what_is_wrong_and_what_would_be_right() {
        for (text, says) in [
            ("oracle:x", "unknown store \"oracle\": expected sqlite:PATH"),
            ("sessile.db", "unknown store \"sessile.db\": expected sqlite:PATH"),
            ("sqlite:", "no path in the store URL: expected sqlite:PATH"),
            ("sqlite:x?tabel=y", "unknown option \"tabel=y\""),
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
