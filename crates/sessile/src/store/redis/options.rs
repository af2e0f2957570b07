//! How to connect to a Redis store.

use std::sync::Arc;
use std::time::Duration;

use super::RedisStore;
use super::address::Address;
use super::fault::{Place, backend};
use super::keys::Keys;
use super::link::Dialler;
use crate::store::StoreError;
use crate::store::limit::TimeLimit;

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
    /// default. A connection without an answer for that long is given up.
    pub fn timeout(mut self, timeout: Duration) -> RedisOptions {
        self.timeout = timeout;
        self
    }

    /// Connects to the server that this URL names, `redis://user:password@host:port/database`, or to the
    /// Cluster of which it names some nodes, `redis-cluster://user:password@host:port,host:port`.
    ///
    /// What is left out is no user, no password, 127.0.0.1, 6379 and the database 0. Characters that mean
    /// something in a URL are percent-encoded (`/` in a password as `%2F`). `rediss://` and
    /// `rediss-cluster://` are encrypted, and the server has to prove that it is the host that was asked for,
    /// by a certificate from a root that the system trusts or that `?sslrootcert=FILE` holds. `?prefix=` is
    /// [`prefix`](Self::prefix).
    ///
    /// Logs a warning when the server may forget sessions by itself: see the [module](super).
    ///
    /// # Errors
    /// If the URL cannot be read, if the server cannot be reached or does not let us in, or if the prefix
    /// cannot be one.
    pub async fn connect(self, url: &str) -> Result<RedisStore, StoreError> {
        let address = Address::parse(url).map_err(|error| backend("read the store URL", error))?;
        self.connect_to(&address).await
    }

    pub(in crate::store) async fn connect_to(self, address: &Address) -> Result<RedisStore, StoreError> {
        let prefix = address.prefix.clone().unwrap_or(self.prefix);
        if prefix.contains(['{', '}']) {
            return Err(StoreError::Schema {
                problem: format!("{prefix:?} cannot be the prefix of keys"),
                remedy: "give one without braces, which say in which slot of a Cluster a key is".to_owned(),
            });
        }
        let place = Arc::new(Place { server: address.server(), limit: TimeLimit::new(self.timeout) });
        let dialler = Dialler::new(address, Arc::clone(&place))?;
        RedisStore::start(dialler, place, Keys::new(prefix)).await
    }
}
