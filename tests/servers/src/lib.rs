//! Real database servers for the tests: private, throwaway, on free loopback ports.
//!
//! [`Postgres`], [`MariaDb`], [`Redis`], [`RedisSentinel`] and [`RedisCluster`] each start in a fresh folder, and are ready when a
//! real query was answered. A test that stops, kills, pauses or restarts a server starts one of its own; the
//! others share those of `cargo xtask test` and find them with [`shared_url`].
//!
//! Whatever is started here ends, and its folder goes: when the value is dropped, and also when the program
//! that holds it ends in any other way, by Ctrl-C, `SIGKILL` or with the value in a `static`. Nothing is ever
//! ended that was not started here, and nothing by its name. The one thing that can stay behind a Ctrl-C or a
//! `SIGKILL` is the folder of a server that did not run at that moment: not yet started, or stopped by its test.
//!
//! All calls block: from asynchronous code, a start (up to seconds) belongs on a blocking thread.
#![forbid(unsafe_code)]

mod cluster;
mod folder;
mod keeper;
mod mariadb;
mod pgbouncer;
mod places;
mod port;
mod postgres;
mod process;
mod redis;
mod sentinel;
mod server;

use std::fmt;

pub use cluster::RedisCluster;
pub use mariadb::MariaDb;
pub use pgbouncer::PgBouncer;
pub use places::Places;
pub use postgres::Postgres;
pub use redis::Redis;
pub use sentinel::RedisSentinel;
pub use server::Server;

/// The variable with the URL of the PostgreSQL that tests share.
pub const POSTGRES: &str = "SESSILE_TEST_POSTGRES";
/// The variable with the URL of the MySQL or MariaDB that tests share.
pub const MYSQL: &str = "SESSILE_TEST_MYSQL";
/// The variable with the URL of the Redis that tests share.
pub const REDIS: &str = "SESSILE_TEST_REDIS";
/// The variable with the URL of the Redis Cluster that tests share.
pub const REDIS_CLUSTER: &str = "SESSILE_TEST_REDIS_CLUSTER";

/// The variable with the folder of the programs of PostgreSQL 18.
pub const POSTGRES_18: &str = "SESSILE_TEST_POSTGRES_18";
/// The variable with the path of the program `valkey-server`.
pub const VALKEY: &str = "SESSILE_TEST_VALKEY";

/// The URL in one of the variables above; an error when it is not set, for a test never passes for want of a
/// server.
pub fn shared_url(variable: &str) -> Outcome<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty()).ok_or_else(|| {
        Failure::new(format!(
            "{variable} is not set: run the tests with `cargo xtask test`, which starts the servers they need, \
             or take what `cargo xtask servers` prints"
        ))
    })
}

/// The outcome of a step.
pub type Outcome<T = ()> = Result<T, Failure>;

/// What went wrong, in a sentence, with the end of the server's log where there is one.
pub struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A step that failed because of `cause`.
    pub(crate) fn because(step: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self(format!("{step}: {cause}"))
    }
}

/// The text itself: the test harness prints a failed test's error with `Debug`.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
