//! The database servers under the subjects: private and throwaway, their durability the default one, with
//! memory enough for what is measured.

use std::fmt;
use std::thread;

use clap::ValueEnum;
use sessile_test_servers::{MYSQL, MariaDb, POSTGRES, Postgres, REDIS, Redis};

/// Where a subject keeps its sessions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Database {
    /// In the process of the subject, lost with it.
    Memory,
    /// A file of the subject's process.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    #[value(name = "mariadb")]
    MariaDb,
    /// Redis.
    Redis,
}

impl Database {
    /// All of them.
    pub const ALL: [Database; 5] =
        [Database::Memory, Database::Sqlite, Database::Postgres, Database::MariaDb, Database::Redis];

    /// The one that a subject's name holds.
    pub fn of(subject: &str) -> Database {
        let named = |database: &Database| subject.contains(&database.to_string());
        Database::ALL.into_iter().rev().find(named).unwrap_or(Database::Memory)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Database::Memory => "memory",
            Database::Sqlite => "sqlite",
            Database::Postgres => "postgres",
            Database::MariaDb => "mariadb",
            Database::Redis => "redis",
        })
    }
}

/// Those that run; they end with the value.
#[derive(Default)]
pub struct Databases {
    /// PostgreSQL, if it was wanted.
    pub postgres: Option<Postgres>,
    /// MariaDB, if it was wanted.
    pub mariadb: Option<MariaDb>,
    /// Redis, if it was wanted.
    pub redis: Option<Redis>,
}

impl Databases {
    /// Starts what these need, and prints their versions.
    pub fn start(wanted: &[Database]) -> Databases {
        let wants = |database| wanted.contains(&database);
        thread::scope(|scope| {
            let postgres = wants(Database::Postgres).then(|| {
                let settings =
                    [("shared_buffers", "1GB"), ("max_wal_size", "4GB"), ("max_connections", "400")];
                scope.spawn(move || Postgres::start_with(&settings).unwrap())
            });
            let mariadb = wants(Database::MariaDb).then(|| {
                let settings = [("innodb-buffer-pool-size", "1G"), ("innodb-log-file-size", "1G")];
                scope.spawn(move || MariaDb::start_with(&settings).unwrap())
            });
            let redis = wants(Database::Redis).then(|| scope.spawn(|| Redis::start().unwrap()));
            let databases = Databases {
                postgres: postgres.map(|starting| starting.join().unwrap()),
                mariadb: mariadb.map(|starting| starting.join().unwrap()),
                redis: redis.map(|starting| starting.join().unwrap()),
            };
            databases.print_versions();
            databases
        })
    }

    /// The variables that name them to a subject.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let postgres = self.postgres.as_ref().map(|server| (POSTGRES, server.url()));
        let mariadb = self.mariadb.as_ref().map(|server| (MYSQL, server.url()));
        let redis = self.redis.as_ref().map(|server| (REDIS, server.url()));
        [postgres, mariadb, redis].into_iter().flatten().collect()
    }

    /// The address of the one behind a subject; none when that is in its own process.
    pub fn url(&self, subject: &str) -> Option<String> {
        match Database::of(subject) {
            Database::Memory | Database::Sqlite => None,
            Database::Postgres => Some(self.postgres.as_ref()?.url()),
            Database::MariaDb => Some(self.mariadb.as_ref()?.url()),
            Database::Redis => Some(self.redis.as_ref()?.url()),
        }
    }

    /// The process of the one behind a subject.
    pub fn process_id(&self, subject: &str) -> Option<u32> {
        match Database::of(subject) {
            Database::Memory | Database::Sqlite => None,
            Database::Postgres => self.postgres.as_ref()?.pid(),
            Database::MariaDb => self.mariadb.as_ref()?.pid(),
            Database::Redis => self.redis.as_ref()?.pid(),
        }
    }

    /// Writes out what is pending, so that no cell pays for another.
    pub fn settle(&self) {
        if let Some(postgres) = &self.postgres {
            postgres.query("VACUUM ANALYZE").unwrap();
            postgres.query("CHECKPOINT").unwrap();
        }
    }

    fn print_versions(&self) {
        if let Some(postgres) = &self.postgres {
            let version = postgres.query("SHOW server_version").unwrap();
            println!("version\tPostgreSQL\t{}", version.split(' ').next().unwrap_or_default());
        }
        if let Some(mariadb) = &self.mariadb {
            let version = mariadb.query("SELECT version()").unwrap();
            println!("version\tMariaDB\t{}", version.split('-').next().unwrap_or_default());
        }
        if let Some(redis) = &self.redis {
            let info = redis.command(&["INFO", "server"]).unwrap();
            let version = info.lines().find_map(|line| line.trim().strip_prefix("redis_version:"));
            println!("version\tRedis\t{}", version.unwrap_or_default());
        }
    }
}
