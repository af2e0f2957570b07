//! Laws 1 and 2, in every order in which the steps of two requests can reach the store, and in random
//! orders of three: nothing is lost, and the dead stay dead.
//!
//! G05 does not fit as a grace window: a request under an id that was rotated meanwhile is refused
//! (409), as pinned here. G07 and G08 need such a window. G11 does not fit: there is no lock per session,
//! a conflict is merged.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

mod actors;
mod gate;
mod model;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "sqlite")]
mod table;
#[cfg(feature = "sqlite")]
mod threads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::StatusCode;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use sessile::record::{ManualClock, SessionId, SessionRecord};
use sessile::store::{ListQuery, Liveness, MemoryStore, SessionStore};
use sessile::{Policy, Sessions};

use actors::{Part, everybody};
use gate::{Actor, Exhaustive, Gate, Schedule};
use model::{Model, NOW, PURGE};
use support::caller::{Row, token};
use support::noon;

/// Whose session it is at first, and whether it is remembered.
pub(crate) type Start = (Option<&'static str>, bool);
pub(crate) const STARTS: [Start; 4] =
    [(None, false), (Some("ada"), false), (Some("bob"), false), (Some("ada"), true)];

/// Where the actors meet.
pub(crate) trait Table {
    fn store(&self) -> Arc<dyn SessionStore>;

    /// All rows.
    async fn rows(&self) -> Vec<SessionRecord>;

    /// An empty table again.
    fn reset(&mut self);

    fn python<'a>(&'a self, schedule: &'a Schedule, id: SessionId) -> Actor<'a, Option<StatusCode>>;
}

struct Memory(MemoryStore);

impl Table for Memory {
    fn store(&self) -> Arc<dyn SessionStore> {
        Arc::new(self.0.clone())
    }

    async fn rows(&self) -> Vec<SessionRecord> {
        let query = ListQuery { user: None, liveness: Liveness::Any, now: noon(), after: None, limit: 100 };
        self.0.list(&query).await.unwrap().records
    }

    fn reset(&mut self) {
        self.0 = MemoryStore::new();
    }

    fn python<'a>(&'a self, _: &'a Schedule, _: SessionId) -> Actor<'a, Option<StatusCode>> {
        unreachable!("no other process has this memory")
    }
}

fn minutes(minutes: u64) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(noon().saturating_add(Duration::from_secs(60 * minutes))))
}

/// One order of the steps of these actors.
async fn one_order(
    table: &impl Table,
    parts: &[Part],
    (user, remember): Start,
    shared: bool,
    choose: &mut dyn FnMut(usize) -> usize,
) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let (cookie, id) = token(NUMBER.fetch_add(1, Ordering::Relaxed));
    let meta = if remember { r#", "_sessile": {"remember": true}"# } else { "" };
    let mut row = Row::new(id, format!(r#"{{"seed": 1, "n": 0{meta}}}"#), noon());
    row.user = user;
    if remember {
        row.expires_at = noon().saturating_add(Duration::from_secs(14 * 86_400));
    }
    let store = table.store();
    row.put_into(&*store).await;

    let schedule = Schedule::default();
    let gate = Gate { store: Arc::clone(&store), schedule: schedule.clone() };
    let service =
        |minute| Sessions::builder(gate.clone()).policy(Policy::default()).clock(minutes(minute)).build();
    let first = service(NOW);
    // In one process requests that fight stand in line; in several they do not.
    let services: Vec<Sessions> =
        parts.iter().map(|_| if shared { first.clone() } else { service(NOW) }).collect();
    let purger = service(PURGE);
    let play = |(at, &part): (usize, &Part)| match part {
        Part::Python => table.python(&schedule, id),
        part => actors::play(part, at, &services[at], &purger, &cookie, id),
    };
    let actors: Vec<_> = parts.iter().enumerate().map(play).collect();

    let mut model = Model::new(parts, id, model::Row::of(&row.record(), noon()));
    let observe = async |actor, did| {
        model.observe(actor, did);
        for id in &model.known {
            let there = store.load(*id).await.unwrap().is_some();
            assert_eq!(there, model.rows.contains_key(id), "the row {id}");
        }
    };
    let told = schedule.run(actors, choose, observe).await;
    let rows: Vec<_> = table.rows().await;
    let rows = rows.iter().map(|record| (record.id(), model::Row::of(record, noon()))).collect();
    assert_eq!(model.rows, rows, "what is left");
    if parts.contains(&Part::RevokeOf) {
        model.revoked_by_ada();
    }
    for (actor, status) in told.into_iter().enumerate() {
        match status {
            None => {}
            Some(StatusCode::OK) => model.succeeded(actor),
            Some(StatusCode::CONFLICT) => model.refused(actor),
            Some(status) => panic!("the request was told {status}"),
        }
    }
}

/// Tells which actors were on the stage when an assertion failed.
struct Scene(String);

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the scene {}", self.0);
        }
    }
}

/// All orders of all pairs; how many.
pub(crate) async fn all_pairs(
    table: &mut impl Table,
    parts: &[Part],
    starts: &[Start],
    shared: bool,
) -> usize {
    let mut orders = 0;
    for (at, &one) in parts.iter().enumerate() {
        for &other in &parts[at..] {
            for &start in starts {
                let mut ways = Exhaustive::default();
                loop {
                    let scene = Scene(format!("{one:?}, {other:?} on {start:?}, one process: {shared}"));
                    one_order(table, &[one, other], start, shared, &mut |of| ways.choose(of)).await;
                    drop(scene);
                    orders += 1;
                    table.reset();
                    if !ways.next() {
                        break;
                    }
                }
            }
        }
    }
    orders
}

/// So many random orders of random actors.
pub(crate) async fn random_threes(table: &mut impl Table, parts: &[Part], orders: usize) -> usize {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut pick = move |of: usize| random.next_u32() as usize % of;
    for number in 0..orders {
        let three: Vec<Part> = (0..3).map(|_| parts[pick(parts.len())]).collect();
        let (start, shared) = (STARTS[pick(STARTS.len())], pick(2) == 0);
        let scene = Scene(format!("{three:?} on {start:?}, one process: {shared}, number {number}"));
        one_order(table, &three, start, shared, &mut pick).await;
        drop(scene);
        table.reset();
    }
    orders
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// [R12] [G01] [G02] [G04] [G14] [C20] [B13] Two requests, every order of their steps, in one process
/// and in two.
#[test]
fn memory_in_every_order_of_two() {
    let mut table = Memory(MemoryStore::new());
    let orders = runtime().block_on(async {
        all_pairs(&mut table, &everybody(), &STARTS, true).await
            + all_pairs(&mut table, &everybody(), &STARTS, false).await
    });
    println!("{orders} orders of two");
    assert!(orders >= 10_000, "{orders}");
}

/// [R12]
#[test]
fn memory_in_random_orders_of_three() {
    let mut table = Memory(MemoryStore::new());
    runtime().block_on(random_threes(&mut table, &everybody(), 6_000));
}
