//! What a request costs a server, over HTTP, and what a table's size or a purge beside it does to that.
//!
//! Each subject is served by a process of its own: this program again, or a peer's. Every cell of every
//! round stands beside bare axum under the same load just before, because the machine's speed moves; the
//! processor time is the server's and the database's alone, the throughput also has the client in it.
//!
//! Prints one line for each measurement, its fields separated by tabs; `cargo xtask bench` makes tables and
//! charts of them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot go on stops")]
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts are small")]

mod client;
mod fill;
mod locks;
mod purge;
mod server;
mod size;
mod web;
mod work;

use std::time::Duration;

use clap::Parser;
use client::Client;
use server::Server;
use sessile_bench::Stage;
use sessile_bench::databases::{Database, Databases};
use work::{CHANGE, Cookies, Work};

/// What a request costs a server, and what the size of a table or a purge does to that.
#[derive(Parser)]
#[command(name = "load")]
enum Task {
    /// What a request costs with 64 clients
    Web(web::Plan),
    /// What a request costs with one client
    Lone(web::Plan),
    /// What a purge does to the requests beside it (R10)
    Purge(purge::Plan),
    /// What rows locked by another program do to requests for other rows (R18)
    Locks(locks::Plan),
    /// What the number of rows does to an operation (R16)
    Size(size::Plan),
    /// One subject under load, for a profiler; prints its process id
    Drive {
        subject: String,
        route: String,
        seconds: f64,
        #[arg(long, default_value_t = 64)]
        clients: usize,
    },
    /// One subject without HTTP, for a profiler (`valgrind --tool=callgrind`)
    Call { subject: String, route: String, times: usize },
    /// Serve one subject until standard input ends; prints its address
    Serve { subject: String },
    /// Put sessions of 1 KiB into a subject's store
    Fill { subject: String, live: usize, expired: usize },
}

fn main() {
    match Task::parse() {
        Task::Web(plan) => web::web(&plan),
        Task::Lone(plan) => web::lone(&plan),
        Task::Purge(plan) => purge::purge(&plan),
        Task::Locks(plan) => locks::locks(&plan),
        Task::Size(plan) => size::size(&plan),
        Task::Drive { subject, route, seconds, clients } => drive(&subject, &route, seconds, clients),
        Task::Call { subject, route, times } => call(&subject, &route, times),
        Task::Serve { subject } => server::serve(&subject),
        Task::Fill { subject, live, expired } => fill::fill(&subject, live, expired),
    }
}

fn call(subject: &str, route: &str, times: usize) {
    let work = Work::named(route);
    // Few sessions: making them counts too.
    let stage = Stage::new(subject, if work.cookies == Cookies::InTurn { 100 } else { 0 });
    let _entered = stage.enter();
    for _ in 0..times {
        let request = stage.request(work.method, work.path);
        if work == CHANGE {
            stage.at_once(vec![request]);
        } else {
            stage.alone(request);
        }
    }
}

fn drive(subject: &str, route: &str, seconds: f64, clients: usize) {
    let work = Work::named(route);
    let databases = Databases::start(&[Database::of(subject)]);
    let server = Server::start(subject, &databases);
    let mut client = Client::new(&server, if work.cookies == Cookies::InTurn { web::SESSIONS } else { 0 });
    println!("{}", server.process_id());
    let load = client.load(&server, &work, clients, Duration::from_secs_f64(seconds));
    println!(
        "{:.2} µs of processor time per request, {:.2} of the database, {:.0} requests/s",
        load.server_micros(),
        load.database_micros(),
        load.per_second()
    );
}
