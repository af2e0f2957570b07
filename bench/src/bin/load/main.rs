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
mod databases;
mod fill;
mod processes;
mod purge;
mod server;
mod size;
mod web;
mod work;

use std::time::Duration;

use client::Client;
use databases::{Database, Databases};
use server::Server;
use sessile_bench::Stage;
use work::{CHANGE, Cookies, Work};

const USAGE: &str = "\
usage: load PART [--rounds N] [--seconds S] [--only NAME] [DATABASE...]
       PART: web (64 clients), lone (one client), purge (R10), size (R16)
       DATABASE: memory, sqlite, postgres, mariadb, redis; all of them by default
       --only: only subjects whose name holds this
       load drive SUBJECT ROUTE SECONDS   one subject under load, for a profiler; prints its process id
       load call SUBJECT ROUTE TIMES      one subject without HTTP, for a profiler (`valgrind --tool=callgrind`)
       load serve SUBJECT                 serve one subject until standard input ends; prints its address
       load fill SUBJECT LIVE EXPIRED     put sessions of 1 KiB into a subject's store";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", subject] => server::serve(subject),
        ["fill", subject, live, expired] => {
            fill::fill(subject, live.parse().unwrap(), expired.parse().unwrap());
        }
        ["drive", subject, route, seconds] => drive(subject, route, seconds.parse().unwrap()),
        ["call", subject, route, times] => call(subject, route, times.parse().unwrap()),
        [part @ ("web" | "lone" | "purge" | "size"), ref rest @ ..] => run(part, rest),
        _ => usage(),
    }
}

fn usage() {
    eprintln!("{USAGE}");
    std::process::exit(2);
}

fn run(part: &str, mut rest: &[&str]) {
    let (mut rounds, mut seconds, mut only) = (5, 1.0, "");
    let mut databases = Vec::new();
    loop {
        match *rest {
            [] => break,
            ["--rounds", number, ref after @ ..] => (rounds, rest) = (number.parse().unwrap(), after),
            ["--seconds", number, ref after @ ..] => (seconds, rest) = (number.parse().unwrap(), after),
            ["--only", name, ref after @ ..] => (only, rest) = (name, after),
            [name, ref after @ ..] => {
                let Some(database) = Database::named(name) else { return usage() };
                databases.push(database);
                rest = after;
            }
        }
    }
    if databases.is_empty() {
        databases.extend(Database::ALL);
    }
    let time = Duration::from_secs_f64(seconds);
    let plan = web::Plan { rounds, time, databases: &databases, only };
    match part {
        "web" => web::web(&plan),
        "lone" => web::lone(&plan),
        "purge" => purge::purge(&databases),
        _ => size::size(&databases),
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

fn drive(subject: &str, route: &str, seconds: f64) {
    let work = Work::named(route);
    let databases = Databases::start(&[Database::of(subject)]);
    let server = Server::start(subject, &databases);
    let mut client = Client::new(&server, if work.cookies == Cookies::InTurn { web::SESSIONS } else { 0 });
    println!("{}", server.process_id());
    let load = client.load(&server, &work, 64, Duration::from_secs_f64(seconds));
    println!(
        "{:.2} µs of processor time per request, {:.2} of the database, {:.0} requests/s",
        load.server_micros(),
        load.database_micros(),
        load.per_second()
    );
}
