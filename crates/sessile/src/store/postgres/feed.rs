//! The feed: one connection that listens to what the triggers on the table tell.
//!
//! A connection can be dead and not know it, so silence proves nothing. Every third of the bound a sign of
//! life is sent through NOTIFY. The server tells in the order of the commits: whoever sees the sign has been
//! told of everything that was committed before it was sent. Only then is the feed up, for the length of the
//! bound from the moment of sending. With each sign goes a look whether the triggers are still there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Notification};

use super::fault::{Fault, unavailable};
use super::link::{Dialler, Duty, Hear, Parameter, Wire};
use super::sql;
use crate::record::SessionId;
use crate::store::backoff::pause;
use crate::store::{Feed, Hearer, News, StoreError};

/// Signs of life within one bound: one may be late, and the feed is still up.
const SIGNS: u32 = 3;

/// Why there is no feed now.
enum Ended {
    Fault(Fault),
    /// The table does not tell: a trigger is missing or switched off.
    Untold,
    /// No sign of life came back in time.
    Silent,
    /// Nobody wants it any more.
    Dropped,
}

impl From<tokio_postgres::Error> for Ended {
    fn from(error: tokio_postgres::Error) -> Ended {
        Ended::Fault(error.into())
    }
}

struct Listener {
    dialler: Arc<Dialler>,
    hearer: Hearer,
    bound: Duration,
}

/// Listens, and returns as soon as the feed is up, or is known not to come up.
pub(super) async fn subscribe(
    dialler: Arc<Dialler>,
    hearer: Hearer,
    bound: Duration,
) -> Result<Feed, StoreError> {
    let (held, dropped) = watch::channel(());
    let (tell, told) = oneshot::channel();
    let listener = Listener { dialler, hearer, bound };
    tokio::spawn(async move { listener.keep(tell, dropped).await });
    told.await.unwrap_or_else(|_| Err(unavailable("the runtime that its feed lived in has ended")))?;
    Ok(Feed::new(held))
}

impl Listener {
    /// Listens, and listens again, until nobody wants to hear. If it cannot be done the first time, that is
    /// the answer.
    async fn keep(self, tell: oneshot::Sender<Result<(), StoreError>>, mut dropped: watch::Receiver<()>) {
        let mut first = Some(tell);
        let mut failures = 0;
        loop {
            let mut came_up = false;
            let ended = tokio::select! {
                ended = self.listen(&mut first, &mut came_up) => ended,
                _ = dropped.changed() => Ended::Dropped,
            };
            self.hearer.hear(News::Down);
            let error = match ended {
                Ended::Dropped => return,
                Ended::Fault(fault) => self.dialler.place.error("listen", fault),
                Ended::Untold => self.dialler.place.no_feed(),
                Ended::Silent => unavailable("no sign of life came back from the feed in time"),
            };
            if let Some(tell) = first.take() {
                // Nobody waiting for the answer is nobody who wants the feed.
                let _ = tell.send(Err(error));
                return;
            }
            failures = if came_up { 1 } else { failures + 1 };
            if failures == 1 {
                tracing::warn!(server = %self.dialler.place.server, %error, "the feed of changes is down");
            }
            tokio::select! {
                () = tokio::time::sleep(pause(failures)) => {}
                _ = dropped.changed() => return,
            }
        }
    }

    /// One connection, as long as it tells.
    async fn listen(
        &self,
        first: &mut Option<oneshot::Sender<Result<(), StoreError>>>,
        came_up: &mut bool,
    ) -> Ended {
        let (seen, signs) = watch::channel(0);
        let own = format!("session_sign_{:016x}", getrandom::u64().unwrap_or_default());
        let (client, mut wire) = match self.dialler.connect(Duty::Feed, self.hear(&own, seen)).await {
            Ok(connected) => connected,
            Err(fault) => return Ended::Fault(fault),
        };
        let telling = self.tell(&client, &own, signs, first, came_up);
        // What the connection brings comes first: it may be its end.
        tokio::select! {
            biased;
            ended = broken(&mut wire) => ended,
            ended = telling => ended,
        }
    }

    /// What to do with each notification. Signs of life go to a channel of their own, which nobody else
    /// listens to.
    fn hear(&self, own: &str, seen: watch::Sender<u64>) -> Hear {
        let (own, hearer) = (own.to_owned(), Arc::clone(&self.hearer));
        Arc::new(move |notification: &Notification| {
            let text = notification.payload();
            if notification.channel() == own {
                if let Ok(sign) = text.parse() {
                    seen.send_replace(sign);
                }
            } else if text == "*" {
                hearer.hear(News::Everything);
            } else if let Ok(id) = text.parse::<SessionId>() {
                hearer.hear(News::Changed(id));
            }
            // Any other text is the key of a row that is no session of ours.
        })
    }

    /// Listens and sends signs of life, until one does not come back.
    async fn tell(
        &self,
        client: &Client,
        own: &str,
        mut signs: watch::Receiver<u64>,
        first: &mut Option<oneshot::Sender<Result<(), StoreError>>>,
        came_up: &mut bool,
    ) -> Ended {
        let listening = tokio::time::timeout(self.bound, self.begin(client, own));
        let channel = match listening.await {
            Ok(Ok(channel)) => channel,
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::Silent,
        };
        for sign in 1_u64.. {
            let sent = Instant::now();
            let back = async {
                self.sign(client, own, sign, &channel).await?;
                // The sender lives as long as the connection.
                let _ = signs.wait_for(|seen| *seen >= sign).await;
                Ok(())
            };
            match tokio::time::timeout_at(sent + self.bound, back).await {
                Ok(Ok(())) => {}
                Ok(Err(ended)) => return ended,
                Err(_) => return Ended::Silent,
            }
            self.hearer.hear(News::Up(sent + self.bound));
            *came_up = true;
            if let Some(tell) = first.take() {
                let _ = tell.send(Ok(()));
            }
            tokio::time::sleep_until(sent + self.bound / SIGNS).await;
        }
        Ended::Silent
    }

    /// From here on everything is heard; the channel on which the table tells.
    async fn begin(&self, client: &Client, own: &str) -> Result<String, Ended> {
        let channel = self.channel(client).await?.ok_or(Ended::Untold)?;
        let listen = format!("LISTEN {}; LISTEN {}", sql::quoted(&channel), sql::quoted(own));
        self.log(&listen);
        client.batch_execute(&listen).await?;
        Ok(channel)
    }

    async fn sign(&self, client: &Client, own: &str, sign: u64, channel: &str) -> Result<(), Ended> {
        if self.channel(client).await?.as_deref() != Some(channel) {
            return Err(Ended::Untold);
        }
        let text = sign.to_string();
        let parameters: [(Parameter<'_>, Type); 2] = [(&own, Type::TEXT), (&text, Type::TEXT)];
        self.log(sql::NOTIFY);
        client.query_typed(sql::NOTIFY, &parameters).await?;
        Ok(())
    }

    async fn channel(&self, client: &Client) -> Result<Option<String>, Ended> {
        self.log(sql::FEED_CHANNEL);
        let table: Parameter<'_> = &self.dialler.place.table;
        let rows = client.query_typed(sql::FEED_CHANNEL, &[(table, Type::TEXT)]).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    fn log(&self, statement: &str) {
        tracing::trace!(target: "sessile::sql", statement, database = &*self.dialler.place.server);
    }
}

async fn broken(wire: &mut Wire) -> Ended {
    let fault = wire.await.err().map_or_else(|| Fault::Cut("the server hung up".to_owned()), Fault::from);
    Ended::Fault(fault)
}
