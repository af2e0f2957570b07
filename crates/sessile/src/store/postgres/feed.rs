//! The feed: one connection that listens to what the triggers on the table tell.
//!
//! A connection can be dead and not know it, so silence proves nothing. Every third of the bound a sign of
//! life is sent through NOTIFY, by each connection that serves sessions: after a switchover those may lead to another
//! server than the one that listens, and then the sign does not arrive. The server tells in the order of the commits:
//! when the signs of all these connections have arrived, so has the news of everything that was committed before they
//! were sent. Only then is the feed up, for the length of the bound from the moment of sending. With each sign goes a
//! look whether the triggers are still there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_postgres::Notification;
use tokio_postgres::types::Type;

use super::Inner;
use super::fault::{Fault, unavailable};
use super::link::{Dialler, Duty, Hear, Parameter, Session, Wire};
use super::pipeline::{Pipeline, Request};
use super::sql;
use crate::record::SessionId;
use crate::store::listening::{self, Line, Listen};
use crate::store::{Feed, Hearer, News, StoreError};

/// Why there is no feed now.
enum Ended {
    Fault(Fault),
    /// The table does not tell: a trigger is missing or switched off.
    Untold,
    /// No sign of life came back in time.
    Silent,
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Ended {
        Ended::Fault(fault)
    }
}

impl From<tokio_postgres::Error> for Ended {
    fn from(error: tokio_postgres::Error) -> Ended {
        Ended::Fault(error.into())
    }
}

struct Listener {
    dialler: Arc<Dialler>,
    /// Whose connections send the signs of life.
    store: Weak<Inner>,
}

/// The number of a sign of life, and the connections whose sign has arrived.
type Signs = (u64, Vec<usize>);

/// Listens, and returns as soon as the feed is up, or is known not to come up.
pub(super) async fn subscribe(
    store: &Arc<Inner>,
    hearer: Hearer,
    bound: Duration,
) -> Result<Feed, StoreError> {
    let ended = || unavailable("the runtime that its feed lived in has ended");
    let listener = Listener { dialler: Arc::clone(&store.dialler), store: Arc::downgrade(store) };
    listening::subscribe(listener, hearer, bound, ended).await
}

impl Listen for Listener {
    async fn listen(&self, line: &mut Line) -> StoreError {
        match self.listen_once(line).await {
            Ended::Fault(fault) => self.dialler.place.error("listen", fault),
            Ended::Untold => self.dialler.place.no_feed(),
            Ended::Silent => unavailable(
                "no sign of life came back from the feed in time: it hangs, or listens to another server",
            ),
        }
    }

    fn server(&self) -> &str {
        &self.dialler.place.server
    }
}

impl Listener {
    /// One connection, as long as it tells.
    async fn listen_once(&self, line: &mut Line) -> Ended {
        let (seen, signs) = watch::channel(Signs::default());
        let own = format!("session_sign_{:016x}", getrandom::u64().unwrap_or_default());
        let hear = hear(&own, seen, Arc::clone(&line.hearer));
        let (client, _, mut wire) = match self.dialler.connect(Duty::Feed, hear).await {
            Ok(connected) => connected,
            Err(fault) => return Ended::Fault(fault),
        };
        let telling = self.tell(&client, &own, signs, line);
        // What the connection brings comes first: it may be its end.
        tokio::select! {
            biased;
            ended = broken(&mut wire) => ended,
            ended = telling => ended,
        }
    }

    /// Listens and sends signs of life, until one does not come back.
    async fn tell(
        &self,
        client: &Pipeline,
        own: &str,
        mut signs: watch::Receiver<Signs>,
        line: &mut Line,
    ) -> Ended {
        let listening = tokio::time::timeout(line.bound, self.begin(client, own));
        let channel = match listening.await {
            Ok(Ok(channel)) => channel,
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::Silent,
        };
        for sign in 1_u64.. {
            let sent = Instant::now();
            let back = async {
                let sent = self.sign(client, own, sign, &channel).await?;
                // The sender lives as long as the connection.
                let _ =
                    signs.wait_for(|(seen, by)| *seen == sign && sent.iter().all(|it| by.contains(it))).await;
                Ok(())
            };
            match tokio::time::timeout_at(sent + line.bound, back).await {
                Ok(Ok(())) => {}
                Ok(Err(ended)) => return ended,
                Err(_) => return Ended::Silent,
            }
            line.up_since(sent);
            tokio::time::sleep_until(line.next_sign(sent)).await;
        }
        Ended::Silent
    }

    /// From here on everything is heard; the channel on which the table tells.
    async fn begin(&self, client: &Pipeline, own: &str) -> Result<String, Ended> {
        let channel = self.channel(client).await?.ok_or(Ended::Untold)?;
        let listen = format!("LISTEN {}; LISTEN {}", sql::quoted(&channel), sql::quoted(own));
        self.log(&listen);
        client.run(Request::Simple(&listen)).await?;
        Ok(channel)
    }

    /// Sends a sign of life through each connection that serves sessions; the numbers of those that did it.
    async fn sign(
        &self,
        client: &Pipeline,
        own: &str,
        sign: u64,
        channel: &str,
    ) -> Result<Vec<usize>, Ended> {
        if self.channel(client).await?.as_deref() != Some(channel) {
            return Err(Ended::Untold);
        }
        let mut sent = Vec::new();
        for (number, session) in self.sessions().into_iter().enumerate() {
            match session.sign(own, &format!("{sign} {number}")).await {
                Ok(()) => sent.push(number),
                // It serves nothing any more; its successor sends the next sign.
                Err(fault) if fault.is_outage() => {}
                Err(fault) => return Err(Ended::Fault(fault)),
            }
        }
        match sent.is_empty() {
            true => Err(Ended::Fault(Fault::Away("none of the store's own connections is up".to_owned()))),
            false => Ok(sent),
        }
    }

    fn sessions(&self) -> Vec<Arc<Session>> {
        self.store.upgrade().map(|store| store.serving()).unwrap_or_default()
    }

    async fn channel(&self, client: &Pipeline) -> Result<Option<String>, Ended> {
        self.log(sql::FEED_CHANNEL);
        let table: Parameter<'_> = &self.dialler.place.table;
        let rows = client.run(Request::Typed(sql::FEED_CHANNEL, vec![(table, Type::TEXT)])).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    fn log(&self, statement: &str) {
        tracing::trace!(target: "sessile::sql", statement, database = &*self.dialler.place.server);
    }
}

/// What to do with each notification. Signs of life go to a channel of their own, which nobody else
/// listens to.
fn hear(own: &str, seen: watch::Sender<Signs>, hearer: Hearer) -> Hear {
    let own = own.to_owned();
    Arc::new(move |notification: &Notification| {
        let text = notification.payload();
        if notification.channel() == own {
            if let Some(arrived) = arrived(text) {
                seen.send_modify(|signs| note(signs, arrived));
            }
        } else if text == "*" {
            hearer.hear(News::Everything);
        } else if let Some(news) = news(text) {
            hearer.hear(news);
        }
        // Any other text is the key of a row that is no session of ours.
    })
}

/// The number of a sign of life and that of its connection.
fn arrived(text: &str) -> Option<(u64, usize)> {
    let (sign, number) = text.split_once(' ')?;
    Some((sign.parse().ok()?, number.parse().ok()?))
}

fn note(signs: &mut Signs, (sign, number): (u64, usize)) {
    if sign > signs.0 {
        *signs = (sign, Vec::new());
    }
    if sign == signs.0 {
        signs.1.push(number);
    }
}

/// A row's key and, where it was changed, what it has become.
fn news(text: &str) -> Option<News> {
    let (id, fingerprint) = text.split_once(' ').unwrap_or((text, ""));
    let id = id.parse::<SessionId>().ok()?;
    Some(fingerprint.parse().map_or(News::Changed(id), |fingerprint| News::Became(id, fingerprint)))
}

async fn broken(wire: &mut Wire) -> Ended {
    let fault = wire.await.err().map_or_else(|| Fault::Cut("the server hung up".to_owned()), Fault::from);
    Ended::Fault(fault)
}
