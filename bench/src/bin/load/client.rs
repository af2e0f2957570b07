//! The load: connections that are kept, each with one request under way, made of bytes put together before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::server::Server;
use crate::{CONNECTIONS, Work};

/// What one load came to.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    requests: u32,
    processor: Duration,
    time: Duration,
}

impl Rate {
    /// Of the server, per request.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / f64::from(self.requests)
    }

    pub(crate) fn per_second(&self) -> f64 {
        f64::from(self.requests) / self.time.as_secs_f64()
    }
}

/// A client with the cookies of its sessions.
pub(crate) struct Client {
    runtime: Runtime,
    cookies: Vec<String>,
}

impl Client {
    /// Signs in as often as it is to have sessions.
    pub(crate) fn new(server: &Server, sessions: usize) -> Client {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let cookies = runtime.block_on(async {
            let next = Arc::new(AtomicUsize::new(0));
            let mut tasks = Vec::new();
            for _ in 0..CONNECTIONS {
                let mut connection = Connection::open(server).await;
                let next = Arc::clone(&next);
                tasks.push(tokio::spawn(async move {
                    let mut cookies = Vec::new();
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= sessions {
                            return cookies;
                        }
                        let request = format!("GET /login?i={i} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                        let head = connection.ask(request.as_bytes()).await;
                        cookies.push(cookie_of(&head).to_owned());
                    }
                }));
            }
            let mut cookies = Vec::new();
            for task in tasks {
                cookies.extend(task.await.unwrap());
            }
            cookies
        });
        Client { runtime, cookies }
    }

    /// Asks as fast as the server answers, for this long.
    pub(crate) fn load(&self, server: &Server, work: &Work, time: Duration) -> Rate {
        let head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", work.method, work.path);
        let requests: Arc<[String]> = if work.cookies {
            self.cookies.iter().map(|cookie| format!("{head}Cookie: {cookie}\r\n\r\n")).collect()
        } else {
            [format!("{head}\r\n")].into()
        };
        self.runtime.block_on(async {
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS {
                connections.push(Connection::open(server).await);
            }
            // Nothing is counted before every connection has had an answer.
            for connection in &mut connections {
                connection.ask(requests[0].as_bytes()).await;
            }
            let before = server.processor_time();
            let started = Instant::now();
            let share = requests.len().div_ceil(CONNECTIONS);
            let tasks: Vec<_> = (connections.into_iter().enumerate())
                .map(|(at, mut connection)| {
                    let requests = Arc::clone(&requests);
                    tokio::spawn(async move {
                        let mut asked: u32 = 0;
                        // Each connection starts elsewhere, so that no two ask for one session at once.
                        let mut next = at * share % requests.len();
                        while started.elapsed() < time {
                            connection.ask(requests[next].as_bytes()).await;
                            next = (next + 1) % requests.len();
                            asked += 1;
                        }
                        asked
                    })
                })
                .collect();
            let mut requests = 0;
            for task in tasks {
                requests += task.await.unwrap();
            }
            Rate { requests, time: started.elapsed(), processor: server.processor_time() - before }
        })
    }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn open(server: &Server) -> Connection {
        let stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, read: Vec::with_capacity(4_096) }
    }

    /// Sends one request and reads its whole answer, which must be 200; returns the head.
    async fn ask(&mut self, request: &[u8]) -> String {
        self.stream.write_all(request).await.unwrap();
        self.read.clear();
        loop {
            assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "the server hung up");
            let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = str::from_utf8(&self.read[..end]).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            let length: usize = header(head, "content-length").unwrap().parse().unwrap();
            if self.read.len() >= end + 4 + length {
                return head.to_owned();
            }
        }
    }
}

/// The value of this header; servers differ in how they write its name.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let pairs = head.split("\r\n").filter_map(|line| line.split_once(": "));
    pairs.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn cookie_of(head: &str) -> &str {
    let value = header(head, "set-cookie").unwrap_or_else(|| panic!("no cookie: {head}"));
    value.split(';').next().unwrap_or(value)
}
