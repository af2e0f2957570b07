//! Store URLs: one way to name a store everywhere a store is named.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::percent::{decoded, encoded};
use super::{Finding, SessionStore, StoreError};
use crate::record::Clock;

/// Which store, and where: `sqlite:PATH`, `sqlite::memory:`, `memory:`,
/// `postgres://user:password@host/database`, `mysql://user:password@host/database` (also `mariadb:`),
/// `redis://:password@host`, `redis-sentinel://:password@host,host/primary` or
/// `redis-cluster://:password@host,host`.
///
/// `?table=NAME` names another table than `sessions`; in Redis, `?prefix=NAME` other keys than
/// `sessile:`. The values of options are percent-decoded, and a `+` is a plus sign.
///
/// The path of a SQLite file is taken literally: `sqlite:x.db` is relative, `sqlite:/x.db` absolute. Of other
/// libraries' spellings, those are read that mean the same everywhere: `sqlite://x.db`, `sqlite:////x.db` and
/// `sqlite:///:memory:`. `sqlite:///x.db` is refused, because it is relative in SQLAlchemy and absolute in sqlx.
///
/// A password is never shown, neither by `Display` nor by `Debug`, nor a piece of it by a [`StoreUrlError`]: what is
/// displayed has to be given the password again, by the environment or otherwise. In a password, write `/`, `?` and
/// `#` percent-encoded; a URL with an `@` behind its address is refused, because a password may end there.
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
        /// What stood before the colon; `(not shown)` if that cannot be a scheme, for it may be a password.
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
        /// Its name; `(not shown)` if it may be a piece of a password.
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

    /// Returns the path of a SQLite file.
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::SqliteFile(path) => Some(path),
            _ => None,
        }
    }

    /// Returns the schema of a PostgreSQL table, if the URL names one.
    pub fn database_schema(&self) -> Option<&str> {
        match &self.place {
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => address.schema.as_deref(),
            _ => None,
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
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match scheme {
            "postgres" | "postgresql" => postgres(text),
            "redis" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
            | "rediss-sentinel" | "redis+unix" | "unix" => redis(text),
            "mysql" | "mariadb" => mysql(text),
            "memory" => local(rest, |place| match place {
                "" => Ok(Place::Memory),
                _ => Err(unknown(scheme)),
            }),
            "sqlite" => local(rest, sqlite),
            _ => Err(unknown(scheme)),
        }
    }
}

/// A store that is in no other process: a place, and perhaps `?table=NAME`.
fn local(
    rest: &str,
    place: impl FnOnce(&str) -> Result<Place, StoreUrlError>,
) -> Result<StoreUrl, StoreUrlError> {
    let (address, options) = rest.split_once('?').unwrap_or((rest, ""));
    let place = place(address)?;
    let mut table = "sessions".to_owned();
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let unknown = || StoreUrlError::UnknownOption { option: option_name(option, options).to_owned() };
        let (key, value) = option.split_once('=').ok_or_else(unknown)?;
        match (key, decoded(value)) {
            ("table", Some(name)) if !name.is_empty() => table = name,
            ("table", None) => return Err(invalid("the table's name is not UTF-8")),
            _ => return Err(unknown()),
        }
    }
    Ok(StoreUrl { place, table })
}

/// Other libraries' spellings where they mean the same to all of them.
fn sqlite(address: &str) -> Result<Place, StoreUrlError> {
    let slashes = address.bytes().take_while(|&byte| byte == b'/').count();
    match (slashes, &address[slashes..]) {
        (0, "") => Err(StoreUrlError::NoPath),
        (0 | 2 | 3, ":memory:") => Ok(Place::SqliteMemory),
        (2 | 3, "") => Err(invalid(
            "it names no file: write sqlite:PATH, or sqlite::memory: for a database that is gone with the process",
        )),
        (0, path) if path.starts_with("file:") => Err(invalid("file: URIs are not read, write sqlite:PATH")),
        (slashes, path) if has_user(path, matches!(slashes, 2 | 3)) => Err(invalid(
            "a SQLite file has no host and no user, write sqlite:PATH; for a path that looks so, sqlite:./PATH",
        )),
        (2, path) => Ok(Place::SqliteFile(PathBuf::from(path))),
        (3, _) => Err(invalid(
            "after three slashes a path is relative in SQLAlchemy and absolute elsewhere: write sqlite:x.db for a \
             relative path, sqlite:/x.db or sqlite:////x.db for an absolute one",
        )),
        (4, path) => Ok(Place::SqliteFile(PathBuf::from(format!("/{path}")))),
        _ => Ok(Place::SqliteFile(PathBuf::from(address))),
    }
}

/// Whether this looks like `user:password@host`; a path may begin with `./` not to.
fn has_user(path: &str, is_address: bool) -> bool {
    let user = path.rsplit_once('@').filter(|_| !path.starts_with("./"));
    user.is_some_and(|(user, _)| is_address || user.contains(':'))
}

fn invalid(problem: &str) -> StoreUrlError {
    StoreUrlError::Invalid { store: "sqlite", problem: problem.to_owned() }
}

/// The scheme, unless it might be a piece of a password: then nothing is shown.
fn unknown(scheme: &str) -> StoreUrlError {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    let is_scheme = scheme.len() <= 32 && scheme.chars().all(is_plain);
    StoreUrlError::UnknownScheme { scheme: if is_scheme { scheme } else { NOT_SHOWN }.to_owned() }
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

const NOT_SHOWN: &str = "(not shown)";

/// An option's name, unless it might be a piece of a password: with an `@` in the options the password may reach into
/// them, and behind an option that looks like a password a `&` may be a part of that.
pub(super) fn option_name<'a>(option: &'a str, all: &str) -> &'a str {
    let name = option.split('=').next().unwrap_or_default();
    let plain = name.len() <= 32 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let mut before = all.split('&').take_while(|other| !std::ptr::eq(*other, option));
    let is_piece = all.contains('@') || before.any(is_secret);
    if plain && !is_piece { name } else { NOT_SHOWN }
}

/// Whether an option's name says that its value is a secret.
pub(super) fn is_secret(option: &str) -> bool {
    let name = decoded(option.split('=').next().unwrap_or_default()).map(|name| name.to_ascii_lowercase());
    name.is_none_or(|name| {
        ["pass", "pwd", "secret", "token", "auth", "feed_url"].iter().any(|word| name.contains(word))
    })
}

/// What a URL is refused with in which a password may reach beyond `user:password@host`.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "redis"))]
pub(super) const AMBIGUOUS: &str = "there is an @ behind the host, so that a password may end there: write / ? # and @ \
     as %2F %3F %23 and %40, but for the @ before the host";

/// Whether an `@` stands behind `user:password@host`: `after` is what follows.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "redis"))]
pub(super) fn is_ambiguous(rest: &str, authority: &str) -> bool {
    rest[authority.len()..].contains('@')
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
        if self.table == "sessions" { Ok(()) } else { write!(f, "?table={}", encoded(&self.table)) }
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
        for text in [
            "memory:",
            "sqlite::memory:",
            "sqlite:a b.db",
            "sqlite:/x/y.db?table=web_sessions",
            "sqlite:x.db?table=a b+c%2541%26",
        ] {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_sqlite_path_means_one_file_or_is_refused() {
        for (text, means) in [
            ("sqlite:x.db", "sqlite:x.db"),
            ("sqlite:/x.db", "sqlite:/x.db"),
            ("sqlite://x/y.db", "sqlite:x/y.db"),
            ("sqlite:////x/y.db?table=web", "sqlite:/x/y.db?table=web"),
            ("sqlite:/x/y@2030.db", "sqlite:/x/y@2030.db"),
            ("sqlite:./a:b@c.db", "sqlite:./a:b@c.db"),
            ("sqlite:///:memory:", "sqlite::memory:"),
            ("sqlite://:memory:", "sqlite::memory:"),
        ] {
            let url = text.parse::<StoreUrl>().unwrap();
            assert_eq!((url.to_string().as_str(), url.is_in_memory()), (means, text.contains(":memory:")));
        }
        for (text, says) in [
            ("sqlite:///x.db", "sqlite:/x.db or sqlite:////x.db for an absolute one"),
            ("sqlite://", "it names no file: write sqlite:PATH, or sqlite::memory:"),
            ("sqlite:///", "it names no file"),
            ("sqlite:file:x.db?mode=ro", "file: URIs are not read, write sqlite:PATH"),
            ("sqlite://ada:hunter2@h/x.db", "has no host and no user"),
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    /// One URL names one table in every command and on every store.
    #[test]
    fn the_values_of_options_are_decoded_on_every_store() {
        for (written, name) in
            [("a%20b", "a b"), ("a+b", "a+b"), ("%e4%b8%96", "\u{4e16}"), ("a%26b%3D", "a&b=")]
        {
            for address in ["sqlite:x.db", "memory:", "postgres://h/d", "mysql://h/d", "mariadb://h/d"] {
                match format!("{address}?table={written}").parse::<StoreUrl>() {
                    Ok(url) => assert_eq!(url.table(), name, "{address}"),
                    Err(StoreUrlError::NotBuilt { .. }) => {}
                    Err(error) => panic!("{address}: {error}"),
                }
            }
        }
        for address in ["sqlite:x.db", "postgres://h/d", "mysql://h/d"] {
            let read = format!("{address}?table=%ff").parse::<StoreUrl>();
            assert!(read.is_err(), "{address}: a table's name that is no text");
        }
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
            ("sqlite:x?tabel=y", "unknown option \"tabel\""),
            ("psql://h/d?password=hunter2", "unknown store \"psql\""),
            ("postgresql+asyncpg://ada:hunter2@h/d", "unknown store \"postgresql+asyncpg\""),
            ("hunter2@h/d", "unknown store \"(not shown)\""),
            ("sqlite:x?password=hun&ter2=x", "unknown option \"password\""),
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
