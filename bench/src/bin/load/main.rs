//! What a request costs a server, over HTTP.
//!
//! Each subject is served by a process of its own, this program again. Every cell of every round stands
//! beside a second of bare axum under the same load, because the machine's speed moves; the processor time
//! is the server's alone, the throughput also has the client in it.
//!
//! Prints one line per row: what, of what, CPU per request in µs, its ratio as median, lowest and highest,
//! the ratio of the throughputs likewise; separated by tabs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot go on stops")]

mod client;
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use client::{Client, Rate};
use server::Server;
use sessile_bench::Stage;

const USAGE: &str = "\
usage: load [ROUNDS] [SECONDS]   measure everything: 5 rounds, 1 second for each cell
       load serve SUBJECT        serve one subject until standard input ends; prints its address
       load drive SUBJECT ROUTE SECONDS   one subject under load, for a profiler; prints its process id
       load call SUBJECT ROUTE TIMES      one subject without HTTP, for a profiler (`valgrind --tool=callgrind`)";

/// Clients at once.
const CONNECTIONS: usize = 64;
/// Sessions that are asked for in turn.
const SESSIONS: usize = 10_000;

/// A route under load. Without `cookies` the client is a visitor nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Work {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    cookies: bool,
}

const UNTOUCHED: Work = Work { name: "untouched, no cookie", method: "GET", path: "/plain", cookies: false };
const ANONYMOUS: Work = Work { name: "anonymous", method: "GET", path: "/look", cookies: false };
const NAMED: Work = Work { name: "untouched, cookie", method: "GET", path: "/plain", cookies: true };
const READ: Work = Work { name: "read", method: "GET", path: "/read", cookies: true };
const CHANGE: Work = Work { name: "change", method: "POST", path: "/write", cookies: true };

type Cell = (&'static str, Work);

const CELLS: [Cell; 12] = [
    ("bare-layer", UNTOUCHED),
    ("sessile-normal", UNTOUCHED),
    ("sessile-normal", ANONYMOUS),
    ("sessile-normal", NAMED),
    ("hand-normal", READ),
    ("sessile-normal", READ),
    ("sessile-memory", READ),
    ("hand-normal", CHANGE),
    ("sessile-normal", CHANGE),
    ("hand-full", CHANGE),
    ("sessile-full", CHANGE),
    ("sessile-memory", CHANGE),
];

/// Rows that compare two cells with each other instead of with bare axum.
const PAIRS: [[Cell; 2]; 3] = [
    [("sessile-normal", READ), ("hand-normal", READ)],
    [("sessile-normal", CHANGE), ("hand-normal", CHANGE)],
    [("sessile-full", CHANGE), ("hand-full", CHANGE)],
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", subject] => server::serve(subject),
        ["drive", subject, route, seconds] => drive(subject, route, seconds.parse().unwrap()),
        ["call", subject, route, times] => call(subject, route, times.parse().unwrap()),
        [] => measure(5, Duration::from_secs(1)),
        [rounds] => measure(rounds.parse().unwrap(), Duration::from_secs(1)),
        [rounds, seconds] => {
            measure(rounds.parse().unwrap(), Duration::from_secs_f64(seconds.parse().unwrap()));
        }
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}

fn work(name: &str) -> Work {
    let all = [UNTOUCHED, ANONYMOUS, NAMED, READ, CHANGE];
    let names = all.map(|work| work.name);
    all.into_iter().find(|work| work.name == name).unwrap_or_else(|| panic!("{name:?} is none of {names:?}"))
}

fn call(subject: &str, route: &str, times: usize) {
    let work = work(route);
    // Few sessions: making them counts too.
    let stage = Stage::new(subject, if work.cookies { 100 } else { 0 });
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
    let work = work(route);
    let server = Server::start(subject);
    let client = Client::new(&server, if work.cookies { SESSIONS } else { 0 });
    println!("{}", server.process_id());
    let rate = client.load(&server, &work, Duration::from_secs_f64(seconds));
    println!(
        "{:.2} µs of processor time per request, {:.0} requests/s",
        rate.cpu_micros(),
        rate.per_second()
    );
}

/// What one round saw of a cell, and of bare axum just before.
struct Sample {
    cell: Rate,
    bare: Rate,
}

fn measure(rounds: usize, time: Duration) {
    let mut servers: BTreeMap<&str, (Server, Client)> = BTreeMap::new();
    for subject in CELLS.iter().map(|(subject, _)| *subject).chain(["bare"]) {
        servers.entry(subject).or_insert_with(|| {
            let server = Server::start(subject);
            let client = Client::new(&server, SESSIONS);
            (server, client)
        });
    }
    let run = |(subject, work): Cell, time| {
        let (server, client) = &servers[subject];
        client.load(server, &work, time)
    };
    let mut samples: BTreeMap<Cell, Vec<Sample>> = BTreeMap::new();
    for round in 0..rounds {
        for cell in CELLS {
            let bare = run(("bare", cell.1), time);
            let cell_rate = run(cell, time);
            eprintln!(
                "round {}: {} {}: {:.2} µs, {:.0}/s; bare {:.2} µs, {:.0}/s",
                round + 1,
                cell.0,
                cell.1.name,
                cell_rate.cpu_micros(),
                cell_rate.per_second(),
                bare.cpu_micros(),
                bare.per_second()
            );
            samples.entry(cell).or_default().push(Sample { cell: cell_rate, bare });
        }
    }
    for cell in CELLS {
        let of = &samples[&cell];
        row(cell, "bare", of.iter().map(|it| (&it.cell, &it.bare)).collect());
    }
    for [cell, other] in PAIRS {
        let pairs = samples[&cell].iter().zip(&samples[&other]).map(|(it, that)| (&it.cell, &that.cell));
        row(cell, other.0, pairs.collect());
    }
}

fn row((subject, work): Cell, of: &str, pairs: Vec<(&Rate, &Rate)>) {
    let spread = |number: &dyn Fn(&(&Rate, &Rate)) -> f64| {
        let mut numbers: Vec<f64> = pairs.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        (numbers[numbers.len() / 2], numbers[0], numbers[numbers.len() - 1])
    };
    let cpu = spread(&|(it, _)| it.cpu_micros());
    let (median, low, high) = spread(&|(it, that)| it.cpu_micros() / that.cpu_micros());
    let (rate, slowest, fastest) = spread(&|(it, that)| it.per_second() / that.per_second());
    println!(
        "{}\t{subject}\t{of}\t{:.1}\t{median:.3}\t{low:.3}\t{high:.3}\t{rate:.3}\t{slowest:.3}\t{fastest:.3}",
        work.name, cpu.0
    );
}
