//! Many processes on one store: what they acknowledged is what is there, and what they ended stays dead.
//!
//! Each process is this program started again, with a store and a service of its own. A round is some hundred
//! sessions at once; every process plays its part in each, and notes what it did, when, and what it was told. Who
//! knows the laws (`checker.rs`) judges that and what is left; that it sees faults is proven on forged histories.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

mod checker;
mod forged;
mod history;
mod stage;
mod stories;
#[path = "../support/mod.rs"]
mod support;
mod worker;

#[path = "../support/mysql.rs"]
mod mysql_server;
#[path = "../support/postgres.rs"]
mod postgres_server;
#[path = "../support/redis.rs"]
mod redis_server;

/// [R12] One file, opened by every process.
#[test]
fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    stage::race("SQLite", &format!("sqlite:{}", folder.path().join("sessions.db").display()));
}

/// [R12] One schema.
#[test]
fn on_postgres() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let schema = runtime.block_on(postgres_server::Schema::new());
    stage::race("PostgreSQL", &schema.url());
}

/// [R12] One database.
#[test]
fn on_mariadb() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(mysql_server::Database::new());
    stage::race("MariaDB", &database.url());
}

/// [R12] One server.
#[test]
fn on_redis() {
    let prefix = redis_server::Prefix::new(redis_server::Kind::Single);
    stage::race("Redis", &prefix.url());
}

/// [R12] A Cluster, where a user's sessions lie on several nodes.
#[test]
fn on_redis_cluster() {
    let prefix = redis_server::Prefix::new(redis_server::Kind::Cluster);
    stage::race("Redis Cluster", &prefix.url());
}
