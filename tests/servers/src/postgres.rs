//! PostgreSQL.

use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::folder::{Folder, User};
use crate::places::Places;
use crate::server::{Kind, Server, client_output, prepare};
use crate::{Outcome, port};

pub(crate) const USER: &str = "sessile";

/// A PostgreSQL of our own, its durability settings the default ones, its user a superuser with a password.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    pub(crate) client: Client,
}

impl Postgres {
    /// Starts one.
    pub fn start() -> Outcome<Self> {
        Self::start_with(&[])
    }

    /// Starts one with these settings, as in `postgresql.conf`: `("max_connections", "5")`.
    pub fn start_with(settings: &[(&str, &str)]) -> Outcome<Self> {
        Self::start_from(&Places::from_environment(), settings)
    }

    /// Starts one of version 18, from the folder that [`POSTGRES_18`](crate::POSTGRES_18) names.
    pub fn start_18() -> Outcome<Self> {
        let folder = crate::shared_url(crate::POSTGRES_18)?;
        Self::start_from(&Places::only(vec![folder.into()]), &[])
    }

    fn start_from(places: &Places, settings: &[(&str, &str)]) -> Outcome<Self> {
        let [postgres, initdb, psql] = places.postgres()?;
        let folder = Folder::create(User::to_run_as(&["postgres"])?)?;
        let client = Client { psql, password: port::password()? };

        let data = folder.file("data");
        let password = folder.write("password", &client.password)?;
        prepare(
            &folder,
            // Left to end by itself, which is soon: broken off, it would leave shared memory.
            "CONT",
            &[
                initdb.display().to_string(),
                format!("--pgdata={data}"),
                format!("--username={USER}"),
                format!("--pwfile={password}"),
                "--auth=scram-sha-256".to_owned(),
                "--encoding=UTF8".to_owned(),
                "--locale=C".to_owned(),
                // The data are worth keeping only from here on.
                "--no-sync".to_owned(),
            ],
        )?;

        let mut command = vec![postgres.display().to_string(), "-D".to_owned(), data];
        let set = |name: &str, value: &str| ["-c".to_owned(), format!("{name}={value}")];
        command.extend(set("unix_socket_directories", &folder.path().display().to_string()));
        command.extend(set("listen_addresses", "127.0.0.1"));
        command.extend(set("max_connections", "200"));
        command.extend(set("shared_buffers", "32MB"));
        let library = postgres.ancestors().nth(2).map(|home| home.join("lib/pg_stat_statements.so"));
        let counts_statements = library.is_some_and(|library| library.is_file());
        if counts_statements {
            command.extend(set("shared_preload_libraries", "pg_stat_statements"));
        }
        command.extend(settings.iter().flat_map(|(name, value)| set(name, value)));

        // SIGINT is a fast shutdown. SIGQUIT is one without a checkpoint, which still frees shared memory.
        let kind = Kind { name: "PostgreSQL", stop: Signal::INT, end: "QUIT" };
        let with_port = move |port: u16| [command.clone(), vec![format!("--port={port}")]].concat();
        let asking = client.clone();
        let answers = move |port| asking.query(port, "postgres", "SELECT 1").map(drop);
        let server = Server::start(kind, folder, Box::new(with_port), Box::new(answers))?;

        let postgres = Self { server, client };
        postgres.client.query(postgres.port(), "postgres", "CREATE DATABASE sessile")?;
        if counts_statements {
            postgres.query("CREATE EXTENSION pg_stat_statements")?;
        }
        Ok(postgres)
    }

    /// `postgres://user:password@127.0.0.1:port/database`. The database is empty, but for the extension
    /// `pg_stat_statements` where there is one.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/sessile", self.client.password, self.port())
    }

    /// Its command-line client, for tests of what a person types.
    pub fn psql() -> Outcome<PathBuf> {
        Places::from_environment().postgres().map(|[_, _, psql]| psql)
    }

    /// Runs SQL through `psql`; rows as lines, columns separated by `|`.
    pub fn query(&self, sql: &str) -> Outcome<String> {
        self.client.query(self.port(), "sessile", sql)
    }
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.pid().is_some() {
            return;
        }
        // Killed, it left a few bytes of System V shared memory, which would stay until the next boot. Their
        // id is the second number of the seventh line.
        let noted = std::fs::read_to_string(self.folder().join("data/postmaster.pid")).unwrap_or_default();
        if let Some(id) = noted.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            let _ = Command::new("ipcrm").args(["-m", id]).output();
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    psql: PathBuf,
    pub(crate) password: String,
}

impl Client {
    pub(crate) fn query(&self, port: u16, database: &str, sql: &str) -> Outcome<String> {
        let mut command = Command::new(&self.psql);
        command
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
            .args(["--host=127.0.0.1", &format!("--port={port}"), &format!("--username={USER}")])
            .args([&format!("--dbname={database}"), "--command", sql])
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "5");
        client_output(&mut command)
    }
}
