//! TLS between the driver and the server.
//!
//! The driver has TLS of its own, which cannot be used as it is meant here: it installs a crypto provider for the
//! whole process (`ClientConfig::builder`), it refuses certificates without a name of the host whatever is asked
//! for, and it takes neither a verifier nor a stream. So an encrypted connection is made here, and the driver is
//! connected to this process by a local socket, which a task forwards. Only its own process can connect to that
//! socket.
//!
//! A connection begins in clear: the server greets, the client asks for TLS with the first 32 bytes of its answer to
//! the greeting, and sends the whole answer when the connection is encrypted. The driver knows nothing of that
//! message, so that packets have another number on each side until the user is authenticated.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::{Conn, OptsBuilder};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use local::{Listener, Local};

/// Where encrypted connections go, and how they are encrypted.
pub(super) struct Tunnel {
    connector: TlsConnector,
    host: String,
    port: u16,
    keepalive: Duration,
}

/// Why there is no connection.
pub(super) enum Failure {
    /// The server does not support TLS.
    Unsupported,
    /// The server, or the driver.
    Driver(mysql_async::Error),
    /// The network, or TLS.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl Tunnel {
    pub(super) fn new(config: ClientConfig, host: String, port: u16, keepalive: Duration) -> Tunnel {
        Tunnel { connector: TlsConnector::from(Arc::new(config)), host, port, keepalive }
    }

    /// Connects the driver through a task, which ends with the connection.
    pub(super) async fn connect(&self, opts: OptsBuilder) -> Result<Conn, Failure> {
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let mut server = TcpStream::connect((&*self.host, self.port)).await?;
        server.set_nodelay(true)?;
        SockRef::from(&server).set_tcp_keepalive(&TcpKeepalive::new().with_time(self.keepalive))?;
        let greeting = Packet::read(&mut server).await?;
        if !greeting.is_error() && !greeting.offers_tls() {
            return Err(Failure::Unsupported);
        }
        let listener = Listener::new()?;
        let opts = opts.socket(Some(listener.name()));
        let mut connecting = pin!(Conn::new(opts));
        let forwarding = async {
            let mut local = listener.accept().await?;
            greeting.write(&mut local, 0).await?;
            if !greeting.is_error() {
                let server = authenticated(&mut local, server, &self.connector, name).await?;
                tokio::spawn(forward(local, server));
            }
            Ok::<(), io::Error>(())
        };
        tokio::select! {
            // The driver learns only that its peer has gone: the cause is on the other side.
            forwarded = forwarding => forwarded?,
            connected = &mut connecting => return connected.map_err(Failure::Driver),
        }
        connecting.await.map_err(Failure::Driver)
    }
}

/// Forwards packets until the server has accepted the user, or has refused it.
async fn authenticated(
    local: &mut Local,
    mut server: TcpStream,
    connector: &TlsConnector,
    name: ServerName<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut answer = Packet::read(local).await?;
    answer.ask_for_tls()?;
    answer.head().write(&mut server, 1).await?;
    let mut server = connector.connect(name, server).await?;
    answer.write(&mut server, 2).await?;
    loop {
        let packet = Packet::read(&mut server).await?;
        packet.write(local, packet.number.wrapping_sub(1)).await?;
        if packet.is_last() {
            return Ok(server);
        }
        if !packet.needs_no_answer() {
            let answer = Packet::read(local).await?;
            answer.write(&mut server, answer.number.wrapping_add(1)).await?;
        }
    }
}

/// Copies in both directions until one side ends or fails, and closes the other: neither goes on without it.
async fn forward(local: Local, server: TlsStream<TcpStream>) {
    let (mut from_local, mut to_local) = split(local);
    let (mut from_server, mut to_server) = split(server);
    let _ = tokio::select! {
        ended = copy(&mut from_local, &mut to_server) => ended,
        ended = copy(&mut from_server, &mut to_local) => ended,
    };
}

/// A message of the protocol.
struct Packet {
    number: u8,
    payload: Vec<u8>,
}

/// Of the client's first packet: capabilities, the largest packet, the character set, and 23 bytes of little use.
const HEAD: usize = 32;

/// The capability to speak TLS, in the lower two bytes of all.
const TLS: u8 = 0x08;

impl Packet {
    async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Packet> {
        let mut header = [0; 4];
        from.read_exact(&mut header).await?;
        let [a, b, c, number] = header;
        let mut payload = vec![0; usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16];
        from.read_exact(&mut payload).await?;
        Ok(Packet { number, payload })
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin), number: u8) -> io::Result<()> {
        let [a, b, c, ..] = self.payload.len().to_le_bytes();
        let bytes = [&[a, b, c, number], &*self.payload].concat();
        to.write_all(&bytes).await?;
        to.flush().await
    }

    fn is_error(&self) -> bool {
        self.payload.first() == Some(&0xff)
    }

    /// Whether it ends the authentication, with success or without.
    fn is_last(&self) -> bool {
        self.is_error() || self.payload.first() == Some(&0)
    }

    /// Whether another packet of the server follows: `caching_sha2_password` knew the password already.
    fn needs_no_answer(&self) -> bool {
        self.payload == [1, 3]
    }

    /// Whether the server that sent this greeting supports TLS: its capabilities follow the version, which ends
    /// with a zero, the number of the connection, and nine bytes of the challenge.
    fn offers_tls(&self) -> bool {
        let version = self.payload.iter().skip(1).position(|&byte| byte == 0).map(|end| end + 2);
        let capabilities = version.and_then(|at| self.payload.get(at + 4 + 9..)?.get(..2));
        capabilities.is_some_and(|bytes| bytes[1] & TLS != 0)
    }

    fn ask_for_tls(&mut self) -> io::Result<()> {
        match self.payload.get_mut(1) {
            Some(capabilities) => *capabilities |= TLS,
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn head(&self) -> Packet {
        Packet { number: self.number, payload: self.payload.iter().copied().take(HEAD).collect() }
    }
}

/// A socket that one connection of this process is accepted from.
#[cfg(unix)]
mod local {
    use std::io;

    use tokio::net::{UnixListener, UnixStream};

    use crate::store::hex::hex;

    pub(super) type Local = UnixStream;

    pub(super) struct Listener {
        socket: UnixListener,
        name: String,
    }

    impl Listener {
        pub(super) fn new() -> io::Result<Listener> {
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            let name = address(&hex(&random));
            Ok(Listener { socket: UnixListener::bind(&name)?, name })
        }

        pub(super) fn name(&self) -> String {
            self.name.clone()
        }

        /// Other processes are turned away: whoever is connected here is connected to the server.
        pub(super) async fn accept(self) -> io::Result<Local> {
            loop {
                let (stream, _) = self.socket.accept().await?;
                if is_our_own(&stream)? {
                    return Ok(stream);
                }
            }
        }
    }

    /// The kernel says which process it is.
    fn is_our_own(stream: &UnixStream) -> io::Result<bool> {
        let peer = stream.peer_cred()?.pid();
        Ok(peer.and_then(|peer| u32::try_from(peer).ok()) == Some(std::process::id()))
    }

    /// An abstract name is no file, so that it works where no folder can be written to.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn address(random: &str) -> String {
        format!("\0sessile-{random}")
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn address(random: &str) -> String {
        std::env::temp_dir().join(format!("sessile-{random}")).display().to_string()
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    impl Drop for Listener {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.name);
        }
    }
}

#[cfg(not(unix))]
mod local {
    use std::io;

    /// Not made.
    pub(super) type Local = tokio::net::TcpStream;

    pub(super) struct Listener;

    impl Listener {
        pub(super) fn new() -> io::Result<Listener> {
            let why = "encrypted connections to MySQL need a Unix socket, which this system does not have";
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }

        pub(super) fn name(&self) -> String {
            String::new()
        }

        pub(super) async fn accept(self) -> io::Result<Local> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}
