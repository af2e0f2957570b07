//! The cache in every order of steps: loads and writes that wait before and after the store did its part, news that
//! come late, changes by others, a feed that goes down.
//!
//! What holds, whatever the order: a read gives what the row was at its beginning or later, as far as news had
//! been told then or this process had been answered; and when everything was told, all see the newest.
#![allow(missing_docs, clippy::unwrap_used, reason = "the helpers of tests")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sessile::engine::{CacheOptions, Changes, Credential, NewSession};
use sessile::record::Timestamp;
use sessile::store::{
    Feed, Hearer, ListPage, ListQuery, Loaded, MemoryStore, News, Outcome, PurgeBatch, PurgeLimits,
    SessionStore, StoreError, StoreStats, Write,
};
use sessile::{LazySession, SessionData, SessionId, Sessions, UserId};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What the row was after a commit: its `n`, or nothing.
type State = Option<u64>;

/// How a store tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// What each change has made of the row, as PostgreSQL does.
    Exact,
    /// That it was changed, several changes at once, as Redis does.
    Coalesced,
}

struct Inner {
    rows: MemoryStore,
    manner: Manner,
    /// Those that wait for their turn.
    waiting: Mutex<Vec<oneshot::Sender<()>>>,
    commits: Mutex<Vec<State>>,
    /// News on their way, each with the number of commits that are told with it.
    news: Mutex<VecDeque<(News, usize)>>,
    hearer: Mutex<Option<Hearer>>,
    loads: AtomicUsize,
}

/// A store whose every step waits for its turn, once before it happens and once before its answer.
#[derive(Clone)]
struct Stepped(Arc<Inner>);

impl Stepped {
    async fn turn(&self) {
        let (go, gone) = oneshot::channel();
        self.0.waiting.lock().unwrap().push(go);
        let _ = gone.await;
    }

    /// Notes a commit, and that it has to be told.
    async fn commit(&self, id: SessionId) {
        let row = self.0.rows.load(id).await.unwrap();
        let state = row.as_ref().map(|row| row.data().get("n").unwrap().unwrap());
        let mut commits = self.0.commits.lock().unwrap();
        commits.push(state);
        let news = match (self.0.manner, row.and_then(|row| row.fingerprint())) {
            (Manner::Exact, Some(fingerprint)) => News::Became(id, fingerprint),
            _ => News::Changed(id),
        };
        let mut on_their_way = self.0.news.lock().unwrap();
        if self.0.manner == Manner::Coalesced {
            on_their_way.clear();
        }
        on_their_way.push_back((news, commits.len()));
    }

    async fn made(&self, write: Write) -> Outcome {
        let id = write.id();
        // Who comes when the session is dead begins another one.
        let is_another = matches!(write, Write::Insert(_)) && !self.0.commits.lock().unwrap().is_empty();
        let outcome = self.0.rows.apply(write).await.unwrap();
        if outcome == Outcome::Applied && !is_another {
            self.commit(id).await;
        }
        outcome
    }
}

#[async_trait]
impl SessionStore for Stepped {
    fn name(&self) -> &'static str {
        "stepped"
    }
    async fn load(&self, id: SessionId) -> Loaded {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        self.turn().await;
        let loaded = self.0.rows.load(id).await;
        self.turn().await;
        loaded
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.turn().await;
        let outcome = self.made(write).await;
        self.turn().await;
        Ok(outcome)
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.0.rows.list(query).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.0.rows.delete_user(user, keep).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.0.rows.purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.0.rows.stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn feed(&self, hearer: Hearer, bound: Duration) -> Result<Option<Feed>, StoreError> {
        hearer.hear(News::Up(Instant::now() + bound));
        *self.0.hearer.lock().unwrap() = Some(hearer);
        Ok(Some(Feed::new(())))
    }
}

/// How many commits a reader that begins now must have seen: told, or answered to this process.
#[derive(Clone, Default)]
struct Floor(Arc<AtomicUsize>);

impl Floor {
    fn raise(&self, commits: usize) {
        self.0.fetch_max(commits, Ordering::SeqCst);
    }
}

struct Stage {
    store: Stepped,
    here: Sessions,
    credential: Credential,
    floor: Floor,
    is_up: Arc<AtomicBool>,
    /// And changes, which read, too.
    reads: usize,
    number: u64,
}

impl Stage {
    async fn new(manner: Manner) -> Stage {
        let inner = Inner {
            rows: MemoryStore::new(),
            manner,
            waiting: Mutex::default(),
            commits: Mutex::default(),
            news: Mutex::default(),
            hearer: Mutex::default(),
            loads: AtomicUsize::new(0),
        };
        let store = Stepped(Arc::new(inner));
        let options = CacheOptions::default().bound(Duration::from_secs(3_600));
        let here = Sessions::builder(store.clone()).cache(options).await.unwrap().build();
        let data = SessionData::parse(r#"{"n": 0}"#.into()).unwrap();
        let making = {
            let here = here.clone();
            tokio::spawn(async move { here.create(NewSession { data, ..NewSession::default() }).await })
        };
        let mut stage = Stage {
            store,
            here,
            credential: Credential::Id(SessionId::from_bytes([0; 16])),
            floor: Floor::default(),
            is_up: Arc::new(AtomicBool::new(true)),
            reads: 0,
            number: 0,
        };
        stage.finish().await;
        stage.credential = making.await.unwrap().unwrap().0;
        // Making a row is no news.
        stage.store.0.news.lock().unwrap().clear();
        stage
    }

    async fn quiet(&self) {
        for _ in 0..12 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets all steps happen.
    async fn finish(&self) {
        loop {
            self.quiet().await;
            let waiting = std::mem::take(&mut *self.store.0.waiting.lock().unwrap());
            if waiting.is_empty() {
                return;
            }
            for go in waiting {
                let _ = go.send(());
            }
        }
    }

    fn tell(&self) {
        let Some((news, commits)) = self.store.0.news.lock().unwrap().pop_front() else { return };
        if self.is_up.load(Ordering::SeqCst) {
            self.store.0.hearer.lock().unwrap().as_ref().unwrap().hear(news);
            self.floor.raise(commits);
        }
    }

    /// Down, what is untold stays so; up, all that was committed counts as told.
    fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::SeqCst);
        self.store.0.news.lock().unwrap().clear();
        let news = if is_up { News::Up(Instant::now() + Duration::from_secs(3_600)) } else { News::Down };
        self.store.0.hearer.lock().unwrap().as_ref().unwrap().hear(news);
        self.floor.raise(self.store.0.commits.lock().unwrap().len());
    }

    fn read(&mut self) -> tokio::task::JoinHandle<()> {
        self.reads += 1;
        let (here, credential, store) = (self.here.clone(), self.credential.clone(), self.store.clone());
        let (floor, is_up) = (self.floor.clone(), Arc::clone(&self.is_up));
        tokio::spawn(async move {
            let told = floor.0.load(Ordering::SeqCst);
            let committed = store.0.commits.lock().unwrap().len();
            let floor = if is_up.load(Ordering::SeqCst) { told } else { committed };
            let session = LazySession::new(here, vec![credential]).load().await.unwrap();
            let seen: State = session.get("n").unwrap();
            let commits = store.0.commits.lock().unwrap();
            let at = commits.iter().rposition(|state| *state == seen).unwrap() + 1;
            assert!(at >= floor, "{seen:?} of {commits:?} where {floor} were known");
        })
    }

    /// A request that changes the session, on whatever it sees; or a call from outside, which may give up.
    fn change(&mut self, as_request: bool) -> tokio::task::JoinHandle<()> {
        (self.number, self.reads) = (self.number + 1, self.reads + 1);
        let (n, here, credential) = (self.number, self.here.clone(), self.credential.clone());
        let (store, floor) = (self.store.clone(), self.floor.clone());
        tokio::spawn(async move {
            let done = if as_request {
                let session = LazySession::new(here, vec![credential]).load().await.unwrap();
                session.insert("n", &n).unwrap();
                session.save().await.is_ok()
            } else {
                let mut changes = Changes::new();
                changes.set_raw("n", &n.to_string()).unwrap();
                here.change(credential.id(), &changes).await.is_ok_and(|row| row.is_some())
            };
            let commits = store.0.commits.lock().unwrap();
            if let Some(at) = commits.iter().rposition(|state| *state == Some(n)).filter(|_| done) {
                floor.raise(at + 1);
            }
        })
    }

    async fn change_elsewhere(&mut self) {
        self.number += 1;
        let elsewhere = Sessions::new(MemoryStore::clone(&self.store.0.rows));
        let mut changes = Changes::new();
        changes.set_raw("n", &self.number.to_string()).unwrap();
        if elsewhere.change(self.credential.id(), &changes).await.unwrap().is_some() {
            self.store.commit(self.credential.id()).await;
        }
    }
}

/// Steps of one run, drawn from a seed.
async fn run(seed: u64, manner: Manner, loads: &mut usize, reads: &mut usize) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    let mut stage = Stage::new(manner).await;
    let mut all = Vec::new();
    for _ in 0..60 {
        match below(32) {
            0..6 => all.push(stage.read()),
            6..9 => all.push(stage.change(true)),
            9 => all.push(stage.change(false)),
            10..12 => stage.change_elsewhere().await,
            12 if below(4) == 0 => {
                if stage.store.0.rows.apply(Write::Delete(stage.credential.id())).await.unwrap()
                    == Outcome::Applied
                {
                    stage.store.commit(stage.credential.id()).await;
                }
            }
            13 if below(6) == 0 => {
                let is_up = stage.is_up.load(Ordering::SeqCst);
                stage.set_up(!is_up);
            }
            // A client goes away.
            14 if !all.is_empty() => all[below(all.len())].abort(),
            15..21 => stage.tell(),
            _ => {
                let mut waiting = stage.store.0.waiting.lock().unwrap();
                if !waiting.is_empty() {
                    let at = below(waiting.len());
                    let _ = waiting.swap_remove(at).send(());
                }
            }
        }
        for _ in 0..below(12) {
            tokio::task::yield_now().await;
        }
    }
    stage.finish().await;
    while !stage.store.0.news.lock().unwrap().is_empty() {
        stage.tell();
    }
    for _ in 0..3 {
        all.push(stage.read());
        stage.finish().await;
    }
    for one in all {
        match one.await {
            Err(error) if error.is_panic() => panic!("seed {seed}, {manner:?}: {error}"),
            _ => {}
        }
    }
    *loads += stage.store.0.loads.load(Ordering::SeqCst);
    *reads += stage.reads;
}

/// [R12] [M05]
#[tokio::test(start_paused = true)]
async fn no_order_of_steps_shows_what_was_known_to_be_over() {
    for manner in [Manner::Exact, Manner::Coalesced] {
        let (mut loads, mut reads) = (0, 0);
        for seed in 1..=600 {
            run(seed, manner, &mut loads, &mut reads).await;
        }
        println!("{manner:?}: {loads} loads for {reads} reads and changes");
        assert!(loads < reads, "{manner:?}: it never answered from memory");
    }
}
