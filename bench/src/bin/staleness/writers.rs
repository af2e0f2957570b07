//! What telling costs those who write to PostgreSQL: the same writes to a table with the feed's trigger and to
//! one without, one beside the other, so that both have the same weather.

use std::time::{Duration, Instant};

use sessile::engine::CacheOptions;
use sessile::{SessionId, Sessions};
use sessile_bench::Measured;
use sessile_bench::databases::{Database, Databases};
use sessile_bench::latencies::micros_at;
use sessile_bench::processes::Used;
use tokio_postgres::{Client, Statement};

use crate::{other, stage};

const CLIENTS: [usize; 3] = [1, 8, 64];
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    measured: Measured,
}

/// Who hears of the writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    /// Nobody: the table has no trigger.
    None,
    /// So many services with a cache, which stand in this process.
    Heard(usize),
}

impl Feed {
    const ALL: [Feed; 4] = [Feed::None, Feed::Heard(0), Feed::Heard(1), Feed::Heard(8)];

    fn name(self) -> String {
        match self {
            Feed::None => "none".to_owned(),
            Feed::Heard(0) => "heard by nobody".to_owned(),
            Feed::Heard(1) => "heard by 1 cache".to_owned(),
            Feed::Heard(count) => format!("heard by {count} caches"),
        }
    }
}

/// Who writes.
#[derive(Clone, Copy)]
enum Kind {
    /// One service of sessile, which reads before it writes, and writes what comes at once in one commit.
    Grouped,
    /// A connection for each client and an UPDATE in a commit of its own for each write, as Python has it.
    Apart,
}

/// A client that writes to a session of its own.
enum Writer {
    Grouped(Sessions, SessionId),
    Apart(Client, Statement, SessionId),
}

/// One writer and so many of its clients, whatever the feed.
#[derive(Clone, Copy)]
struct Load {
    kind: Kind,
    clients: usize,
}

pub(crate) fn run(plan: &Plan) {
    let runtime = crate::runtime();
    let servers = Databases::start(&[Database::Postgres]);
    let server = servers.postgres.as_ref().unwrap();
    let stage = Stage { url: server.url(), server: server.pid().unwrap() };
    let time = plan.measured.time();
    let of = |kind| CLIENTS.map(|clients| Load { kind, clients });
    let mut loads = [of(Kind::Grouped), of(Kind::Apart)].concat();
    let mut feeds = Feed::ALL;
    for round in 1..=plan.measured.rounds {
        servers.settle();
        fastrand::shuffle(&mut loads);
        for load in &loads {
            fastrand::shuffle(&mut feeds);
            for feed in feeds {
                let found = runtime.block_on(stage.measure(*load, feed, time));
                print(round, *load, feed, &found);
            }
        }
    }
}

/// What was found in one round.
struct Found {
    time: Duration,
    /// Of the database.
    processor: Duration,
    /// Of each write, sorted.
    latencies: Vec<Duration>,
}

/// Times in microseconds.
fn print(round: usize, load: Load, feed: Feed, found: &Found) {
    let kind = match load.kind {
        Kind::Grouped => "sessile",
        Kind::Apart => "UPDATE",
    };
    let writes = found.latencies.len();
    println!(
        "feed\t{round}\t{kind}\t{}\t{}\t{:.1}\t{:.1}\t{:.1}\t{:.3}",
        load.clients,
        feed.name(),
        writes as f64 / found.time.as_secs_f64(),
        micros_at(&found.latencies, 0.5),
        micros_at(&found.latencies, 0.99),
        found.processor.as_secs_f64() * 1e6 / writes.max(1) as f64
    );
}

/// The server that is written to.
struct Stage {
    url: String,
    /// Its process.
    server: u32,
}

impl Stage {
    async fn measure(&self, load: Load, feed: Feed, time: Duration) -> Found {
        let store = stage::fresh(&self.url, feed != Feed::None).await;
        let _hearers = self.hearers(feed).await;
        let sessions = Sessions::new(store);
        let mut writers = Vec::new();
        for credential in stage::fill(&sessions, load.clients).await {
            writers.push(self.writer(load.kind, &sessions, credential.id()).await);
        }
        let from = Instant::now() + WARM_UP;
        let until = from + time;
        let tasks: Vec<_> =
            writers.into_iter().map(|writer| tokio::spawn(writer.write_until(from, until))).collect();
        tokio::time::sleep_until(from.into()).await;
        let before = Used::by(&[self.server]);
        tokio::time::sleep_until(until.into()).await;
        let processor = Used::by(&[self.server]).since(&before);
        let (mut latencies, mut writers) = (Vec::new(), Vec::new());
        for task in tasks {
            let (writer, took) = task.await.unwrap();
            latencies.extend(took);
            writers.push(writer);
        }
        latencies.sort_unstable();
        Found { time, processor, latencies }
    }

    async fn hearers(&self, feed: Feed) -> Vec<Sessions> {
        let count = if let Feed::Heard(count) = feed { count } else { 0 };
        let mut hearers = Vec::new();
        for _ in 0..count {
            let store = stage::store(&self.url).await;
            hearers.push(Sessions::builder(store).cache(CacheOptions::default()).await.unwrap().build());
        }
        hearers
    }

    async fn writer(&self, kind: Kind, sessions: &Sessions, id: SessionId) -> Writer {
        match kind {
            Kind::Grouped => Writer::Grouped(sessions.clone(), id),
            Kind::Apart => {
                let client = stage::client(&self.url).await;
                let update = format!(
                    "UPDATE {} SET data = $1, updated_at = now() AT TIME ZONE 'UTC', \
                     expires_at = now() AT TIME ZONE 'UTC' + interval '30 minutes' WHERE id = $2",
                    stage::TABLE
                );
                let update = client.prepare(&update).await.unwrap();
                Writer::Apart(client, update, id)
            }
        }
    }
}

impl Writer {
    /// Writes as fast as it is answered; returns how long each write took that was answered between the two
    /// moments. The connection stays, for the processor time of one that has ended is not to be had.
    async fn write_until(self, from: Instant, until: Instant) -> (Writer, Vec<Duration>) {
        let mut latencies = Vec::new();
        let mut began = Instant::now();
        for n in 1.. {
            self.write(n).await;
            let answered = Instant::now();
            if answered > until {
                break;
            }
            if answered >= from {
                latencies.push(answered - began);
            }
            began = answered;
        }
        (self, latencies)
    }

    async fn write(&self, n: u64) {
        match self {
            Writer::Grouped(sessions, id) => other::change(sessions, *id, n).await,
            Writer::Apart(client, update, id) => {
                let mut data = sessile_bench::sample::data(n);
                data.insert("n".to_owned(), n.into());
                let data = serde_json::to_string(&data).unwrap();
                assert_eq!(client.execute(update, &[&data, &id.to_string()]).await.unwrap(), 1);
            }
        }
    }
}
