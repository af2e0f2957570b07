//! [R10] A purge: what it asks of the server at once, and that it finds everything.

use std::time::Duration;

use redis::Commands;
use sessile::record::{Columns, SessionId, SessionRecord, StoredData, Timestamp};
use sessile::store::{PurgeLimits, RedisStore, SessionStore, Write};
use sessile_test_servers::Redis;

use crate::redis_server::{Kind, Prefix, connection, server};
use crate::support::{everything, listed, time, user};

const NOON: &str = "2090-01-01 12:00:00.000000";
const AFTER: &str = "2090-01-01 13:00:00.000000";

/// How many of the rows below are in which bucket.
const UNEVEN: [(u8, u16); 6] = [(0, 3), (1, 1), (31, 40), (32, 1), (0x7f, 90), (255, 2)];

/// Rows that go at once.
const ROWS: u64 = 16;

fn in_bucket(bucket: u8, number: u16) -> SessionId {
    let mut bytes = [bucket; 16];
    bytes[14..].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

fn row(bucket: u8, number: u16, expires_at: Timestamp) -> Write {
    Write::Insert(SessionRecord::from_columns(Columns {
        id: in_bucket(bucket, number),
        user_id: Some(user("ada")),
        data: StoredData::Text("{}".into()),
        created_at: None,
        expires_at,
        updated_at: None,
    }))
}

async fn put(store: &RedisStore, rows: &[(u8, u16)], expires_at: Timestamp) {
    let of_bucket = |&(bucket, rows): &(u8, u16)| (0..rows).map(move |at| row(bucket, at, expires_at));
    for outcome in store.apply_many(rows.iter().flat_map(of_bucket).collect()).await {
        outcome.unwrap();
    }
}

fn all_of(rows: &[(u8, u16)]) -> Vec<SessionId> {
    rows.iter().flat_map(|&(bucket, rows)| (0..rows).map(move |at| in_bucket(bucket, at))).collect()
}

/// Batch after batch until there is no more; what each has removed.
async fn purge_all(store: &RedisStore, now: &str, limits: PurgeLimits) -> Vec<Vec<SessionId>> {
    let mut batches = Vec::new();
    for _ in 0..10_000 {
        let batch = store.purge(time(now), limits).await.unwrap();
        assert!(batch.removed.len() <= limits.max_rows);
        batches.push(batch.ids().collect());
        if !batch.more {
            return batches;
        }
    }
    panic!("the purge has no end");
}

/// What a server has counted.
struct Counted {
    /// How often it has read what a client has sent, be that one command or many.
    reads: u64,
    /// Buckets asked how many of their rows have expired.
    counts: u64,
    scripts: u64,
    /// Rows that scripts have looked at.
    rows: u64,
}

impl Counted {
    /// Since the last time.
    fn take(server: &Redis) -> Counted {
        let told = server.command(&["INFO", "all"]).unwrap();
        server.command(&["CONFIG", "RESETSTAT"]).unwrap();
        let number = |line: &str, at: &str| {
            let line = told.lines().find_map(|told| told.strip_prefix(line));
            line.map_or(0, |line| {
                line.split([':', '=', ',']).skip_while(|word| *word != at).nth(1).unwrap().parse().unwrap()
            })
        };
        let calls = |name: &str| number(&format!("cmdstat_{name}:"), "calls");
        Counted {
            reads: number("total_reads_processed", ""),
            counts: calls("zcount"),
            scripts: calls("evalsha"),
            rows: calls("hmget"),
        }
    }
}

/// The server answers nobody else before it has done what it has read: few rows, or few questions.
#[tokio::test]
async fn others_wait_for_few_rows_at_a_time() {
    let server = Redis::start().unwrap();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let everywhere: Vec<(u8, u16)> = (0..=255).map(|bucket| (bucket, 1)).collect();
    for rows in [&[(7, 1)][..], &[(7, 1_000)], &everywhere, &[(3, 500), (4, 30), (200, 470)]] {
        put(&store, rows, time(NOON)).await;
        Counted::take(&server);
        let limits = PurgeLimits { max_time: Duration::from_secs(60), ..PurgeLimits::default() };
        let batches = purge_all(&store, AFTER, limits).await;
        let counted = Counted::take(&server);
        let all = all_of(rows).len() as u64;
        assert_eq!((batches.len(), batches[0].len() as u64), (1, all));
        assert_eq!((counted.rows, counted.counts), (all, 256));
        let least = all.div_ceil(ROWS) + 256_u64.div_ceil(32);
        assert!(counted.reads >= least, "{} messages, not {least}, with {all} rows", counted.reads);
        let most = rows.len() as u64 + all / ROWS;
        // The first time of a script is another command.
        assert!(
            all == 1 || counted.scripts <= most,
            "{} scripts, not {most}, for {all} rows",
            counted.scripts
        );
    }
}

/// Where the batch before stopped, the next one goes on.
#[tokio::test]
async fn a_purge_in_tiny_batches_finds_everything() {
    let tiny = [1, 2, 7].map(|max_rows| PurgeLimits { max_rows, ..PurgeLimits::default() });
    let hasty = PurgeLimits { max_time: Duration::ZERO, ..PurgeLimits::default() };
    for kind in [Kind::Single, Kind::Cluster] {
        let prefix = Prefix::new(kind);
        let store = RedisStore::connect(&prefix.url()).await.unwrap();
        for limits in tiny.into_iter().chain([hasty]) {
            put(&store, &UNEVEN, time(NOON)).await;
            put(&store, &[(5, 3)], time("2090-01-01 14:00:00")).await;
            let mut removed = purge_all(&store, AFTER, limits).await.concat();
            removed.sort();
            assert_eq!(removed, all_of(&UNEVEN), "{kind:?} {limits:?}");
            assert_eq!(listed(&store, None).await, all_of(&[(5, 3)]));
        }
    }
}

/// Buckets without expired rows are not asked again for each batch.
#[tokio::test]
async fn a_purge_in_tiny_batches_asks_for_little() {
    let server = Redis::start().unwrap();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    put(&store, &UNEVEN, time(NOON)).await;
    Counted::take(&server);
    let limits = PurgeLimits { max_rows: 1, ..PurgeLimits::default() };
    let batches = purge_all(&store, AFTER, limits).await.len() as u64;
    let all = all_of(&UNEVEN).len() as u64;
    assert_eq!(batches, all);
    let counted = Counted::take(&server);
    assert!(counted.counts <= 32 * batches + 2 * 256, "{} counts for {batches} batches", counted.counts);
}

/// Two at once remove each row once, and neither says that it has ended before the rows have.
#[tokio::test]
async fn purges_that_meet_share_the_rows() {
    let prefix = Prefix::new(Kind::Single);
    let one = RedisStore::connect(&prefix.url()).await.unwrap();
    let two = RedisStore::connect(&prefix.url()).await.unwrap();
    put(&one, &UNEVEN, time(NOON)).await;
    let limits = PurgeLimits { max_rows: 3, ..PurgeLimits::default() };
    let (of_one, of_clone, of_two) = tokio::join!(
        purge_all(&one, AFTER, limits),
        purge_all(&one, "2090-01-01 13:00:01", limits),
        purge_all(&two, AFTER, limits)
    );
    let mut removed = [of_one, of_clone, of_two].concat().concat();
    removed.sort();
    assert_eq!(removed, all_of(&UNEVEN));
}

/// [R08] What others wrote there neither goes nor keeps a purge from its end, nor from the rows behind it.
#[tokio::test]
async fn what_cannot_be_removed_is_passed_by() {
    for max_rows in [1, 2, 1_000] {
        let prefix = Prefix::new(Kind::Single);
        let store = RedisStore::connect(&prefix.url()).await.unwrap();
        let mut other: redis::Connection = connection(&server(Kind::Single));
        let key = |number| format!("{}{{09}}:{}", prefix.name, in_bucket(9, number));
        put(&store, &[(9, 8)], time(NOON)).await;
        let () = other.hset(key(0), "expires_at", "2090-01-05 00:00:00.000000").unwrap();
        let () = other.hset(key(1), "expires_at", "soon").unwrap();
        let () = other.hset(key(2), "expires_at", "").unwrap();
        let () = other.hdel(key(3), "expires_at").unwrap();
        let () = other.del(&[key(4), key(5)]).unwrap();
        let () = other.set(key(5), "text").unwrap();
        let limits = PurgeLimits { max_rows, ..PurgeLimits::default() };

        let mut removed = purge_all(&store, AFTER, limits).await.concat();
        removed.sort();
        assert_eq!(removed, [2, 6, 7].map(|number| in_bucket(9, number)));
        let page = store.list(&everything(100)).await.unwrap();
        assert_eq!((page.records.len(), page.malformed.len()), (1, 2));
        // Not again and again.
        assert_eq!(purge_all(&store, AFTER, limits).await, [vec![]]);
        assert_eq!(purge_all(&store, "2090-01-06", limits).await.concat(), [in_bucket(9, 0)]);
    }
}
