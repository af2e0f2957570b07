//! Sentinels: which server is the primary, and when another one takes its place.
//!
//! A sentinel that was away may still name the primary of before. Each failover has a number that grows, the
//! epoch: what is newest counts. All sentinels are asked at once, and it takes the answers of most of them, or
//! of those that answer in time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Pipeline, PushInfo, Value};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::connect::{Connector, Endpoint, words};
use super::fault::{Fault, answer, strange};
use super::settings::strings;

/// How long further sentinels may take when the first one has answered.
const GRACE: Duration = Duration::from_millis(500);
/// How often each sentinel is asked, though it tells of a failover by itself.
const INTERVAL: Duration = Duration::from_secs(1);

/// The primary, as a sentinel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Primary {
    pub(super) endpoint: Endpoint,
    epoch: u64,
}

/// The sentinels that the URL names.
#[derive(Clone)]
pub(super) struct Sentinels {
    connector: Connector,
    endpoints: Vec<Endpoint>,
    /// The name that the primary has there.
    name: String,
}

impl Sentinels {
    pub(super) fn new(connector: Connector, endpoints: Vec<Endpoint>, name: String) -> Sentinels {
        Sentinels { connector, endpoints, name }
    }

    /// The primary that the newest of the sentinels names.
    pub(super) async fn primary(&self) -> Result<Primary, Fault> {
        let ask = |endpoint| self.connector.in_time(self.ask_anew(endpoint));
        let mut asked: FuturesUnordered<_> = self.endpoints.iter().map(ask).collect();
        let mut known: Vec<Primary> = Vec::new();
        let mut fault = Fault::Away("no sentinel is named".to_owned());
        while let Some(told) = next_of(&mut asked, !known.is_empty()).await {
            match told {
                Ok(primary) => known.push(primary),
                Err(failed) => fault = failed,
            }
            if known.len() > self.endpoints.len() / 2 {
                break;
            }
        }
        known.into_iter().max_by_key(|primary| primary.epoch).ok_or(fault)
    }

    async fn ask_anew(&self, endpoint: &Endpoint) -> Result<Primary, Fault> {
        let mut connection = self.connector.open_any(endpoint, |_| {}).await?;
        self.ask(endpoint, &mut connection).await
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        connection: &mut MultiplexedConnection,
    ) -> Result<Primary, Fault> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(words(&["SENTINEL", "MASTER", &self.name]));
        // During a failover this one names the new primary first.
        pipeline.add_command(words(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &self.name]));
        let answers = connection.req_packed_commands(&pipeline, 0, 2).await?;
        let [state, address] = <[Value; 2]>::try_from(answers).map_err(|_| strange())?;
        if address == Value::Nil {
            return Err(Fault::Unfit {
                problem: format!("the sentinel at {endpoint} knows no primary named {:?}", self.name),
                remedy:
                    "write the name of `sentinel monitor` in the store URL: redis-sentinel://HOST,HOST/NAME"
                        .to_owned(),
            });
        }
        let (mut state_texts, mut address_texts) = (Vec::new(), Vec::new());
        strings(answer(state)?, &mut state_texts);
        strings(answer(address)?, &mut address_texts);
        primary(&state_texts, address_texts).ok_or_else(strange)
    }

    /// Returns when one of the sentinels names another primary than this one, after a later failover.
    pub(super) async fn wait_for_another(&self, known: &Primary) {
        let watch = |endpoint| self.watch(endpoint, known);
        let mut watching: FuturesUnordered<_> = self.endpoints.iter().map(watch).collect();
        watching.next().await;
    }

    async fn watch(&self, endpoint: &Endpoint, known: &Primary) {
        while let Err(fault) = self.watch_once(endpoint, known).await {
            tracing::debug!(sentinel = %endpoint, ?fault, "a sentinel does not answer");
            sleep(INTERVAL).await;
        }
    }

    async fn watch_once(&self, endpoint: &Endpoint, known: &Primary) -> Result<(), Fault> {
        let pushed = Arc::new(Notify::new());
        let heard = Arc::clone(&pushed);
        let on_push = move |_: PushInfo| heard.notify_one();
        let opening = async {
            let mut connection = self.connector.open_any(endpoint, on_push).await?;
            connection.subscribe("+switch-master").await?;
            Ok(connection)
        };
        let mut connection = self.connector.in_time(opening).await?;
        let mut first = None;
        loop {
            let told = self.connector.in_time(self.ask(endpoint, &mut connection)).await?;
            // Two sentinels may spell one address differently: within an epoch each is compared with itself.
            let before = first.get_or_insert_with(|| told.endpoint.clone());
            let differs = told.epoch > known.epoch || (told.epoch == known.epoch && told.endpoint != *before);
            if told.endpoint != known.endpoint && differs {
                return Ok(());
            }
            tokio::select! {
                () = pushed.notified() => {}
                () = sleep(INTERVAL) => {}
            }
        }
    }
}

/// The next answer; `None` when there is none any more, or not in time though there `is_enough`.
async fn next_of<F: Future>(asked: &mut FuturesUnordered<F>, is_enough: bool) -> Option<F::Output> {
    let next = pin!(asked.next());
    match is_enough {
        true => tokio::time::timeout(GRACE, next).await.unwrap_or(None),
        false => next.await,
    }
}

/// From names and values, and a host and a port.
fn primary(state: &[String], address: Vec<String>) -> Option<Primary> {
    let epoch = state.as_chunks::<2>().0.iter().find(|[name, _]| name == "config-epoch")?[1].parse().ok()?;
    let [host, port] = <[String; 2]>::try_from(address).ok()?;
    Some(Primary { endpoint: Endpoint::Tcp(host, port.parse().ok()?), epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_is_read_from_what_a_sentinel_tells() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let state = texts(&["name", "m", "config-epoch", "7", "quorum", "2"]);
        let read = primary(&state, texts(&["10.0.0.1", "6379"])).unwrap();
        assert_eq!(read, Primary { endpoint: Endpoint::Tcp("10.0.0.1".to_owned(), 6379), epoch: 7 });
        assert_eq!(primary(&state, texts(&["10.0.0.1", "x"])), None);
        assert_eq!(primary(&texts(&["name", "m"]), texts(&["10.0.0.1", "6379"])), None);
    }
}
