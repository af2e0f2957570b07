//! Rotations in a Cluster, cut short after each of their steps, and steps that arrive twice.

use std::sync::atomic::{AtomicU32, Ordering};

use super::cluster::attempt;
use super::*;
use crate::record::{Columns, SessionRecord};
use crate::store::{Expiry, Liveness, Rotation, Touch, Update};

fn at(seconds: u64) -> Timestamp {
    let start = Timestamp::parse("2100-01-01 00:00:00").unwrap();
    start.saturating_add(std::time::Duration::from_secs(seconds))
}

/// Each number in a bucket of its own.
fn id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn row(number: u8, user: &str) -> SessionRecord {
    SessionRecord::from_columns(Columns {
        id: id(number),
        user_id: Some(UserId::stored(user)),
        data: StoredData::Text(r#"{"a": 1}"#.into()),
        created_at: Some(at(0)),
        expires_at: at(1_000),
        updated_at: Some(at(0)),
    })
}

fn rotation(from: u8, to: u8) -> Rotation {
    let read = row(from, "ada");
    Rotation {
        id: read.id(),
        expected: read.stored_data().clone(),
        record: row(to, "ada"),
        now: at(1).into(),
    }
}

fn update(number: u8) -> Write {
    Write::Update(Update {
        id: id(number),
        expected: row(number, "ada").stored_data().clone(),
        data: r#"{"a": 2}"#.into(),
        user_id: None,
        expires_at: Expiry::Keep,
        now: at(2).into(),
    })
}

fn touch(number: u8) -> Write {
    Write::Touch(Touch { id: id(number), expires_at: at(2_000), now: at(2).into() })
}

fn query(user: Option<&str>) -> ListQuery {
    let user = user.map(UserId::stored);
    ListQuery { user, liveness: Liveness::Any, now: at(2), after: None, limit: 100 }
}

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Prepared,
    Decided,
    Finished,
}

/// A store with a prefix of its own.
struct Cut {
    store: RedisStore,
    attempt: String,
}

impl Cut {
    async fn new() -> Cut {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let url = std::env::var("SESSILE_TEST_REDIS_CLUSTER")
            .expect("SESSILE_TEST_REDIS_CLUSTER is not set: run the tests with `cargo xtask test`");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("sessile-test-cut-{}-{}-{number}:", std::process::id(), attempt().unwrap());
        let store = RedisStore::options().prefix(prefix).connect(&url).await.unwrap();
        Cut { store, attempt: attempt().unwrap() }
    }

    /// Ada's session 1, on its way to 2, as far as this step.
    async fn after(step: Step) -> Cut {
        let cut = Cut::new().await;
        assert_eq!(cut.apply(Write::Insert(row(1, "ada"))).await, Outcome::Applied);
        cut.link().ask(call::plain(&["HSET", &cut.store.0.keys.row(id(1)), "later", "kept"])).await.unwrap();
        let (rotation, scribe) = (rotation(1, 2), cut.scribe());
        let end = row::end(at(1_000));
        cut.link().ask(scribe.enter(&UserId::stored("ada"), id(2), end)).await.unwrap();
        assert!(cut.applies(scribe.prepare(&rotation)).await);
        if step >= Step::Decided {
            assert!(cut.applies(scribe.decide(&rotation)).await);
        }
        if step >= Step::Finished {
            assert!(cut.applies(scribe.finish(id(2), &id(1).to_string(), &[])).await);
        }
        cut
    }

    fn scribe(&self) -> Scribe<'_> {
        self.store.0.scribe(&self.attempt)
    }

    fn link(&self) -> &Link {
        &self.store.0.link
    }

    async fn applies(&self, request: call::Request<'_>) -> bool {
        matches!(verdict(self.link().ask(request).await).unwrap(), Verdict::Applied { .. })
    }

    async fn apply(&self, write: Write) -> Outcome {
        self.store.apply(write).await.unwrap()
    }

    async fn is_there(&self, number: u8) -> bool {
        self.store.load(id(number)).await.unwrap().is_some()
    }

    async fn listed(&self, user: Option<&str>) -> Vec<SessionId> {
        let page = self.store.list(&query(user)).await.unwrap();
        page.records.iter().map(SessionRecord::id).collect()
    }

    async fn field(&self, number: u8, field: &str) -> Value {
        self.link().ask(call::plain(&["HGET", &self.store.0.keys.row(id(number)), field])).await.unwrap()
    }

    /// Removes everything.
    async fn end(self) {
        for user in ["ada", "bob"] {
            let _ = self.store.delete_user(&UserId::stored(user), None).await;
            self.link()
                .ask(call::plain(&["DEL", &self.store.0.keys.user(&UserId::stored(user))]))
                .await
                .unwrap();
        }
        for number in 0..8 {
            for key in self.store.0.keys.of_row(id(number)) {
                self.link().ask(call::plain(&["DEL", &key])).await.unwrap();
            }
        }
    }
}

/// [R06] [R12] Before the decision the old session is the only one, whoever looks.
#[tokio::test]
async fn a_prepared_row_does_not_count() {
    let cut = Cut::after(Step::Prepared).await;
    for _ in 0..2 {
        assert!(cut.is_there(1).await && !cut.is_there(2).await);
        let both = cut.store.load_many(&[id(2), id(1), id(2)]).await;
        assert_eq!(
            both.iter().map(|it| it.as_ref().unwrap().is_some()).collect::<Vec<_>>(),
            [false, true, false]
        );
        assert_eq!(cut.listed(None).await, [id(1)]);
        assert_eq!(cut.listed(Some("ada")).await, [id(1)]);
        assert_eq!(cut.store.stats(at(2)).await.unwrap().live, 1);
        for write in [update(2), touch(2), Write::Delete(id(2)), Write::Insert(row(2, "ada"))] {
            assert_eq!(cut.apply(write).await, Outcome::Unmatched);
        }
        assert_eq!(cut.apply(Write::Rotate(rotation(2, 3))).await, Outcome::Unmatched);
        assert!(!cut.is_there(3).await);
    }
    // Its own rotation goes on as if nobody had looked.
    assert!(cut.applies(cut.scribe().decide(&rotation(1, 2))).await);
    assert!(!cut.is_there(1).await && cut.is_there(2).await);
    cut.end().await;
}

/// [R12] [S10] Who ends all sessions in between ends this one for good.
#[tokio::test]
async fn a_session_ended_before_the_decision_stays_ended() {
    for write in [None, Some(Write::Delete(id(1))), Some(update(1))] {
        let cut = Cut::after(Step::Prepared).await;
        let changed = matches!(write, Some(Write::Update(_)));
        match write {
            None => {
                let deleted = cut.store.delete_user(&UserId::stored("ada"), None).await.unwrap();
                assert_eq!(deleted, [id(1)]);
            }
            Some(write) => assert_eq!(cut.apply(write).await, Outcome::Applied),
        }
        assert!(!cut.applies(cut.scribe().decide(&rotation(1, 2))).await);
        assert_eq!((cut.is_there(1).await, cut.is_there(2).await), (changed, false));
        cut.end().await;
    }
}

/// [R06] [R12] After the decision the new session is the only one, whoever looks first, and its lookers
/// finish it.
#[tokio::test]
async fn a_decided_row_counts_whoever_meets_it_first() {
    for step in [Step::Decided, Step::Finished] {
        for looker in 0..9 {
            let cut = Cut::after(step).await;
            let mut left = vec![id(2)];
            match looker {
                0 => assert!(cut.is_there(2).await),
                1 => assert!(!cut.is_there(1).await),
                2 => assert_eq!(cut.listed(None).await, left),
                3 => assert_eq!(cut.listed(Some("ada")).await, left),
                4 => assert_eq!(cut.store.stats(at(2)).await.unwrap().live, 1),
                5 => assert_eq!(cut.apply(update(2)).await, Outcome::Applied),
                6 => assert_eq!(cut.apply(touch(2)).await, Outcome::Applied),
                7 => {
                    assert_eq!(cut.apply(Write::Rotate(rotation(2, 3))).await, Outcome::Applied);
                    left = vec![id(3)];
                }
                _ => {
                    assert_eq!(cut.apply(Write::Delete(id(2))).await, Outcome::Applied);
                    left = vec![];
                }
            }
            for write in [update(1), touch(1), Write::Delete(id(1)), Write::Rotate(rotation(1, 4))] {
                assert_eq!(cut.apply(write).await, Outcome::Unmatched, "{step:?} {looker}");
            }
            assert!(!cut.is_there(1).await && !cut.is_there(4).await);
            assert_eq!(cut.listed(None).await, left, "{step:?} {looker}");
            assert_eq!(cut.listed(Some("ada")).await, left, "{step:?} {looker}");
            assert!(matches!(cut.field(2, "rotated_from").await, Value::Nil));
            cut.end().await;
        }
    }
}

/// [R12] [S10] Nor does it get away from who ends all of a user's sessions.
#[tokio::test]
async fn a_decided_row_is_ended_with_its_user() {
    for step in [Step::Decided, Step::Finished] {
        let cut = Cut::after(step).await;
        assert_eq!(cut.store.delete_user(&UserId::stored("ada"), None).await.unwrap(), [id(2)]);
        assert!(!cut.is_there(1).await && !cut.is_there(2).await);
        cut.end().await;
    }
}

/// [R10] What was never decided is no session that a purge could tell of, and does not stop it.
#[tokio::test]
async fn a_purge_takes_what_was_cut_short_away() {
    for (step, told) in [(Step::Prepared, vec![id(1)]), (Step::Finished, vec![id(2)])] {
        let cut = Cut::after(step).await;
        let batch = cut.store.purge(at(5_000), PurgeLimits::default()).await.unwrap();
        assert_eq!((batch.ids().collect::<Vec<_>>(), batch.more), (told, false));
        assert!(!cut.is_there(1).await && !cut.is_there(2).await);
        assert!(matches!(cut.field(2, "rotated_from").await, Value::Nil));
        cut.end().await;
    }
}

/// [R14] What a later version has put beside a row goes along with a rotation that was cut short, whoever finishes it.
#[tokio::test]
async fn a_field_of_a_later_version_goes_along() {
    let kept = Value::BulkString(b"kept".to_vec());
    let cut = Cut::after(Step::Prepared).await;
    assert!(!cut.is_there(2).await);
    assert_eq!(cut.field(1, "later").await, kept, "nothing was decided");
    cut.end().await;
    let cut = Cut::after(Step::Decided).await;
    assert!(cut.is_there(2).await && !cut.is_there(1).await);
    assert_eq!(cut.field(2, "later").await, kept);
    cut.end().await;
}

/// A client that has lost an answer sends again: it is told what it would have been told, and it was made
/// once.
#[tokio::test]
async fn what_arrives_twice_is_made_once() {
    let cut = Cut::new().await;
    let (one, scribe) = (row(1, "ada"), cut.scribe());
    for _ in 0..3 {
        assert!(cut.applies(scribe.insert(&one)).await);
    }
    let other = attempt().unwrap();
    let [Write::Update(update), Write::Touch(touch)] = [update(1), touch(1)] else { panic!() };
    for _ in 0..3 {
        assert!(cut.applies(cut.store.0.scribe(&other).update(&update)).await);
    }
    assert!(!cut.applies(scribe.update(&update)).await, "another attempt finds other data");
    for _ in 0..3 {
        assert!(cut.applies(scribe.touch(&touch)).await);
    }
    let mut rotation = rotation(1, 2);
    rotation.expected = StoredData::Text(r#"{"a": 2}"#.into());
    for request in [Scribe::prepare, Scribe::decide] {
        for _ in 0..3 {
            assert!(cut.applies(request(scribe, &rotation)).await);
        }
        assert!(!cut.applies(request(cut.store.0.scribe(&other), &rotation)).await);
    }
    for _ in 0..3 {
        assert!(cut.applies(scribe.finish(id(2), &id(1).to_string(), &[])).await);
    }
    assert_eq!(cut.listed(None).await, [id(2)]);
    cut.end().await;
}

/// [S10] Who is back after a failover is found by who ends all of the user's sessions.
#[tokio::test]
async fn an_id_leaves_its_users_index_only_when_its_row_is_gone() {
    let cut = Cut::new().await;
    let ada = UserId::stored("ada");
    for number in [1, 2] {
        assert_eq!(cut.apply(Write::Insert(row(number, "ada"))).await, Outcome::Applied);
        assert_eq!(cut.apply(Write::Delete(id(number))).await, Outcome::Applied);
    }
    let inner = &cut.store.0;
    assert_eq!(inner.ids_of(&inner.link, &ada).await.unwrap(), [id(1), id(2)], "not at once");
    // As if its server had forgotten the deletion.
    assert!(cut.applies(cut.scribe().insert(&row(1, "ada"))).await);
    inner.let_go(&[1, 2].map(|number| leavers::Leaver::new(&ada, id(number)))).await;
    assert_eq!(inner.ids_of(&inner.link, &ada).await.unwrap(), [id(1)]);
    assert_eq!(cut.store.delete_user(&ada, None).await.unwrap(), [id(1)]);
    cut.end().await;
}

/// [S10] An entry that a failover has made the user's server forget is there again after a renewal.
#[tokio::test]
async fn a_renewal_enters_the_id_again() {
    let ada = UserId::stored("ada");
    let Write::Update(extending) = update(1) else { panic!() };
    let extending = Write::Update(Update { expires_at: Expiry::Extend(at(2_000)), ..extending });
    for renewal in [touch(1), extending] {
        let cut = Cut::new().await;
        assert_eq!(cut.apply(Write::Insert(row(1, "ada"))).await, Outcome::Applied);
        cut.link().ask(call::plain(&["DEL", &cut.store.0.keys.user(&ada)])).await.unwrap();
        assert!(cut.listed(Some("ada")).await.is_empty());
        assert_eq!(cut.apply(renewal).await, Outcome::Applied);
        assert_eq!(cut.listed(Some("ada")).await, [id(1)]);
        cut.end().await;
    }
}
