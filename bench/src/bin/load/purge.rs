//! What a purge does to the requests beside it. (R10)
//!
//! Reads and changes in turn, a second each: before; beside the background purge as it runs by default; and
//! beside a purge of all that is left, without a pause.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Load};
use crate::databases::{Database, Databases};
use crate::server::Server;
use crate::web::SESSIONS;
use crate::work::{CHANGE, READ, Work};

const CONNECTIONS: usize = 16;
/// Seconds of reads, and as many of changes.
const SECONDS: usize = 5;
const LIVE: usize = 100_000;
const EXPIRED: usize = 1_000_000;

pub(crate) fn purge(databases: &[Database]) {
    for database in databases {
        let subject = match database {
            Database::Memory => continue,
            Database::Sqlite => "sessile-sqlite-full",
            Database::Postgres => "sessile-postgres",
            Database::MariaDb => "sessile-mariadb",
            Database::Redis => "sessile-redis",
        };
        beside(subject, &Databases::start(&[*database]));
    }
}

fn beside(subject: &str, databases: &Databases) {
    let server = Server::start(subject, databases);
    let mut client = Client::new(&server, SESSIONS);
    let begun = Instant::now();
    let filled = Command::new(std::env::current_exe().unwrap())
        .args(["fill", subject, &(LIVE - SESSIONS).to_string(), &EXPIRED.to_string()])
        .envs(databases.variables())
        .current_dir(server.folder())
        .status()
        .unwrap();
    assert!(filled.success(), "{subject} could not be filled");
    eprintln!("{subject}: filled in {:.0} s", begun.elapsed().as_secs_f64());
    databases.settle();
    // What the fill left behind: pages not yet written, a log not yet taken over.
    thread::sleep(Duration::from_secs(5));

    let mut slices = |phase: &str, goes_on: &dyn Fn(usize) -> bool| {
        let mut loads: [(Work, Vec<Load>); 2] = [(READ, Vec::new()), (CHANGE, Vec::new())];
        for second in 0.. {
            if !goes_on(second) {
                break;
            }
            let (work, loads) = &mut loads[second % 2];
            let load = client.load(&server, work, CONNECTIONS, Duration::from_secs(1));
            // One that the purge left before its end says nothing.
            if goes_on(second) {
                loads.push(load);
            }
        }
        for (work, loads) in loads {
            print(subject, work, phase, loads);
        }
    };
    slices("before", &|second| second < 2 * SECONDS);

    let other = Client::new(&server, 0);
    other.ask(&server, "POST", "/purge/begin");
    slices("background", &|second| second < 2 * SECONDS);
    other.ask(&server, "POST", "/purge/end");

    thread::scope(|scope| {
        let begun = Instant::now();
        let server = &server;
        let purging = scope.spawn(move || Client::new(server, 0).ask(server, "POST", "/purge"));
        slices("at once", &|second| second < 6 * SECONDS && !purging.is_finished());
        let removed: usize = purging.join().unwrap().parse().unwrap();
        println!(
            "purged\t{subject}\t{}\t{EXPIRED}\t{removed}\t{:.1}",
            LIVE + EXPIRED,
            begun.elapsed().as_secs_f64()
        );
    });
}

fn print(subject: &str, work: Work, phase: &str, loads: Vec<Load>) {
    let Some(mut all) = loads.into_iter().reduce(|mut all, load| {
        all.requests += load.requests;
        all.failed += load.failed;
        all.time += load.time;
        all.latencies.extend(load.latencies);
        all
    }) else {
        return;
    };
    all.latencies.sort_unstable();
    println!(
        "purge\t{subject}\t{}\t{phase}\t{:.0}\t{:.1}\t{:.1}\t{:.1}\t{}",
        work.name,
        all.per_second(),
        all.micros_at(0.5),
        all.micros_at(0.99),
        all.micros_at(1.0),
        all.failed
    );
}
