//! Many requests to both services at once, on one session.
//!
//! lback reads all the data, lets its view run and writes all of it back: what anybody wrote in between is gone,
//! and no lock that others take prevents it. So what can be proven is this: whatever is missing, a request to lback
//! that ran at that time has overwritten it; sessile never has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use crate::application::TOKEN_FIELD;
use crate::browser::{Browser, Lback, Sessile, Side};
use crate::stage::Stage;

crate::on_every_database!(rust_loses_nothing_beside_readers, whatever_is_lost_lback_lost, eight_at_once);

/// One write that was acknowledged: its key, and when it ran, in ticks of one counter.
#[derive(Debug, Clone)]
struct Written {
    key: String,
    side: Side,
    begun: u64,
    done: u64,
}

impl Written {
    fn overlaps(&self, other: &Written) -> bool {
        self.begun < other.done && other.begun < self.done
    }
}

/// The requests of one visitor, who has the form's token already.
#[derive(Clone)]
struct Visitor {
    browser: Browser,
    token: String,
    ticks: Arc<AtomicU64>,
}

impl Visitor {
    async fn new(stage: &Stage, begins_at: Side) -> Visitor {
        let mut browser = stage.browser();
        browser.sign_in(begins_at, "42").await;
        let token = browser.get(Sessile, "/token").await.body;
        Visitor { browser, token, ticks: Arc::default() }
    }

    /// One key, by a handler that takes its time or by one that does not.
    async fn write(mut self, side: Side, path: &'static str, key: String) -> Written {
        let begun = self.ticks.fetch_add(1, Ordering::SeqCst);
        let fields = [("key", key.as_str()), ("value", "1"), ("seconds", "0.05"), (TOKEN_FIELD, &self.token)];
        let reply = self.browser.post(side, path, &fields).await;
        assert_eq!(reply.status, 200, "{side:?} {path} {key}: {}", reply.body);
        let done = self.ticks.fetch_add(1, Ordering::SeqCst);
        Written { key, side, begun, done }
    }

    async fn read(mut self, side: Side) {
        assert_eq!(self.browser.user(side).await.as_deref(), Some("42"), "{side:?}");
    }
}

/// Law 1: six writers through Rust and three readers through Python, each of which renews the row.
async fn rust_loses_nothing_beside_readers(stage: &mut Stage) {
    const TURNS: usize = 6;
    let mut visitor = Visitor::new(stage, Lback).await;
    let mut crowd = JoinSet::new();
    for writer in 0..6 {
        let visitor = visitor.clone();
        crowd.spawn(async move {
            for turn in 0..TURNS {
                visitor.clone().write(Sessile, "/slow", format!("w{writer}-{turn}")).await;
                visitor.clone().write(Sessile, "/count", "count".to_owned()).await;
            }
        });
    }
    for _ in 0..3 {
        let visitor = visitor.clone();
        crowd.spawn(async move {
            for _ in 0..TURNS {
                visitor.clone().read(Lback).await;
            }
        });
    }
    crowd.join_all().await;
    for side in [Lback, Sessile] {
        let data = visitor.browser.shown(side).await["data"].clone();
        assert_eq!(data["count"], json!(6 * TURNS), "{side:?}");
        for (writer, turn) in (0..6).flat_map(|writer| (0..TURNS).map(move |turn| (writer, turn))) {
            assert_eq!(data[format!("w{writer}-{turn}")], json!(1), "{side:?} {writer} {turn}");
        }
    }
}

/// Law 1: writers on both sides. What Rust wrote while no writer of Python's ran stays for good.
async fn whatever_is_lost_lback_lost(stage: &mut Stage) {
    let mut visitor = Visitor::new(stage, Sessile).await;
    let mut history: Vec<Written> = Vec::new();
    for round in 0..4 {
        // Rust alone, with readers of Python's.
        let mut calm = JoinSet::new();
        for writer in 0..4 {
            calm.spawn(visitor.clone().write(Sessile, "/change", format!("calm-{round}-{writer}")));
        }
        let readers: JoinSet<()> = (0..2).map(|_| visitor.clone().read(Lback)).collect();
        history.extend(calm.join_all().await);
        readers.join_all().await;
        // All at once.
        let mut storm = JoinSet::new();
        for writer in 0..3 {
            storm.spawn(visitor.clone().write(Lback, "/slow", format!("python-{round}-{writer}")));
            let visitor = visitor.clone();
            storm.spawn(async move {
                visitor.clone().write(Sessile, "/change", format!("rust-{round}-{writer}")).await
            });
        }
        history.extend(storm.join_all().await);
    }
    let data = visitor.browser.shown(Sessile).await["data"].clone();
    let missing: Vec<&Written> = history.iter().filter(|written| data.get(&written.key).is_none()).collect();
    for lost in &missing {
        let culprit = |other: &&Written| other.side == Lback && other.key != lost.key && other.overlaps(lost);
        assert!(history.iter().any(|other| culprit(&other)), "nobody of lback's can have lost {lost:?}");
    }
    let by_side = |side: Side| missing.iter().filter(|lost| lost.side == side).count();
    println!("lost by lback: {} of lback's writes, {} of sessile's", by_side(Lback), by_side(Sessile));
    assert!(history.iter().filter(|written| written.key.starts_with("calm")).count() == 16);
}

/// Eight requests at once set eight keys: lback keeps some of them (that is its defect), sessile all.
async fn eight_at_once(stage: &mut Stage) {
    let mut kept = BTreeMap::new();
    for side in [Lback, Sessile] {
        let mut visitor = Visitor::new(stage, side).await;
        let crowd: JoinSet<Written> =
            (0..8).map(|number| visitor.clone().write(side, "/slow", format!("key{number}"))).collect();
        crowd.join_all().await;
        let data = visitor.browser.shown(side).await["data"].clone();
        let count = (0..8).filter(|number| data.get(format!("key{number}")).is_some()).count();
        kept.insert(side as usize, count);
    }
    assert!(kept[&(Lback as usize)] < 8, "lback has learnt to merge: {kept:?}");
    assert_eq!(kept[&(Sessile as usize)], 8);
}
