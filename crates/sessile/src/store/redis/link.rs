//! The way to the server: one connection that comes back, or the client's own view of a Cluster.
//!
//! Requests pipeline on it, nobody ever checks it out. A single server's connection is held by a task: when
//! it breaks the task connects again, at once, and then with growing pauses and jitter; meanwhile a caller
//! is told so within a bounded time. What was cut off is never sent again from here.
//!
//! A Cluster's client follows redirections and failovers by itself, and sends again what a node that went
//! away has not answered. So a write may arrive twice there, and the scripts see to it that it counts once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, Pipeline, PushInfo, PushKind,
    TlsCertificates, Value,
};
use tokio::sync::{Notify, watch};

use super::address::Address;
use super::call::Request;
use super::fault::{Fault, Place, answer, backend, words};
use crate::store::StoreError;
use crate::store::backoff::pause;

/// A connection that lived shorter than this is a failed attempt.
const SETTLED: Duration = Duration::from_secs(1);

pub(super) type Answer = Result<Value, Fault>;

/// How to connect.
pub(super) struct Dialler {
    way: Way,
    place: Arc<Place>,
    opener: Opener,
}

enum Way {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

impl Dialler {
    pub(super) fn new(address: &Address, place: Arc<Place>) -> Result<Dialler, StoreError> {
        let wrong = |error: redis::RedisError| backend("prepare the connection", words(&error));
        let certificates = match &address.root_certificate {
            Some(path) => Some(std::fs::read(path).map_err(|error| {
                backend(
                    "prepare TLS",
                    format!("the root certificate {} cannot be read: {error}", path.display()),
                )
            })?),
            None => None,
        };
        if address.tls {
            // The client takes what the process has, and panics when that is not settled.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let tls = TlsCertificates { client_tls: None, root_cert: certificates };
        let nodes = address.nodes().map_err(wrong)?;
        let opener = Opener { nodes, tls: tls.clone(), is_cluster: address.cluster, place };
        let place = Arc::clone(&opener.place);
        let way = if address.cluster {
            let mut builder = ClusterClient::builder(opener.nodes.clone())
                .connection_timeout(place.limit.length())
                .response_timeout(place.limit.length())
                .tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true))
                // A failover takes seconds: asked often enough, not too often.
                .min_retry_wait(10)
                .max_retry_wait(250)
                .retries(64);
            if address.tls && tls.root_cert.is_some() {
                builder = builder.certs(tls);
            }
            Way::Cluster(Box::new(builder.build().map_err(wrong)?))
        } else {
            let client = opener.nodes.first().map_or_else(
                || Err((redis::ErrorKind::InvalidClientConfig, "no host is named").into()),
                |node| opener.client(node.clone()),
            );
            Way::Single(Box::new(client.map_err(wrong)?))
        };
        Ok(Dialler { way, place, opener })
    }
}

/// How to reach single servers: the one that the URL names, or the nodes of a Cluster.
#[derive(Clone)]
pub(super) struct Opener {
    /// Those that the URL names.
    pub(super) nodes: Vec<ConnectionInfo>,
    tls: TlsCertificates,
    pub(super) is_cluster: bool,
    pub(super) place: Arc<Place>,
}

impl Opener {
    fn client(&self, node: ConnectionInfo) -> redis::RedisResult<Client> {
        let is_encrypted = matches!(node.addr(), ConnectionAddr::TcpTls { .. });
        match is_encrypted && self.tls.root_cert.is_some() {
            true => Client::build_with_tls(node, self.tls.clone()),
            false => Client::open(node),
        }
    }

    /// Another node of the same Cluster.
    pub(super) fn beside(&self, node: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
        let (host, addr) = (host.to_owned(), node.addr());
        let addr = match addr {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        node.clone().set_addr(addr)
    }

    /// A connection to this server, whose pushed messages `hear` is told.
    pub(super) async fn open(
        &self,
        node: ConnectionInfo,
        hear: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, Fault> {
        connect(&self.client(node)?, &self.place, hear).await
    }
}

/// Where requests go.
pub(super) enum Link {
    Single(Single),
    Cluster(Cluster),
}

impl Link {
    /// Connects for the first time.
    pub(super) async fn start(dialler: Dialler) -> Result<(Link, Opener), Fault> {
        let Dialler { way, place, opener } = dialler;
        let link = match way {
            Way::Single(client) => {
                let single = Single::start(*client, place);
                single.session().await?;
                Link::Single(single)
            }
            Way::Cluster(client) => {
                let connection = in_time(&place, client.get_async_connection()).await?;
                Link::Cluster(Cluster { connection, place })
            }
        };
        Ok((link, opener))
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Link::Cluster(_))
    }

    /// Waits until there is a connection, so that what is sent then is not older than it has to be.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        match self {
            Link::Single(single) => single.session().await.map(drop),
            Link::Cluster(_) => Ok(()),
        }
    }

    /// Sends these at once, and returns their answers in their order. On a single server they are also made
    /// in their order, unless the server has forgotten a script.
    pub(super) async fn send(&self, requests: &[Request<'_>]) -> Vec<Answer> {
        requests.iter().for_each(|request| self.log(request));
        let commands = requests.iter().map(|request| request.command().into_owned()).collect();
        let mut answers = self.send_commands(commands).await;
        let unknown: Vec<usize> = (0..requests.len())
            .filter(|&at| answers[at].as_ref().is_err_and(Fault::is_unknown_script))
            .collect();
        if !unknown.is_empty() {
            let again = unknown.iter().map(|&at| requests[at].command_in_full().into_owned()).collect();
            for (at, answer) in unknown.iter().zip(self.send_commands(again).await) {
                answers[*at] = answer;
            }
        }
        answers
    }

    /// Sends one.
    pub(super) async fn ask(&self, request: Request<'_>) -> Answer {
        self.ask_for(&request).await
    }

    /// With its text where the server has forgotten the script.
    async fn ask_for(&self, request: &Request<'_>) -> Answer {
        self.log(request);
        match self.send_command(&request.command()).await {
            Err(fault) if fault.is_unknown_script() => self.send_command(&request.command_in_full()).await,
            answer => answer,
        }
    }

    /// Sends one that reads: once more if the connection breaks.
    pub(super) async fn look(&self, request: Request<'_>) -> Answer {
        match self.ask_for(&request).await {
            Err(Fault::Cut(_)) => self.ask_for(&request).await,
            answer => answer,
        }
    }

    /// Sends reads: once more if the connection breaks.
    pub(super) async fn read(&self, requests: &[Request<'_>]) -> Vec<Answer> {
        let answers = self.send(requests).await;
        if answers.iter().any(|answer| matches!(answer, Err(Fault::Cut(_)))) {
            return self.send(requests).await;
        }
        answers
    }

    fn log(&self, request: &Request<'_>) {
        let place = match self {
            Link::Single(single) => &single.place,
            Link::Cluster(cluster) => &cluster.place,
        };
        tracing::trace!(target: "sessile::redis", command = request.name(), server = &*place.server);
    }

    async fn send_command(&self, command: &redis::Cmd) -> Answer {
        match self {
            Link::Single(single) => single.send_one(command).await,
            Link::Cluster(cluster) => cluster.send_one(command).await,
        }
    }

    async fn send_commands(&self, commands: Vec<redis::Cmd>) -> Vec<Answer> {
        match self {
            Link::Single(single) => single.send(commands).await,
            Link::Cluster(cluster) => cluster.send(commands).await,
        }
    }
}

/// A Cluster, as its client sees it.
pub(super) struct Cluster {
    connection: ClusterConnection,
    place: Arc<Place>,
}

impl Cluster {
    /// Each goes to the node that has its slot; on one node they pipeline.
    async fn send(&self, commands: Vec<redis::Cmd>) -> Vec<Answer> {
        let send = |command: redis::Cmd| async move { self.send_one(&command).await };
        join_all(commands.into_iter().map(send)).await
    }

    async fn send_one(&self, command: &redis::Cmd) -> Answer {
        let mut connection = self.connection.clone();
        answer(connection.req_packed_command(command).await?)
    }
}

/// A connection, ready for use.
#[derive(Clone)]
struct Session {
    connection: MultiplexedConnection,
    end: Arc<End>,
}

impl Session {
    /// Gives the connection up when the answer says that it is no good.
    fn mind(&self, answer: &Answer) {
        if answer.as_ref().is_err_and(Fault::ends_the_connection) {
            self.end.tell();
        }
    }
}

/// Tells that a connection is over.
#[derive(Default)]
struct End {
    over: AtomicBool,
    told: Notify,
}

impl End {
    fn tell(&self) {
        self.over.store(true, Ordering::Release);
        self.told.notify_one();
    }
}

#[derive(Clone)]
enum State {
    /// An attempt is being made, after a connection that was good.
    Dialling,
    Up(Session),
    /// Attempts fail, and are made again and again.
    Down(Fault),
}

/// A single server.
pub(super) struct Single {
    state: watch::Receiver<State>,
    place: Arc<Place>,
}

impl Single {
    /// Starts the task, which ends with the store.
    fn start(client: Client, place: Arc<Place>) -> Single {
        let (tell, state) = watch::channel(State::Dialling);
        tokio::spawn(keep(client, Arc::clone(&place), tell));
        Single { state, place }
    }

    /// The connection; at once when it stands or when attempts fail, otherwise as soon as the first attempt
    /// is over.
    async fn session(&self) -> Result<Session, Fault> {
        if let State::Up(session) = &*self.state.borrow()
            && !session.end.over.load(Ordering::Acquire)
        {
            return Ok(session.clone());
        }
        let mut state = self.state.clone();
        let known = async {
            loop {
                match &*state.borrow_and_update() {
                    State::Up(session) if !session.end.over.load(Ordering::Acquire) => {
                        return Ok(session.clone());
                    }
                    State::Down(fault) => return Err(fault.clone()),
                    State::Up(_) | State::Dialling => {}
                }
                if state.changed().await.is_err() {
                    return Err(Fault::Away("the runtime that it lived in has ended".to_owned()));
                }
            }
        };
        let in_time = self.place.limit.keep(known).await;
        in_time.unwrap_or_else(|| Err(Fault::Away("it cannot be made in time".to_owned())))
    }

    /// All in one message.
    async fn send(&self, commands: Vec<redis::Cmd>) -> Vec<Answer> {
        let count = commands.len();
        let mut session = match self.session().await {
            Ok(session) => session,
            Err(fault) => return vec![Err(fault); count],
        };
        if count == 0 {
            return Vec::new();
        }
        let mut pipeline = Pipeline::with_capacity(count);
        for command in commands {
            pipeline.add_command(command);
        }
        let values = self.in_time(session.connection.req_packed_commands(&pipeline, 0, count)).await;
        let answers: Vec<Answer> = match values {
            Ok(values) => values.into_iter().map(answer).collect(),
            Err(fault) => vec![Err(fault); count],
        };
        answers.iter().for_each(|answer| session.mind(answer));
        answers
    }

    async fn send_one(&self, command: &redis::Cmd) -> Answer {
        let mut session = self.session().await?;
        let answer = self.in_time(session.connection.req_packed_command(command)).await.and_then(answer);
        session.mind(&answer);
        answer
    }

    async fn in_time<T>(&self, answer: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Fault> {
        self.place.limit.keep(answer).await.map_or(Err(Fault::Slow), |answer| answer.map_err(Fault::from))
    }
}

/// Connects, and connects again, until the store is gone.
async fn keep(client: Client, place: Arc<Place>, tell: watch::Sender<State>) {
    let mut failures = 0;
    loop {
        let dialled = tokio::select! {
            dialled = dial(&client, &place) => dialled,
            () = tell.closed() => return,
        };
        match dialled {
            Ok(session) => {
                let (since, end) = (Instant::now(), Arc::clone(&session.end));
                if failures > 0 {
                    tracing::info!(server = %place.server, "connected again");
                }
                tell.send_replace(State::Up(session));
                tokio::select! {
                    () = end.told.notified() => {
                        tracing::warn!(server = %place.server, "the connection broke, or gave no answer");
                    }
                    () = tell.closed() => return,
                }
                tell.send_replace(State::Dialling);
                failures = if since.elapsed() < SETTLED { failures + 1 } else { 0 };
            }
            Err(fault) => {
                if failures == 0 {
                    tracing::warn!(server = %place.server, ?fault, "no connection");
                }
                failures += 1;
                tell.send_replace(State::Down(fault));
            }
        }
        if failures > 0 {
            tokio::select! {
                () = tokio::time::sleep(pause(failures)) => {}
                () = tell.closed() => return,
            }
        }
    }
}

/// One attempt.
async fn dial(client: &Client, place: &Place) -> Result<Session, Fault> {
    let end = Arc::new(End::default());
    let heard = Arc::clone(&end);
    let hear = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            heard.tell();
        }
    };
    let connection = connect(client, place, hear).await?;
    Ok(Session { connection, end })
}

/// Who asks over it bounds the time of an answer.
async fn connect(
    client: &Client,
    place: &Place,
    hear: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<MultiplexedConnection, Fault> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(place.limit.length()))
        .set_response_timeout(None)
        .set_push_sender(move |push: PushInfo| {
            hear(push);
            Ok::<(), redis::aio::SendError>(())
        });
    in_time(place, client.get_multiplexed_async_connection_with_config(&config)).await
}

async fn in_time<T>(place: &Place, attempt: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Fault> {
    let made = place.limit.keep(attempt).await.ok_or_else(|| Fault::Slow.unsent())?;
    made.map_err(|error| Fault::from(error).unsent())
}
