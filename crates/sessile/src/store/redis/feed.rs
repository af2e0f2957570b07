//! The feed: connections of their own to which the server tells every change of a row's key, whoever made it
//! (`CLIENT TRACKING` in its broadcasting mode: commands, scripts, expiry, eviction, `FLUSHALL`).
//!
//! A connection can be dead and not know it, so every third of the bound a sign of life is sent. One answer would
//! prove too little: Redis answers a command at once and tells of changes when it has run all commands that had
//! arrived, so an answer may overtake the news of a change that was made before it was asked for. It tells before
//! it reads again. So two commands are sent, the second when the first is answered: with the second answer
//! everything has been told that was changed before the first one was sent.
//!
//! Behind one address there may be another server than a moment ago, and a connection that stays with the old
//! one hears nothing. So the second command asks which server it is, and whether it is a primary; and the
//! connection that the sessions go over is asked, too. Where sentinels name the server, the feed connects to the
//! one that the sessions go to.
//!
//! In a Cluster every primary is listened to, whatever slots it has, and the second command asks for its view of
//! the Cluster. As soon as one of them knows a primary that is not listened to, the feed is down. A primary that
//! has just been elected may be known to its voters a little later than to those who write to it; therefore what
//! is vouched for is the time of the sign before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Inner;
use super::call::{self, Request};
use super::connect::{Connector, Endpoint, words};
use super::fault::{Fault, answer, unavailable};
use super::keys::Keys;
use super::link::Target;
use super::nodes::view;
use super::row::bytes;
use super::server::ServerInfo;
use super::slots::Slots;
use crate::store::listening::{self, Line, Listen};
use crate::store::{Feed, Hearer, News, StoreError};

/// Listens, and returns as soon as the feed is up, or is known not to come up.
pub(super) async fn subscribe(
    inner: &Arc<Inner>,
    hearer: Hearer,
    bound: Duration,
) -> Result<Feed, StoreError> {
    let ended = || unavailable("the runtime that its feed lived in has ended");
    let inner = Arc::clone(inner);
    listening::subscribe(Listener { inner }, hearer, bound, ended).await
}

/// Why there is no feed now.
enum Ended {
    Fault(Fault),
    /// No sign of life came back in time.
    Silent,
    /// What is listened to is no longer where the sessions are.
    Elsewhere(String),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Ended {
        Ended::Fault(fault)
    }
}

struct Listener {
    inner: Arc<Inner>,
}

impl Listen for Listener {
    async fn listen(&self, line: &mut Line) -> StoreError {
        match self.listen_once(line).await {
            Ended::Fault(fault) => self.inner.place.error("listen", fault),
            Ended::Silent => unavailable("no sign of life came back from the feed in time"),
            Ended::Elsewhere(what) => unavailable(what),
        }
    }

    fn server(&self) -> &str {
        &self.inner.place.server
    }
}

/// A server that is listened to.
struct Ear {
    endpoint: Endpoint,
    connection: MultiplexedConnection,
}

impl Listener {
    /// One set of connections, as long as all of them tell.
    async fn listen_once(&self, line: &mut Line) -> Ended {
        let over = Arc::new(Notify::new());
        let telling = self.tell(&over, line);
        // What a connection brings comes first: it may be its end.
        tokio::select! {
            biased;
            () = over.notified() => Ended::Fault(Fault::Cut("the server hung up".to_owned())),
            ended = telling => ended,
        }
    }

    /// Listens and sends signs of life, until one does not come back.
    async fn tell(&self, over: &Arc<Notify>, line: &mut Line) -> Ended {
        let mut ears = match tokio::time::timeout(line.bound, self.begin(over, line)).await {
            Ok(Ok(ears)) => ears,
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::Silent,
        };
        let mut before = None;
        loop {
            let sent = Instant::now();
            match tokio::time::timeout_at(sent + line.bound, self.sign(&mut ears)).await {
                Ok(Ok(())) => {}
                Ok(Err(ended)) => return ended,
                Err(_) => return Ended::Silent,
            }
            if !self.inner.dialler.is_cluster() {
                line.up_since(sent);
            } else if let Some(before) = before.replace(sent) {
                line.up_since(before);
            } else {
                continue;
            }
            tokio::time::sleep_until(line.next_sign(sent)).await;
        }
    }

    /// From here on everything is heard.
    async fn begin(&self, over: &Arc<Notify>, line: &Line) -> Result<Vec<Ear>, Ended> {
        let nodes = self.nodes().await?;
        let listening = nodes.into_iter().map(async |endpoint| {
            let hear = hear(Arc::clone(&line.hearer), self.inner.keys.clone(), Arc::clone(over));
            let (mut connection, _) = self.connector().open(&endpoint, hear).await?;
            self.ask(&mut connection, self.tracking()).await?;
            Ok::<Ear, Fault>(Ear { endpoint, connection })
        });
        Ok(try_join_all(listening).await?)
    }

    /// What is to be listened to: the server that the sessions go to, or all primaries of the Cluster.
    async fn nodes(&self) -> Result<Vec<Endpoint>, Fault> {
        let Target::Cluster(named) = &self.inner.dialler.target else {
            return Ok(self.inner.link.endpoint().await?.into_iter().collect());
        };
        Ok(self.inner.dialler.look(named).await?.primaries().into_iter().collect())
    }

    /// One sign of life from each.
    async fn sign(&self, ears: &mut [Ear]) -> Result<(), Ended> {
        let known: BTreeSet<Endpoint> = ears.iter().map(|ear| ear.endpoint.clone()).collect();
        let signing = ears.iter_mut().map(async |ear| {
            self.ask(&mut ear.connection, words(&["PING"])).await?;
            match self.inner.dialler.is_cluster() {
                true => self.look_around(ear, &known).await,
                false => self.look_who_it_is(ear).await,
            }
        });
        try_join_all(signing).await.map(drop)
    }

    async fn look_around(&self, ear: &mut Ear, known: &BTreeSet<Endpoint>) -> Result<(), Ended> {
        let seen = Slots::read(self.ask(&mut ear.connection, view()).await?, &ear.endpoint)?;
        match seen.primaries() == *known {
            true => Ok(()),
            false => {
                Err(Ended::Elsewhere("the Cluster has other primaries than were listened to".to_owned()))
            }
        }
    }

    async fn look_who_it_is(&self, ear: &mut Ear) -> Result<(), Ended> {
        let mut told = Vec::new();
        for section in ["server", "replication"] {
            told.push(self.ask(&mut ear.connection, words(&["INFO", section])).await?);
        }
        let listened_to = ServerInfo::read(told);
        if listened_to.field("role") != Some("master") {
            return Err(Ended::Elsewhere("the server that was listened to is no primary".to_owned()));
        }
        let of_sessions = self.inner.link.ask(call::plain(&["INFO", "server"])).await?;
        let of_sessions = ServerInfo::read([of_sessions]);
        match listened_to.run_id() == of_sessions.run_id() && of_sessions.run_id().is_some() {
            true => Ok(()),
            false => {
                Err(Ended::Elsewhere("the sessions are on another server than was listened to".to_owned()))
            }
        }
    }

    /// Every change of a key that begins as rows' keys do.
    fn tracking(&self) -> Cmd {
        words(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", &self.inner.keys.rows()])
    }

    async fn ask(&self, connection: &mut MultiplexedConnection, command: Cmd) -> Result<Value, Fault> {
        let request = Request::Plain(command);
        let server = &*self.inner.place.server;
        tracing::trace!(target: "sessile::redis", command = request.name(), server);
        answer(connection.req_packed_command(&request.command()).await?)
    }

    fn connector(&self) -> &Connector {
        &self.inner.dialler.connector
    }
}

/// What to do with what a server pushes.
fn hear(hearer: Hearer, keys: Keys, over: Arc<Notify>) -> impl Fn(PushInfo) + Send + Sync + 'static {
    move |push| match push.kind {
        PushKind::Disconnection => over.notify_one(),
        PushKind::Invalidate => match <[Value; 1]>::try_from(push.data) {
            Ok([Value::Array(changed)]) => {
                for key in changed {
                    match bytes(key) {
                        // Keys of indexes come along, and say nothing.
                        Some(key) => {
                            keys.row_at(&key).into_iter().for_each(|id| hearer.hear(News::Changed(id)))
                        }
                        None => hearer.hear(News::Everything),
                    }
                }
            }
            // All keys are gone.
            _ => hearer.hear(News::Everything),
        },
        _ => {}
    }
}
