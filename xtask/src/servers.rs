//! The database servers that the tests share: started here, or named by variables.

use std::any::Any;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use sessile_test_servers::{
    Failure, MYSQL, MariaDb, POSTGRES, Places, Postgres, REDIS, REDIS_CLUSTER, Redis, RedisCluster, VALKEY,
};

use crate::problem::Problem;
use crate::setup;
use crate::step::{quoted, step};

/// A kind of server that the tests want.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
    Redis,
    RedisCluster,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Postgres, Self::MariaDb, Self::Redis, Self::RedisCluster];

    /// Those for which no variable names a server.
    pub(crate) fn to_start(is_set: impl Fn(&str) -> bool) -> Vec<Self> {
        Self::ALL.into_iter().filter(|kind| !is_set(kind.variable())).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
            Self::Redis => "Redis",
            Self::RedisCluster => "Redis Cluster",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Postgres => POSTGRES,
            Self::MariaDb => MYSQL,
            Self::Redis => REDIS,
            Self::RedisCluster => REDIS_CLUSTER,
        }
    }

    /// The Debian packages without which it cannot start here.
    fn missing(self, places: &Places) -> &'static [&'static str] {
        match self {
            Self::Postgres => places.missing_for_postgres(),
            Self::MariaDb => places.missing_for_mariadb(),
            Self::Redis | Self::RedisCluster => places.missing_for_redis(),
        }
    }

    fn start(self) -> Result<Started, Failure> {
        let begun = Instant::now();
        let (url, server): (String, Box<dyn Any + Send>) = match self {
            Self::Postgres => Postgres::start().map(|server| (server.url(), Box::new(server) as _))?,
            Self::MariaDb => MariaDb::start().map(|server| (server.url(), Box::new(server) as _))?,
            Self::Redis => Redis::start().map(|server| (server.url(), Box::new(server) as _))?,
            Self::RedisCluster => {
                RedisCluster::start().map(|server| (server.url(), Box::new(server) as _))?
            }
        };
        Ok(Started { kind: self, url, seconds: begun.elapsed().as_secs_f64(), _server: server })
    }
}

/// A server that runs until this is dropped.
struct Started {
    kind: Kind,
    url: String,
    seconds: f64,
    _server: Box<dyn Any + Send>,
}

/// The packages without which some of `kinds` cannot start, each once.
pub(crate) fn missing(kinds: &[Kind], places: &Places) -> Vec<&'static str> {
    let mut packages: Vec<&str> = Vec::new();
    for package in kinds.iter().flat_map(|kind| kind.missing(places)) {
        if !packages.contains(package) {
            packages.push(package);
        }
    }
    packages
}

/// The servers of one run. They end, and their folders go, when this is dropped.
pub(crate) struct Servers(Vec<Started>);

impl Servers {
    /// Starts `kinds` at once; those of the others are named by their variables.
    pub(crate) fn start(kinds: &[Kind]) -> Result<Self, Problem> {
        for kind in Kind::ALL.into_iter().filter(|kind| !kinds.contains(kind)) {
            println!("{:<13} the one in {}", kind.name(), kind.variable());
        }
        if kinds.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        let started = step(&format!("starting {}", names.join(", ")), || in_parallel(kinds))?;
        for server in &started {
            // What follows the password.
            let place = server.url.rsplit('@').next().unwrap_or_default();
            println!("{:<13} {place} ({:.1} s)", server.kind.name(), server.seconds);
        }
        Ok(Self(started))
    }

    /// The variables that name these servers to the tests.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|server| (server.kind.variable(), server.url.as_str()))
    }

    /// Ends them, which shows how long that took.
    pub(crate) fn end(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        step("ending the servers", || {
            thread::scope(|scope| self.0.into_iter().for_each(|server| drop(scope.spawn(|| drop(server)))));
            Ok(())
        })
    }
}

fn in_parallel(kinds: &[Kind]) -> Result<Vec<Started>, Problem> {
    let outcomes: Vec<_> = thread::scope(|scope| {
        let starting: Vec<_> =
            kinds.iter().map(|kind| (kind.name(), scope.spawn(move || kind.start()))).collect();
        let join = |(name, starting): (&str, thread::ScopedJoinHandle<'_, Result<Started, Failure>>)| {
            let outcome = starting.join().map_err(|_| format!("starting {name} panicked"))?;
            outcome.map_err(|failure| failure.to_string())
        };
        starting.into_iter().map(join).collect()
    });
    let failures: Vec<_> =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().err().map(String::as_str)).collect();
    if !failures.is_empty() {
        return Err(Problem::new(failures.join("\n")));
    }
    Ok(outcomes.into_iter().flatten().collect())
}

/// `cargo xtask servers`: until Ctrl-C, which ends us, and so them.
pub(crate) fn run() -> Result<ExitCode, Problem> {
    let kinds = setup::servers()?;
    if kinds.is_empty() {
        return Err(Problem::new("every server is named by its variable: there is none to start"));
    }
    let valkey = setup::valkey()?;
    let servers = Servers::start(&kinds)?;
    println!("\nFor the shell in which tests are to run; Ctrl-C here ends the servers.\n");
    for (variable, url) in servers.variables() {
        println!("export {variable}={}", quoted(url));
    }
    // Not a server but its program: the tests start it with settings of their own.
    println!("export {VALKEY}={}", quoted(&valkey.display().to_string()));
    loop {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::fake;

    #[test]
    fn a_server_that_a_variable_names_is_not_started() {
        assert_eq!(Kind::to_start(|_| false), Kind::ALL);
        let set = |variable: &str| ["SESSILE_TEST_MYSQL", "SESSILE_TEST_REDIS_CLUSTER"].contains(&variable);
        assert_eq!(Kind::to_start(set), [Kind::Postgres, Kind::Redis]);
    }

    #[test]
    fn only_what_is_started_and_not_there_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let places = || fake::places(&[folder.path()]).servers;
        assert_eq!(
            missing(&Kind::ALL, &places()),
            ["postgresql", "pgbouncer", "mariadb-server-core", "mariadb-client-core", "redis-server"]
        );
        assert_eq!(missing(&[Kind::RedisCluster], &places()), ["redis-server"]);
        for program in ["postgres", "initdb", "pgbouncer", "mariadbd", "redis-server"] {
            fake::program(folder.path(), program, "");
        }
        // The server alone does not do: its client asks whether it is ready.
        assert_eq!(
            missing(&Kind::ALL, &places()),
            ["postgresql", "mariadb-server-core", "mariadb-client-core"]
        );
        fake::program(folder.path(), "psql", "");
        assert_eq!(missing(&[Kind::Postgres], &places()), [""; 0]);
    }
}
