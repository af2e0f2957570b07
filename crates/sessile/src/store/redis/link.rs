//! The way to the server: one connection, or those to the nodes of a Cluster.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use redis::aio::ConnectionLike;
use redis::{PushInfo, PushKind, Value};

use super::address::{Address, Topology};
use super::call::Request;
use super::connect::{Connector, Endpoint};
use super::fault::{Fault, Place, answer, strange};
use super::nodes::{Cluster, Tries, view};
use super::sentinel::{Primary, Sentinels};
use super::single::{End, Session, Single};
use super::slots::Slots;
use crate::store::StoreError;

pub(super) type Answer = Result<Value, Fault>;

/// How to reach the servers.
#[derive(Clone)]
pub(super) struct Dialler {
    pub(super) connector: Connector,
    pub(super) target: Target,
    /// Whether a replica is connected to, which sessions cannot be kept in.
    takes_replicas: bool,
    pub(super) place: Arc<Place>,
}

#[derive(Clone)]
pub(super) enum Target {
    Single(Endpoint),
    Sentinel(Sentinels),
    /// Some of the nodes.
    Cluster(Vec<Endpoint>),
    /// One of them, which answers for itself: it sends elsewhere what is not in its slots.
    Node(Endpoint),
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

    /// The same credentials, elsewhere.
    pub(super) fn with_target(&self, target: Target, place: Place) -> Dialler {
        Dialler { target, place: Arc::new(place), ..self.clone() }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.target, Target::Cluster(_))
    }

    /// A connection to the server, or to the primary that the sentinels name.
    pub(super) async fn dial(&self) -> Result<Session, Fault> {
        match &self.target {
            Target::Single(endpoint) | Target::Node(endpoint) => {
                self.dial_server(endpoint.clone(), None).await
            }
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
        let is_node = matches!(self.target, Target::Node(_));
        if end.primary.is_none() && !is_node {
            info.check_mode(&end.endpoint)?;
        }
        if !self.takes_replicas && !is_node {
            info.check_primary(&end.endpoint)?;
        }
        Ok(Session { connection, end })
    }

    /// Asks all of these nodes which one has which slots, over new connections; the first one that tells counts.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) async fn look(&self, nodes: &[Endpoint]) -> Result<Slots, Fault> {
        let ask = |node| async move {
            let asked = async {
                let (mut connection, _) = self.connector.open(node, |_| {}).await?;
                Slots::read(answer(connection.req_packed_command(&view()).await?)?, node)
            };
            self.connector.in_time(asked).await
        };
        let mut asking: FuturesUnordered<_> = nodes.iter().map(ask).collect();
        let mut fault = strange();
        while let Some(told) = asking.next().await {
            match told {
                Ok(slots) => return Ok(slots),
                Err(failed) => fault = failed,
            }
        }
        Err(fault)
    }
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
            Target::Cluster(nodes) => Ok(Link::Cluster(Cluster::start(dialler, nodes).await?)),
            Target::Single(_) | Target::Sentinel(_) | Target::Node(_) => {
                let single = Single::start(dialler.clone(), dialler.place.limit.clone());
                single.first().await?;
                Ok(Link::Single(single))
            }
        }
    }

    /// Where the connection leads now; `None` in a Cluster.
    pub(super) async fn endpoint(&self) -> Result<Option<Endpoint>, Fault> {
        match self {
            Link::Single(single) => single.endpoint().await.map(Some),
            Link::Cluster(_) => Ok(None),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Link::Cluster(_))
    }

    /// Waits until there is a connection, so that what is sent then is not older than it has to be.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        match self {
            Link::Single(single) => single.ready().await,
            Link::Cluster(_) => Ok(()),
        }
    }

    /// Sends these at once, and returns their answers in their order. On a single server they are also made
    /// in their order, unless the server has forgotten a script.
    pub(super) async fn send(&self, requests: &[Request<'_>]) -> Vec<Answer> {
        self.send_with(requests, Tries::Several).await
    }

    /// The same; those to a node of a Cluster that cannot be reached fail at once.
    pub(super) async fn try_send(&self, requests: &[Request<'_>]) -> Vec<Answer> {
        self.send_with(requests, Tries::One).await
    }

    async fn send_with(&self, requests: &[Request<'_>], tries: Tries) -> Vec<Answer> {
        requests.iter().for_each(|request| self.log(request));
        let all: Vec<_> = requests.iter().collect();
        let commands = requests.iter().map(|request| request.command().into_owned()).collect();
        let mut answers = self.send_commands(&all, commands, tries).await;
        let unknown: Vec<usize> = (0..requests.len())
            .filter(|&at| answers[at].as_ref().is_err_and(Fault::is_unknown_script))
            .collect();
        if !unknown.is_empty() {
            let again: Vec<_> = unknown.iter().map(|&at| &requests[at]).collect();
            let commands = again.iter().map(|request| request.command_in_full().into_owned()).collect();
            for (at, answer) in unknown.iter().zip(self.send_commands(&again, commands, tries).await) {
                answers[*at] = answer;
            }
        }
        answers
    }

    /// Sends one.
    pub(super) async fn ask(&self, request: Request<'_>) -> Answer {
        self.ask_for(&request).await
    }

    /// Sends one to the server, or to every primary of the Cluster.
    pub(super) async fn ask_all(&self, request: Request<'_>) -> Vec<Answer> {
        match self {
            Link::Single(_) => vec![self.ask_for(&request).await],
            Link::Cluster(cluster) => {
                self.log(&request);
                cluster.send_to_all(&request.command()).await
            }
        }
    }

    /// With its text where the server has forgotten the script.
    async fn ask_for(&self, request: &Request<'_>) -> Answer {
        self.log(request);
        match self.send_command(request, &request.command()).await {
            Err(fault) if fault.is_unknown_script() => {
                self.send_command(request, &request.command_in_full()).await
            }
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
        self.read_with(requests, Tries::Several).await
    }

    /// The same; those to a node of a Cluster that cannot be reached fail at once.
    pub(super) async fn try_read(&self, requests: &[Request<'_>]) -> Vec<Answer> {
        self.read_with(requests, Tries::One).await
    }

    async fn read_with(&self, requests: &[Request<'_>], tries: Tries) -> Vec<Answer> {
        let answers = self.send_with(requests, tries).await;
        if answers.iter().any(|answer| matches!(answer, Err(Fault::Cut(_)))) {
            return self.send_with(requests, tries).await;
        }
        answers
    }

    fn log(&self, request: &Request<'_>) {
        let server = match self {
            Link::Single(single) => &*single.place.server,
            Link::Cluster(cluster) => &*cluster.place.server,
        };
        tracing::trace!(target: "sessile::redis", command = request.name(), server);
    }

    async fn send_command(&self, request: &Request<'_>, command: &redis::Cmd) -> Answer {
        match self {
            Link::Single(single) => single.send_one(command).await,
            Link::Cluster(cluster) => cluster.send(request.key(), command, Tries::Several).await,
        }
    }

    /// In a Cluster each goes to the node that has its slot; on one node they pipeline.
    async fn send_commands(
        &self,
        requests: &[&Request<'_>],
        commands: Vec<redis::Cmd>,
        tries: Tries,
    ) -> Vec<Answer> {
        match self {
            Link::Single(single) => single.send(commands).await,
            Link::Cluster(cluster) => {
                let send = |(request, command): (&&Request<'_>, &redis::Cmd)| {
                    let key = request.key().map(<[u8]>::to_vec);
                    let command = command.clone();
                    async move { cluster.send(key.as_deref(), &command, tries).await }
                };
                join_all(requests.iter().zip(&commands).map(send)).await
            }
        }
    }
}
