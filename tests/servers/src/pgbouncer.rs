//! PgBouncer, a pooler in front of a PostgreSQL.

use std::ops::Deref;

use rustix::process::Signal;

use crate::Outcome;
use crate::folder::{Folder, User};
use crate::places::Places;
use crate::postgres::{Client, Postgres, USER};
use crate::server::{Kind, Server};

/// A PgBouncer of our own. It knows the user of its server alone.
#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
    client: Client,
}

impl PgBouncer {
    /// Starts one in front of this server with so many connections to it, which are dealt out for each `session`,
    /// `transaction` or `statement`.
    pub fn start(server: &Postgres, mode: &str, connections: u32) -> Outcome<Self> {
        let program = Places::from_environment().pgbouncer()?.display().to_string();
        let folder = Folder::create(User::to_run_as(&["postgres"])?)?;
        let client = server.client.clone();
        let users = folder.write("users.txt", &format!("\"{USER}\" \"{}\"\n", client.password))?;
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = @port\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {users}\npool_mode = {mode}\n\
             default_pool_size = {connections}\nmax_client_conn = 1000\n",
            server.port()
        );
        let template = folder.write("template.ini", &settings)?;
        let complete = folder.file("pgbouncer.ini");
        let kind = Kind { name: "PgBouncer", stop: Signal::INT, end: "KILL" };
        // The port is in the file, not on the command line.
        let command = move |port: u16| {
            let start = format!(
                "sed 's/@port/{port}/' '{template}' > '{complete}' && exec '{program}' -q '{complete}'"
            );
            ["/bin/sh", "-c", &start].map(str::to_owned).to_vec()
        };
        let asking = client.clone();
        let answers = move |port| asking.query(port, "sessile", "SELECT 1").map(drop);
        let server = Server::start(kind, folder, Box::new(command), Box::new(answers))?;
        Ok(Self { server, client })
    }

    /// `postgres://user:password@127.0.0.1:port/sessile`, as that of the server.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/sessile", self.client.password, self.port())
    }
}

impl Deref for PgBouncer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}
