//! The order of the keys: what a handler sees is what the next request loads.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use proptest::prelude::*;
use sessile::{Policy, Session};
use support::{Stage, Visitor};

#[derive(Debug, Clone, Copy)]
enum Op {
    Insert(&'static str, u8),
    Remove(&'static str),
    Take(&'static str),
    Update(&'static str),
    /// An update that leaves nothing.
    UpdateAway(&'static str),
    Push(&'static str),
    Extend,
    KeepOnly,
    Clear,
    Rotate,
    Save,
}

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

async fn perform(session: &Session, op: Op) {
    match op {
        Op::Insert(key, value) => session.insert(key, &[value]).unwrap(),
        Op::Remove(key) => drop(session.remove(key)),
        Op::Take(key) => drop(session.take::<Vec<u8>>(key).unwrap()),
        Op::Update(key) => drop(session.update(key, |list: &mut Vec<u8>| list.push(1)).unwrap()),
        Op::UpdateAway(key) => drop(session.update(key, |list: &mut Option<Vec<u8>>| *list = None).unwrap()),
        Op::Push(key) => session.push(key, &2).unwrap(),
        Op::Extend => session.extend(&serde_json::json!({"d": [7], "a": null, "b": [8]})).unwrap(),
        Op::KeepOnly => session.keep_only(&["b", "c"]),
        Op::Clear => session.clear(),
        Op::Rotate => drop(session.rotate()),
        Op::Save => session.save().await.unwrap(),
    }
}

fn seen(session: &Session) -> Vec<(String, String)> {
    session.keys().into_iter().map(|key| (key.clone(), session.raw(&key).unwrap())).collect()
}

/// Performs these, and returns what the handler saw at the end.
async fn request(visitor: &mut Visitor, ops: Vec<Op>) -> String {
    let answer = visitor
        .does(async move |session: Session| {
            for op in ops {
                perform(&session, op).await;
            }
            format!("{:?}", seen(&session))
        })
        .await;
    assert_eq!(answer.status, 200);
    answer.body
}

async fn check(start: Vec<Op>, ops: Vec<Op>, others: Vec<Op>) -> Result<(), TestCaseError> {
    let stage = Stage::with_policy(Policy::default());
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("first", &0)).await;
    request(&mut visitor, start).await;
    let shown = request(&mut visitor, ops.clone()).await;
    prop_assert_eq!(&request(&mut visitor, Vec::new()).await, &shown, "seen, and loaded");

    // A merge: the order is that of the newest row with these changes made on it, as if they had come one after the
    // other, and what the handler sees after its save is what the next request loads.
    let without_taking = |ops: &[Op]| -> Vec<Op> {
        ops.iter().copied().filter(|op| !matches!(op, Op::Take(_) | Op::Rotate)).collect()
    };
    let (mut ops, others) = (without_taking(&ops), without_taking(&others));
    ops.retain(|op| !matches!(op, Op::Save));
    let mut other = visitor.clone();
    stage.store.before_next_write(async move { drop(request(&mut other, others).await) });
    ops.push(Op::Save);
    let merged = request(&mut visitor, ops).await;
    prop_assert_eq!(request(&mut visitor, Vec::new()).await, merged, "merged, and loaded");
    Ok(())
}

/// [G02] Two requests set the same key to the same value at once: the second one finds nothing left to write, and shows
/// what the first one wrote beside it.
#[tokio::test]
async fn a_save_that_finds_its_change_made_shows_the_newest_row() {
    let stage = Stage::with_policy(Policy::default());
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("first", &0)).await;
    let mut other = visitor.clone();
    let others = vec![Op::Insert("c", 0), Op::Insert("d", 7)];
    stage.store.before_next_write(async move { drop(request(&mut other, others).await) });
    let merged = request(&mut visitor, vec![Op::Insert("d", 7), Op::Save]).await;
    assert!(merged.contains("(\"c\", \"[0]\")"), "{merged}");
    assert_eq!(request(&mut visitor, Vec::new()).await, merged);
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let keys = || prop::sample::select(&KEYS[..]);
    let op = prop_oneof![
        5 => (keys(), 0..3u8).prop_map(|(key, value)| Op::Insert(key, value)),
        4 => keys().prop_map(Op::Remove),
        2 => keys().prop_map(Op::Take),
        3 => keys().prop_map(Op::Update),
        2 => keys().prop_map(Op::UpdateAway),
        3 => keys().prop_map(Op::Push),
        1 => Just(Op::Extend),
        1 => Just(Op::KeepOnly),
        1 => Just(Op::Clear),
        1 => Just(Op::Rotate),
        1 => Just(Op::Save),
    ];
    prop::collection::vec(op, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// [S07] [A11] [G02] Replaced, removed, set again, updated, taken, in any order, alone and merged with another
    /// request's changes: keys and values stand in the row as the handler saw them.
    #[test]
    fn the_order_of_the_keys_is_what_the_handler_saw(start in ops(), ops_of_one in ops(), others in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(start, ops_of_one, others))?;
    }
}
