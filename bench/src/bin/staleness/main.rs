//! How long a coherent cache goes on answering after a session was ended elsewhere, and what telling costs those
//! who write.
//!
//! `staleness ends STORE [COUNT]`: for each way in which another process may end a session, and for each load
//! beside it, so many sessions are kept here and ended there, one after the other. Measured is the time from the
//! moment at which the other process was answered to the moment from which this one no longer answers from its
//! cache; 0 where it had heard before the answer. Both clocks are the system's monotonic one.
//!
//! `staleness writers STORE [SECONDS]`: changes per second, and processor time for each, with and without a feed.
//!
//! STORE is a store URL of PostgreSQL or Redis; what is measured goes to a table, or to keys, of its own. Python is
//! the program in `SESSILE_TEST_PYTHON`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot go on stops")]

mod ends;
mod heard;
mod other;
mod stage;
mod writers;

use std::time::Duration;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text:?} is no number"));
    match words[..] {
        ["ends", url] => ends::run(url, 100_000).await,
        ["ends", url, count] => ends::run(url, number(count)).await,
        ["writers", url] => writers::run(url, Duration::from_secs(5)).await,
        ["writers", url, seconds] => writers::run(url, Duration::from_secs(number(seconds))).await,
        // What this program starts by itself.
        ["end", way, url] => other::end(way, url).await,
        ["load", url, clients] => other::load(url, number(clients)).await,
        _ => panic!("see the head of bench/src/bin/staleness/main.rs"),
    }
}
