//! Watching sessions in memory and in SQLite: whoever waits for an end is told of it, and of nothing else.
#![allow(missing_docs, clippy::unwrap_used, reason = "the helpers of tests")]

#[path = "support/told.rs"]
mod told;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sessile::engine::{Changes, Credential, Ended, NewSession, Watch};
use sessile::record::{Clock, ManualClock};
use sessile::store::{MemoryStore, News, SessionStore};
use sessile::{LazySession, Policy, SessionData, SessionId, Sessions, UserId};
use tokio::time::Instant;

use told::Told;

const HOUR: Duration = Duration::from_secs(3_600);

/// The service that watches, and another process.
struct Stage {
    store: Told,
    clock: Arc<ManualClock>,
    here: Sessions,
    elsewhere: Sessions,
}

impl Stage {
    fn new(tells: bool) -> Stage {
        let mut store = Told::new();
        store.tells = tells;
        let clock = Arc::new(ManualClock::new(sessile::record::SystemClock.now()));
        let policy = Policy::new().idle_timeout(HOUR);
        let of = |store: Arc<dyn SessionStore>| {
            Sessions::builder(store).policy(policy.clone()).clock(Arc::clone(&clock)).build()
        };
        let here = of(Arc::new(store.clone()));
        let elsewhere = of(Arc::clone(&store.rows) as _);
        Stage { store, clock, here, elsewhere }
    }

    async fn session(&self) -> Credential {
        let user = Some(UserId::new("ada").unwrap());
        self.elsewhere.create(NewSession { user, ..NewSession::default() }).await.unwrap().0
    }

    /// A watched session that is known to live.
    async fn watched(&self) -> (SessionId, Watch) {
        let id = self.session().await.id();
        let watch = self.here.watch(id);
        self.quiet().await;
        (id, watch)
    }

    /// Lets everybody go on who can.
    async fn quiet(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

fn is_pending(watch: &mut Watch) -> bool {
    pin!(watch).poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending
}

/// One statement when it begins, none while nothing happens, one for all of which something was said.
#[tokio::test(start_paused = true)]
async fn watching_costs_nothing_while_nothing_happens() {
    let stage = Stage::new(true);
    let mut watches = Vec::new();
    for _ in 0..200 {
        let id = stage.session().await.id();
        watches.extend([stage.here.watch(id), stage.here.watch(id)]);
    }
    stage.quiet().await;
    assert!((1..=2).contains(&stage.store.loads()), "all together, once more when the feed has come up");
    stage.store.tell(News::Up(Instant::now() + HOUR));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(stage.store.loads(), 0);
    for watch in &watches[..100] {
        stage.store.tell(News::Changed(watch.id()));
    }
    stage.quiet().await;
    assert_eq!(stage.store.loads(), 1);
    assert!(watches.iter_mut().all(is_pending), "changed is not ended");
}

/// What ends in this process is told at once and without a statement, and how.
#[tokio::test(start_paused = true)]
async fn an_end_in_this_process_is_told_at_once() {
    for tells in [true, false] {
        let stage = Stage::new(tells);
        for way in 0..4 {
            let credential = stage.session().await;
            let mut watch = stage.here.watch(credential.id());
            stage.quiet().await;
            stage.store.loads();
            let began = Instant::now();
            let session =
                LazySession::new(stage.here.clone(), vec![credential.clone()]).load().await.unwrap();
            assert_eq!(session.watch().unwrap().id(), credential.id());
            match way {
                0 => assert!(stage.here.revoke(credential.id()).await.unwrap()),
                1 => {
                    stage.here.revoke_user(&UserId::new("ada").unwrap()).await.unwrap();
                }
                2 => {
                    session.logout();
                    session.save().await.unwrap();
                }
                _ => {
                    session.login("ada").unwrap();
                    session.save().await.unwrap();
                }
            }
            let ended = (&mut watch).await;
            match way {
                3 => assert_eq!(ended, Ended::Rotated { to: session.id().unwrap() }),
                _ => assert_eq!(ended, Ended::Gone, "way {way}"),
            }
            assert_eq!(began.elapsed(), Duration::ZERO, "way {way}");
        }
    }
}

/// [N08] By the clock of the service and not by the one of timers; and a renewal puts it off, by whomever.
#[tokio::test(start_paused = true)]
async fn an_expiry_is_told_by_the_clock_and_a_renewal_puts_it_off() {
    for tells in [true, false] {
        let stage = Stage::new(tells);
        let (id, mut watch) = stage.watched().await;
        tokio::time::sleep(2 * HOUR).await;
        assert!(is_pending(&mut watch), "no time has gone by");
        stage.clock.advance(HOUR - Duration::from_secs(1));
        stage.elsewhere.touch(id).await.unwrap().unwrap();
        stage.clock.advance(Duration::from_secs(2));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(is_pending(&mut watch), "renewed, and nobody has said so");
        stage.clock.advance(HOUR);
        let began = Instant::now();
        assert_eq!(watch.await, Ended::Expired);
        assert!(began.elapsed() <= Duration::from_secs(1));
        assert!(stage.elsewhere.get(id).await.unwrap().is_some(), "nobody has touched the row");
    }
}

/// Purged by whomever, it has expired all the same.
#[tokio::test(start_paused = true)]
async fn an_expired_session_that_was_purged_has_expired() {
    let stage = Stage::new(true);
    for here in [true, false] {
        let (_, watch) = stage.watched().await;
        stage.clock.advance(2 * HOUR);
        let purging = if here { &stage.here } else { &stage.elsewhere };
        assert_eq!(purging.purge(|_| {}).await.unwrap().removed, 1);
        assert_eq!(watch.await, Ended::Expired);
    }
}

/// Where there is no feed, and where it is down, all are looked at every five seconds, by one statement.
#[tokio::test(start_paused = true)]
async fn without_a_feed_it_is_looked_at_regularly() {
    for tells in [true, false] {
        let stage = Stage::new(tells);
        let (id, watch) = stage.watched().await;
        let mut others = Vec::new();
        for _ in 0..100 {
            others.push(stage.watched().await.1);
        }
        if tells {
            stage.store.tell(News::Down);
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        stage.quiet().await;
        stage.store.loads();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!((11..=13).contains(&stage.store.loads()));
        stage.elsewhere.revoke(id).await.unwrap();
        let began = Instant::now();
        assert_eq!(watch.await, Ended::Gone);
        assert!(began.elapsed() <= Duration::from_secs(5));
        assert!(others.iter_mut().all(is_pending));
    }
}

/// What happened while the feed was down is found when it is back.
#[tokio::test(start_paused = true)]
async fn an_end_that_the_feed_missed_is_found_when_it_returns() {
    let stage = Stage::new(true);
    let (id, watch) = stage.watched().await;
    stage.store.tell(News::Down);
    stage.elsewhere.revoke(id).await.unwrap();
    stage.store.tell(News::Up(Instant::now() + HOUR));
    let began = Instant::now();
    assert_eq!(watch.await, Ended::Gone);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// A store that is down ends nothing, and one that panics leaves nobody waiting.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_nothing_and_is_asked_again() {
    let stage = Stage::new(true);
    let (id, mut watch) = stage.watched().await;
    stage.store.is_down.store(true, Ordering::SeqCst);
    stage.elsewhere.revoke(id).await.unwrap();
    stage.store.tell(News::Changed(id));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(is_pending(&mut watch));
    stage.store.is_down.store(false, Ordering::SeqCst);
    stage.store.panics.store(1, Ordering::SeqCst);
    assert_eq!(watch.await, Ended::Gone);
    assert_eq!(stage.store.panics.load(Ordering::SeqCst), 0);
}

/// [N04] [N05] Who has stopped waiting is nobody: no statement, and the others are told.
#[tokio::test(start_paused = true)]
async fn a_watch_that_was_dropped_is_no_more() {
    let stage = Stage::new(true);
    let (id, dropped) = stage.watched().await;
    let (_, other) = (stage.watched().await, stage.here.watch(id));
    let twin = stage.here.watch(id);
    stage.quiet().await;
    stage.store.loads();
    drop(dropped);
    drop(twin);
    stage.elsewhere.revoke(id).await.unwrap();
    stage.store.tell(News::Changed(id));
    assert_eq!(other.await, Ended::Gone);
    assert_eq!(stage.store.loads(), 1);
    stage.store.tell(News::Changed(id));
    stage.store.tell(News::Everything);
    stage.quiet().await;
    assert_eq!(stage.store.loads(), 0, "nobody watches any more");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_there_has_ended() {
    let stage = Stage::new(true);
    let id = stage.session().await.id();
    stage.elsewhere.revoke(id).await.unwrap();
    assert_eq!(stage.here.watch(id).await, Ended::Gone);
    let nobody = LazySession::new(stage.here.clone(), Vec::new()).load().await.unwrap();
    assert!(nobody.watch().is_none());
}

/// Where the cache has the session, a watch begins without a statement.
#[tokio::test(start_paused = true)]
async fn what_the_cache_knows_is_not_asked_again() {
    let stage = Stage::new(true);
    let options = sessile::engine::CacheOptions::default().bound(HOUR);
    let here = Sessions::builder(stage.store.clone())
        .clock(Arc::clone(&stage.clock))
        .cache(options)
        .await
        .unwrap()
        .build();
    let credential = stage.session().await;
    LazySession::new(here.clone(), vec![credential.clone()]).load().await.unwrap();
    stage.store.loads();
    let mut watch = here.watch(credential.id());
    stage.quiet().await;
    assert!(is_pending(&mut watch));
    assert_eq!(stage.store.loads(), 0);
    stage.elsewhere.revoke(credential.id()).await.unwrap();
    stage.store.tell(News::Changed(credential.id()));
    assert_eq!(watch.await, Ended::Gone);
}

/// In whatever order things happen, a session that has ended leaves nobody waiting, and one that lives tells
/// nobody: every step of beginning to watch, loading, ending, telling and dropping between every other.
#[tokio::test(start_paused = true)]
async fn no_order_of_steps_leaves_a_watcher_waiting() {
    for seed in 1..=2_000_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let stage = Stage::new(true);
        let credential = stage.session().await;
        let id = credential.id();
        let (mut watches, mut untold, mut has_ended, mut is_open) = (Vec::new(), 0, false, true);
        for _ in 0..below(14) + 4 {
            match below(8) {
                0 | 1 => watches.push(stage.here.watch(id)),
                2 if !watches.is_empty() => drop(watches.swap_remove(below(watches.len() as u64) as usize)),
                3 if !has_ended => {
                    let mut changes = Changes::new();
                    changes.set_raw("n", &seed.to_string()).unwrap();
                    stage.elsewhere.change(id, &changes).await.unwrap();
                    untold += 1;
                }
                4 if !has_ended => {
                    has_ended = true;
                    match below(2) {
                        0 => untold += usize::from(stage.elsewhere.revoke(id).await.unwrap()),
                        _ => drop(stage.here.revoke(id).await.unwrap()),
                    }
                }
                5 if untold > 0 && stage.store.is_heard() => {
                    untold -= 1;
                    stage.store.tell(News::Changed(id));
                }
                6 if is_open => {
                    stage.store.close();
                    is_open = false;
                }
                6 => {
                    stage.store.open();
                    is_open = true;
                }
                _ => (0..below(6)).for_each(|_| ()),
            }
            for _ in 0..below(8) {
                tokio::task::yield_now().await;
            }
        }
        stage.store.open();
        stage.quiet().await;
        // Nobody listens where nobody has ever watched.
        for _ in 0..untold * usize::from(stage.store.is_heard()) {
            stage.store.tell(News::Changed(id));
        }
        stage.quiet().await;
        for (at, watch) in watches.iter_mut().enumerate() {
            assert_eq!(is_pending(watch), !has_ended, "seed {seed}, watch {at}");
        }
    }
}

/// [N05] Two processes over one file of SQLite, which tells nothing.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn over_a_file_of_sqlite() {
    use sessile::store::SqliteStore;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watched.db");
    let of = async || {
        let store = SqliteStore::open(&path).await.unwrap();
        store.init().await.unwrap();
        Sessions::builder(store).watch_interval(Duration::from_millis(20)).build()
    };
    let (here, elsewhere) = (of().await, of().await);
    let data = SessionData::parse(r#"{"n": 1}"#.into()).unwrap();
    for other in [&here, &elsewhere] {
        let (credential, _) =
            other.create(NewSession { data: data.clone(), ..NewSession::default() }).await.unwrap();
        let watch = here.watch(credential.id());
        assert!(other.revoke(credential.id()).await.unwrap());
        assert_eq!(watch.await, Ended::Gone);
    }
    let (credential, _) = here.create(NewSession { data, ..NewSession::default() }).await.unwrap();
    let watch = here.watch(credential.id());
    let delete = format!("DELETE FROM sessions WHERE id = '{}'", credential.id());
    assert_eq!(rusqlite::Connection::open(&path).unwrap().execute(&delete, ()).unwrap(), 1);
    assert_eq!(watch.await, Ended::Gone);
}

/// The services may go while somebody watches, and the watch may outlive them all.
#[tokio::test(start_paused = true)]
async fn a_watch_keeps_its_service() {
    let rows = Arc::new(MemoryStore::new());
    let elsewhere = Sessions::new(Arc::clone(&rows));
    let (credential, _) = elsewhere.create(NewSession::default()).await.unwrap();
    let watch = Sessions::new(rows).watch(credential.id());
    tokio::task::yield_now().await;
    elsewhere.revoke(credential.id()).await.unwrap();
    assert_eq!(watch.await, Ended::Gone);
}
