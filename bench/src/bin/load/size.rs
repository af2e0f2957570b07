//! What the number of rows does to a read, a user's list and a purge, and to the bare statement by which one would
//! look a row up without a library. (R16)

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, future::join_all};
use mysql_async::prelude::Queryable as _;
use parking_lot::Mutex;
use sessile::Sessions;
use sessile::record::{
    Clock as _, Columns, SessionId, SessionRecord, StoredData, SystemClock, Timestamp, UserId,
};
use sessile::store::{MySqlStore, Outcome, PostgresStore, RedisStore, SessionStore, SqliteStore, Write};
use sessile_bench::databases::{Database, Databases};
use sessile_bench::processes::Used;
use tokio::runtime::Builder;
use tokio_postgres::NoTls;

/// What the large table is compared with.
const SMALL: usize = 10_000;
/// How many sessions a user has.
const EACH: usize = 10;
const TASKS: usize = 16;
/// One row in so many has expired, beyond a thousand of them.
const EXPIRED_SHARE: usize = 100;
/// Rows that go to a server in one statement.
const BATCH: usize = 1_000;

/// What is compared with a read of ours.
const STATEMENT: &str = "bare statement";

const COLUMNS: &str = "id, user_id, data, created_at, expires_at, updated_at";

/// What is compared.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Rows of the large table, more than 10,000
    #[arg(long, default_value_t = 10_000_000)]
    rows: usize,
    /// How long each operation is measured
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Only on these
    #[arg(default_values_t = Database::ALL)]
    databases: Vec<Database>,
}

pub(crate) fn size(plan: &Plan) {
    assert!(plan.rows > SMALL, "the large table has more than {SMALL} rows");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for rows in [SMALL, plan.rows] {
        let table = Table { rows, time: Duration::from_secs_f64(plan.seconds) };
        for database in &plan.databases {
            let servers = Databases::start(&[*database]);
            match database {
                Database::Memory => {}
                Database::Sqlite => {
                    let folder = tempfile::tempdir().unwrap();
                    runtime.block_on(table.sqlite(&folder.path().join("sessile.db")));
                }
                Database::Postgres => runtime.block_on(table.postgres(&servers)),
                Database::MariaDb => runtime.block_on(table.mariadb(&servers)),
                Database::Redis => runtime.block_on(table.redis(&servers)),
            }
        }
    }
}

/// A table to be filled, in the order of its keys, which is fastest.
#[derive(Clone, Copy)]
struct Table {
    rows: usize,
    /// For how long each operation is repeated.
    time: Duration,
}

/// One row, before it has the form that a database takes.
struct Row {
    id: SessionId,
    user: usize,
    /// Without a character that COPY or a quoted text would mind.
    data: String,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl Row {
    /// Its columns as texts: when it was changed is when it was made.
    fn texts(&self) -> [String; 5] {
        let time = |time: Timestamp| time.to_sql_text().as_str().to_owned();
        let [created_at, expires_at] = [self.created_at, self.expires_at].map(time);
        [self.id.to_string(), self.user.to_string(), self.data.clone(), created_at, expires_at]
    }

    fn record(self) -> SessionRecord {
        SessionRecord::from_columns(Columns {
            id: self.id,
            user_id: Some(UserId::new(self.user).unwrap()),
            data: StoredData::Text(self.data.into()),
            created_at: Some(self.created_at),
            expires_at: self.expires_at,
            updated_at: Some(self.created_at),
        })
    }
}

impl Table {
    async fn sqlite(self, path: &Path) {
        let store = SqliteStore::open(path).await.unwrap();
        let mut connection = rusqlite::Connection::open(path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF").unwrap();
        connection.execute_batch(table_only(&store.schema())).unwrap();
        let begun = Instant::now();
        let transaction = connection.transaction().unwrap();
        let insert = format!("INSERT INTO sessions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?4)");
        let mut statement = transaction.prepare(&insert).unwrap();
        for i in 0..self.rows {
            let [id, user, data, created_at, expires_at] = self.row(i).texts();
            statement.execute((id, user, data, created_at, expires_at)).unwrap();
        }
        drop(statement);
        transaction.commit().unwrap();
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        store.init().await.unwrap();
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        // Or the first one to sync the file, a purge, waits for gigabytes.
        std::fs::File::open(path).unwrap().sync_all().unwrap();
        self.print_filled("sqlite", begun);
        // One for each thread of the runtime, so that nobody waits for another.
        let other = rusqlite::Connection::open(path).unwrap();
        let connections = Arc::new([connection, other].map(Mutex::new));
        let look_up = move |i: usize| {
            let connections = Arc::clone(&connections);
            async move {
                let free = connections.iter().find_map(Mutex::try_lock);
                let connection = free.unwrap_or_else(|| connections[0].lock());
                let mut statement = connection.prepare_cached(&look_up("?1")).unwrap();
                let found = statement.query_row([self.id(i).to_string()], |row| row.get::<_, String>(1));
                assert!(!found.unwrap().is_empty());
            }
        };
        self.print("sqlite", STATEMENT, self.warm(&look_up, &[]).await);
        self.measure("sqlite", Sessions::new(store), &[]).await;
    }

    async fn postgres(self, databases: &Databases) {
        let server = databases.postgres.as_ref().unwrap();
        let store = PostgresStore::connect(&server.url()).await.unwrap();
        server.query(table_only(&store.schema())).unwrap();
        let begun = Instant::now();
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let copy = client.copy_in(&format!("COPY sessions ({COLUMNS}) FROM STDIN")).await.unwrap();
        let mut copy = Box::pin(copy);
        for batch in self.batches() {
            let lines = batch.map(|i| {
                let [id, user, data, created_at, expires_at] = self.row(i).texts();
                format!("{id}\t{user}\t{data}\t{created_at}\t{expires_at}\t{created_at}\n")
            });
            copy.send(bytes_of(lines.collect())).await.unwrap();
        }
        copy.as_mut().finish().await.unwrap();
        store.init().await.unwrap();
        databases.settle();
        self.print_filled("postgres", begun);
        let statement = client.prepare(&look_up("$1")).await.unwrap();
        let client = Arc::new(client);
        let look_up = move |i: usize| {
            let (client, statement) = (Arc::clone(&client), statement.clone());
            async move {
                let row = client.query_one(&statement, &[&self.id(i).to_string()]).await.unwrap();
                assert!(!row.get::<_, &str>(1).is_empty());
            }
        };
        self.print("postgres", STATEMENT, self.warm(&look_up, server.pid().as_slice()).await);
        self.measure("postgres", Sessions::new(store), server.pid().as_slice()).await;
    }

    async fn mariadb(self, databases: &Databases) {
        let server = databases.mariadb.as_ref().unwrap();
        let store = MySqlStore::connect(&server.url()).await.unwrap();
        store.init().await.unwrap();
        let begun = Instant::now();
        let pool = mysql_async::Pool::new(server.url().as_str());
        let mut connection = pool.get_conn().await.unwrap();
        for batch in self.batches() {
            let rows: Vec<String> = batch
                .map(|i| {
                    let [id, user, data, created_at, expires_at] = self.row(i).texts();
                    format!("('{id}', '{user}', '{data}', '{created_at}', '{expires_at}', '{created_at}')")
                })
                .collect();
            let insert = format!("INSERT INTO sessions ({COLUMNS}) VALUES {}", rows.join(", "));
            connection.query_drop(insert).await.unwrap();
        }
        connection.query_drop("ANALYZE TABLE sessions").await.unwrap();
        drop(connection);
        self.print_filled("mariadb", begun);
        let pooled = pool.clone();
        let look_up = move |i: usize| {
            let pool = pooled.clone();
            async move {
                let mut connection = pool.get_conn().await.unwrap();
                let row: Option<mysql_async::Row> =
                    connection.exec_first(look_up("?"), (self.id(i).to_string(),)).await.unwrap();
                assert!(row.unwrap().get::<String, _>("data").is_some_and(|data| !data.is_empty()));
            }
        };
        self.print("mariadb", STATEMENT, self.warm(&look_up, server.pid().as_slice()).await);
        pool.disconnect().await.unwrap();
        self.measure("mariadb", Sessions::new(store), server.pid().as_slice()).await;
    }

    /// Through the store, whose scripts keep the indexes.
    async fn redis(self, databases: &Databases) {
        let server = databases.redis.as_ref().unwrap();
        let store = RedisStore::connect(&server.url()).await.unwrap();
        store.init().await.unwrap();
        let begun = Instant::now();
        for batch in self.batches() {
            let writes = batch.map(|i| Write::Insert(self.row(i).record())).collect();
            for outcome in store.apply_many(writes).await {
                assert_eq!(outcome.unwrap(), Outcome::Applied);
            }
        }
        self.print_filled("redis", begun);
        self.measure("redis", Sessions::new(store), server.pid().as_slice()).await;
    }

    /// The numbers of the rows, as many at once as a statement takes.
    fn batches(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.rows).step_by(BATCH).map(move |from| from..self.rows.min(from + BATCH))
    }

    fn print_filled(self, store: &str, begun: Instant) {
        eprintln!("{store}: {} rows in {:.0} s", self.rows, begun.elapsed().as_secs_f64());
    }

    fn row(self, i: usize) -> Row {
        let now = SystemClock.now();
        let [hour, day] = [3_600, 86_400].map(Duration::from_secs);
        let expired = i.is_multiple_of(self.expired_each());
        // Redis itself removes a row a day after it has expired.
        let expires_at = if expired { now.saturating_sub(hour) } else { now.saturating_add(day) };
        let padding = "0123456789abcdef".repeat(9);
        Row {
            id: self.id(i),
            user: self.user(i),
            data: format!(r#"{{"user": "user-{i:08}", "n": 0, "theme": "{padding}"}}"#),
            // One that is older than the policy lets a session become is live to nobody.
            created_at: expires_at.saturating_sub(day),
            expires_at,
        }
    }

    fn expired_each(self) -> usize {
        EXPIRED_SHARE.min(self.rows / 1_000)
    }

    /// Even over all keys, and growing.
    fn id(self, i: usize) -> SessionId {
        let step = u128::MAX / self.rows as u128;
        SessionId::from_bytes((step * i as u128 + 0x9e37).to_be_bytes())
    }

    /// One user's rows are far apart, as those of real ones are.
    fn user(self, i: usize) -> usize {
        i % (self.rows / EACH)
    }

    async fn measure(self, store: &str, sessions: Sessions, database: &[u32]) {
        let reading = sessions.clone();
        let read = move |i: usize| {
            let (sessions, id) = (reading.clone(), self.id(i));
            async move { assert!(sessions.get(id).await.unwrap().is_some()) }
        };
        let listing = sessions.clone();
        let list = move |i: usize| {
            let (sessions, user) = (listing.clone(), UserId::new(self.user(i)).unwrap());
            async move { assert!(!sessions.sessions_of(&user).await.unwrap().is_empty()) }
        };
        self.print(store, "read", self.warm(&read, database).await);
        self.print(store, "list of a user", self.warm(&list, database).await);
        let before = [Used::by(&[std::process::id()]), Used::by(database)];
        let removed = sessions.purge(|_| {}).await.unwrap().removed;
        self.print(store, "purge, per row", per(removed as usize, &before, database));
    }

    fn print(self, store: &str, operation: &str, [ours, database]: [f64; 2]) {
        println!("size\t{store}\t{}\t{operation}\t{ours:.3}\t{database:.3}", self.rows);
    }

    /// As [`under_load`](Self::under_load), once before for what is read the first time.
    async fn warm<F, R>(self, call: &F, database: &[u32]) -> [f64; 2]
    where
        F: Fn(usize) -> R + Clone + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        self.under_load(call, database).await;
        self.under_load(call, database).await
    }

    /// Processor time for each call, ours and the database's, with random rows.
    async fn under_load<F, R>(self, call: &F, database: &[u32]) -> [f64; 2]
    where
        F: Fn(usize) -> R + Clone + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        let calls = Arc::new(AtomicUsize::new(0));
        let before = [Used::by(&[std::process::id()]), Used::by(database)];
        let begun = Instant::now();
        let tasks = (0..TASKS).map(|_| {
            let (call, calls) = (call.clone(), Arc::clone(&calls));
            tokio::spawn(async move {
                while begun.elapsed() < self.time {
                    let i = fastrand::usize(..self.rows);
                    // Those of which every session may have expired are left out.
                    if !i.is_multiple_of(self.expired_each()) {
                        call(i).await;
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        for task in join_all(tasks).await {
            task.unwrap();
        }
        per(calls.load(Ordering::Relaxed), &before, database)
    }
}

fn per(calls: usize, before: &[Used; 2], database: &[u32]) -> [f64; 2] {
    let [all, theirs] =
        [(&[std::process::id()][..], 0), (database, 1)].map(|(of, at)| Used::by(of).since(&before[at]));
    // The servers are children of this process.
    [all.saturating_sub(theirs), theirs].map(|time| time.as_secs_f64() * 1e6 / calls.max(1) as f64)
}

/// The statement that finds one row.
fn look_up(id: &str) -> String {
    format!("SELECT user_id, data, created_at, expires_at, updated_at FROM sessions WHERE id = {id}")
}

/// The schema's first statement; the indexes come after the rows.
fn table_only(schema: &str) -> &str {
    schema.split_inclusive(';').next().unwrap()
}

fn bytes_of(text: String) -> bytes::Bytes {
    text.into()
}
