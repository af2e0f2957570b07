//! How to connect to a Redis store.

use std::sync::Arc;
use std::time::Duration;

use super::RedisStore;
use super::address::Address;
use super::fault::{Place, backend};
use super::keys::Keys;
use super::link::Dialler;
use crate::record::Clock;
use crate::store::limit::TimeLimit;
use crate::store::setting::DEADLINES;
use crate::store::{Finding, SessionStore, SettingError, StoreError};

/// Options for connecting to a [`RedisStore`]: start with [`RedisStore::options`]. What the URL says counts
/// more.
#[derive(Debug, Clone)]
#[must_use]
pub struct RedisOptions {
    prefix: String,
    timeout: Duration,
}

impl Default for RedisOptions {
    fn default() -> RedisOptions {
        RedisOptions { prefix: "sessile:".to_owned(), timeout: Duration::from_secs(5) }
    }
}

impl RedisOptions {
    /// What all keys begin with, `sessile:` by default: stores with different prefixes share a server. Any
    /// text without braces.
    pub fn prefix(mut self, prefix: impl Into<String>) -> RedisOptions {
        self.prefix = prefix.into();
        self
    }

    /// How long an answer may take, and how long a caller waits for a connection that is being made, 5 s by
    /// default; at least one millisecond, at most a day. A connection without an answer for that long is given up.
    pub fn timeout(mut self, timeout: Duration) -> RedisOptions {
        self.timeout = timeout;
        self
    }

    /// Connects to the servers that this URL names:
    ///
    /// * `redis://user:password@host:port/database`: one server;
    /// * `redis+unix://user:password@/path?db=database` (also `unix:`): one server, over its Unix socket;
    /// * `redis-sentinel://user:password@host:port,host:port/name/database`: the primary that these sentinels
    ///   know by this name, also after a failover;
    /// * `redis-cluster://user:password@host:port,host:port`: the Cluster of these nodes.
    ///
    /// What is left out is no user, no password, 127.0.0.1, 6379 (26379 for sentinels) and the database 0.
    /// Characters that mean something in a URL are percent-encoded (`/` in a password as `%2F`). `rediss` in
    /// place of `redis` encrypts the connections, those to sentinels, too, and verifies the certificates of the
    /// servers. Options come after `?`, `&` between them:
    ///
    /// | option | meaning |
    /// |---|---|
    /// | `prefix` | [`prefix`](Self::prefix) |
    /// | `db`, `user`, `password` | the database and the credentials, where they do not stand before |
    /// | `sentinel_user`, `sentinel_password` | the credentials that the sentinels take |
    /// | `ssl_ca_certs` (`sslrootcert`, `ssl-ca`) | a file of root certificates, in PEM, in place of those that the system trusts; a self-signed certificate may be its own root |
    /// | `ssl_certfile`, `ssl_keyfile` (`sslcert`, `sslkey`; `ssl-cert`, `ssl-key`) | the certificate that the client shows, and its key, in PEM |
    /// | `ssl_check_hostname=false` (`sslmode=verify-ca`) | verifies the chain of certificates and not the name |
    /// | `ssl_cert_reqs=none` (`sslmode=require`) | verifies nothing, unless a root is named: keeps listeners out, not impostors |
    ///
    /// Logs a warning when the server may forget sessions by itself: see the [module](super).
    ///
    /// # Errors
    /// If the URL cannot be read, if the prefix or the timeout cannot be one, if no server can be reached or it refuses the
    /// credentials, and if the server is not fit for sessions: a replica, older than Redis 6.2, without RESP3
    /// (as behind many proxies), with renamed commands, or with a user who may write only some of the keys.
    pub async fn connect(self, url: &str) -> Result<RedisStore, StoreError> {
        let address = Address::parse(url).map_err(|error| backend("read the store URL", error))?;
        self.connect_to(&address).await
    }

    pub(in crate::store) async fn connect_to(self, address: &Address) -> Result<RedisStore, StoreError> {
        let (dialler, place, keys) = self.prepare(address)?;
        RedisStore::start(dialler, place, keys).await
    }

    /// Looks at the server as it is: a replica, too.
    pub(in crate::store) async fn examine(
        self,
        address: &Address,
        clock: &dyn Clock,
    ) -> Result<Vec<Finding>, StoreError> {
        let (dialler, place, keys) = self.prepare(address)?;
        RedisStore::start(dialler.taking_replicas(), place, keys).await?.examine(clock).await
    }

    fn prepare(self, address: &Address) -> Result<(Dialler, Arc<Place>, Keys), StoreError> {
        SettingError::check_time("RedisOptions::timeout", self.timeout, &DEADLINES)?;
        let prefix = address.prefix.clone().unwrap_or(self.prefix);
        if prefix.contains(['{', '}']) {
            return Err(StoreError::Schema {
                problem: format!("{prefix:?} cannot be the prefix of keys"),
                remedy: "give one without braces, which say in which slot of a Cluster a key is".to_owned(),
            });
        }
        let place = Arc::new(Place { server: address.server(), limit: TimeLimit::new(self.timeout) });
        let dialler = Dialler::new(address, Arc::clone(&place))?;
        Ok((dialler, place, Keys::new(prefix)))
    }
}
