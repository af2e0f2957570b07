//! The feed: one connection that listens to what the triggers on the table tell.
//!
//! A connection can be dead and not know it, so silence proves nothing. Every third of the bound a sign of
//! life is sent through NOTIFY. The server tells in the order of the commits: whoever sees the sign has been
//! told of everything that was committed before it was sent. Only then is the feed up, for the length of the
//! bound from the moment of sending. With each sign goes a look whether the triggers are still there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Notification};

use super::fault::{Fault, unavailable};
use super::link::{Dialler, Duty, Hear, Parameter, Wire};
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

impl From<tokio_postgres::Error> for Ended {
    fn from(error: tokio_postgres::Error) -> Ended {
        Ended::Fault(error.into())
    }
}

struct Listener {
    dialler: Arc<Dialler>,
}

/// Listens, and returns as soon as the feed is up, or is known not to come up.
pub(super) async fn subscribe(
    dialler: Arc<Dialler>,
    hearer: Hearer,
    bound: Duration,
) -> Result<Feed, StoreError> {
    let ended = || unavailable("the runtime that its feed lived in has ended");
    listening::subscribe(Listener { dialler }, hearer, bound, ended).await
}

impl Listen for Listener {
    async fn listen(&self, line: &mut Line) -> StoreError {
        match self.listen_once(line).await {
            Ended::Fault(fault) => self.dialler.place.error("listen", fault),
            Ended::Untold => self.dialler.place.no_feed(),
            Ended::Silent => unavailable("no sign of life came back from the feed in time"),
        }
    }

    fn server(&self) -> &str {
        &self.dialler.place.server
    }
}

impl Listener {
    /// One connection, as long as it tells.
    async fn listen_once(&self, line: &mut Line) -> Ended {
        let (seen, signs) = watch::channel(0);
        let own = format!("session_sign_{:016x}", getrandom::u64().unwrap_or_default());
        let hear = hear(&own, seen, Arc::clone(&line.hearer));
        let (client, mut wire) = match self.dialler.connect(Duty::Feed, hear).await {
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
        client: &Client,
        own: &str,
        mut signs: watch::Receiver<u64>,
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
                self.sign(client, own, sign, &channel).await?;
                // The sender lives as long as the connection.
                let _ = signs.wait_for(|seen| *seen >= sign).await;
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

/// What to do with each notification. Signs of life go to a channel of their own, which nobody else
/// listens to.
fn hear(own: &str, seen: watch::Sender<u64>, hearer: Hearer) -> Hear {
    let own = own.to_owned();
    Arc::new(move |notification: &Notification| {
        let text = notification.payload();
        if notification.channel() == own {
            if let Ok(sign) = text.parse() {
                seen.send_replace(sign);
            }
        } else if text == "*" {
            hearer.hear(News::Everything);
        } else if let Some(news) = news(text) {
            hearer.hear(news);
        }
        // Any other text is the key of a row that is no session of ours.
    })
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
