//! From the answer to whoever ended a session to the last moment at which this process would have answered.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sessile::engine::{CacheOptions, Credential};
use sessile::{LazySession, Sessions};

use crate::heard::{Heard, Times};
use crate::{other, stage};

const CLIENTS: [u64; 2] = [0, 64];

pub(crate) async fn run(url: &str, count: u64) {
    println!("| ended by | load beside it | p50 | p99 | p99.9 | worst | told before the answer |");
    println!("|---|---|---|---|---|---|---|");
    for way in other::ways(url) {
        for clients in CLIENTS {
            let lags = measure(url, way, clients, count).await;
            let early = lags.iter().filter(|lag| **lag == 0).count();
            let at = |share: f64| {
                let at = (lags.len() as f64 * share) as usize;
                lags[at.min(lags.len() - 1)] as f64 / 1e6
            };
            let beside = if clients == 0 { "none".to_owned() } else { format!("{clients} clients") };
            println!(
                "| {way} | {beside} | {:.3} ms | {:.3} ms | {:.3} ms | {:.3} ms | {:.1} % |",
                at(0.5),
                at(0.99),
                at(0.999),
                at(1.0),
                100.0 * early as f64 / lags.len() as f64
            );
        }
    }
}

/// Nanoseconds for each session, the shortest first.
async fn measure(url: &str, way: &str, clients: u64, count: u64) -> Vec<u64> {
    let times = Times::default();
    let store = Heard { store: stage::fresh(url, true).await, times: Arc::clone(&times) };
    let options = CacheOptions::default().max_sessions(2 * count).max_bytes(1 << 32);
    let sessions = Sessions::builder(store).cache(options).await.unwrap().build();
    let credentials = stage::fill(&sessions, count).await;
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
    let mut lags: Vec<u64> = credentials
        .iter()
        .zip(answered)
        .map(|(credential, answered)| heard[&credential.id()].saturating_sub(answered))
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
