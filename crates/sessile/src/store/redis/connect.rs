//! Opening connections: over TCP, TLS or a Unix socket, with RESP3, to a server that is fit for sessions.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisError, RedisResult, Value,
};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::fault::{Fault, Place, answer, backend};
use super::server::ServerInfo;
use crate::store::StoreError;
use crate::store::tls::explained;

/// How long a connection may be silent before the system looks whether it is still there. Less than most
/// firewalls and load balancers wait before they forget it.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The address of one server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Endpoint {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(host, port) => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Credentials. Without a user name they are those of the user `default`.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl Login {
    fn settings(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        settings
    }
}

/// Opens connections to servers that take the same credentials.
#[derive(Clone)]
pub(super) struct Connector {
    settings: RedisConnectionInfo,
    database: i64,
    tls: Option<TlsConnector>,
    place: Arc<Place>,
}

impl Connector {
    /// # Errors
    /// When a file of the encryption cannot be used.
    pub(super) fn new(address: &Address, place: &Arc<Place>) -> Result<Connector, StoreError> {
        let config = match &address.tls {
            Some(tls) => tls.config().map_err(|problem| backend("prepare TLS", problem))?,
            None => None,
        };
        let tls = config.map(|config| TlsConnector::from(Arc::new(config)));
        let (settings, place) = (address.login.settings(), Arc::clone(place));
        Ok(Connector { settings, database: address.database, tls, place })
    }

    /// The same for sentinels, which have no databases.
    pub(super) fn with_login(&self, login: &Login) -> Connector {
        Connector { settings: login.settings(), database: 0, ..self.clone() }
    }

    /// A connection to this server and what the server is; pushed messages go to `on_push`.
    ///
    /// The caller bounds the time of an answer.
    pub(super) async fn open(
        &self,
        endpoint: &Endpoint,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<(MultiplexedConnection, ServerInfo), Fault> {
        let opening = async {
            let mut connection = self.open_any(endpoint, on_push).await?;
            let info = self.identify(&mut connection).await?;
            info.check_version(endpoint)?;
            Ok((connection, info))
        };
        self.in_time(opening).await
    }

    /// The same, whatever the server is.
    pub(super) async fn open_any(
        &self,
        endpoint: &Endpoint,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, Fault> {
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_push_sender(move |push: PushInfo| {
                on_push(push);
                Ok::<(), redis::aio::SendError>(())
            });
        match self.open_with(endpoint, config).await {
            Err(error) if self.is_without_resp3(&error) => Err(self.without_resp3(endpoint).await),
            opened => Ok(opened?),
        }
    }

    /// Bounds an attempt to connect, in which nothing was sent that could have changed anything.
    pub(super) async fn in_time<T>(
        &self,
        attempt: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let made = self.place.limit.keep(attempt).await.unwrap_or(Err(Fault::Slow));
        made.map_err(Fault::unsent)
    }

    /// As the client of a Cluster needs it.
    pub(super) async fn open_with(
        &self,
        endpoint: &Endpoint,
        config: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        self.open_as(&self.settings, endpoint, config).await
    }

    async fn open_as(
        &self,
        settings: &RedisConnectionInfo,
        endpoint: &Endpoint,
        config: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        match endpoint {
            Endpoint::Unix(path) => handshake(settings, UnixStream::connect(path).await?, config).await,
            Endpoint::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                // Small requests leave at once.
                stream.set_nodelay(true)?;
                SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
                match &self.tls {
                    None => handshake(settings, stream, config).await,
                    Some(tls) => {
                        let name = ServerName::try_from(host.as_str()).map_err(std::io::Error::other)?;
                        let stream = tls.connect(name.to_owned(), stream).await.map_err(explain)?;
                        handshake(settings, stream, config).await
                    }
                }
            }
        }
    }

    /// Selects the database and asks the server what it is. What it does not tell stays unknown.
    async fn identify(&self, connection: &mut MultiplexedConnection) -> Result<ServerInfo, Fault> {
        let mut pipeline = Pipeline::with_capacity(3);
        if self.database != 0 {
            pipeline.add_command(words(&["SELECT", &self.database.to_string()]));
        }
        pipeline.add_command(words(&["INFO", "server"])).add_command(words(&["INFO", "replication"]));
        let count = pipeline.len();
        let mut answers = connection.req_packed_commands(&pipeline, 0, count).await?.into_iter();
        if self.database != 0 {
            let selected = answers.next().unwrap_or(Value::Nil);
            answer(selected).map_err(|fault| self.no_database(fault))?;
        }
        Ok(ServerInfo::read(answers))
    }

    fn no_database(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Refused(refusal) if refusal.code() == "ERR" => Fault::Unfit {
                problem: format!("{} has no database {}", self.place.server, self.database),
                remedy: "name another database in the store URL, or raise `databases` in redis.conf"
                    .to_owned(),
            },
            fault => fault,
        }
    }

    /// By the code with which HELLO is refused where it, or version 3, is not known. Some servers ask for a
    /// password first, though HELLO brings one.
    fn is_without_resp3(&self, error: &RedisError) -> bool {
        let has_password = self.settings.password().is_some();
        match error.code() {
            Some("ERR" | "NOPROTO") => true,
            Some("NOAUTH") => has_password,
            _ => error.kind() == ErrorKind::RESP3NotSupported,
        }
    }

    /// What a server is that does not speak RESP3.
    async fn without_resp3(&self, endpoint: &Endpoint) -> Fault {
        let settings = self.settings.clone().set_protocol(ProtocolVersion::RESP2);
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let product = match self.open_as(&settings, endpoint, config).await {
            Ok(mut connection) => {
                let told = connection.req_packed_command(&words(&["INFO", "server"])).await;
                ServerInfo::read(told).product()
            }
            Err(_) => None,
        };
        let product = product.unwrap_or_else(|| "the server".to_owned());
        Fault::Unfit {
            problem: format!("{product} at {endpoint} does not speak RESP3: it refuses the command HELLO"),
            remedy:
                "use Redis 6.2 or later, or Valkey, and connect to it directly: a proxy in between, or a \
                     renamed HELLO, keeps RESP3 away, without which changes by others are not noticed"
                    .to_owned(),
        }
    }
}

/// What a failed handshake of TLS means.
fn explain(error: std::io::Error) -> std::io::Error {
    explained(&error).map_or(error, std::io::Error::other)
}

async fn handshake<S>(
    settings: &RedisConnectionInfo,
    stream: S,
    config: AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connection, driver) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
    // Ends with the last clone of the connection.
    tokio::spawn(driver);
    Ok(connection)
}

/// A command of words.
pub(super) fn words(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}
