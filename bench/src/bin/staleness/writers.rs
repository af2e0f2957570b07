//! What telling costs those who write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sessile::engine::CacheOptions;
use sessile::{SessionId, Sessions};

use crate::{other, stage};

const CLIENTS: [u64; 3] = [1, 16, 64];
const ROUNDS: usize = 5;

/// Who hears of the changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    /// Nobody, and in PostgreSQL the table does not tell.
    None,
    /// So many processes with a cache, or their like.
    Heard(usize),
}

/// Who writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// One process of sessile, which makes what comes at once in one commit.
    Grouped,
    /// A connection and a commit for each change, as many small processes have it.
    Apart,
}

pub(crate) async fn run(url: &str, time: Duration) {
    println!(
        "| written by | clients | without: changes/s | CPU each | told to | changes/s (min–max) | CPU each |"
    );
    println!("|---|---|---|---|---|---|---|");
    let writers: &[Writer] =
        if stage::is_postgres(url) { &[Writer::Grouped, Writer::Apart] } else { &[Writer::Grouped] };
    for &writer in writers {
        for clients in CLIENTS {
            for heard in [1, 8] {
                compare(url, writer, clients, heard, time).await;
            }
        }
    }
}

/// One beside the other, so that both have the same weather.
async fn compare(url: &str, writer: Writer, clients: u64, heard: usize, time: Duration) {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(measure(url, writer, clients, Feed::None, time).await);
        with.push(measure(url, writer, clients, Feed::Heard(heard), time).await);
    }
    let mut ratios: Vec<f64> = without.iter().zip(&with).map(|(none, some)| some.0 / none.0).collect();
    let middle = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let of = |all: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64| middle(&mut all.iter().map(pick).collect());
    let ratio = middle(&mut ratios);
    let name = if writer == Writer::Grouped { "one process" } else { "a connection each" };
    println!(
        "| {name} | {clients} | {:.0} | {:.0} µs | {heard} | {:.0}, {ratio:.2} × ({:.2}–{:.2}) | {:.0} µs |",
        of(&without, |it| it.0),
        of(&without, |it| it.1),
        of(&with, |it| it.0),
        ratios[0],
        ratios[ratios.len() - 1],
        of(&with, |it| it.1),
    );
}

/// Changes per second, and microseconds of processor time for each, of the whole machine: server, writer and
/// those who hear.
async fn measure(url: &str, writer: Writer, clients: u64, feed: Feed, time: Duration) -> (f64, f64) {
    let store = stage::fresh(url, feed != Feed::None).await;
    let mut hearers = Vec::new();
    if let Feed::Heard(count) = feed {
        for _ in 0..count {
            let store = stage::store(url).await;
            hearers.push(Sessions::builder(store).cache(CacheOptions::default()).await.unwrap().build());
        }
    }
    let sessions = Sessions::new(store);
    let ids = stage::fill(&sessions, clients).await;
    let changes = Arc::new(AtomicU64::new(0));
    let mut writing = Vec::new();
    for credential in ids {
        let (id, sessions, changes) = (credential.id(), sessions.clone(), Arc::clone(&changes));
        let count = move |_| {
            changes.fetch_add(1, Ordering::Relaxed);
        };
        writing.push(match writer {
            Writer::Grouped => {
                tokio::spawn(async move { other::change_for_ever(&sessions, id, count).await })
            }
            Writer::Apart => {
                let client = stage::client(url).await;
                tokio::spawn(async move { update_for_ever(&client, id, count).await })
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (before, busy, began) = (changes.load(Ordering::Relaxed), busy(), Instant::now());
    tokio::time::sleep(time).await;
    let made = changes.load(Ordering::Relaxed) - before;
    let (took, busy) = (began.elapsed(), self::busy() - busy);
    for one in writing {
        one.abort();
        let _ = one.await;
    }
    (made as f64 / took.as_secs_f64(), busy * 1e6 / made as f64)
}

async fn update_for_ever(client: &tokio_postgres::Client, id: SessionId, mut changed: impl FnMut(u64)) {
    let update = format!("UPDATE {} SET data = $1 WHERE id = $2", stage::TABLE);
    let update = client.prepare(&update).await.unwrap();
    for n in 1.. {
        let mut data = sessile_bench::sample::data(n);
        data.insert("n".to_owned(), n.into());
        let data = serde_json::to_string(&data).unwrap();
        assert_eq!(client.execute(&update, &[&data, &id.to_string()]).await.unwrap(), 1);
        changed(n);
    }
}

/// Seconds of processor time that this machine has spent so far.
fn busy() -> f64 {
    let all = std::fs::read_to_string("/proc/stat").unwrap();
    let mut words = all.lines().next().unwrap().split_ascii_whitespace().skip(1);
    let mut next = || words.next().unwrap().parse::<f64>().unwrap();
    let (user, nice, system) = (next(), next(), next());
    (user + nice + system) / 100.0
}
