//! What a request costs, cell by cell: a subject and a route, each just after bare axum under the same load.

use std::collections::BTreeMap;
use std::time::Duration;

use sessile_bench::Measured;
use sessile_bench::databases::{Database, Databases};

use crate::client::{Client, Load};
use crate::server::Server;
use crate::work::{ANONYMOUS, CHANGE, CREATE, LOGIN, LOGOUT, NAMED, READ, UNTOUCHED, Work};

/// Sessions that are asked for in turn.
pub(crate) const SESSIONS: usize = 10_000;

/// The cells of one subject: the works of a group are measured one after the other.
type Cells = (&'static str, &'static [&'static [Work]]);

const LIFE: &[Work] = &[CREATE, LOGIN, LOGOUT];
/// What never asks for the session, or does not find one.
const IDLE: &[&[Work]] = &[&[UNTOUCHED], &[NAMED], &[ANONYMOUS]];
const STORED: &[&[Work]] = &[&[READ], &[CHANGE], LIFE];
const ALL: &[&[Work]] = &[&[NAMED], &[ANONYMOUS], &[READ], &[CHANGE], LIFE];
const ALL_AND_UNTOUCHED: &[&[Work]] = &[&[UNTOUCHED], &[NAMED], &[ANONYMOUS], &[READ], &[CHANGE], LIFE];

const WEB: &[Cells] = &[
    ("bare-layer", IDLE),
    ("sessile-memory", STORED),
    ("hand-sqlite-normal", STORED),
    ("hand-sqlite-full", STORED),
    ("hand-sqlite-grouped", STORED),
    ("sessile-sqlite-normal", STORED),
    ("sessile-sqlite-full", ALL_AND_UNTOUCHED),
    ("tower-sessions-sqlite", ALL),
    ("hand-postgres", STORED),
    ("hand-postgres-grouped", STORED),
    ("sessile-postgres", ALL),
    ("sessile-postgres-cached", ALL),
    ("tower-sessions-postgres", ALL),
    ("tower-sessions-moka-postgres", ALL),
    ("axum-session-postgres", ALL),
    ("hand-mariadb", STORED),
    ("sessile-mariadb", ALL),
    ("tower-sessions-mariadb", ALL),
    ("hand-redis", STORED),
    ("sessile-redis", ALL),
    ("tower-sessions-redis", ALL),
    ("axum-session-redis", ALL),
    ("actix-session-redis", ALL),
];

const LONE: &[Cells] = &[
    ("hand-sqlite-full", &[&[READ], &[CHANGE]]),
    ("sessile-sqlite-full", &[&[READ], &[CHANGE]]),
    ("tower-sessions-sqlite", &[&[READ], &[CHANGE]]),
    ("hand-postgres", &[&[READ], &[CHANGE]]),
    ("sessile-postgres", &[&[READ], &[CHANGE]]),
    ("sessile-postgres-cached", &[&[READ], &[CHANGE]]),
    ("tower-sessions-postgres", &[&[READ], &[CHANGE]]),
    ("hand-mariadb", &[&[READ], &[CHANGE]]),
    ("sessile-mariadb", &[&[READ], &[CHANGE]]),
    ("tower-sessions-mariadb", &[&[READ], &[CHANGE]]),
    ("hand-redis", &[&[READ], &[CHANGE]]),
    ("sessile-redis", &[&[READ], &[CHANGE]]),
    ("tower-sessions-redis", &[&[READ], &[CHANGE]]),
];

/// How the cells are measured.
#[derive(clap::Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    measured: Measured,
    /// Only subjects whose name holds this
    #[arg(long, default_value = "")]
    only: String,
    /// Only subjects on these
    #[arg(default_values_t = Database::ALL)]
    databases: Vec<Database>,
}

/// 64 clients at once.
pub(crate) fn web(plan: &Plan) {
    measure("web", WEB, 64, plan);
}

/// One client, whose request waits for nobody else.
pub(crate) fn lone(plan: &Plan) {
    measure("lone", LONE, 1, plan);
}

fn measure(part: &str, cells: &[Cells], connections: usize, plan: &Plan) {
    let wanted =
        |cells: &&Cells| plan.databases.contains(&Database::of(cells.0)) && cells.0.contains(&plan.only);
    let cells: Vec<&Cells> = cells.iter().filter(wanted).collect();
    let databases = Databases::start(&plan.databases);
    let time = plan.measured.time();
    let mut ready: BTreeMap<&str, (Server, Client)> = BTreeMap::new();
    for (subject, _) in cells.iter().copied().chain([&("bare", IDLE)]) {
        let server = Server::start(subject, &databases);
        let client = Client::new(&server, SESSIONS);
        ready.insert(subject, (server, client));
        eprintln!("{subject} is ready");
    }
    let mut groups: Vec<(&str, &[Work])> =
        cells.iter().flat_map(|(subject, groups)| groups.iter().map(|works| (*subject, *works))).collect();
    for round in 1..=plan.measured.rounds {
        databases.settle();
        fastrand::shuffle(&mut groups);
        for (subject, works) in &groups {
            for work in *works {
                if *work == READ {
                    let (server, client) = &ready[subject];
                    client.warm_up(server, work);
                }
                let bare = bare(&mut ready, work, connections, time);
                let (server, client) = ready.get_mut(subject).unwrap();
                let load = client.load(server, work, connections, time);
                print(&[part, &round.to_string(), subject, work.name], &load, &bare);
            }
        }
    }
}

/// Bare axum, with a cookie where there would be one.
fn bare(
    ready: &mut BTreeMap<&str, (Server, Client)>,
    work: &Work,
    connections: usize,
    time: Duration,
) -> Load {
    let (server, client) = ready.get_mut("bare").unwrap();
    let work = match *work {
        LOGIN | LOGOUT => Work { cookies: crate::work::Cookies::InTurn, ..*work },
        work => work,
    };
    client.load(server, &work, connections, time / 2)
}

/// What it is, then the numbers of the cell, then those of bare axum beside it.
fn print(of: &[&str], load: &Load, bare: &Load) {
    println!(
        "{}\t{:.1}\t{:.3}\t{:.3}\t{:.1}\t{:.1}\t{}\t{:.1}\t{:.3}\t{:.1}\t{:.1}",
        of.join("\t"),
        load.per_second(),
        load.server_micros(),
        load.database_micros(),
        load.micros_at(0.5),
        load.micros_at(0.99),
        load.failed,
        bare.per_second(),
        bare.server_micros(),
        bare.micros_at(0.5),
        bare.micros_at(0.99),
    );
}
