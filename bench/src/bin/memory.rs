//! What a session of 1 KiB takes in memory: kept by the cache, and in the store that is in memory.
//!
//! Prints one line each: what, how many sessions, bytes of resident memory and bytes asked of the allocator
//! for each, separated by tabs.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]
#![expect(clippy::cast_precision_loss, reason = "counts are small")]

use std::alloc::System;

use clap::Parser;
use sessile::Sessions;
use sessile::engine::CacheOptions;
use sessile::store::{MemoryStore, PostgresStore, SessionStore};
use sessile_bench::{Stage, subject};
use sessile_test_servers::Postgres;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Sessions whose reading comes before what is measured: the buffers of connections and tasks are there then.
const FIRST_SHARE: usize = 10;

/// What a session of 1 KiB takes in memory.
#[derive(Parser)]
#[command(name = "memory")]
struct Plan {
    /// How many there are
    #[arg(long, default_value_t = 100_000)]
    sessions: usize,
}

fn main() {
    let Plan { sessions } = Plan::parse();
    kept_by_the_cache(sessions);
    in_the_memory_store(sessions);
}

fn kept_by_the_cache(sessions: usize) {
    let server = Postgres::start().unwrap();
    let url = server.url();
    // A service with a cache would keep what it writes: there would be nothing left to read into it.
    let stage = Stage::over(async || subject::sessile(Sessions::new(ready(&url).await)), sessions);
    let mut kept = None;
    let make = async || {
        let store = ready(&url).await;
        store.init_feed().await.unwrap();
        let options = CacheOptions::default().max_sessions(2 * sessions as u64).max_bytes(1 << 30);
        let cached = Sessions::builder(store).cache(options).await.unwrap().build();
        kept = Some(cached.clone());
        subject::sessile(cached)
    };
    let stage = stage.behind(make);
    let kept = || kept.as_ref().unwrap().cache_stats().unwrap().sessions;
    let first = sessions / FIRST_SHARE;
    read_all(&stage, first);
    let before = kept();
    let [resident, counted] = growth(|| read_all(&stage, sessions - first));
    print("kept by the cache", usize::try_from(kept() - before).unwrap(), resident, counted);
}

async fn ready(url: &str) -> PostgresStore {
    let store = PostgresStore::connect(url).await.unwrap();
    store.init().await.unwrap();
    store
}

fn in_the_memory_store(sessions: usize) {
    let mut stage = None;
    let [resident, counted] = growth(|| {
        stage = Some(Stage::over(async || subject::sessile(Sessions::new(MemoryStore::new())), sessions));
    });
    let cookies = stage.map_or(0, |stage| stage.cookie_bytes());
    print("in the memory store", sessions, resident, counted - cookies as f64);
}

fn read_all(stage: &Stage, sessions: usize) {
    for _ in 0..sessions / 50 {
        stage.at_once((0..50).map(|_| stage.request("GET", "/read")).collect());
    }
}

fn print(what: &str, sessions: usize, resident: f64, counted: f64) {
    let each = |bytes: f64| bytes / sessions as f64;
    println!("memory\t{what}\t{sessions}\t{:.0}\t{:.0}", each(resident), each(counted));
}

/// By how much this process grows: resident, and as its allocator counts.
fn growth(work: impl FnOnce()) -> [f64; 2] {
    let region = Region::new(ALLOCATOR);
    let before = resident();
    work();
    let change = region.change();
    let counted = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    [resident() - before, counted]
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() * 1024.0
}
