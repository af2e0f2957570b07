//! The server under test: a process of its own, so that its processor time is its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use axum::serve::ListenerExt as _;
use sessile_bench::databases::Databases;
use sessile_bench::processes::Used;
use sessile_bench::subject;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// The variable with the folder of the peers' programs.
const PEERS: &str = "SESSILE_BENCH_PEERS";

/// A running server. It ends with the value, and with this process.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    database: Option<u32>,
    folder: TempDir,
}

/// Of a server and of the database behind it.
pub(crate) struct ProcessorTime {
    pub(crate) server: Spent,
    pub(crate) database: Spent,
}

/// What a group of processes has spent by now; one minus an earlier one is a time.
pub(crate) struct Spent(Used);

impl std::ops::Sub for Spent {
    type Output = std::time::Duration;

    fn sub(self, earlier: Spent) -> Self::Output {
        self.0.since(&earlier.0)
    }
}

impl Server {
    /// Starts a subject as a server, with an empty folder: this program again, or a peer's.
    pub(crate) fn start(subject: &str, databases: &Databases) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let ours = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["serve", subject]);
            command
        };
        let mut child = peer(subject, databases, folder.path())
            .unwrap_or_else(ours)
            .envs(databases.variables())
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|cause| panic!("cannot start {subject}: {cause}"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap_or_else(|_| panic!("{subject} did not start: {line:?}"));
        Server { child, address, database: databases.process_id(subject), folder }
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Where it runs, and where SQLite's file is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The processor time so far.
    pub(crate) fn processor_time(&self) -> ProcessorTime {
        ProcessorTime {
            server: Spent(Used::by(&[self.process_id()])),
            database: Spent(Used::by(self.database.as_slice())),
        }
    }
}

/// The program of another library, which stands in a workspace of its own: the kind of its store and where
/// that is.
fn peer(subject: &str, databases: &Databases, folder: &Path) -> Option<Command> {
    const PROGRAMS: [&str; 3] = ["tower-sessions", "axum-session", "actix-session"];
    let name = PROGRAMS.into_iter().find(|program| subject.starts_with(program))?;
    let programs = std::env::var_os(PEERS).unwrap_or_else(|| panic!("{PEERS} names no folder"));
    let kind = match &subject[name.len() + 1..] {
        // The write-ahead log, as ours has it.
        "sqlite" => "sqlite-wal",
        "mariadb" => "mysql",
        kind => kind,
    };
    let url = databases.url(subject).unwrap_or_else(|| format!("sqlite://{}/peer.db", folder.display()));
    let mut command = Command::new(Path::new(&programs).join(format!("peer-{name}")));
    command.args([kind, &url]);
    Some(command)
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Serves a subject from the current folder until standard input ends.
pub(crate) fn serve(subject: &str) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let router = subject::router(subject, ".".as_ref()).await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    });
    // What still waits for a connection would wait for ever.
    runtime.shutdown_background();
}
