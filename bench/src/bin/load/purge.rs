//! What a purge does to the requests beside it. (R10)
//!
//! Reads and changes in turn, a second each: before; beside the background purge as it runs by default; and
//! beside a purge of all that is left, as it is called.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sessile_bench::databases::{Database, Databases};

use crate::client::{Client, Load};
use crate::server::Server;
use crate::web::SESSIONS;
use crate::work::{CHANGE, READ, Work};

const CONNECTIONS: usize = 16;
/// Slices of reads, and as many of changes.
const SLICES: usize = 5;
/// A purge at once that takes longer than this many slices is waited for, and no longer measured beside.
const MOST_SLICES: usize = 30;

/// What is purged, and beside what.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Sessions that stay
    #[arg(long, default_value_t = 100_000)]
    live: usize,
    /// Sessions that are purged
    #[arg(long, default_value_t = 1_000_000)]
    expired: usize,
    /// How long reads and changes take turns
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Only on these
    #[arg(default_values_t = Database::ALL)]
    databases: Vec<Database>,
}

pub(crate) fn purge(plan: &Plan) {
    for database in &plan.databases {
        let subject = match database {
            Database::Memory => continue,
            Database::Sqlite => "sessile-sqlite-full",
            Database::Postgres => "sessile-postgres",
            Database::MariaDb => "sessile-mariadb",
            Database::Redis => "sessile-redis",
        };
        plan.beside(subject, &Databases::start(&[*database]));
    }
}

impl Plan {
    fn beside(&self, subject: &str, databases: &Databases) {
        let server = Server::start(subject, databases);
        let mut client = Client::new(&server, SESSIONS.min(self.live));
        self.fill(subject, &server, databases);
        self.slices(subject, "before", &server, &mut client, &|slice| slice < 2 * SLICES);

        let other = Client::new(&server, 0);
        other.ask(&server, "POST", "/purge/begin");
        self.slices(subject, "background", &server, &mut client, &|slice| slice < 2 * SLICES);
        other.ask(&server, "POST", "/purge/end");

        thread::scope(|scope| {
            let begun = Instant::now();
            let server = &server;
            let purging = scope.spawn(move || {
                let removed = Client::new(server, 0).ask(server, "POST", "/purge");
                (removed, begun.elapsed())
            });
            let goes_on = |slice| slice < MOST_SLICES && !purging.is_finished();
            self.slices(subject, "at once", server, &mut client, &goes_on);
            let (removed, time) = purging.join().unwrap();
            println!(
                "purged\t{subject}\t{}\t{}\t{removed}\t{:.3}",
                self.live + self.expired,
                self.expired,
                time.as_secs_f64()
            );
        });
    }

    fn fill(&self, subject: &str, server: &Server, databases: &Databases) {
        let begun = Instant::now();
        let live = self.live.saturating_sub(SESSIONS);
        let filled = Command::new(std::env::current_exe().unwrap())
            .args(["fill", subject, &live.to_string(), &self.expired.to_string()])
            .envs(databases.variables())
            .current_dir(server.folder())
            .status()
            .unwrap();
        assert!(filled.success(), "{subject} could not be filled");
        eprintln!("{subject}: filled in {:.0} s", begun.elapsed().as_secs_f64());
        // What the fill left behind: pages not yet written, a log not yet taken over.
        databases.settle();
        if subject.starts_with("sessile-sqlite") {
            let file = rusqlite::Connection::open(server.folder().join("sessile.db")).unwrap();
            file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        }
        thread::sleep(Duration::from_secs(5));
    }

    /// Reads and changes in turn, for as long as it goes on.
    fn slices(
        &self,
        subject: &str,
        phase: &str,
        server: &Server,
        client: &mut Client,
        goes_on: &dyn Fn(usize) -> bool,
    ) {
        let time = Duration::from_secs_f64(self.seconds);
        let mut loads: [(Work, Vec<Load>); 2] = [(READ, Vec::new()), (CHANGE, Vec::new())];
        for slice in 0.. {
            if !goes_on(slice) {
                break;
            }
            let (work, loads) = &mut loads[slice % 2];
            let load = client.load(server, work, CONNECTIONS, time);
            // One that the purge left before its end says nothing.
            if goes_on(slice) {
                loads.push(load);
            }
        }
        for (work, loads) in loads {
            print(subject, work, phase, loads);
        }
    }
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
