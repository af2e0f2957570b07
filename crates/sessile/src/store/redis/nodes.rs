//! The nodes of a Cluster: one connection to each primary, and which of them has a slot.
//!
//! A request goes to the node of its slot. Where that node names another one, the request goes there. Where the
//! node does not answer, a look at the slots tells whether another node has taken them; the request is sent
//! again for a short while, and then fails. So a write may arrive twice, and the scripts see to it that it counts
//! once. No request waits for a node that it does not need: looks at the slots and attempts to connect are made
//! in tasks of their own, and a node that answers again is used by the next request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use parking_lot::RwLock;
use redis::Cmd;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connect::{Endpoint, words};
use super::fault::{Fault, Place, strange};
use super::link::{Answer, Dialler, Target};
use super::single::Single;
use super::slots::{Slots, beside, slot_of};
use crate::store::limit::TimeLimit;

/// How long a request is sent again while its node cannot be reached: a failover that is asked for is over by then.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it waits before it is sent again, unless the slots have been looked at before.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a connection that is being made, or a view of the slots, is waited for.
const BRIEF: Duration = Duration::from_millis(500);
/// How far apart looks at the slots are at least.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// How many nodes are asked for their view at once.
const ASKED: usize = 3;
/// How often a request goes where a node sends it, one redirection after the other.
const HOPS: usize = 5;
/// The part of the time of an answer that a node has: so that it is given up before the caller stops waiting.
const SHARE: f64 = 0.8;

/// What to do when a node cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tries {
    /// Send again for a short while.
    Several,
    /// Fail at once.
    One,
}

/// A Cluster. Its connections end when this is dropped.
pub(super) struct Cluster {
    nodes: Arc<Nodes>,
    pub(super) place: Arc<Place>,
    looking: JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Cluster {
    /// Asks these nodes for the slots; one that answers is enough.
    pub(super) async fn start(dialler: &Dialler, named: &[Endpoint]) -> Result<Cluster, Fault> {
        let limit = dialler.place.limit.length().mul_f64(SHARE);
        let nodes = Arc::new(Nodes {
            dialler: dialler.clone(),
            named: named.to_vec(),
            answer: TimeLimit::new(limit),
            brief: TimeLimit::new(limit.min(BRIEF)),
            view: RwLock::default(),
            wanted: Notify::new(),
            looks: watch::Sender::default(),
            runtime: Handle::current(),
        });
        nodes.take(dialler.look(named).await?);
        let looking = tokio::spawn(keep_looking(Arc::clone(&nodes)));
        Ok(Cluster { nodes, place: Arc::clone(&dialler.place), looking })
    }

    /// Sends to the node that has the key, or to any where there is none.
    pub(super) async fn send(&self, key: Option<&[u8]>, command: &Cmd, tries: Tries) -> Answer {
        let answer = self.place.limit.keep(self.nodes.send(key.map(slot_of), command, tries)).await;
        answer.unwrap_or(Err(Fault::Slow))
    }

    /// Sends to every primary.
    pub(super) async fn send_to_all(&self, command: &Cmd) -> Vec<Answer> {
        let nodes = self.nodes.all();
        join_all(nodes.iter().map(async |node| node.send(command).await.map_err(|fault| fault.at(&node.at))))
            .await
    }
}

/// Looks at the slots when a request asks for it.
async fn keep_looking(nodes: Arc<Nodes>) {
    let server = &*nodes.dialler.place.server;
    let mut is_outage = false;
    loop {
        nodes.wanted.notified().await;
        let looked = nodes.look().await;
        if let Err(fault) = &looked
            && !is_outage
        {
            tracing::warn!(server, ?fault, "no node tells which one has which slots");
        }
        is_outage = looked.is_err();
        nodes.looks.send_modify(|looks| *looks += 1);
        sleep(BETWEEN_LOOKS).await;
    }
}

struct Nodes {
    dialler: Dialler,
    /// Those of the store URL.
    named: Vec<Endpoint>,
    answer: TimeLimit,
    brief: TimeLimit,
    view: RwLock<View>,
    /// Wakes the task that looks at the slots.
    wanted: Notify,
    /// How many looks there were.
    looks: watch::Sender<u64>,
    /// Where connections live, whichever runtime a request comes from.
    runtime: Handle,
}

#[derive(Default)]
struct View {
    slots: Slots,
    /// The primaries, and those that others have sent requests to since.
    nodes: HashMap<Endpoint, Single>,
}

/// A node, and the connection to it.
#[derive(Clone)]
struct Node {
    at: Endpoint,
    connection: Single,
}

impl Node {
    async fn send(&self, command: &Cmd) -> Answer {
        self.connection.send_one(command).await
    }

    /// Sends what it answers only when it is asked to: a slot that moves to it has not arrived.
    async fn send_asking(&self, command: &Cmd) -> Answer {
        let mut answers = self.connection.send(vec![words(&["ASKING"]), command.clone()]).await;
        answers.pop().unwrap_or_else(|| Err(strange()))
    }
}

/// Where a node sends a request.
struct Redirection {
    to: Endpoint,
    /// The slot has not arrived there.
    is_asking: bool,
}

impl Redirection {
    /// `MOVED 3999 127.0.0.1:6381`, or the same with `ASK`.
    fn read(fault: &Fault, from: &Endpoint) -> Option<Redirection> {
        let Fault::Refused(refusal) = fault else { return None };
        let is_asking = match refusal.code() {
            "ASK" => true,
            "MOVED" => false,
            _ => return None,
        };
        let (_, address) = refusal.message().split_once(' ')?;
        let (host, port) = address.rsplit_once(':')?;
        Some(Redirection { to: beside(from, host, port.parse().ok()?)?, is_asking })
    }
}

impl Nodes {
    async fn send(&self, slot: Option<u16>, command: &Cmd, tries: Tries) -> Answer {
        let began = Instant::now();
        let (mut redirection, mut hops) = (None::<Redirection>, 0);
        loop {
            // From here on a look is news.
            let mut looks = self.looks.subscribe();
            let fault = match self.node(redirection.as_ref(), slot) {
                Some(node) => {
                    let is_asking = redirection.take().is_some_and(|it| it.is_asking);
                    let answer = match is_asking {
                        true => node.send_asking(command).await,
                        false => node.send(command).await,
                    };
                    let Err(fault) = answer else { return answer };
                    if let Some(to) = Redirection::read(&fault, &node.at).filter(|_| hops < HOPS) {
                        hops += 1;
                        if !to.is_asking {
                            self.wanted.notify_one();
                        }
                        redirection = Some(to);
                        continue;
                    }
                    if !fault.passes_in_a_cluster() {
                        return Err(fault);
                    }
                    fault.at(&node.at)
                }
                None => Fault::Away(match slot {
                    Some(slot) => format!("no node of the Cluster has the slot {slot}"),
                    None => "no node of the Cluster has any slots".to_owned(),
                }),
            };
            self.wanted.notify_one();
            if tries == Tries::One || began.elapsed() >= PATIENCE {
                return Err(fault);
            }
            // The pause also ends the wait when the store is being dropped, and the slots are no longer looked at.
            let _ = timeout(PAUSE, looks.changed()).await;
            hops = 0;
        }
    }

    /// The node that a request is sent to, or that has the slot; any, one that is connected first, for no slot.
    fn node(&self, redirection: Option<&Redirection>, slot: Option<u16>) -> Option<Node> {
        let view = self.view.read();
        let at = match (redirection, slot) {
            (Some(redirection), _) => redirection.to.clone(),
            (None, Some(slot)) => view.slots.owner(slot)?.clone(),
            (None, None) => {
                drop(view);
                let nodes = self.all();
                return nodes.iter().find(|node| node.connection.is_up()).or(nodes.first()).cloned();
            }
        };
        let known = view.nodes.get(&at).cloned();
        drop(view);
        let connection = known.unwrap_or_else(|| {
            let mut view = self.view.write();
            view.nodes.entry(at.clone()).or_insert_with(|| self.connect(&at)).clone()
        });
        Some(Node { at, connection })
    }

    /// All nodes, beginning with any of them.
    fn all(&self) -> Vec<Node> {
        let view = self.view.read();
        let node =
            |(at, connection): (&Endpoint, &Single)| Node { at: at.clone(), connection: connection.clone() };
        let mut nodes: Vec<_> = view.nodes.iter().map(node).collect();
        // Any number will do.
        let first = getrandom::u32().map_or(0, |number| number as usize);
        let count = nodes.len().max(1);
        nodes.rotate_left(first % count);
        nodes
    }

    fn connect(&self, at: &Endpoint) -> Single {
        let _inside = self.runtime.enter();
        let place = Place { server: at.to_string(), limit: self.answer.clone() };
        Single::start(self.dialler.with_target(Target::Node(at.clone()), place), self.brief.clone())
    }

    /// Asks the nodes for the slots, a few at once; the first view counts. Where none of those in use answers,
    /// the replicas and the nodes of the store URL are asked.
    async fn look(&self) -> Result<(), Fault> {
        let asked = self.all().into_iter().map(async |node| {
            let told = self.brief.keep(node.send(&view())).await.unwrap_or(Err(Fault::Slow))?;
            Slots::read(told, &node.at)
        });
        let views = stream::iter(asked).buffer_unordered(ASKED).filter_map(async |view| view.ok());
        let first = std::pin::pin!(views).next().await;
        let slots = match first {
            Some(slots) => slots,
            None => {
                let replicas = self.view.read().slots.replicas().clone();
                let others: Vec<_> = replicas.into_iter().chain(self.named.iter().cloned()).collect();
                self.dialler.look(&others).await?
            }
        };
        self.take(slots);
        Ok(())
    }

    /// Uses this view, and connects to the primaries that it names, and to no others.
    fn take(&self, slots: Slots) {
        let mut view = self.view.write();
        let mut before = std::mem::take(&mut view.nodes);
        for at in slots.primaries() {
            let connection = before.remove(&at).unwrap_or_else(|| self.connect(&at));
            view.nodes.insert(at, connection);
        }
        view.slots = slots;
    }
}

/// Which node has which slots; known to all versions.
pub(super) fn view() -> Cmd {
    words(&["CLUSTER", "SLOTS"])
}
