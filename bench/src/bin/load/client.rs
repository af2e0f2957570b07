//! The load: connections that are kept, each with one request under way, made of bytes put together before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sessile_bench::latencies;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::server::Server;
use crate::work::{Cookies, LOGIN, Work};

/// How often a visitor nobody knows differs from the one before.
const VISITORS: usize = 1_000;

/// What one load came to.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) requests: usize,
    /// Answers that were no 200.
    pub(crate) failed: usize,
    pub(crate) time: Duration,
    /// Of the server, and of the database behind it.
    pub(crate) processor: Duration,
    pub(crate) database: Duration,
    /// Of each request, sorted.
    pub(crate) latencies: Vec<Duration>,
}

impl Load {
    /// Of the server, per request.
    pub(crate) fn server_micros(&self) -> f64 {
        per_request(self.processor, self.requests)
    }

    /// Of the database, per request.
    pub(crate) fn database_micros(&self) -> f64 {
        per_request(self.database, self.requests)
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }

    /// The latency, in microseconds, that this share of the requests stays within.
    pub(crate) fn micros_at(&self, share: f64) -> f64 {
        latencies::micros_at(&self.latencies, share)
    }
}

fn per_request(time: Duration, requests: usize) -> f64 {
    time.as_secs_f64() * 1e6 / requests.max(1) as f64
}

/// A client with the cookies of its sessions.
pub(crate) struct Client {
    runtime: Runtime,
    cookies: Vec<String>,
    /// What the work before was given.
    given: Vec<String>,
}

impl Client {
    /// Signs in as often as it is to have sessions.
    pub(crate) fn new(server: &Server, sessions: usize) -> Client {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut client = Client { runtime, cookies: Vec::new(), given: Vec::new() };
        if sessions > 0 {
            let requests: Arc<[Vec<u8>]> = (0..sessions).map(|i| LOGIN.request(i, "")).collect();
            let plan = Plan { connections: 16, time: Duration::MAX, once: true, keep_cookies: true };
            let (load, cookies) = client.run(server, requests, plan);
            assert_eq!(load.failed, 0, "logins failed");
            client.cookies = cookies;
        }
        client
    }

    /// Asks as fast as the server answers, for this long or until each cookie that counts once is used up.
    pub(crate) fn load(&mut self, server: &Server, work: &Work, connections: usize, time: Duration) -> Load {
        let with = |(i, cookie): (usize, &String)| work.request(i, cookie);
        let requests: Arc<[Vec<u8>]> = match work.cookies {
            Cookies::None => (0..VISITORS).map(|i| work.request(i, "")).collect(),
            Cookies::InTurn => self.cookies.iter().enumerate().map(with).collect(),
            Cookies::Once => std::mem::take(&mut self.given).iter().enumerate().map(with).collect(),
        };
        let once = work.cookies == Cookies::Once;
        let keep_cookies = work.path.ends_with("{i}");
        let (load, given) = self.run(server, requests, Plan { connections, time, once, keep_cookies });
        self.given = given;
        load
    }

    /// Asks once for each of its sessions, so that what keeps them in memory has them there.
    pub(crate) fn warm_up(&self, server: &Server, work: &Work) {
        let requests = self.cookies.iter().enumerate().map(|(i, cookie)| work.request(i, cookie)).collect();
        let plan = Plan { connections: 16, time: Duration::MAX, once: true, keep_cookies: false };
        self.run(server, requests, plan);
    }

    /// One request more, whose answer's body it returns.
    pub(crate) fn ask(&self, server: &Server, method: &'static str, path: &'static str) -> String {
        let work = Work { name: path, method, path, cookies: Cookies::None };
        self.runtime.block_on(async {
            let mut connection = Connection::open(server.address).await;
            let answer = connection.ask(&work.request(0, "")).await;
            assert!(answer.is_ok, "{path} failed");
            connection.body(&answer)
        })
    }

    fn run(&self, server: &Server, requests: Arc<[Vec<u8>]>, plan: Plan) -> (Load, Vec<String>) {
        self.runtime.block_on(async {
            let mut connections = Vec::new();
            for _ in 0..plan.connections {
                let mut connection = Connection::open(server.address).await;
                // Nothing is counted before every connection has had an answer.
                connection.ask(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
                connections.push(connection);
            }
            let next = Arc::new(AtomicUsize::new(0));
            let share = requests.len().div_ceil(plan.connections.max(1));
            let first = fastrand::usize(..requests.len().max(1));
            let before = server.processor_time();
            let started = Instant::now();
            let tasks: Vec<_> = (connections.into_iter().enumerate())
                .map(|(at, connection)| {
                    // Each connection starts elsewhere, so that no two ask for one session at once.
                    let from = if plan.once {
                        Next::Shared(Arc::clone(&next))
                    } else {
                        Next::Own(first + at * share)
                    };
                    tokio::spawn(ask_all(connection, Arc::clone(&requests), from, plan, started))
                })
                .collect();
            let (mut latencies, mut failed, mut given) = (Vec::new(), 0, Vec::new());
            for task in tasks {
                let asked = task.await.unwrap();
                latencies.extend(asked.latencies);
                failed += asked.failed;
                given.extend(asked.given);
            }
            let time = started.elapsed();
            let after = server.processor_time();
            latencies.sort_unstable();
            let (processor, database) = (after.server - before.server, after.database - before.database);
            (Load { requests: latencies.len(), failed, time, processor, database, latencies }, given)
        })
    }
}

#[derive(Clone, Copy)]
struct Plan {
    connections: usize,
    time: Duration,
    /// Whether each request is sent once.
    once: bool,
    keep_cookies: bool,
}

/// Which request a connection takes.
enum Next {
    /// The next one that none has taken.
    Shared(Arc<AtomicUsize>),
    /// Its own, round and round.
    Own(usize),
}

struct Asked {
    latencies: Vec<Duration>,
    failed: usize,
    given: Vec<String>,
}

async fn ask_all(
    mut connection: Connection,
    requests: Arc<[Vec<u8>]>,
    mut next: Next,
    plan: Plan,
    started: Instant,
) -> Asked {
    let mut asked = Asked { latencies: Vec::new(), failed: 0, given: Vec::new() };
    let mut now = started;
    while now - started < plan.time {
        let at = match &mut next {
            Next::Shared(shared) => shared.fetch_add(1, Ordering::Relaxed),
            Next::Own(own) => {
                *own += 1;
                *own % requests.len()
            }
        };
        let Some(request) = requests.get(at) else { break };
        let answer = connection.ask(request).await;
        let answered = Instant::now();
        asked.latencies.push(answered - now);
        asked.failed += usize::from(!answer.is_ok);
        if plan.keep_cookies && answer.is_ok {
            asked.given.push(connection.cookie(&answer));
        }
        now = answered;
    }
    asked
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer, all of which has been read.
struct Answer {
    is_ok: bool,
    head: usize,
}

impl Connection {
    async fn open(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, read: Vec::with_capacity(16_384) }
    }

    async fn ask(&mut self, request: &[u8]) -> Answer {
        self.stream.write_all(request).await.unwrap();
        self.read.clear();
        loop {
            assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "the server hung up");
            let Some(head) = self.read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let length = headers(&self.read[..head], b"content-length").next();
            let length = length.map_or(0, |digits| str::from_utf8(digits).unwrap().parse::<usize>().unwrap());
            if self.read.len() >= head + 4 + length {
                return Answer { is_ok: self.read.starts_with(b"HTTP/1.1 200 "), head };
            }
        }
    }

    /// What a browser would send back.
    fn cookie(&self, answer: &Answer) -> String {
        let pairs = headers(&self.read[..answer.head], b"set-cookie");
        let pairs: Vec<_> = pairs
            .map(|value| String::from_utf8_lossy(value.split(|&b| b == b';').next().unwrap_or_default()))
            .collect();
        assert!(!pairs.is_empty(), "no cookie: {}", String::from_utf8_lossy(&self.read));
        pairs.join("; ")
    }

    fn body(&self, answer: &Answer) -> String {
        String::from_utf8_lossy(&self.read[answer.head + 4..]).into_owned()
    }
}

/// The values of this header; servers differ in how they write its name.
fn headers<'a>(head: &'a [u8], name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    head.split(|&byte| byte == b'\n').filter_map(move |line| {
        let value = line.get(name.len()..)?.strip_prefix(b": ")?;
        line[..name.len()].eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}
