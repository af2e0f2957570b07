//! The connection to the server: one that is made again when it breaks, or those of a Cluster's client.
//!
//! Requests are pipelined on it, and none of them has it alone. A task holds the connection to a single server:
//! when it breaks the task connects again, at once, and then with growing pauses and jitter. Until then a request
//! fails within a bounded time. A write that was under way is never sent again from here.
//!
//! Where there are sentinels, they name the server, and the connection ends when they name another one.
//!
//! A Cluster's client follows redirections and failovers by itself, and sends again what a node that went
//! away has not answered. So a write may arrive twice there, and the scripts see to it that it counts once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisConnectionInfo, Value,
};
use tokio::sync::{Notify, watch};

use super::address::{Address, Topology};
use super::call::Request;
use super::connect::{Connector, Endpoint};
use super::fault::{Fault, Place, answer, strange};
use super::node::{NodeConnection, Registered};
use super::sentinel::{Primary, Sentinels};
use crate::store::StoreError;
use crate::store::backoff::pause;

/// A connection that lived shorter than this is a failed attempt.
const SETTLED: Duration = Duration::from_secs(1);
/// Attempts to connect are this far apart at least. After that, the next request makes one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// How long to wait before the first connection to a Cluster is tried again.
const REPEAT: Duration = Duration::from_millis(250);

pub(super) type Answer = Result<Value, Fault>;

/// How to reach the servers.
#[derive(Clone)]
pub(super) struct Dialler {
    pub(super) connector: Connector,
    pub(super) target: Target,
    /// Whether a replica is connected to, which sessions cannot be kept in.
    takes_replicas: bool,
    place: Arc<Place>,
}

#[derive(Clone)]
pub(super) enum Target {
    Single(Endpoint),
    Sentinel(Sentinels),
    /// Some of the nodes.
    Cluster(Vec<Endpoint>),
}

impl Dialler {
    pub(super) fn new(address: &Address, place: Arc<Place>) -> Result<Dialler, StoreError> {
        let connector = Connector::new(address, &place)?;
        let endpoints = address.endpoints.clone();
        let target = match &address.topology {
            Topology::Cluster => Target::Cluster(endpoints),
            Topology::Sentinel { primary } => {
                let connector = connector.with_login(&address.sentinel_login);
                Target::Sentinel(Sentinels::new(connector, endpoints, primary.clone()))
            }
            Topology::Single => match <[Endpoint; 1]>::try_from(endpoints) {
                Ok([endpoint]) => Target::Single(endpoint),
                Err(_) => return Err(place.error("read the store URL", strange())),
            },
        };
        Ok(Dialler { connector, target, takes_replicas: false, place })
    }

    /// To be looked at, not to keep sessions in.
    pub(super) fn taking_replicas(self) -> Dialler {
        Dialler { takes_replicas: true, ..self }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.target, Target::Cluster(_))
    }

    /// A connection to the server, or to the primary that the sentinels name.
    async fn dial(&self) -> Result<Session, Fault> {
        match &self.target {
            Target::Single(endpoint) => self.dial_server(endpoint.clone(), None).await,
            Target::Sentinel(sentinels) => {
                let primary = sentinels.primary().await?;
                let dialling = self.dial_server(primary.endpoint.clone(), Some(primary.clone()));
                tokio::select! {
                    dialled = dialling => dialled,
                    () = sentinels.wait_for_another(&primary) => {
                        Err(Fault::Away("another server has become the primary".to_owned()))
                    }
                }
            }
            Target::Cluster(_) => Err(strange()),
        }
    }

    async fn dial_server(&self, endpoint: Endpoint, primary: Option<Primary>) -> Result<Session, Fault> {
        let end = Arc::new(End::of(endpoint, primary));
        let heard = Arc::clone(&end);
        let on_push = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                heard.tell();
            }
        };
        let (connection, info) = self.connector.open(&end.endpoint, on_push).await?;
        if end.primary.is_none() {
            info.check_mode(&end.endpoint)?;
        }
        if !self.takes_replicas {
            info.check_primary(&end.endpoint)?;
        }
        Ok(Session { connection, end })
    }

    async fn cluster(&self, nodes: &[Endpoint]) -> Result<Cluster, Fault> {
        self.check_nodes(nodes).await?;
        let registered = Registered::new(self.connector.clone());
        let limit = self.place.limit.length();
        let client = ClusterClient::builder(cluster_nodes(nodes, &registered.name)?)
            .connection_timeout(limit)
            // Less than the caller waits, so that the connection is given up.
            .response_timeout(limit.mul_f64(0.8))
            // A failover takes seconds: asked often enough, not too often. The pauses do not grow: the client's
            // formula overflows after 60 attempts, which is its end where overflows are checked.
            .min_retry_wait(10)
            .max_retry_wait(250)
            .retry_wait_formula(250, 1)
            .retries(64)
            .build()?;
        let opening = async {
            loop {
                match client.get_async_generic_connection::<NodeConnection>().await {
                    Ok(connection) => return Ok(connection),
                    // Connections that take longer than the client waits are used the next time.
                    Err(error) if error.is_io_error() => tokio::time::sleep(REPEAT).await,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let connection = self.connector.in_time(opening).await?;
        Ok(Cluster { connection, place: Arc::clone(&self.place), _registered: registered })
    }

    /// One of the nodes has to be fit for sessions: the client of a Cluster does not tell why it is not.
    async fn check_nodes(&self, nodes: &[Endpoint]) -> Result<(), Fault> {
        let open = |node| async move { self.connector.open(node, |_| {}).await };
        let mut opening: FuturesUnordered<_> = nodes.iter().map(open).collect();
        let mut fault = strange();
        while let Some(opened) = opening.next().await {
            match opened {
                Ok(_) => return Ok(()),
                Err(failed) => fault = failed,
            }
        }
        Err(fault)
    }
}

/// What the client of a Cluster takes for an address and credentials: those of this connector.
fn cluster_nodes(nodes: &[Endpoint], connector: &str) -> Result<Vec<ConnectionInfo>, Fault> {
    let settings =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_username(connector);
    let info = |node: &Endpoint| match node {
        Endpoint::Tcp(host, port) => {
            let info = ConnectionAddr::Tcp(host.clone(), *port).into_connection_info()?;
            Ok(info.set_redis_settings(settings.clone()))
        }
        Endpoint::Unix(_) => Err(strange()),
    };
    nodes.iter().map(info).collect()
}

/// Where requests go.
pub(super) enum Link {
    Single(Single),
    Cluster(Cluster),
}

impl Link {
    /// Connects for the first time.
    pub(super) async fn start(dialler: &Dialler) -> Result<Link, Fault> {
        match &dialler.target {
            Target::Cluster(nodes) => Ok(Link::Cluster(dialler.cluster(nodes).await?)),
            Target::Single(_) | Target::Sentinel(_) => {
                let single = Single::start(dialler.clone());
                single.first_session().await?;
                Ok(Link::Single(single))
            }
        }
    }

    /// Where the connection leads now; `None` in a Cluster.
    pub(super) async fn endpoint(&self) -> Result<Option<Endpoint>, Fault> {
        match self {
            Link::Single(single) => Ok(Some(single.session().await?.end.endpoint.clone())),
            Link::Cluster(_) => Ok(None),
        }
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
    connection: ClusterConnection<NodeConnection>,
    place: Arc<Place>,
    _registered: Registered,
}

impl Cluster {
    /// Each goes to the node that has its slot; on one node they pipeline.
    async fn send(&self, commands: Vec<redis::Cmd>) -> Vec<Answer> {
        let send = |command: redis::Cmd| async move { self.send_one(&command).await };
        join_all(commands.into_iter().map(send)).await
    }

    /// The client tries again for as long as a failover takes, and longer; the caller does not wait for that.
    async fn send_one(&self, command: &redis::Cmd) -> Answer {
        let mut connection = self.connection.clone();
        let answered = self.place.limit.keep(connection.req_packed_command(command)).await;
        answer(answered.ok_or(Fault::Slow)??)
    }
}

/// A connection, ready for use.
#[derive(Clone)]
struct Session {
    connection: MultiplexedConnection,
    end: Arc<End>,
}

impl Session {
    /// Gives the connection up when the answer says that it is of no use.
    fn mind(&self, answer: &Answer) {
        if answer.as_ref().is_err_and(Fault::ends_the_connection) {
            self.end.tell();
        }
    }

    /// What a server answers that another one has replaced does not count: what it acknowledges is lost.
    fn counted<T>(&self, answer: Result<T, Fault>) -> Result<T, Fault> {
        match self.end.is_replaced.load(Ordering::Acquire) {
            true => Err(Fault::Cut("another server has become the primary".to_owned())),
            false => answer,
        }
    }
}

/// Where a connection leads, and whether it is over.
struct End {
    endpoint: Endpoint,
    /// The server, where sentinels have named it.
    primary: Option<Primary>,
    over: AtomicBool,
    is_replaced: AtomicBool,
    told: Notify,
}

impl End {
    fn of(endpoint: Endpoint, primary: Option<Primary>) -> End {
        let (over, is_replaced) = (AtomicBool::new(false), AtomicBool::new(false));
        End { endpoint, primary, over, is_replaced, told: Notify::new() }
    }

    fn tell(&self) {
        self.over.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// The server is no longer the primary.
    fn replace(&self) {
        self.is_replaced.store(true, Ordering::Release);
        self.tell();
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

/// A single server, or the primary that sentinels name.
pub(super) struct Single {
    state: watch::Receiver<State>,
    /// Wakes the task that connects.
    wanted: Arc<Notify>,
    place: Arc<Place>,
}

impl Single {
    /// Starts the task, which ends with the store.
    fn start(dialler: Dialler) -> Single {
        let (tell, state) = watch::channel(State::Dialling);
        let (wanted, place) = (Arc::new(Notify::new()), Arc::clone(&dialler.place));
        tokio::spawn(keep(dialler, Arc::clone(&wanted), tell));
        Single { state, wanted, place }
    }

    /// The connection; at once when it stands or when attempts fail, otherwise as soon as the first attempt
    /// is over. A server that is unfit, or refuses the credentials, is one that cannot be reached: it was fit
    /// when the store was opened, and may be again.
    async fn session(&self) -> Result<Session, Fault> {
        if let State::Up(session) = &*self.state.borrow()
            && !session.end.over.load(Ordering::Acquire)
        {
            return Ok(session.clone());
        }
        let session = self.first_session().await;
        if session.is_err() {
            self.wanted.notify_one();
        }
        session.map_err(Fault::unreachable)
    }

    /// The same, and what is wrong with the server.
    async fn first_session(&self) -> Result<Session, Fault> {
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
        let answers: Vec<Answer> = match session.counted(values) {
            Ok(values) => values.into_iter().map(answer).collect(),
            Err(fault) => vec![Err(fault); count],
        };
        answers.iter().for_each(|answer| session.mind(answer));
        answers
    }

    async fn send_one(&self, command: &redis::Cmd) -> Answer {
        let mut session = self.session().await?;
        let value = self.in_time(session.connection.req_packed_command(command)).await;
        let answer = session.counted(value).and_then(answer);
        session.mind(&answer);
        answer
    }

    async fn in_time<T>(&self, answer: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Fault> {
        self.place.limit.keep(answer).await.map_or(Err(Fault::Slow), |answer| answer.map_err(Fault::from))
    }
}

/// Connects, and connects again, until the store is gone.
async fn keep(dialler: Dialler, wanted: Arc<Notify>, tell: watch::Sender<State>) {
    let server = &*dialler.place.server;
    let mut failures = 0;
    loop {
        let dialled = tokio::select! {
            dialled = dialler.dial() => dialled,
            () = tell.closed() => return,
        };
        match dialled {
            Ok(session) => {
                let since = Instant::now();
                if failures > 0 {
                    tracing::info!(server, endpoint = %session.end.endpoint, "connected again");
                }
                tell.send_replace(State::Up(session.clone()));
                tokio::select! {
                    () = ended(&dialler, &session) => {}
                    () = tell.closed() => return,
                }
                tell.send_replace(State::Dialling);
                failures = if since.elapsed() < SETTLED { failures + 1 } else { 0 };
            }
            Err(fault) => {
                if failures == 0 {
                    tracing::warn!(server, ?fault, "no connection");
                }
                failures += 1;
                tell.send_replace(State::Down(fault));
            }
        }
        if failures > 0 {
            tokio::select! {
                () = wait(failures, &wanted) => {}
                () = tell.closed() => return,
            }
        }
    }
}

/// Returns when the connection is over.
async fn ended(dialler: &Dialler, session: &Session) {
    let replaced = async {
        match (&dialler.target, &session.end.primary) {
            (Target::Sentinel(sentinels), Some(primary)) => sentinels.wait_for_another(primary).await,
            _ => std::future::pending().await,
        }
    };
    let (server, endpoint) = (&*dialler.place.server, &session.end.endpoint);
    tokio::select! {
        () = session.end.told.notified() => {
            tracing::warn!(server, %endpoint, "the connection broke, or gave no answer");
        }
        () = replaced => {
            session.end.replace();
            tracing::warn!(server, %endpoint, "another server has become the primary");
        }
    }
}

/// The pause after so many attempts that failed; a long one ends when a request needs the connection.
async fn wait(failures: u32, wanted: &Notify) {
    let full = pause(failures);
    let first = full.min(SHORTEST_PAUSE);
    tokio::time::sleep(first).await;
    let _ = tokio::time::timeout(full - first, wanted.notified()).await;
}
