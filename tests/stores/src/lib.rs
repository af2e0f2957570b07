//! The table of stores: each by its URL, on a server of its own that is started here. Whatever has to hold on
//! all of them is a test or a program over this table, so that a new store joins by a line in it.
#![forbid(unsafe_code)]

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use sessile::store::{SessionStore, StoreUrl};
use sessile_test_servers::{MariaDb, PgBouncer, Postgres, Redis, RedisCluster, RedisSentinel, Server};
use tempfile::TempDir;

/// Every way to fail ends the program or the test that asked.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// This process's memory.
    Memory,
    /// A file.
    Sqlite,
    /// One server.
    Postgres,
    /// One server.
    MariaDb,
    /// One server, which acknowledges what is on its disk.
    Redis,
    /// Three primaries, each with a replica.
    RedisCluster,
    /// A primary with two replicas, which three sentinels know.
    RedisSentinel,
    /// One server, which speaks as Redis does.
    Valkey,
    /// One server of version 18.
    Postgres18,
    /// One server behind a pooler in transaction mode, with fewer connections than the stores have.
    PgBouncer,
}

impl Backend {
    /// All of them.
    pub const ALL: [Backend; 6] = [
        Backend::Memory,
        Backend::Sqlite,
        Backend::Postgres,
        Backend::MariaDb,
        Backend::Redis,
        Backend::RedisCluster,
    ];
    /// Other versions and set-ups of the same servers: `cargo xtask conformance --matrix`.
    pub const MATRIX: [Backend; 4] =
        [Backend::RedisSentinel, Backend::Valkey, Backend::Postgres18, Backend::PgBouncer];
    const COUNT: usize = Backend::ALL.len() + Backend::MATRIX.len();
    /// Those with a single server, which can be stopped, and whose way to us can be cut.
    pub const SERVERS: [Backend; 3] = [Backend::Postgres, Backend::MariaDb, Backend::Redis];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Memory => "memory",
            Backend::Sqlite => "SQLite",
            Backend::Postgres => "PostgreSQL",
            Backend::MariaDb => "MariaDB",
            Backend::Redis => "Redis",
            Backend::RedisCluster => "Redis Cluster",
            Backend::RedisSentinel => "Redis Sentinel",
            Backend::Valkey => "Valkey",
            Backend::Postgres18 => "PostgreSQL 18",
            Backend::PgBouncer => "PgBouncer",
        }
    }

    /// Starts what the store needs. Blocks, up to seconds.
    ///
    /// # Errors
    /// When the server does not start.
    pub fn start(self) -> Outcome<Place> {
        let held = match self {
            Backend::Memory => Held::Memory,
            Backend::Sqlite => Held::Folder(tempfile::tempdir()?),
            Backend::Postgres => Held::Postgres(Postgres::start()?),
            Backend::MariaDb => Held::MariaDb(MariaDb::start()?),
            Backend::Redis => {
                Held::Redis(Redis::start_with(&[("appendonly", "yes"), ("appendfsync", "always")])?)
            }
            Backend::RedisCluster => Held::RedisCluster(RedisCluster::start()?),
            Backend::RedisSentinel => Held::RedisSentinel(RedisSentinel::start()?),
            Backend::Valkey => {
                Held::Redis(Redis::start_valkey_with(&[("appendonly", "yes"), ("appendfsync", "always")])?)
            }
            Backend::Postgres18 => Held::Postgres(Postgres::start_18()?),
            Backend::PgBouncer => {
                let server = Postgres::start()?;
                Held::PgBouncer(Box::new((PgBouncer::start(&server, "transaction", 6)?, server)))
            }
        };
        Ok(Place { held, stores: AtomicU32::new(0) })
    }

    /// The one that all tests of this program share, started when it is first asked for.
    ///
    /// # Panics
    /// When the server does not start.
    pub fn shared(self) -> &'static Place {
        static PLACES: [OnceLock<Place>; Backend::COUNT] = [const { OnceLock::new() }; Backend::COUNT];
        let started = || self.start().unwrap_or_else(|error| panic!("{}: {error}", self.name()));
        PLACES[self as usize].get_or_init(started)
    }
}

/// Where stores of one kind can be made. Its server ends when it is dropped.
#[derive(Debug)]
pub struct Place {
    held: Held,
    stores: AtomicU32,
}

#[derive(Debug)]
enum Held {
    Memory,
    Folder(TempDir),
    Postgres(Postgres),
    MariaDb(MariaDb),
    Redis(Redis),
    RedisCluster(RedisCluster),
    RedisSentinel(RedisSentinel),
    PgBouncer(Box<(PgBouncer, Postgres)>),
}

impl Place {
    /// The URL of a store that nobody else has been given.
    pub fn url(&self) -> String {
        let number = self.stores.fetch_add(1, Ordering::Relaxed);
        match &self.held {
            Held::Memory => "memory:".to_owned(),
            Held::Folder(folder) => format!("sqlite:{}/{number}.db", folder.path().display()),
            Held::Postgres(server) => format!("{}?table=sessions_{number}", server.url()),
            Held::MariaDb(server) => format!("{}?table=sessions_{number}", server.url()),
            Held::Redis(server) => format!("{}?prefix=store-{number}:", server.url()),
            Held::RedisCluster(cluster) => format!("{}?prefix=store-{number}:", cluster.url()),
            Held::RedisSentinel(servers) => format!("{}&prefix=store-{number}:", servers.url()),
            Held::PgBouncer(both) => {
                format!("{}?table=sessions_{number}&pooler=transaction", both.0.url())
            }
        }
    }

    /// The URL of the server itself, for those who keep no store of ours there; empty where there is none.
    pub fn address(&self) -> String {
        match &self.held {
            Held::Memory | Held::Folder(_) => String::new(),
            Held::Postgres(server) => server.url(),
            Held::MariaDb(server) => server.url(),
            Held::Redis(server) => server.url(),
            Held::RedisCluster(cluster) => cluster.url(),
            Held::RedisSentinel(servers) => servers.url(),
            Held::PgBouncer(both) => both.0.url(),
        }
    }

    /// Runs SQL; rows as lines.
    ///
    /// # Errors
    /// When the server does not, and where there is none that speaks it.
    pub fn query(&self, sql: &str) -> Outcome<String> {
        match &self.held {
            Held::Postgres(server) => Ok(server.query(sql)?),
            Held::PgBouncer(both) => Ok(both.1.query(sql)?),
            Held::MariaDb(server) => Ok(server.query(sql)?),
            _ => Err("no SQL server of its own".into()),
        }
    }

    /// A store that nobody else has been given, empty and ready.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn store(&self) -> Outcome<Arc<dyn SessionStore>> {
        let store = self.url().parse::<StoreUrl>()?.connect().await?;
        store.init().await?;
        Ok(store)
    }

    /// The version of what keeps the rows; empty where that is we.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn version(&self) -> Outcome<String> {
        let of_redis = |server: &Redis| -> Outcome<String> {
            let told = server.command(&["INFO", "server"])?;
            // Valkey tells the version of Redis that it stands for, too.
            let field = |name| told.lines().find_map(|line| line.strip_prefix(name));
            let version = field("valkey_version:").or_else(|| field("redis_version:"));
            Ok(version.ok_or("Redis told no version")?.trim_end().to_owned())
        };
        match &self.held {
            Held::Memory => Ok(String::new()),
            Held::Folder(_) => Ok(rusqlite::version().to_owned()),
            Held::Postgres(_) | Held::PgBouncer(_) => {
                let told = self.query("SHOW server_version")?;
                Ok(told.split(' ').next().unwrap_or_default().to_owned())
            }
            Held::MariaDb(server) => {
                let told = server.query("SELECT VERSION()")?;
                Ok(told.split('-').next().unwrap_or_default().to_owned())
            }
            Held::Redis(server) => of_redis(server),
            Held::RedisCluster(cluster) => of_redis(&cluster.nodes()[0]),
            Held::RedisSentinel(servers) => of_redis(&servers.servers()[0]),
        }
    }

    /// Removes all rows of this table, as no store does: by a flush, by TRUNCATE.
    ///
    /// # Errors
    /// When the server does not, and where there is none.
    pub fn empty(&self, table: &str) -> Outcome<()> {
        match &self.held {
            Held::Redis(server) => drop(server.command(&["FLUSHALL"])?),
            _ => drop(self.query(&format!("TRUNCATE {table}"))?),
        }
        Ok(())
    }

    /// How many statements on tables of ours, BEGIN and COMMIT the SQL server has executed so far; `None` where
    /// it is no SQL server.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn statements(&self) -> Outcome<Option<u64>> {
        let told = match &self.held {
            Held::Postgres(server) => server.query(
                "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements \
                 WHERE query ~ 'sessions_[0-9]' OR query IN ('BEGIN', 'COMMIT')",
            )?,
            // All that the store sends in its requests is prepared.
            Held::MariaDb(server) => {
                let asked = "information_schema.global_status WHERE variable_name = 'COM_STMT_EXECUTE'";
                server.query(&format!("SELECT variable_value FROM {asked}"))?
            }
            _ => return Ok(None),
        };
        Ok(Some(told.trim().parse()?))
    }

    /// The one server, where there is one.
    pub fn server(&self) -> Option<&Server> {
        match &self.held {
            Held::Memory
            | Held::Folder(_)
            | Held::RedisCluster(_)
            | Held::RedisSentinel(_)
            | Held::PgBouncer(_) => None,
            Held::Postgres(server) => Some(server.deref()),
            Held::MariaDb(server) => Some(server.deref()),
            Held::Redis(server) => Some(server.deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each has a place of its own in [`Backend::shared`].
    #[test]
    fn every_kind_is_in_one_of_both_lists() {
        let all = Backend::ALL.into_iter().chain(Backend::MATRIX);
        let (places, names): (BTreeSet<_>, BTreeSet<_>) = all.map(|it| (it as usize, it.name())).unzip();
        assert_eq!(places, (0..Backend::COUNT).collect());
        assert_eq!(names.len(), Backend::COUNT);
    }
}
