//! From the answer to whoever ended a session to the last moment at which this process would have answered.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sessile::engine::{CacheOptions, Credential};
use sessile::{LazySession, Sessions};
use sessile_bench::databases::{Database, Databases};
use sessile_bench::latencies::micros_at;

use crate::heard::{Heard, Times};
use crate::{other, stage};

/// Clients beside it.
const CLIENTS: [usize; 2] = [0, 64];

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Sessions that are ended in each way, beside each load
    #[arg(long, default_value_t = 20_000)]
    endings: usize,
    /// Only on these, of which PostgreSQL and Redis tell
    #[arg(default_values_t = Database::ALL)]
    databases: Vec<Database>,
}

pub(crate) fn run(plan: &Plan) {
    let runtime = crate::runtime();
    for database in [Database::Postgres, Database::Redis] {
        if !plan.databases.contains(&database) {
            continue;
        }
        let servers = Databases::start(&[database]);
        let url = servers.url(&database.to_string()).unwrap();
        for way in other::ways(&url) {
            for clients in CLIENTS {
                let lags = runtime.block_on(measure(&url, way, clients, plan.endings));
                print(&format!("{database}\t{way}\t{clients}"), &lags);
            }
        }
    }
}

/// What it is, then how many there were, their quantiles in microseconds, and how many had been heard of in time.
fn print(of: &str, lags: &[Duration]) {
    let [half, most, nearly_all, worst] = [0.5, 0.99, 0.999, 1.0].map(|share| micros_at(lags, share));
    let early = lags.iter().filter(|lag| lag.is_zero()).count();
    println!("staleness\t{of}\t{}\t{half:.1}\t{most:.1}\t{nearly_all:.1}\t{worst:.1}\t{early}", lags.len());
}

/// The time for each session, the shortest first.
async fn measure(url: &str, way: &str, clients: usize, endings: usize) -> Vec<Duration> {
    let times = Times::default();
    let store = Heard { store: stage::fresh(url, true).await, times: Arc::clone(&times) };
    let options = CacheOptions::default().max_sessions(2 * endings as u64).max_bytes(1 << 32);
    let sessions = Sessions::builder(store).cache(options).await.unwrap().build();
    let credentials = stage::fill(&sessions, endings).await;
    for credential in &credentials {
        assert!(is_alive(&sessions, credential).await);
    }
    let load = (clients > 0).then(|| start(&["load", url, &clients.to_string()]));
    if load.is_some() {
        // Until it has signed in.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    // What was told of their making has come.
    tokio::time::sleep(Duration::from_millis(500)).await;
    times.lock().clear();
    let child = if way == "Python" { python(url) } else { start(&["end", way, url]) };
    let ids: Vec<String> = credentials.iter().map(|credential| credential.id().to_string()).collect();
    let answered = tokio::task::spawn_blocking(move || end_all(child, &ids)).await.unwrap();
    let is_heard = |credential: &Credential| times.lock().contains_key(&credential.id());
    while !credentials.iter().all(is_heard) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It is as the times say: nobody is signed in any more.
    for credential in credentials.iter().step_by(101) {
        assert!(!is_alive(&sessions, credential).await);
    }
    if let Some(mut load) = load {
        load.kill().unwrap();
        load.wait().unwrap();
    }
    let heard = times.lock();
    let mut lags: Vec<Duration> = credentials
        .iter()
        .zip(answered)
        .map(|(credential, answered)| heard[&credential.id()].saturating_sub(answered))
        .map(Duration::from_nanos)
        .collect();
    lags.sort_unstable();
    lags
}

async fn is_alive(sessions: &Sessions, credential: &Credential) -> bool {
    let session = LazySession::new(sessions.clone(), vec![credential.clone()]).load().await.unwrap();
    session.contains("user")
}

/// When the other process was answered, for each.
fn end_all(mut child: Child, ids: &[String]) -> Vec<u64> {
    let mut to = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(answers.next().unwrap().unwrap(), "ready");
    let mut answered = Vec::with_capacity(ids.len());
    for id in ids {
        writeln!(to, "{id}").unwrap();
        answered.push(answers.next().unwrap().unwrap().parse().unwrap());
    }
    drop(to);
    assert!(child.wait().unwrap().success());
    answered
}

fn start(words: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn python(url: &str) -> Child {
    let program = std::env::var("SESSILE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(program);
    command.args(["-c", include_str!("end.py"), url, stage::TABLE]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}
