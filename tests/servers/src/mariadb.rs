//! MariaDB.

use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::folder::{Folder, User};
use crate::places::Places;
use crate::server::{Kind, Server, client_output, prepare};
use crate::{Outcome, port};

const USER: &str = "sessile";

/// A MariaDB of our own, its durability settings the default ones, its user allowed everything.
#[derive(Debug)]
pub struct MariaDb {
    server: Server,
    client: Client,
}

impl MariaDb {
    /// Starts one.
    pub fn start() -> Outcome<Self> {
        Self::start_with(&[])
    }

    /// Starts one with these settings, named as on the command line: `("max-connections", "5")`.
    pub fn start_with(settings: &[(&str, &str)]) -> Outcome<Self> {
        let [mariadbd, install, mariadb] = Places::from_environment().mariadb()?;
        let folder = Folder::create(User::to_run_as(&["mysql"])?)?;
        let client = Client { mariadb, password: port::password()? };

        let data = format!("--datadir={}", folder.file("data"));
        let memory = ["--innodb-buffer-pool-size=32M".to_owned(), "--innodb-log-file-size=16M".to_owned()];
        let mut preparation = vec![install.display().to_string()];
        // Told to read no settings of the machine, which has to be the first argument.
        preparation.extend(["--no-defaults", "--skip-test-db", "--skip-name-resolve"].map(str::to_owned));
        preparation.push(data.clone());
        preparation.extend(memory.clone());
        // Several that share one would find each other's files.
        let temporary = format!("--tmpdir={}", folder.path().display());
        preparation.push(temporary.clone());
        prepare(&folder, "KILL", &preparation)?;

        let mut command = vec![mariadbd.display().to_string(), "--no-defaults".to_owned(), data];
        command.extend(memory);
        command.push(temporary);
        command.push(format!("--socket={}", folder.file("socket")));
        command.push(format!("--pid-file={}", folder.file("pid")));
        command.push(format!("--init-file={}", folder.write("init.sql", &client.first_statements())?));
        command.extend(
            [
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--max-connections=200",
                "--character-set-server=utf8mb4",
                "--collation-server=utf8mb4_general_ci",
            ]
            .map(str::to_owned),
        );
        command.extend(settings.iter().map(|(name, value)| format!("--{name}={value}")));

        let kind = Kind { name: "MariaDB", stop: Signal::TERM, end: "KILL" };
        let with_port = move |port: u16| [command.clone(), vec![format!("--port={port}")]].concat();
        let asking = client.clone();
        let answers = move |port| asking.query(port, "SELECT 1").map(drop);
        let server = Server::start(kind, folder, Box::new(with_port), Box::new(answers))?;
        Ok(Self { server, client })
    }

    /// `mysql://user:password@127.0.0.1:port/database`. The database is empty and of `utf8mb4`.
    pub fn url(&self) -> String {
        self.url_of("sessile")
    }

    /// The same for another empty database, whose character set is `latin1`.
    pub fn latin1_url(&self) -> String {
        self.url_of("sessile_latin1")
    }

    /// Runs SQL through the `mariadb` client; rows as lines, columns separated by tabs.
    pub fn query(&self, sql: &str) -> Outcome<String> {
        self.client.query(self.port(), sql)
    }

    fn url_of(&self, database: &str) -> String {
        format!("mysql://{USER}:{}@127.0.0.1:{}/{database}", self.client.password, self.port())
    }
}

impl Deref for MariaDb {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

#[derive(Clone, Debug)]
struct Client {
    mariadb: PathBuf,
    password: String,
}

impl Client {
    /// Run at every start, before anybody can connect.
    fn first_statements(&self) -> String {
        let mut sql = "CREATE DATABASE IF NOT EXISTS sessile CHARACTER SET utf8mb4;\n\
             CREATE DATABASE IF NOT EXISTS sessile_latin1 CHARACTER SET latin1;\n"
            .to_owned();
        // Through the socket one comes from localhost.
        for host in ["127.0.0.1", "localhost"] {
            sql += &format!(
                "CREATE USER IF NOT EXISTS {USER}@'{host}' IDENTIFIED BY '{}';\n\
                 GRANT ALL ON *.* TO {USER}@'{host}' WITH GRANT OPTION;\n",
                self.password
            );
        }
        sql
    }

    fn query(&self, port: u16, sql: &str) -> Outcome<String> {
        let mut command = Command::new(&self.mariadb);
        command
            .args(["--no-defaults", "--batch", "--skip-column-names", "--connect-timeout=5"])
            .args(["--protocol=tcp", "--host=127.0.0.1", &format!("--port={port}")])
            .args([&format!("--user={USER}"), "--database=sessile", "--execute", sql])
            .env("MYSQL_PWD", &self.password);
        client_output(&mut command)
    }
}
