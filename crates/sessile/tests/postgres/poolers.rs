//! PgBouncer in front of the server: noticed, refused with the way out, or worked with.

use std::sync::OnceLock;
use std::time::Duration;

use sessile::engine::{CacheError, CacheOptions, Changes, NewSession};
use sessile::record::SystemClock;
use sessile::store::{Outcome, PostgresStore, SessionStore, StoreError, Verdict, Write};
use sessile::{SessionId, Sessions, UserId};
use sessile_test_network::Proxy;
use sessile_test_servers::{PgBouncer, Postgres};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use crate::cache::telling;
use crate::coherence::{read, service, session, warm};
use crate::support::{id, insert, until};

/// A server that all tests here share.
fn shared() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start().unwrap())
}

fn pool(mode: &str, connections: u32) -> PgBouncer {
    PgBouncer::start(shared(), mode, connections).unwrap()
}

async fn connected(url: &str) -> Client {
    let (client, wire) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(wire);
    client
}

/// What is set for the session on as many connections of the pool as there may be.
async fn set_on_the_pool(pool: &PgBouncer, connections: u32) -> Vec<String> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        let client = connected(&pool.url()).await;
        // Held, so that the next one gets another.
        client.batch_execute("BEGIN").await.unwrap();
        clients.push(client);
    }
    let mut set = Vec::new();
    for client in clients {
        // The pooler itself sets the name for each program.
        let asked = "SELECT name || ' = ' || setting FROM pg_settings \
             WHERE source = 'session' AND name <> 'application_name' ORDER BY name";
        // The simple protocol: no statement of ours stays there either.
        let rows = client.simple_query(asked).await.unwrap();
        let rows = rows.iter().filter_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        set.extend(rows);
        let prepared = client.simple_query("SELECT name FROM pg_prepared_statements").await.unwrap();
        assert!(!prepared.iter().any(|it| matches!(it, tokio_postgres::SimpleQueryMessage::Row(_))));
        client.batch_execute("COMMIT").await.unwrap();
    }
    set
}

/// [R19] Whether it has one connection to the server or several, and before anything is set or prepared on them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_mode_is_refused_with_the_way_out() {
    for connections in [1, 3, 20] {
        let pool = pool("transaction", connections);
        let clean = set_on_the_pool(&pool, connections).await;
        for table in ["", "?table=t", "?schema=public"] {
            let error = PostgresStore::connect(&format!("{}{table}", pool.url())).await.unwrap_err();
            let StoreError::Unsupported { problem, remedy, .. } = &error else { panic!("{error}") };
            assert!(problem.contains("transaction mode"), "{error}");
            assert!(remedy.contains("?pooler=transaction"), "{error}");
            assert!(!error.is_transient());
        }
        assert_eq!(set_on_the_pool(&pool, connections).await, clean);
    }
}

/// [R19] It is noticed also while other programs take its connections in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_mode_is_noticed_on_a_busy_pool() {
    let pool = pool("transaction", 4);
    let mut others = JoinSet::new();
    for _ in 0..6 {
        let client = connected(&pool.url()).await;
        others.spawn(async move {
            loop {
                client.batch_execute("SELECT 1").await.unwrap();
            }
        });
    }
    for _ in 0..10 {
        let error = PostgresStore::connect(&pool.url()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unsupported { .. }), "{error}");
    }
    others.shutdown().await;
}

/// [R19] In session mode everything is as without a pooler, and the examination says that one is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_mode_needs_no_option() {
    let pool = pool("session", 20);
    let store = telling(&format!("{}?table=in_session_mode", pool.url())).await;
    assert_eq!(store.apply(insert(1)).await.unwrap(), Outcome::Applied);
    let findings = store.examine(&SystemClock).await.unwrap();
    let found = findings.iter().find(|it| it.subject == "pooler").unwrap();
    assert_eq!((found.verdict, &*found.seen), (Verdict::Good, "a pooler in session mode"));
    let here = service(store, Duration::from_secs(10)).await;
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;

    let direct = PostgresStore::connect(&format!("{}?table=in_session_mode", shared().url())).await.unwrap();
    assert_eq!(direct.apply(Write::Delete(credential.id())).await.unwrap(), Outcome::Applied);
    until(async || read(&here, &credential).await.is_none()).await;
    let findings = direct.examine(&SystemClock).await.unwrap();
    let found = findings.iter().find(|it| it.subject == "pooler").unwrap();
    assert_eq!((found.verdict, &*found.seen), (Verdict::Good, "none"));
}

/// [R19] Twelve clients: no request fails, no logout is lost, and other programs on the pool find it as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transaction_mode_serves_twelve_clients() {
    let pool = pool("transaction", 3);
    let clean = set_on_the_pool(&pool, 3).await;
    let store =
        PostgresStore::connect(&format!("{}?table=twelve&pooler=transaction", pool.url())).await.unwrap();
    store.init().await.unwrap();
    let sessions = Sessions::new(store.clone());
    let mut clients = JoinSet::new();
    for client in 0..12 {
        let sessions = sessions.clone();
        clients.spawn(async move {
            let mut ended: Vec<SessionId> = Vec::new();
            for round in 0..40 {
                let user = Some(UserId::new(format!("user-{client}")).unwrap());
                let (_, row) = sessions.create(NewSession { user, ..NewSession::default() }).await.unwrap();
                let mut changes = Changes::new();
                changes.set_raw("round", &round.to_string()).unwrap();
                assert!(sessions.change(row.id(), &changes).await.unwrap().is_some());
                assert!(sessions.get(row.id()).await.unwrap().is_some());
                assert!(sessions.revoke(row.id()).await.unwrap());
                assert!(sessions.get(row.id()).await.unwrap().is_none());
                ended.push(row.id());
            }
            ended
        });
    }
    let ended: Vec<SessionId> = clients.join_all().await.concat();
    assert_eq!(ended.len(), 480);
    assert!(store.load_many(&ended).await.into_iter().all(|row| row.unwrap().is_none()));
    assert_eq!(set_on_the_pool(&pool, 3).await, clean);
    let findings = store.examine(&SystemClock).await.unwrap();
    let found = findings.iter().find(|it| it.subject == "pooler").unwrap();
    assert_eq!(found.verdict, Verdict::Note);
    assert!(found.remedy.as_ref().unwrap().contains("feed_url"), "{found:?}");
}

/// [R17] [R19] The time limit of a transaction that waits for its next message is shorter than any pause between two,
/// and the pooler takes no options that would lift it from the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_limit_of_the_role_ends_no_transaction() {
    let server = Postgres::start().unwrap();
    server.query("ALTER DATABASE sessile SET idle_in_transaction_session_timeout = '1ms'").unwrap();
    for (mode, option) in [("session", ""), ("transaction", "&pooler=transaction")] {
        let pool = PgBouncer::start(&server, mode, 20).unwrap();
        let (start, place) = pool.url().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let (host, database) = place.split_once('/').unwrap();
        let proxy = Proxy::to(tokio::net::lookup_host(host).await.unwrap().next().unwrap()).await;
        proxy.dribble();
        let url = format!("{start}@{}/{database}?table=limited_{mode}{option}", proxy.address);
        let store = PostgresStore::connect(&url).await.unwrap();
        store.init().await.unwrap();
        let writes = (0..20).map(insert).collect();
        assert!(store.apply_many(writes).await.into_iter().all(|it| it.unwrap() == Outcome::Applied));
        assert!(store.load(id(1)).await.unwrap().is_some());
        assert_eq!(store.apply(Write::Delete(id(1))).await.unwrap(), Outcome::Applied);
    }
}

/// [R19] The feed has a way of its own to the same database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_behind_a_pool_listens_directly() {
    let pool = pool("transaction", 3);
    let url = format!("{}?table=cached&pooler=transaction", pool.url());
    let store = telling(&url).await;
    let refused = Sessions::builder(store).cache(CacheOptions::default()).await.err().unwrap();
    let CacheError::Store(StoreError::Unsupported { remedy, .. }) = &refused else { panic!("{refused}") };
    assert!(remedy.contains("?feed_url="), "{remedy}");

    let direct = shared().url().replace(':', "%3A").replace('/', "%2F").replace('@', "%40");
    let by_option = PostgresStore::options().transaction_pooler().feed_url(shared().url());
    let by_option = by_option.connect(&format!("{}?table=cached", pool.url())).await.unwrap();
    let by_url = PostgresStore::connect(&format!("{url}&feed_url={direct}")).await.unwrap();
    let elsewhere = PostgresStore::connect(&url).await.unwrap();
    for store in [by_option, by_url] {
        let here = service(store, Duration::from_secs(10)).await;
        let credential = session(&here).await;
        warm(&here, &credential, 1).await;
        assert_eq!(elsewhere.apply(Write::Delete(credential.id())).await.unwrap(), Outcome::Applied);
        until(async || read(&here, &credential).await.is_none()).await;
    }
    // Another database is not the one that the sessions are in.
    shared().query("CREATE DATABASE elsewhere").unwrap();
    let other = shared().url();
    let other = format!("{}/elsewhere", other.strip_suffix("/sessile").unwrap());
    telling(&format!("{other}?table=cached")).await;
    let options = PostgresStore::options().transaction_pooler().feed_url(other);
    let store = options.connect(&format!("{}?table=cached", pool.url())).await.unwrap();
    let bound = CacheOptions::default().bound(Duration::from_secs(2));
    let refused = Sessions::builder(store).cache(bound).await.err().unwrap();
    assert!(refused.to_string().contains("listens to another server"), "{refused}");
}

/// [R19] On a server itself the option costs time, and works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_option_without_a_pooler_is_a_note() {
    let store = PostgresStore::options().transaction_pooler();
    let store = store.connect(&format!("{}?table=no_pooler", shared().url())).await.unwrap();
    store.init().await.unwrap();
    assert_eq!(store.apply(insert(1)).await.unwrap(), Outcome::Applied);
    assert!(store.load(id(1)).await.unwrap().is_some());
    let findings = store.examine(&SystemClock).await.unwrap();
    let found = findings.iter().find(|it| it.subject == "pooler").unwrap();
    assert_eq!(found.verdict, Verdict::Note);
    assert_eq!(found.remedy.as_deref(), Some("leave the option out"));
}
