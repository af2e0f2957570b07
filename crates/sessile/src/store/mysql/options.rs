//! How to connect to a MySQL or MariaDB store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use mysql_async::OptsBuilder;

use super::MySqlStore;
use super::address::Address;
use super::fault::{Place, backend};
use super::pool::{Dialler, Way};
use super::schema;
use super::session::in_time;
use super::sql::{self, Sql};
use super::tunnel::Tunnel;
use crate::store::limit::TimeLimit;
use crate::store::setting::DEADLINES;
use crate::store::tls::SslMode;
use crate::store::user_column::UserColumn;
use crate::store::{SettingError, StoreError};

/// A server that is gone without a word is noticed in a minute, not in two hours.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Options for connecting to a [`MySqlStore`]: start with [`MySqlStore::options`]. What the URL says
/// counts more.
#[derive(Debug, Clone)]
#[must_use]
pub struct MySqlOptions {
    table: String,
    connections: usize,
    timeout: Duration,
}

impl Default for MySqlOptions {
    fn default() -> MySqlOptions {
        MySqlOptions { table: "sessions".to_owned(), connections: 4, timeout: Duration::from_secs(5) }
    }
}

impl MySqlOptions {
    /// The table's name, `sessions` by default. Any name of up to 64 characters will do, it is quoted.
    pub fn table(mut self, name: impl Into<String>) -> MySqlOptions {
        self.table = name.into();
        self
    }

    /// Connections for loads, 4 by default, at least one, made when first needed. Requests that find none
    /// free share the next statement, so few are enough. There are up to two more for writes, three for listings,
    /// counts and purges, two for ending a user's sessions, and two while rows are locked by other programs.
    pub fn connections(mut self, connections: usize) -> MySqlOptions {
        self.connections = connections;
        self
    }

    /// How long a load, a write or a batch of writes may take, and how long a caller waits for a connection,
    /// 5 s by default; at least one millisecond, at most a day. A connection without an answer for that long is given up. A write that finds its
    /// row locked is [`Unavailable`](StoreError::Unavailable) after four fifths of it, in whole seconds
    /// and at least one.
    pub fn timeout(mut self, timeout: Duration) -> MySqlOptions {
        self.timeout = timeout;
        self
    }

    /// Connects to the server that this URL names, `mysql://user:password@host:port/database` (also
    /// `mariadb:`); the table is made by [`init`](crate::store::SessionStore::init).
    ///
    /// Characters that mean something in a URL are percent-encoded (`/` in a password as `%2F`). A
    /// password that is left out comes from `MYSQL_PWD`, a user from `USER`. Options:
    /// `?table=`, `?connections=`, `?socket=/run/mysqld/mysqld.sock`. Their values are percent-decoded; `+` is a
    /// plus sign.
    ///
    /// `?ssl-mode=` is that of the server's own tools: `disabled`; `preferred`, the default, encrypts if the server
    /// supports it; `required` always encrypts; `verify_ca` also verifies that the server's certificate is issued
    /// by `ssl-ca` (a file, or `system`, the default), and `verify_identity` that it is valid for the host.
    /// `ssl-ca` without a mode, or with `required`, means `verify_ca`, and `system` alone means `verify_identity`.
    /// A self-signed certificate is its own `ssl-ca`. `ssl-cert` and `ssl-key` are the client's certificate and its
    /// key, in PEM. libpq's names are accepted too (`sslmode`, `sslrootcert`, `sslcert`, `sslkey`). Only
    /// `verify_identity` keeps an impostor from reading the sessions: use it on every network that others can
    /// reach.
    ///
    /// What is encrypted passes through a task of this process, which costs a little time: on the machine of the
    /// server itself, a `socket` is faster.
    ///
    /// # Errors
    /// If the URL cannot be read, if the server cannot be reached or does not let us in
    /// ([`Refused`](StoreError::Refused)), or if the table's name or another option cannot be
    /// one.
    pub async fn connect(self, url: &str) -> Result<MySqlStore, StoreError> {
        let address = Address::parse(url).map_err(|error| backend("read the store URL", error))?;
        self.connect_to(&address).await
    }

    /// A bare connection to the server that a store URL names, in UTC, with the store's way of finding
    /// passwords and of trusting servers: for the tool, which also reads tables that are not ours.
    #[doc(hidden)]
    pub async fn client(url: &str) -> Result<mysql_async::Conn, StoreError> {
        let address = Address::parse(url).map_err(|error| backend("read the store URL", error))?;
        let dialler = MySqlOptions::default().dialler(&address)?;
        let connected = in_time(&dialler.place.limit, dialler.bare()).await;
        connected.map_err(|fault| dialler.place.error("connect", fault))
    }

    pub(in crate::store) async fn connect_to(self, address: &Address) -> Result<MySqlStore, StoreError> {
        let dialler = Arc::new(self.dialler(address)?);
        MySqlStore::start(dialler, address.connections.unwrap_or(self.connections)).await
    }

    fn dialler(&self, address: &Address) -> Result<Dialler, StoreError> {
        SettingError::check_number("MySqlOptions::connections", self.connections as u64, 1)?;
        SettingError::check_time("MySqlOptions::timeout", self.timeout, &DEADLINES)?;
        let table = address.table.as_deref().unwrap_or(&self.table);
        if !can_be_a_name(table) {
            return Err(StoreError::Schema {
                problem: format!("{table:?} cannot be the name of a table"),
                remedy: format!(
                    "give one of 1 to {} characters that does not end with a blank, without NUL and \
                     without characters beyond U+FFFF",
                    sql::MAX_NAME
                ),
            });
        }
        let sql = Arc::new(Sql::new(table));
        let place = Arc::new(Place {
            server: address.server(),
            url: address.to_string(),
            table: sql.table().to_owned(),
            limit: TimeLimit::new(self.timeout),
            lock_wait: Duration::from_secs((self.timeout * 4 / 5).as_secs().max(1)),
            digits: AtomicU32::new(6),
            data: AtomicU64::new(u64::MAX),
            user: UserColumn::unseen(),
            packet: AtomicU64::new(u64::MAX),
        });
        Ok(Dialler::new(way(address)?, place, sql))
    }

    /// What `init` would execute at this address.
    pub(in crate::store) fn text(&self, address: &Address) -> String {
        schema::text(&Sql::new(address.table.as_deref().unwrap_or(&self.table)))
    }
}

fn can_be_a_name(name: &str) -> bool {
    let fits = (1..=sql::MAX_NAME).contains(&name.chars().count());
    fits && !name.ends_with(' ') && name.chars().all(|c| c != '\0' && c <= '\u{ffff}')
}

fn way(address: &Address) -> Result<Way, StoreError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let opts = OptsBuilder::default()
        .ip_or_hostname(address.host.clone())
        .tcp_port(address.port)
        .user(address.user.clone().or_else(|| variable("USER")))
        .pass(address.password.clone().or_else(|| variable("MYSQL_PWD")))
        .db_name(Some(address.database.clone()))
        .socket(address.socket.as_ref().map(|path| path.display().to_string()))
        // The one that was asked for, and no other.
        .prefer_socket(false)
        .tcp_keepalive(Some(KEEPALIVE))
        .client_found_rows(true)
        .stmt_cache_size(sql::PREPARED);
    let tls = address.tls();
    let config = tls.config().map_err(|problem| backend("prepare TLS", problem))?;
    let tunnel = config.map(|config| Tunnel::new(config, address.host.clone(), address.port, KEEPALIVE));
    Ok(Way { opts: opts.into(), tunnel, may_be_plain: tls.mode() == SslMode::Prefer })
}
