//! Renewals in the background: the response does not wait for them, and nothing is promised that they do not keep.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use sessile::engine::Event;
use sessile::{CookieConfig, Policy, Session, SessionId};
use support::{Stage, Visitor, seconds, sign_in};
use tokio::sync::Semaphore;

/// The next so many writes wait until the gate lets them pass.
fn gate(stage: &Stage, writes: usize) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    for _ in 0..writes {
        let gate = Arc::clone(&gate);
        stage.store.before_next_write(async move { gate.acquire().await.unwrap().forget() });
    }
    gate
}

async fn looks(visitor: &mut Visitor) -> Vec<String> {
    let answer = visitor.does(async |session: Session| assert!(session.user_id().is_some())).await;
    assert_eq!(answer.status, 200);
    answer.set_cookies()
}

async fn visitors(stage: &Stage, number: usize) -> Vec<Visitor> {
    let mut visitors = Vec::new();
    for _ in 0..number {
        let mut visitor = stage.visitor();
        sign_in(&mut visitor, "ada").await;
        visitors.push(visitor.impatient());
    }
    stage.events();
    visitors
}

async fn renewed(stage: &Stage) -> usize {
    let end = stage.sessions.now().saturating_add(seconds(1_800));
    stage.store.rows().await.iter().filter(|row| row.expires_at() == end).count()
}

fn told(stage: &Stage) -> Vec<SessionId> {
    let id = |event| match event {
        Event::Renewed { id } => Some(id),
        _ => None,
    };
    stage.events().into_iter().filter_map(id).collect()
}

/// [E20] The response leaves at once; the expiry moves when the store gets to it, and is told once.
#[tokio::test]
async fn the_response_does_not_wait() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = visitors(&stage, 1).await.remove(0);
        stage.clock.advance(seconds(900));
        let gate = gate(&stage, 1);
        for _ in 0..3 {
            assert!(looks(&mut visitor).await.is_empty());
        }
        assert_eq!((renewed(&stage).await, told(&stage)), (0, vec![]));
        gate.add_permits(1);
        stage.sessions.settled().await;
        assert_eq!(renewed(&stage).await, 1);
        assert_eq!(told(&stage), [stage.store.rows().await[0].id()], "once");
    }
}

/// [E20] Many that are due at once share a few statements; a session that is asked for again while it is renewed
/// is not renewed twice.
#[tokio::test]
async fn a_crowd_is_renewed_together() {
    let stage = Stage::new();
    let mut visitors = visitors(&stage, 500).await;
    stage.clock.advance(seconds(900));
    stage.store.statements();
    let gate = gate(&stage, 1);
    for visitor in &mut visitors {
        looks(visitor).await;
        stage.clock.advance(Duration::from_millis(1));
        looks(visitor).await;
    }
    gate.add_permits(1);
    stage.sessions.settled().await;
    let writes = stage.store.statements() - 1_000;
    assert!((4..=6).contains(&writes), "{writes} statements for 500 renewals");
    let mut told = told(&stage);
    told.sort();
    let mut ids: Vec<SessionId> = stage.store.rows().await.iter().map(|row| row.id()).collect();
    ids.sort();
    assert_eq!(told, ids, "each once");
}

/// [R01] A store that is away takes nothing, and nothing is kept for it. The next request notes it again.
#[tokio::test]
async fn what_cannot_be_renewed_is_dropped() {
    let stage = Stage::new();
    let mut few = visitors(&stage, 3).await;
    stage.clock.advance(seconds(900));
    stage.store.set_writes_down(true);
    for visitor in &mut few {
        assert!(looks(visitor).await.is_empty());
    }
    stage.sessions.settled().await;
    stage.store.set_writes_down(false);
    stage.sessions.settled().await;
    assert_eq!((renewed(&stage).await, told(&stage)), (0, vec![]));
    looks(&mut few[0]).await;
    stage.sessions.settled().await;
    assert_eq!(renewed(&stage).await, 1);
}

/// [B07] A cookie that tells until when the session lives, and one that Python's next request depends on, tell the
/// truth: there the response waits, and claims nothing that the store has not acknowledged.
#[tokio::test]
async fn a_response_that_tells_the_expiry_waits_for_it() {
    for (what, policy, cookie, remembers) in [
        ("remembered", Policy::default(), CookieConfig::default(), true),
        ("lback", Policy::lback(), CookieConfig::lback(), false),
    ] {
        let stage = Stage::with_policy(policy);
        let mut visitor = stage.visitor_with(cookie);
        let handler = async move |session: Session| {
            session.login("ada").unwrap();
            session.remember(remembers);
        };
        assert_eq!(visitor.does(handler).await.status, 200);
        let mut visitor = visitor.impatient();
        stage.clock.advance(seconds(2 * 86_400 * u64::from(remembers) + 900));
        let before = stage.store.rows().await[0].expires_at();
        stage.store.set_writes_down(true);
        assert!(looks(&mut visitor).await.is_empty(), "{what}: nothing is promised");
        stage.store.set_writes_down(false);
        let cookies = looks(&mut visitor).await;
        let row = &stage.store.rows().await[0];
        assert!(row.expires_at() > before, "{what}: done when the response leaves");
        let left = row.expires_at().saturating_since(stage.sessions.now()).as_secs();
        assert!(cookies[0].contains(&format!("Max-Age={left}")), "{what}: {cookies:?}");
    }
}

/// [R12] What ended while its renewal waited stays ended, and one that was moved further stays there.
#[tokio::test]
async fn a_late_renewal_brings_nothing_back() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut two = visitors(&stage, 2).await;
        stage.clock.advance(seconds(900));
        let gate = gate(&stage, 1);
        for visitor in &mut two {
            looks(visitor).await;
        }
        // One is over before the store gets to it; nobody knows of the other.
        let [over, goes_on] = [0, 1].map(|at| two[at].cookie().unwrap());
        assert_ne!(over, goes_on);
        stage.clock.advance(seconds(901));
        gate.add_permits(1);
        stage.sessions.settled().await;
        assert_eq!(told(&stage), []);
        assert_eq!(stage.sessions.purge(|_| {}).await.unwrap().removed, 2, "the idle time was over");
    }
}

/// A renewal whose runtime ends is dropped or made by the next one, and nobody waits for ever.
#[test]
fn a_runtime_that_ends_leaves_nothing_stuck() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let stage = Stage::new();
    let mut visitor = first.block_on(async {
        let mut visitor = visitors(&stage, 1).await.remove(0);
        stage.clock.advance(seconds(900));
        gate(&stage, 1);
        looks(&mut visitor).await;
        tokio::task::yield_now().await;
        visitor
    });
    drop(first);
    second.block_on(async {
        stage.sessions.settled().await;
        looks(&mut visitor).await;
        stage.sessions.settled().await;
        assert_eq!(renewed(&stage).await, 1);
    });
}
