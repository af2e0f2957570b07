//! One request in process, and 64 changes at once: no socket, no HTTP parser, no client, so that what a
//! session adds is all there is to see.

use divan::{Bencher, counter::ItemsCount};
use sessile_bench::Stage;

#[cfg(feature = "allocations")]
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

/// Sessions that are asked for in turn.
const SESSIONS: usize = 1_000;
/// Changes that are under way at once.
const AT_ONCE: usize = 64;

fn main() {
    divan::main();
}

fn alone(bencher: Bencher<'_, '_>, subject: &str, sessions: usize, path: &'static str) {
    let stage = Stage::new(subject, sessions);
    let _entered = stage.enter();
    bencher.with_inputs(|| stage.request("GET", path)).bench_local_values(|request| stage.alone(request));
}

/// Nobody asks for the session, and there is no cookie.
#[divan::bench(args = ["bare", "bare-layer", "sessile-sqlite-normal"], sample_count = 300, sample_size = 500)]
fn untouched_without_cookie(bencher: Bencher<'_, '_>, subject: &str) {
    alone(bencher, subject, 0, "/plain");
}

/// Nobody asks for the session that the cookie names.
#[divan::bench(args = ["bare", "bare-layer", "sessile-sqlite-normal"], sample_count = 300, sample_size = 500)]
fn untouched_with_cookie(bencher: Bencher<'_, '_>, subject: &str) {
    alone(bencher, subject, SESSIONS, "/plain");
}

/// The handler asks for the session, and there is no cookie.
#[divan::bench(args = ["bare", "bare-layer", "sessile-sqlite-normal"], sample_count = 300, sample_size = 500)]
fn anonymous(bencher: Bencher<'_, '_>, subject: &str) {
    alone(bencher, subject, 0, "/look");
}

/// The handler reads one value.
#[divan::bench(args = ["hand-sqlite-normal", "sessile-sqlite-normal", "sessile-memory"], sample_count = 300, sample_size = 200)]
fn read(bencher: Bencher<'_, '_>, subject: &str) {
    alone(bencher, subject, SESSIONS, "/read");
}

/// The handlers change one value each.
#[divan::bench(
    args = ["hand-sqlite-normal", "sessile-sqlite-normal", "hand-sqlite-full", "sessile-sqlite-full", "sessile-memory"],
    sample_count = 50,
    sample_size = 5
)]
fn change_64_at_once(bencher: Bencher<'_, '_>, subject: &str) {
    let stage = Stage::new(subject, SESSIONS);
    let requests = || (0..AT_ONCE).map(|_| stage.request("POST", "/write")).collect();
    bencher
        .counter(ItemsCount::new(AT_ONCE))
        .with_inputs(requests)
        .bench_local_values(|requests| stage.at_once(requests));
}
