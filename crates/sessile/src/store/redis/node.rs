//! Nodes of a Cluster: connections that the client of a Cluster opens by itself, through our [`Connector`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::Connect;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisError,
    RedisFuture, Value,
};

use super::connect::{Connector, Endpoint};

/// The connectors in use. The client of a Cluster opens connections by a function that knows nothing but an
/// address and a user name; the user name says which of these to use.
static CONNECTORS: LazyLock<Mutex<HashMap<String, Weak<Connector>>>> = LazyLock::new(Mutex::default);

/// A connector that clients of a Cluster can name, until this is dropped.
pub(super) struct Registered {
    pub(super) name: String,
    _connector: Arc<Connector>,
}

impl Registered {
    pub(super) fn new(connector: Connector) -> Registered {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("connector-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let connector = Arc::new(connector);
        CONNECTORS.lock().insert(name.clone(), Arc::downgrade(&connector));
        Registered { name, _connector: connector }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        CONNECTORS.lock().remove(&self.name);
    }
}

fn connector(name: Option<&str>) -> Result<Arc<Connector>, RedisError> {
    let found = name.and_then(|name| CONNECTORS.lock().get(name)?.upgrade());
    found.ok_or_else(|| (ErrorKind::InvalidClientConfig, "the store is gone").into())
}

/// A connection to a node.
#[derive(Clone)]
pub(super) struct NodeConnection(MultiplexedConnection);

impl Connect for NodeConnection {
    fn connect_with_config<'a, T>(info: T, config: AsyncConnectionConfig) -> RedisFuture<'a, Self>
    where
        T: IntoConnectionInfo + Send + 'a,
    {
        Box::pin(async move {
            let info = info.into_connection_info()?;
            let connector = connector(info.redis_settings().username())?;
            let endpoint = match info.addr() {
                ConnectionAddr::Tcp(host, port) => Endpoint::Tcp(host.clone(), *port),
                _ => return Err((ErrorKind::InvalidClientConfig, "a node has a host and a port").into()),
            };
            let opening = connector.open_with(&endpoint, config);
            let opened = tokio::time::timeout(connector.limit(), opening).await;
            opened
                .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))?
                .map(NodeConnection)
        })
    }
}

impl ConnectionLike for NodeConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.0.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}
