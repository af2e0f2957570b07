//! Each kind of server starts, answers, stands still, restarts where it was, and leaves nothing.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sessile_test_servers::{MariaDb, Postgres, Redis, RedisCluster, Server};

const PATIENCE: Duration = Duration::from_secs(30);

/// Zombies count as gone: in a container without an init process nobody reaps them.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// What has to be gone when a server has ended.
struct Traces(Vec<(u32, PathBuf)>);

impl Traces {
    fn of<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Self {
        let trace = |server: &Server| (server.pid().unwrap(), server.folder().to_owned());
        let traces = Self(servers.into_iter().map(trace).collect());
        assert!(traces.0.iter().all(|(pid, folder)| is_running(*pid) && folder.is_dir()));
        traces
    }

    fn are_left(&self) -> bool {
        self.0.iter().any(|(pid, folder)| is_running(*pid) || folder.exists())
    }
}

/// A connection on which the server answered the first bytes in time.
fn greeted(server: &Server, greeting: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.write_all(greeting).unwrap();
    stream.read(&mut [0; 1]).is_ok_and(|count| count == 1).then_some(stream)
}

fn refuses_connections(server: &Server) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).is_err()
}

/// `write` stores something, `read` tells whether it is still there.
fn lives_and_ends<T: std::ops::Deref<Target = Server>>(
    server: T,
    greeting: &[u8],
    write: impl Fn(&T),
    read: impl Fn(&T) -> bool,
) {
    let (port, pid) = (server.port(), server.pid());
    write(&server);
    assert!(read(&server));

    assert!(greeted(&server, greeting).is_some());
    server.pause().unwrap();
    assert!(greeted(&server, greeting).is_none());
    server.resume().unwrap();
    assert!(greeted(&server, greeting).is_some());

    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    assert!(read(&server), "a restart keeps what was stored");

    server.pause().unwrap();
    server.stop().unwrap();
    assert_eq!(server.pid(), None);
    assert!(refuses_connections(&server));
    assert!(server.stop().unwrap_err().to_string().ends_with("does not run"));
    server.restart().unwrap();

    server.kill().unwrap();
    assert_eq!(server.pid(), None);
    assert!(refuses_connections(&server));
    server.restart().unwrap();
    assert!(read(&server), "what was acknowledged survives a kill");

    // A connection that somebody holds must not keep it.
    let connection = greeted(&server, greeting).unwrap();
    let traces = Traces::of([&*server]);
    server.pause().unwrap();
    drop(server);
    assert!(!traces.are_left());
    drop(connection);
}

#[test]
fn postgres_lives_and_ends() {
    let server = Postgres::start_with(&[("work_mem", "1234kB")]).unwrap();
    assert_eq!(server.query("SHOW work_mem").unwrap(), "1234kB");
    assert_eq!(server.query("SHOW synchronous_commit; SHOW fsync").unwrap(), "on\non");
    assert_eq!(server.query("SHOW max_connections").unwrap(), "200");
    // The length of a request for TLS, and its number.
    let greeting = [0, 0, 0, 8, 4, 210, 22, 47];
    let write = |server: &Postgres| {
        server.query("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
    };
    lives_and_ends(server, &greeting, write, |server| server.query("SELECT n FROM t").unwrap() == "7");
}

#[test]
fn mariadb_lives_and_ends() {
    let server = MariaDb::start_with(&[("wait-timeout", "1234")]).unwrap();
    assert_eq!(server.query("SELECT @@wait_timeout, @@innodb_flush_log_at_trx_commit").unwrap(), "1234\t1");
    let sets = "SELECT default_character_set_name FROM information_schema.schemata \
                WHERE schema_name LIKE 'sessile%' ORDER BY schema_name";
    assert_eq!(server.query(sets).unwrap(), "utf8mb4\nlatin1");
    let write = |server: &MariaDb| {
        server.query("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
    };
    // The server speaks first.
    lives_and_ends(server, &[], write, |server| server.query("SELECT n FROM t").unwrap() == "7");
}

#[test]
fn redis_lives_and_ends() {
    let server = Redis::start_with(&[("appendonly", "yes"), ("appendfsync", "always")]).unwrap();
    let write = |server: &Redis| {
        server.command(&["SET", "n", "7"]).unwrap();
    };
    let read = |server: &Redis| server.command(&["GET", "n"]).unwrap() == "7";
    lives_and_ends(server, b"*1\r\n$4\r\nPING\r\n", write, read);
}

#[test]
fn redis_persists_nothing_unless_told() {
    let server = Redis::start().unwrap();
    server.command(&["SET", "n", "7"]).unwrap();
    server.restart().unwrap();
    assert_eq!(server.command(&["GET", "n"]).unwrap(), "");
}

#[test]
fn a_cluster_survives_the_loss_of_a_primary_and_leaves_nothing() {
    let cluster = RedisCluster::start().unwrap();
    cluster.wait_until_healthy().unwrap();
    let traces = Traces::of(cluster.nodes().iter().map(|node| &**node));
    assert_eq!(traces.0.len(), 6);

    let lost = cluster.kill_primary_of(12_000).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let next = loop {
        match cluster.primary_of(12_000) {
            Ok(node) => break node,
            Err(failure) => assert!(Instant::now() < deadline, "{failure}"),
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert_ne!(next.port(), lost.port());
    lost.restart().unwrap();
    cluster.wait_until_healthy().unwrap();
    let ports = |nodes: &[Redis]| nodes.iter().map(|node| node.port()).collect::<Vec<_>>();
    assert!(ports(cluster.nodes()).iter().all(|port| cluster.url().contains(&port.to_string())));

    let restarted = Traces::of([&**lost]);
    drop(cluster);
    assert!(!traces.are_left() && !restarted.are_left());
}

#[test]
fn a_killed_postgres_leaves_no_shared_memory() {
    let segments = || fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let server = Postgres::start().unwrap();
    let noted = fs::read_to_string(server.folder().join("data/postmaster.pid")).unwrap();
    let id = noted.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let is_there = || segments().lines().any(|line| line.split_whitespace().nth(1) == Some(&id));
    assert!(is_there());
    server.kill().unwrap();
    drop(server);
    assert!(!is_there());
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    let text = Postgres::start_with(&[("nonsense", "1")]).unwrap_err().to_string();
    assert!(text.contains("unrecognized configuration parameter \"nonsense\""), "{text}");
    let text = MariaDb::start_with(&[("nonsense", "1")]).unwrap_err().to_string();
    assert!(text.contains("unknown variable 'nonsense=1'"), "{text}");
    let text = Redis::start_with(&[("nonsense", "1")]).unwrap_err().to_string();
    assert!(text.contains("Bad directive"), "{text}");
}

#[test]
fn a_server_tells_nobody_without_its_password() {
    let server = Redis::start().unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    stream.write_all(b"GET n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("-NOAUTH"), "{line}");
}

#[test]
fn servers_end_with_the_program_that_started_them_however_it_ends() {
    for signal in ["INT", "KILL"] {
        let mut program =
            Command::new(env!("CARGO_BIN_EXE_hold-servers")).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
        let lines: Vec<String> = lines.take_while(|line| line != "ready").collect();
        let started = lines.iter().filter_map(|line| {
            let (pid, folder) = line.split_once(' ')?;
            Some((pid.parse().unwrap(), Path::new(folder).to_owned()))
        });
        let traces = Traces(started.collect());
        assert_eq!(traces.0.len(), 3, "{lines:?}");
        assert!(traces.0.iter().all(|(pid, folder)| is_running(*pid) && folder.is_dir()));

        let kill = Command::new("kill").args(["-s", signal, &program.id().to_string()]).status().unwrap();
        assert!(kill.success());
        program.wait().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while traces.are_left() {
            assert!(Instant::now() < deadline, "left after SIG{signal}: {:?}", traces.0);
            thread::sleep(Duration::from_millis(50));
        }
    }
}
