//! What rows that another program has locked do to the requests for other rows. (R18)
//!
//! In this process, without HTTP: sixteen clients change sixteen sessions, as fast as they can. Beside them another
//! connection is in a transaction and holds 0, 1, 4 or 60 other sessions locked, as a Python view does while it runs,
//! and requests for those come in: ten a second for each, at most [`MOST_PER_SECOND`] in all. The cells of a round are
//! in this order or the opposite one, and each is compared with the one of its round in which the transaction is open
//! and holds nothing: an open transaction alone costs something, because the server keeps old versions of all rows
//! for it. What it costs is told by one more cell, without a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use sessile::engine::{Changes, NewSession};
use sessile::store::{MySqlStore, PostgresStore, SessionStore};
use sessile::{SessionId, Sessions, UserId};
use sessile_bench::databases::{Database, Databases};
use sessile_bench::latencies::micros_at;
use tokio::runtime::Builder;
use tokio::time::{interval, sleep};

const CLIENTS: usize = 16;
/// `None`: no transaction is open.
const LOCKED: [Option<usize>; 5] = [None, Some(0), Some(1), Some(4), Some(MOST_LOCKED)];
const MOST_LOCKED: usize = 60;
const MOST_PER_SECOND: u32 = 120;

/// How often, and where.
#[derive(clap::Args)]
pub(crate) struct Plan {
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of each cell
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only on these
    #[arg(default_values_t = [Database::Postgres, Database::MariaDb])]
    databases: Vec<Database>,
}

pub(crate) fn locks(plan: &Plan) {
    for &database in &plan.databases {
        let databases = Databases::start(&[database]);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let Some(stage) = Stage::new(database, &databases).await else { return };
            for round in 1..=plan.rounds {
                let mut cells = LOCKED;
                if round % 2 == 0 {
                    cells.reverse();
                }
                for locked in cells {
                    stage.cell(round, locked, Duration::from_secs_f64(plan.seconds)).await;
                }
            }
        });
    }
}

struct Stage {
    database: Database,
    url: String,
    sessions: Sessions,
    bystanders: Vec<SessionId>,
    others: Vec<SessionId>,
}

impl Stage {
    /// `None` where rows cannot be locked by others.
    async fn new(database: Database, databases: &Databases) -> Option<Stage> {
        let (url, sessions) = match database {
            Database::Postgres => {
                let url = databases.url("postgres")?;
                let store = PostgresStore::connect(&url).await.unwrap();
                store.init().await.unwrap();
                (url, Sessions::new(store))
            }
            Database::MariaDb => {
                let url = databases.url("mariadb")?;
                let store = MySqlStore::connect(&url).await.unwrap();
                store.init().await.unwrap();
                (url, Sessions::new(store))
            }
            Database::Memory | Database::Sqlite | Database::Redis => return None,
        };
        let mut ids = Vec::new();
        for number in 0..CLIENTS + MOST_LOCKED {
            let user = Some(UserId::new(format!("user{number}")).unwrap());
            let new = NewSession { user, authenticated: true, ..NewSession::default() };
            ids.push(sessions.create(new).await.unwrap().1.id());
        }
        let others = ids.split_off(CLIENTS);
        Some(Stage { database, url, sessions, bystanders: ids, others })
    }

    async fn cell(&self, round: usize, locked: Option<usize>, time: Duration) {
        let rows = &self.others[..locked.unwrap_or(0)];
        let locker = match locked {
            Some(_) => Some(Locker::lock(self.database, &self.url, rows).await),
            None => None,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let requests = tokio::spawn(request(self.sessions.clone(), rows.to_vec(), Arc::clone(&stop)));
        // The first of them have met the locks.
        sleep(Duration::from_millis(300)).await;
        let until = Instant::now() + time;
        let clients: Vec<_> = self
            .bystanders
            .iter()
            .map(|&id| tokio::spawn(client(self.sessions.clone(), id, until)))
            .collect();
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.await.unwrap());
        }
        stop.store(true, Ordering::SeqCst);
        if let Some(locker) = locker {
            locker.unlock().await;
        }
        let asked = requests.await.unwrap();
        // Whatever still waits is made.
        sleep(Duration::from_millis(500)).await;
        latencies.sort_unstable();
        println!(
            "locks\t{round}\t{}\t{}\t{:.0}\t{:.1}\t{:.1}\t{:.1}\t{asked}",
            self.database,
            locked.map_or_else(|| "none".to_owned(), |rows| rows.to_string()),
            latencies.len() as f64 / time.as_secs_f64(),
            micros_at(&latencies, 0.5),
            micros_at(&latencies, 0.99),
            micros_at(&latencies, 1.0),
        );
    }
}

/// Changes one session until then; how long each change took.
async fn client(sessions: Sessions, id: SessionId, until: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        change(&sessions, id, latencies.len()).await;
        latencies.push(begun.elapsed());
    }
    latencies
}

async fn change(sessions: &Sessions, id: SessionId, number: usize) {
    let mut changes = Changes::new();
    changes.set_raw("n", &number.to_string()).unwrap();
    assert!(sessions.change(id, &changes).await.unwrap().is_some());
}

/// Requests for these sessions, each in a task of its own, until it is stopped; how many.
async fn request(sessions: Sessions, ids: Vec<SessionId>, stop: Arc<AtomicBool>) -> usize {
    let Ok(rows @ 1..) = u32::try_from(ids.len()) else { return 0 };
    let mut pace = interval(Duration::from_secs(1) / (10 * rows).min(MOST_PER_SECOND));
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        pace.tick().await;
        let (sessions, id) = (sessions.clone(), ids[number % ids.len()]);
        number += 1;
        tokio::spawn(async move {
            let mut changes = Changes::new();
            // It may be answered with an error, after the time that a write waits for a lock.
            if changes.set_raw("n", &number.to_string()).is_ok() {
                let _ = sessions.change(id, &changes).await;
            }
        });
    }
    number
}

/// Another program, in a transaction that has locked some rows.
enum Locker {
    Postgres(tokio_postgres::Client),
    MariaDb(mysql_async::Conn),
}

impl Locker {
    async fn lock(database: Database, url: &str, rows: &[SessionId]) -> Locker {
        if database == Database::Postgres {
            let (client, wire) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(wire);
            // The transaction has a number before it changes anything.
            client.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
            for id in rows {
                let change = format!("UPDATE sessions SET updated_at = updated_at WHERE id = '{id}'");
                client.batch_execute(&change).await.unwrap();
            }
            return Locker::Postgres(client);
        }
        let mut conn = mysql_async::Conn::new(mysql_async::Opts::from_url(url).unwrap()).await.unwrap();
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
        conn.query_drop("START TRANSACTION").await.unwrap();
        for id in rows {
            // By its key, so that no other row is locked on the way.
            conn.query_drop(format!("SELECT id FROM sessions WHERE id = '{id}' FOR UPDATE")).await.unwrap();
        }
        Locker::MariaDb(conn)
    }

    async fn unlock(self) {
        match self {
            Locker::Postgres(client) => client.batch_execute("COMMIT").await.unwrap(),
            Locker::MariaDb(mut conn) => conn.query_drop("COMMIT").await.unwrap(),
        }
    }
}
