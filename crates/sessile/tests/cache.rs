//! The coherent cache over a store whose loads can be held up and whose feed says what the test wants.
#![allow(missing_docs, clippy::unwrap_used, reason = "the helpers of tests")]

#[path = "support/told.rs"]
mod told;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessile::engine::{CacheError, CacheOptions, Changes, Credential, NewSession};
use sessile::store::{MemoryStore, News, SessionStore, Write};
use sessile::{LazySession, SessionData, SessionId, Sessions, UserId};
use tokio::time::Instant;

use told::Told;

/// A service with a cache, another process without one, and a session in which `n` is 1.
struct Stage {
    store: Told,
    here: Sessions,
    elsewhere: Sessions,
    credential: Credential,
}

impl Stage {
    async fn new() -> Stage {
        // The feed is up until the test says otherwise.
        Stage::with(CacheOptions::default().bound(Duration::from_secs(3_600))).await
    }

    async fn with(options: CacheOptions) -> Stage {
        let store = Told::new();
        let here = Sessions::builder(store.clone()).cache(options).await.unwrap().build();
        let elsewhere = Sessions::new(Arc::clone(&store.rows));
        let data = SessionData::parse(r#"{"n": 1}"#.into()).unwrap();
        let user = Some(UserId::new("ada").unwrap());
        let (credential, _) =
            elsewhere.create(NewSession { data, user, ..NewSession::default() }).await.unwrap();
        Stage { store, here, elsewhere, credential }
    }

    fn id(&self) -> SessionId {
        self.credential.id()
    }

    /// What a request sees.
    async fn read(&self) -> Option<u32> {
        read(&self.here, &self.credential).await
    }

    fn reading(&self) -> tokio::task::JoinHandle<Option<u32>> {
        let (here, credential) = (self.here.clone(), self.credential.clone());
        tokio::spawn(async move { read(&here, &credential).await })
    }

    /// Another process changes it, and nobody is told.
    async fn set_elsewhere(&self, n: u32) {
        let mut changes = Changes::new();
        changes.set_raw("n", &n.to_string()).unwrap();
        self.elsewhere.change(self.id(), &changes).await.unwrap().unwrap();
    }
}

async fn read(sessions: &Sessions, credential: &Credential) -> Option<u32> {
    let session = LazySession::new(sessions.clone(), vec![credential.clone()]).load().await.unwrap();
    session.get("n").unwrap()
}

#[tokio::test]
async fn what_is_kept_costs_no_statement_and_what_is_told_is_loaded_anew() {
    let stage = Stage::new().await;
    for _ in 0..10 {
        assert_eq!(stage.read().await, Some(1));
    }
    assert_eq!(stage.store.loads(), 1);
    stage.set_elsewhere(2).await;
    assert_eq!(stage.read().await, Some(1), "nobody has said so yet");
    stage.store.tell(News::Changed(stage.id()));
    assert_eq!((stage.read().await, stage.store.loads()), (Some(2), 1));
    stage.set_elsewhere(3).await;
    stage.store.tell(News::Everything);
    assert_eq!((stage.read().await, stage.store.loads()), (Some(3), 1));
}

/// [S09] [S10] What ends in this process is dead at once, without a word from the feed.
#[tokio::test]
async fn an_end_in_this_process_counts_at_once() {
    for way in 0..3 {
        let stage = Stage::new().await;
        assert_eq!(stage.read().await, Some(1));
        match way {
            0 => assert!(stage.here.revoke(stage.id()).await.unwrap()),
            1 => assert_eq!(stage.here.revoke_user(&UserId::new("ada").unwrap()).await.unwrap(), 1),
            _ => {
                let named = vec![stage.credential.clone()];
                let session = LazySession::new(stage.here.clone(), named).load().await.unwrap();
                session.logout();
                session.save().await.unwrap();
            }
        }
        assert_eq!(stage.read().await, None, "way {way}");
    }
}

/// [R11] One statement for all who want a session that is not there yet; and who gives up takes it from
/// nobody.
#[tokio::test]
async fn a_crowd_on_a_cold_session_is_one_statement() {
    let stage = Stage::new().await;
    stage.store.close();
    let first = stage.reading();
    stage.store.loads_are(1).await;
    let crowd: Vec<_> = (0..10_000).map(|_| stage.reading()).collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    first.abort();
    stage.store.open();
    for one in crowd {
        assert_eq!(one.await.unwrap(), Some(1));
    }
    assert_eq!(stage.store.loads(), 1);
}

/// A load that had read before the news came must not be kept, nor shared with who asks after the news.
#[tokio::test]
async fn a_load_that_raced_with_news_is_thrown_away() {
    for way in 0..4 {
        let stage = Stage::new().await;
        stage.store.close();
        let early = stage.reading();
        stage.store.loads_are(1).await;
        stage.set_elsewhere(2).await;
        match way {
            0 => stage.store.tell(News::Changed(stage.id())),
            1 => stage.store.tell(News::Everything),
            2 => {
                stage.store.tell(News::Down);
                stage.store.tell(News::Up(Instant::now() + Duration::from_secs(3_600)));
            }
            // A write of our own, of which the feed has not spoken yet.
            _ => assert!(stage.here.revoke(stage.id()).await.unwrap()),
        }
        let newest = (way < 3).then_some(2);
        let late = stage.reading();
        stage.store.loads_are(2).await;
        stage.store.open();
        assert_eq!(early.await.unwrap(), Some(1), "it had read before, way {way}");
        assert_eq!(late.await.unwrap(), newest, "way {way}");
        assert_eq!(stage.read().await, newest, "way {way}");
    }
}

#[tokio::test]
async fn while_the_feed_is_down_every_read_asks_the_store() {
    let stage = Stage::new().await;
    assert_eq!(stage.read().await, Some(1));
    stage.store.tell(News::Down);
    stage.set_elsewhere(2).await;
    stage.store.loads();
    for _ in 0..3 {
        assert_eq!(stage.read().await, Some(2));
    }
    assert_eq!(stage.store.loads(), 3);
    assert!(!stage.here.cache_stats().unwrap().is_up);
    stage.set_elsewhere(3).await;
    stage.store.tell(News::Up(Instant::now() + Duration::from_secs(3_600)));
    assert_eq!(stage.here.cache_stats().unwrap().sessions, 0, "it begins empty");
    assert_eq!((stage.read().await, stage.read().await, stage.store.loads()), (Some(3), Some(3), 1));
}

/// A feed that says nothing at all, not even that it is down.
#[tokio::test(start_paused = true)]
async fn a_silent_feed_is_trusted_no_longer_than_its_bound() {
    let stage = Stage::with(CacheOptions::default().bound(Duration::from_secs(3))).await;
    assert_eq!(stage.read().await, Some(1));
    stage.set_elsewhere(2).await;
    tokio::time::advance(Duration::from_millis(2_999)).await;
    assert_eq!(stage.read().await, Some(1));
    tokio::time::advance(Duration::from_millis(2)).await;
    assert_eq!(stage.read().await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn without_a_feed_only_with_a_bound_on_age() {
    let refused = Sessions::builder(MemoryStore::new()).cache(CacheOptions::default()).await.err().unwrap();
    assert!(matches!(refused, CacheError::NoFeed { store: "memory" }), "{refused}");
    let stage = Stage::with(CacheOptions::stale_for(Duration::from_secs(2))).await;
    assert_eq!(stage.read().await, Some(1));
    assert!(stage.elsewhere.revoke(stage.id()).await.unwrap());
    tokio::time::advance(Duration::from_millis(1_999)).await;
    assert_eq!(stage.read().await, Some(1));
    tokio::time::advance(Duration::from_millis(2)).await;
    assert_eq!(stage.read().await, None);
}

/// [R12] Nothing is lost by what is kept: a write is merged onto the row, also one that would change nothing
/// in what is kept.
#[tokio::test]
async fn a_write_on_what_is_out_of_date_is_merged_onto_the_row() {
    let stage = Stage::new().await;
    assert_eq!(stage.read().await, Some(1));
    stage.set_elsewhere(5).await;
    let request = || async {
        let named = vec![stage.credential.clone()];
        LazySession::new(stage.here.clone(), named).load().await.unwrap()
    };
    let session = request().await;
    session.update("n", |n: &mut u32| *n += 1).unwrap();
    session.save().await.unwrap();
    assert_eq!(read(&stage.elsewhere, &stage.credential).await, Some(6));
    assert_eq!(stage.read().await, Some(6));
    stage.set_elsewhere(9).await;
    let session = request().await;
    session.insert("n", &6).unwrap();
    session.save().await.unwrap();
    assert_eq!(read(&stage.elsewhere, &stage.credential).await, Some(6), "what was asked for");
    assert_eq!(stage.read().await, Some(6));
    stage.elsewhere.revoke(stage.id()).await.unwrap();
    let session = request().await;
    session.insert("n", &7).unwrap();
    assert!(session.save().await.is_err(), "the dead stay dead");
    assert!(stage.elsewhere.get(stage.id()).await.unwrap().is_none());
}

/// Who comes after a session was made finds it, whoever had asked for it before.
#[tokio::test]
async fn that_a_session_is_not_there_is_never_kept() {
    let stage = Stage::new().await;
    let row = stage.elsewhere.get(stage.id()).await.unwrap().unwrap();
    stage.elsewhere.revoke(stage.id()).await.unwrap();
    stage.store.close();
    let early = stage.reading();
    stage.store.loads_are(1).await;
    stage.store.rows.apply(Write::Insert(row)).await.unwrap();
    let late = stage.reading();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    stage.store.open();
    assert_eq!((early.await.unwrap(), late.await.unwrap()), (None, Some(1)));
}

#[tokio::test]
async fn memory_is_bounded_by_sessions_and_by_bytes() {
    for options in [CacheOptions::default().max_sessions(64), CacheOptions::default().max_bytes(64 * 1_300)] {
        let stage = Stage::with(options).await;
        let data =
            SessionData::parse(format!(r#"{{"n": 2, "text": "{}"}}"#, "x".repeat(1_000)).into()).unwrap();
        for _ in 0..1_000 {
            let new = NewSession { data: data.clone(), ..NewSession::default() };
            let (credential, _) = stage.elsewhere.create(new).await.unwrap();
            assert_eq!(read(&stage.here, &credential).await, Some(2));
            let stats = stage.here.cache_stats().unwrap();
            assert!(stats.sessions <= 66 && stats.bytes <= 64 * 1024 * 1024, "{stats:?}");
        }
        assert!(stage.here.cache_stats().unwrap().sessions >= 16, "it is of use");
    }
}

/// [R03] A store that panics costs nobody more than an error, and nobody waits for ever.
#[tokio::test]
async fn a_load_that_is_lost_is_made_again() {
    let stage = Stage::new().await;
    stage.store.panics.store(1, Ordering::SeqCst);
    let lost = tokio::time::timeout(Duration::from_secs(60), stage.read()).await;
    assert_eq!(lost.expect("nobody answers"), Some(1));
    assert_eq!(stage.read().await, Some(1));
    assert!(stage.store.loads() >= 2);
}

/// A request that changes `n`, as a handler does.
async fn change(sessions: &Sessions, credential: &Credential, n: u32) {
    let session = LazySession::new(sessions.clone(), vec![credential.clone()]).load().await.unwrap();
    session.insert("n", &n).unwrap();
    session.save().await.unwrap();
}

/// What this process has written it need not read again, nor after the feed has told it of its own write.
#[tokio::test]
async fn what_this_process_wrote_is_kept_and_its_echo_is_known() {
    let stage = Stage::new().await;
    for n in 2..12 {
        change(&stage.here, &stage.credential, n).await;
        assert_eq!(stage.read().await, Some(n));
        let row = stage.elsewhere.get(stage.id()).await.unwrap().unwrap();
        stage.store.tell(News::Became(stage.id(), row.fingerprint().unwrap()));
        assert_eq!(stage.read().await, Some(n));
    }
    assert_eq!(stage.store.loads(), 1, "the first one");
    let (credential, _) = stage.here.create(NewSession::default()).await.unwrap();
    assert_eq!(read(&stage.here, &credential).await, None);
    assert_eq!(stage.store.loads(), 0, "it was made here");
    stage.set_elsewhere(20).await;
    let row = stage.elsewhere.get(stage.id()).await.unwrap().unwrap();
    stage.store.tell(News::Became(stage.id(), row.fingerprint().unwrap()));
    assert_eq!((stage.read().await, stage.store.loads()), (Some(20), 1), "that was no echo");
}

/// The row that others changed was read when they were done, and only then it is told: it is the same row.
#[tokio::test]
async fn a_load_that_found_what_is_told_is_kept() {
    for found in [true, false] {
        let stage = Stage::new().await;
        if found {
            stage.set_elsewhere(2).await;
        }
        stage.store.close();
        let early = stage.reading();
        stage.store.loads_are(1).await;
        if !found {
            stage.set_elsewhere(2).await;
        }
        let row = stage.elsewhere.get(stage.id()).await.unwrap().unwrap();
        stage.store.tell(News::Became(stage.id(), row.fingerprint().unwrap()));
        stage.store.open();
        assert_eq!(early.await.unwrap(), Some(if found { 2 } else { 1 }));
        stage.store.loads();
        assert_eq!((stage.read().await, stage.store.loads()), (Some(2), usize::from(!found)));
    }
}
