//! The server under test: a process of its own, so that its processor time is its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::serve::ListenerExt as _;
use sessile_bench::subject;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// A running server. It ends with the value, and with this process.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl Server {
    /// Starts this program again as a server, with an empty folder.
    pub(crate) fn start(subject: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve", subject])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap_or_else(|_| panic!("{subject} did not start: {line:?}"));
        Server { child, address, _folder: folder }
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time of all its threads so far, of those that have ended too where they are few: the
    /// kernel counts nanoseconds per thread, but only hundredths of a second per process.
    pub(crate) fn processor_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process_id())).unwrap();
        let nanoseconds = tasks.filter_map(|task| {
            let counted = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            counted.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }
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
