//! A store in which nothing happens until the test says whose turn it is, and who runs meanwhile.
//!
//! The actors are futures polled by hand, one at a time. Each goes on until it wants something from
//! the store; there it waits for its permit. So the order of all store steps is the test's to choose.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use parking_lot::Mutex;
use sessile::record::{SessionId, Timestamp, UserId};
use sessile::store::{
    ListPage, ListQuery, Loaded, Outcome, PurgeBatch, PurgeLimits, SessionStore, StoreError, StoreStats,
    Write,
};

/// What a store step did.
#[derive(Debug, Clone)]
pub(crate) enum Did {
    Load(SessionId, bool),
    Write(Write, Outcome),
    DeleteUser(Vec<SessionId>),
    Purge(Vec<SessionId>),
    /// Python read this text. (It reads only where there is a table.)
    Read(Option<String>),
    /// Python wrote this text, whatever was there.
    Overwrite(String, bool),
}

#[derive(Default)]
struct Turn {
    running: usize,
    permitted: Option<usize>,
    waiting: Vec<bool>,
    inside: Vec<bool>,
    log: Vec<(usize, Did)>,
}

/// Whose turn it is.
#[derive(Clone, Default)]
pub(crate) struct Schedule(Arc<Mutex<Turn>>);

pub(crate) type Actor<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

impl Schedule {
    /// Waits for the permit, and then does one step.
    pub(crate) async fn step<T>(&self, work: impl Future<Output = (T, Vec<Did>)>) -> T {
        let actor = self.0.lock().running;
        poll_fn(|_| {
            let mut turn = self.0.lock();
            let permitted = turn.permitted == Some(actor);
            turn.waiting[actor] = !permitted;
            turn.inside[actor] = permitted;
            if !permitted {
                return Poll::Pending;
            }
            turn.permitted = None;
            Poll::Ready(())
        })
        .await;
        let (answer, did) = work.await;
        let mut turn = self.0.lock();
        turn.inside[actor] = false;
        turn.log.extend(did.into_iter().map(|did| (actor, did)));
        answer
    }

    /// Runs all actors, one store step at a time; `choose` picks one of so many, `observe` sees each
    /// step before the next one happens.
    pub(crate) async fn run<T>(
        &self,
        mut actors: Vec<Actor<'_, T>>,
        choose: &mut dyn FnMut(usize) -> usize,
        mut observe: impl AsyncFnMut(usize, Did),
    ) -> Vec<T> {
        *self.0.lock() =
            Turn { waiting: vec![false; actors.len()], inside: vec![false; actors.len()], ..Turn::default() };
        let mut answers: Vec<Option<T>> = actors.iter().map(|_| None).collect();
        loop {
            for (at, actor) in actors.iter_mut().enumerate() {
                if answers[at].is_none() && !self.0.lock().waiting[at] {
                    answers[at] = self.go_on(at, actor).await;
                }
            }
            let ready: Vec<usize> = (0..actors.len()).filter(|&at| self.0.lock().waiting[at]).collect();
            if ready.is_empty() {
                return answers.into_iter().map(|answer| answer.expect("a deadlock")).collect();
            }
            let at = ready[choose(ready.len())];
            self.0.lock().permitted = Some(at);
            answers[at] = self.go_on(at, &mut actors[at]).await;
            let log = std::mem::take(&mut self.0.lock().log);
            for (actor, did) in log {
                observe(actor, did).await;
            }
        }
    }

    /// Until the actor is through, or wants the next step, or waits for another actor.
    async fn go_on<T>(&self, at: usize, actor: &mut Actor<'_, T>) -> Option<T> {
        let polled = poll_fn(|context| {
            self.0.lock().running = at;
            match actor.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                // The store itself needs time.
                Poll::Pending if self.0.lock().inside[at] => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
            }
        });
        tokio::task::unconstrained(polled).await
    }
}

/// A store behind the schedule.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) schedule: Schedule,
}

#[async_trait]
impl SessionStore for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }
    fn user_id_limit(&self) -> usize {
        self.store.user_id_limit()
    }
    async fn load(&self, id: SessionId) -> Loaded {
        let work = async {
            let loaded = self.store.load(id).await;
            let found = matches!(loaded, Ok(Some(_)));
            (loaded, vec![Did::Load(id, found)])
        };
        self.schedule.step(work).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        let work = async {
            let outcome = self.store.apply(write.clone()).await.unwrap();
            (Ok(outcome), vec![Did::Write(write, outcome)])
        };
        self.schedule.step(work).await
    }
    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        let work = async {
            let outcomes = self.store.apply_many(writes.clone()).await;
            let did = |(write, outcome): (Write, &Result<Outcome, _>)| {
                Did::Write(write, *outcome.as_ref().unwrap())
            };
            let did = writes.into_iter().zip(&outcomes).map(did).collect();
            (outcomes, did)
        };
        self.schedule.step(work).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.schedule.step(async { (self.store.list(query).await, Vec::new()) }).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let work = async {
            let ids = self.store.delete_user(user, keep).await.unwrap();
            (Ok(ids.clone()), vec![Did::DeleteUser(ids)])
        };
        self.schedule.step(work).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        let work = async {
            let batch = self.store.purge(now, limits).await.unwrap();
            let removed = batch.ids().collect();
            (Ok(batch), vec![Did::Purge(removed)])
        };
        self.schedule.step(work).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.store.stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        self.store.init().await
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }
}

/// Every way to choose, one after the other.
#[derive(Default)]
pub(crate) struct Exhaustive {
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Exhaustive {
    pub(crate) fn choose(&mut self, of: usize) -> usize {
        if of == 1 {
            return 0;
        }
        if self.at == self.path.len() {
            self.path.push((0, of));
        }
        let (chosen, recorded) = self.path[self.at];
        assert_eq!(recorded, of, "the same choices lead to the same place");
        self.at += 1;
        chosen
    }

    /// Whether there is another way.
    pub(crate) fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, of)) = self.path.pop() {
            if chosen + 1 < of {
                self.path.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}
