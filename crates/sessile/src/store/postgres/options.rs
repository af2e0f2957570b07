//! How to connect to a PostgreSQL store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::PostgresStore;
use super::address::{Address, Destination};
use super::fault::{Fault, Place, backend, unavailable};
use super::link::{self, Dialler, Target};
use super::schema;
use super::sql::{MAX_NAME_BYTES, Sql};
use super::tls;
use crate::store::limit::TimeLimit;
use crate::store::setting::DEADLINES;
use crate::store::user_column::UserColumn;
use crate::store::{SettingError, StoreError};

/// Options for connecting to a [`PostgresStore`]: start with [`PostgresStore::options`]. What the URL
/// says counts more.
#[derive(Debug, Clone)]
#[must_use]
pub struct PostgresOptions {
    table: String,
    schema: Option<String>,
    connections: usize,
    timeout: Duration,
    pooled: bool,
    feed_url: Option<FeedUrl>,
}

/// A URL that no log shows.
#[derive(Clone)]
struct FeedUrl(String);

impl fmt::Debug for FeedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[not shown]")
    }
}

impl Default for PostgresOptions {
    fn default() -> PostgresOptions {
        PostgresOptions {
            table: "sessions".to_owned(),
            schema: None,
            connections: 2,
            timeout: Duration::from_secs(5),
            pooled: false,
            feed_url: None,
        }
    }
}

impl PostgresOptions {
    /// The table's name, `sessions` by default. Any name of up to 63 bytes will do, it is quoted.
    pub fn table(mut self, name: impl Into<String>) -> PostgresOptions {
        self.table = name.into();
        self
    }

    /// The schema that the table is in. Without one the table is looked for along the user's
    /// `search_path`.
    pub fn schema(mut self, name: impl Into<String>) -> PostgresOptions {
        self.schema = Some(name.into());
        self
    }

    /// Connections for loads, 2 by default, at least one. Requests share them, so few are enough; each
    /// keeps one process of the server busy. There are four more (two for writes, one for ending a user's
    /// sessions, one for counts and purges), and up to three that are made when first needed: for listings,
    /// and while rows are locked by other programs.
    pub fn connections(mut self, connections: usize) -> PostgresOptions {
        self.connections = connections;
        self
    }

    /// How long a load or a write may take, and how long a caller waits for a connection that is being
    /// made, 5 s by default; at least one millisecond, at most a day. A connection without an answer for that long is given up. A write that
    /// finds its row locked is [`Unavailable`](StoreError::Unavailable) after four fifths of it.
    pub fn timeout(mut self, timeout: Duration) -> PostgresOptions {
        self.timeout = timeout;
        self
    }

    /// Expects a pooler in transaction mode, such as PgBouncer with `pool_mode = transaction`, which serves each
    /// transaction by another process of the server. Statements are then planned each time, every transaction
    /// makes its own settings (SET LOCAL), and nothing is left to the next program that the process serves. The
    /// feed of changes needs a [URL of its own](Self::feed_url). Without this, such a pooler is refused with
    /// [`StoreError::Unsupported`]; one in session mode needs no option.
    pub fn transaction_pooler(mut self) -> PostgresOptions {
        self.pooled = true;
        self
    }

    /// Where the feed of changes listens: a URL of the same database that leads to the server itself, because
    /// a pooler in transaction mode passes no notifications on. Only the connection is taken from it.
    pub fn feed_url(mut self, url: impl Into<String>) -> PostgresOptions {
        self.feed_url = Some(FeedUrl(url.into()));
        self
    }

    /// Connects to the server that this URL names, `postgres://user:password@host:port/database`; the
    /// table is made by [`init`](crate::store::SessionStore::init).
    ///
    /// Characters that mean something in a URL are percent-encoded (`/` in a password as `%2F`). Several
    /// hosts, separated by commas, are tried in turn; add `?target_session_attrs=read-write` to reach
    /// the one that is the primary. `?host=/var/run/postgresql` is a socket. What is left out comes from
    /// `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD` (or `~/.pgpass`), `PGDATABASE`, `PGSSLMODE`,
    /// `PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY` and `PGAPPNAME`. Options of ours: `?table=`, `?schema=`,
    /// `?connections=`, `?pooler=transaction`, `?feed_url=`. The values of options are percent-decoded; `+` is a
    /// plus sign.
    ///
    /// `?sslmode=` is libpq's: `disable`; `prefer`, the default, encrypts if the server supports it;
    /// `require` always encrypts; `verify-ca` also verifies that the server's certificate is issued by
    /// `sslrootcert` (a file, or `system`, the default here), and `verify-full` that it is valid for the host.
    /// `sslrootcert` without a mode means `verify-ca`, and `system` means `verify-full`. A self-signed
    /// certificate is its own `sslrootcert`. `sslcert` and `sslkey` are the client's certificate and its key, in
    /// PEM. The names of MySQL's client are accepted too (`ssl-mode`, `ssl-ca`, `ssl-cert`, `ssl-key`).
    /// Only `verify-full` keeps an impostor from reading the sessions, and from asking for the password in clear:
    /// use it on every network that others can reach.
    ///
    /// # Errors
    /// If the URL cannot be read, if the server cannot be reached or does not let us in, or if the
    /// table's name or another option cannot be one.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, StoreError> {
        let address = Address::parse(url).map_err(|error| backend("read the store URL", error))?;
        self.connect_to(&address).await
    }

    /// A bare connection to the server that a store URL names, with the store's way of finding passwords
    /// and of trusting servers: for the tool, which also reads tables that are not ours.
    #[doc(hidden)]
    pub async fn client(url: &str) -> Result<tokio_postgres::Client, StoreError> {
        let address = Address::parse(url).map_err(|error| backend("read the store URL", error))?;
        let destination = complete(&address)?;
        let tls = tls::connector(&destination.tls).map_err(|problem| backend("prepare TLS", problem))?;
        let (client, wire) = link::bare(&destination.config, tls).await.map_err(unavailable)?;
        tokio::spawn(wire);
        Ok(client)
    }

    pub(in crate::store) async fn connect_to(self, address: &Address) -> Result<PostgresStore, StoreError> {
        SettingError::check_number("PostgresOptions::connections", self.connections as u64, 1)?;
        SettingError::check_time("PostgresOptions::timeout", self.timeout, &DEADLINES)?;
        let destination = complete(address)?;
        let (schema, table) = self.names(address);
        for name in [Some(table), schema].into_iter().flatten() {
            if name.is_empty() || name.contains('\0') || name.len() > MAX_NAME_BYTES {
                return Err(StoreError::Schema {
                    problem: format!("{name:?} cannot be the name of a table or a schema"),
                    remedy: format!("give one of 1 to {MAX_NAME_BYTES} bytes without NUL in it"),
                });
            }
        }
        let mut place = Place {
            server: destination.server.clone(),
            url: address.to_string(),
            table: table.to_owned(),
            limit: TimeLimit::new(self.timeout),
            lock_wait: self.timeout * 4 / 5,
            user: UserColumn::unseen(),
        };
        let target = target(destination)?;
        let schema = match schema {
            Some(schema) => schema.to_owned(),
            None => schema_of(&target, table, &place).await?,
        };
        let sql = Arc::new(Sql::new(Some(&schema), table));
        place.table = sql.table().to_owned();
        let pooled = address.pooled || self.pooled;
        let dialler = Dialler::new(target, self.feed_target(address)?, pooled, place, sql);
        PostgresStore::start(Arc::new(dialler), address.connections.unwrap_or(self.connections)).await
    }

    fn feed_target(&self, address: &Address) -> Result<Option<Target>, StoreError> {
        let of_options = match &self.feed_url {
            Some(FeedUrl(url)) if address.feed.is_none() => {
                Some(Address::parse(url).map_err(|error| backend("read the feed's URL", error))?)
            }
            _ => None,
        };
        let address = address.feed.as_deref().or(of_options.as_ref());
        address.map(|address| target(complete(address)?)).transpose()
    }

    /// What `init` would execute at this address.
    pub(in crate::store) fn text(&self, address: &Address) -> String {
        let (schema, table) = self.names(address);
        schema::text(&Sql::new(schema, table))
    }

    /// What `init_feed` would execute at this address.
    pub(in crate::store) fn feed_text(&self, address: &Address) -> String {
        let (schema, table) = self.names(address);
        Sql::new(schema, table).create_feed
    }

    /// The names of the schema and of the table.
    fn names<'a>(&'a self, address: &'a Address) -> (Option<&'a str>, &'a str) {
        let table = address.table.as_deref().unwrap_or(&self.table);
        (address.schema.as_deref().or(self.schema.as_deref()), table)
    }
}

fn complete(address: &Address) -> Result<Destination, StoreError> {
    let variable = |name: &str| std::env::var(name).ok();
    address.complete(variable).map_err(|problem| backend("read the environment", problem))
}

fn target(destination: Destination) -> Result<Target, StoreError> {
    let tls = tls::connector(&destination.tls).map_err(|problem| backend("prepare TLS", problem))?;
    Ok(Target::new(destination.config, tls))
}

/// The schema of the table that the user's search path leads to, or that it would be made in. Looked up once, so
/// that all connections of the store mean the same table, whatever becomes of the path.
async fn schema_of(target: &Target, table: &str, place: &Place) -> Result<String, StoreError> {
    let found = place.limit.keep(link::schema_of(target, table)).await.unwrap_or(Err(Fault::Slow));
    let found = found.map_err(|fault| place.error(&format!("connect to {}", place.server), fault))?;
    found.ok_or_else(|| place.no_schema())
}
