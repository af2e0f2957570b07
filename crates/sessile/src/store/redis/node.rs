//! Nodes of a Cluster: connections that the client of a Cluster opens by itself, through our [`Connector`].
//!
//! The client stops all requests while it looks at the slots again, and then waits for each node that does not answer.
//! So nothing here takes long: a connection is made in the background, and one that has not answered in time is given
//! up. The client then asks the other nodes, which know whether another one has taken the slots.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::Connect;
use redis::{
    Arg, AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisError,
    RedisFuture, RedisResult, Value,
};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{sleep, timeout};

use super::connect::{Connector, Endpoint};

/// How long a connection, or an answer about the slots, is waited for. A connection that takes longer is used when
/// it is next asked for.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a request waits before it is tried again, which makes the client look at the slots, while a node cannot
/// be reached.
const PAUSE: Duration = Duration::from_millis(250);

/// The nodes in use. The client of a Cluster opens connections by a function that knows nothing but an address and a
/// user name; the user name says whose nodes they are.
static ALL: LazyLock<Mutex<HashMap<String, Weak<Nodes>>>> = LazyLock::new(Mutex::default);

struct Nodes {
    connector: Connector,
    /// Attempts at those nodes that could not be reached in time, under way or over.
    attempts: Mutex<HashMap<Endpoint, Attempt>>,
}

type Attempt = JoinHandle<RedisResult<MultiplexedConnection>>;

/// A connector that clients of a Cluster can name, until this is dropped.
pub(super) struct Registered {
    pub(super) name: String,
    _nodes: Arc<Nodes>,
}

impl Registered {
    pub(super) fn new(connector: Connector) -> Registered {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("connector-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let nodes = Arc::new(Nodes { connector, attempts: Mutex::default() });
        ALL.lock().insert(name.clone(), Arc::downgrade(&nodes));
        Registered { name, _nodes: nodes }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        ALL.lock().remove(&self.name);
    }
}

impl Nodes {
    fn named(name: Option<&str>) -> RedisResult<Arc<Nodes>> {
        let found = name.and_then(|name| ALL.lock().get(name)?.upgrade());
        found.ok_or_else(|| (ErrorKind::InvalidClientConfig, "the store is gone").into())
    }

    /// Waits only for the first attempt, and not for long.
    async fn open(
        &self,
        endpoint: Endpoint,
        config: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let before = self.attempts.lock().remove(&endpoint);
        let (attempt, opened) = match before {
            Some(attempt) if !attempt.is_finished() => (attempt, Err(timed_out())),
            Some(attempt) => {
                let opened = joined(attempt.await);
                if opened.is_ok() {
                    return opened;
                }
                (self.begin(endpoint.clone(), config), opened)
            }
            None => {
                let mut attempt = self.begin(endpoint.clone(), config);
                match timeout(PATIENCE, &mut attempt).await {
                    Ok(opened) => return joined(opened),
                    Err(_) => (attempt, Err(timed_out())),
                }
            }
        };
        self.attempts.lock().insert(endpoint, attempt);
        opened
    }

    fn begin(&self, endpoint: Endpoint, config: AsyncConnectionConfig) -> Attempt {
        let connector = self.connector.clone();
        tokio::spawn(async move {
            let opening = connector.open_with(&endpoint, config);
            timeout(connector.limit(), opening).await.unwrap_or_else(|_| Err(timed_out()))
        })
    }

    /// Whether a node could not be reached in time a moment ago.
    fn is_short_of_nodes(&self) -> bool {
        self.attempts.lock().values().any(|attempt| !attempt.is_finished())
    }
}

fn joined(
    opened: Result<RedisResult<MultiplexedConnection>, JoinError>,
) -> RedisResult<MultiplexedConnection> {
    opened.map_err(|error| RedisError::from(io::Error::other(error)))?
}

fn timed_out() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// A connection to a node.
#[derive(Clone)]
pub(super) struct NodeConnection {
    connection: MultiplexedConnection,
    nodes: Arc<Nodes>,
    is_given_up: Arc<AtomicBool>,
}

impl NodeConnection {
    /// An answer that does not come in time is the end of the connection.
    async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        let is_check = is_check(command);
        if self.is_given_up.load(Ordering::Acquire) {
            if !is_check {
                sleep(PAUSE).await;
            }
            return Err(given_up());
        }
        let answer = match is_check {
            true => timeout(PATIENCE, self.connection.req_packed_command(command)).await,
            false => Ok(self.connection.req_packed_command(command).await),
        };
        match answer {
            Ok(Err(error)) if !error.is_timeout() => Err(error),
            Ok(Ok(value)) => {
                if is_moved(&value) && self.nodes.is_short_of_nodes() {
                    sleep(PAUSE).await;
                }
                Ok(value)
            }
            Ok(Err(_)) | Err(_) => {
                self.is_given_up.store(true, Ordering::Release);
                Err(given_up())
            }
        }
    }
}

/// What the client asks while all requests wait.
fn is_check(command: &Cmd) -> bool {
    matches!(command.args_iter().next(), Some(Arg::Simple(b"PING" | b"CLUSTER")))
}

fn is_moved(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.code() == "MOVED")
}

/// As a connection that the server has closed.
fn given_up() -> RedisError {
    io::Error::from(io::ErrorKind::BrokenPipe).into()
}

impl Connect for NodeConnection {
    fn connect_with_config<'a, T>(info: T, config: AsyncConnectionConfig) -> RedisFuture<'a, Self>
    where
        T: IntoConnectionInfo + Send + 'a,
    {
        Box::pin(async move {
            let info = info.into_connection_info()?;
            let nodes = Nodes::named(info.redis_settings().username())?;
            let endpoint = match info.addr() {
                ConnectionAddr::Tcp(host, port) => Endpoint::Tcp(host.clone(), *port),
                _ => return Err((ErrorKind::InvalidClientConfig, "a node has a host and a port").into()),
            };
            let connection = nodes.open(endpoint, config).await?;
            Ok(NodeConnection { connection, nodes, is_given_up: Arc::default() })
        })
    }
}

impl ConnectionLike for NodeConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(self.send(command))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}
