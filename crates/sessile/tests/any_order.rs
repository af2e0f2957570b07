//! Any order of operations in one request ends in the state that the last of them means.
//!
//! The model knows no operations to merge, no compare-and-swap and no store: it keeps what a
//! visitor would say the session holds, and what the last save made of it.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};
use sessile::record::Timestamp;
use sessile::{Policy, Session};
use support::caller::{Caller, Panicked, token};
use support::{Stage, noon, seconds};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    Insert(&'static str, u8),
    Remove(&'static str),
    Clear,
    Update,
    Push(u8),
    Flash,
    TakeFlashes,
    Login(&'static str),
    Rotate,
    Logout,
    Remember(bool),
    IdleTimeout(Option<u64>),
    Csrf,
    Save,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    Nobody,
    UnknownCookie,
    Anonymous,
    SignedIn(&'static str),
    Remembered,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Succeeds,
    Refuses,
    Fails,
    Panics,
}

/// What a visitor would say.
#[derive(Debug, Clone, Default, PartialEq)]
struct Said {
    values: BTreeMap<String, Value>,
    user: Option<&'static str>,
    remember: bool,
    idle: Option<u64>,
    created: Option<Timestamp>,
    /// Whether there is a row.
    stored: bool,
    /// How many ids the session has had.
    name: u32,
}

impl Said {
    fn list(&mut self, key: &str) -> &mut Vec<Value> {
        let list = self.values.entry(key.to_owned()).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap()
    }
}

struct Model {
    now: Timestamp,
    said: Said,
    /// Whether the visitor signed out after the last save.
    ended: bool,
    renamed: bool,
    saved: Said,
    /// Whether a save changed anything, so that the expiry counts from now.
    /// Whether the expiry counts from this request.
    used: bool,
    /// Whether something was said about the lifetime itself.
    lifetime: bool,
    /// Whether a session ended, so that a cookie is void.
    has_ended: bool,
    /// Whether the request shows a cookie, live or not.
    is_named: bool,
}

impl Model {
    fn new(start: Start, now: Timestamp) -> Model {
        let mut said = Said::default();
        if !matches!(start, Start::Nobody | Start::UnknownCookie) {
            said.values = BTreeMap::from([("a".into(), json!(1)), ("n".into(), json!(5))]);
            said.stored = true;
            said.created = Some(noon());
        }
        match start {
            Start::SignedIn(user) => said.user = Some(user),
            Start::Remembered => (said.user, said.remember) = (Some("ada"), true),
            Start::Nobody | Start::UnknownCookie | Start::Anonymous => {}
        }
        Model {
            now,
            saved: said.clone(),
            said,
            ended: false,
            renamed: false,
            used: false,
            lifetime: false,
            has_ended: false,
            is_named: start != Start::Nobody,
        }
    }

    fn op(&mut self, op: Op) {
        let said = &mut self.said;
        match op {
            Op::Insert(key, value) => drop(said.values.insert(key.into(), json!(value))),
            Op::Remove(key) => drop(said.values.remove(key)),
            Op::Clear => said.values.clear(),
            Op::Update => {
                let n = said.values.get("n").map_or(0, |n| n.as_u64().unwrap());
                said.values.insert("n".into(), json!(n + 1));
            }
            Op::Push(item) => said.list("list").push(json!(item)),
            Op::Flash => said.list("flash_messages").push(json!({"message": "m", "category": "info"})),
            Op::TakeFlashes => drop(said.values.remove("flash_messages")),
            Op::Csrf => drop(said.values.entry("_csrf_token".into()).or_insert(json!("any"))),
            Op::Login(user) => {
                if said.user.is_some_and(|before| before != user) {
                    *said = Said { stored: said.stored, name: said.name, ..Said::default() };
                }
                said.values.remove("_csrf_token");
                // A login begins with the policy's own lifetimes, whoever chose others before.
                (said.remember, said.idle) = (false, None);
                said.user = Some(user);
                said.created = Some(self.now);
                (self.renamed, self.lifetime) = (true, true);
            }
            Op::Rotate => self.renamed |= said.stored,
            Op::Logout => {
                // A cookie of a session that is gone is removed, too.
                self.ended |= self.saved.stored || self.is_named;
                (self.renamed, self.lifetime) = (false, false);
                *said = Said { name: said.name, ..Said::default() };
            }
            Op::Remember(remember) => (said.remember, self.lifetime) = (remember, true),
            Op::IdleTimeout(idle) => (said.idle, self.lifetime) = (idle, true),
            Op::Save => self.save(),
        }
    }

    fn save(&mut self) {
        let said = &mut self.said;
        let wanted = said.stored || said.user.is_some() || !said.values.is_empty();
        if wanted && (!said.stored || self.renamed) {
            said.name += 1;
            said.created = said.created.or(Some(self.now));
        }
        said.stored = wanted;
        // A minute is less than what a renewal must gain, also one that rides along with a change.
        self.used |= *said != self.saved && (self.lifetime || said.name != self.saved.name);
        // Without a row a wish waits for one.
        self.lifetime &= !said.stored;
        self.has_ended |= self.ended;
        self.saved = said.clone();
        (self.ended, self.renamed) = (false, false);
    }

    fn end(&mut self, end: End) {
        match end {
            End::Succeeds | End::Refuses => self.save(),
            End::Fails | End::Panics if self.ended => {
                self.has_ended = true;
                self.saved = Said::default();
            }
            End::Fails | End::Panics => {}
        }
    }

    fn expiry(&self, used: Timestamp) -> Timestamp {
        let (idle, absolute) = if self.saved.remember { (14 * DAY, 90 * DAY) } else { (30 * MINUTE, DAY) };
        let idle = self.saved.idle.map_or(idle, Duration::from_secs);
        used.saturating_add(idle).min(self.saved.created.unwrap().saturating_add(absolute))
    }
}

async fn perform(session: &Session, op: Op) {
    match op {
        Op::Insert(key, value) => session.insert(key, &value).unwrap(),
        Op::Remove(key) => drop(session.remove(key)),
        Op::Clear => session.clear(),
        Op::Update => drop(session.update("n", |n: &mut u64| *n += 1).unwrap()),
        Op::Push(item) => session.push("list", &item).unwrap(),
        Op::Flash => session.flash("info", "m").unwrap(),
        Op::TakeFlashes => drop(session.flashes().unwrap()),
        Op::Csrf => drop(session.csrf_token().unwrap()),
        Op::Login(user) => session.login(user).unwrap(),
        // Where there is nothing to rotate it says so.
        Op::Rotate => drop(session.rotate()),
        Op::Logout => session.logout(),
        Op::Remember(remember) => session.remember(remember),
        Op::IdleTimeout(idle) => session.set_idle_timeout(idle.map(Duration::from_secs)),
        Op::Save => session.save().await.unwrap(),
    }
}

/// The values, with the secret one made equal.
fn values(session: &Session) -> BTreeMap<String, Value> {
    let value = |key: &String| match key.as_str() {
        "_csrf_token" => json!("any"),
        key => session.require::<Value>(key).unwrap(),
    };
    session.keys().into_iter().map(|key| (key.clone(), value(&key))).collect()
}

async fn begin(stage: &Stage, start: Start) -> Caller {
    let mut visitor = Caller::new(&stage.sessions);
    match start {
        Start::Nobody => return visitor,
        Start::UnknownCookie => {
            visitor.cookie = Some(token(1).0);
            return visitor;
        }
        Start::Anonymous | Start::SignedIn(_) | Start::Remembered => {}
    }
    visitor
        .does(|session| {
            session.insert("a", &1).unwrap();
            session.insert("n", &5).unwrap();
            match start {
                Start::SignedIn(user) => session.login(user).unwrap(),
                Start::Remembered => {
                    session.login("ada").unwrap();
                    session.remember(true);
                }
                _ => {}
            }
        })
        .await;
    visitor
}

async fn one_request(start: Start, ops: &[Op], end: End) -> Result<(), TestCaseError> {
    let stage = Stage::with_policy(Policy::default());
    let mut visitor = begin(&stage, start).await;
    let (before, first) = (visitor.cookie.clone(), visitor.id());
    stage.clock.advance(seconds(60));
    let now = stage.sessions.now();
    let mut model = Model::new(start, now);
    let mut failure = Ok(());
    let answered = visitor
        .visit(async |lazy| {
            let session = lazy.load().await.unwrap();
            for &op in ops {
                perform(&session, op).await;
                model.op(op);
                // The handler sees at once what it did.
                let seen = (values(&session), session.user_id().map(|user| user.to_string()));
                let said = (model.said.values.clone(), model.said.user.map(str::to_owned));
                if failure.is_ok() && seen != said {
                    failure = Err(TestCaseError::fail(format!("after {op:?}: {seen:?}, not {said:?}")));
                }
            }
            match end {
                End::Succeeds => StatusCode::OK,
                End::Refuses => StatusCode::FORBIDDEN,
                End::Fails => StatusCode::INTERNAL_SERVER_ERROR,
                End::Panics => std::panic::resume_unwind(Box::new("the handler")),
            }
        })
        .await;
    failure?;
    model.end(end);

    let rows = stage.store.rows().await;
    prop_assert_eq!(rows.len(), usize::from(model.saved.stored), "orphans or losses: {:?}", rows);
    let Ok(reply) = answered else {
        prop_assert!(end == End::Panics && matches!(answered, Err(Panicked)));
        return Ok(());
    };
    let Some(row) = rows.first() else {
        prop_assert!(!visitor.is_known().await);
        let removed = reply.set_cookie.as_ref().is_some_and(|cookie| cookie.contains("Max-Age=0"));
        prop_assert_eq!(removed, before.is_some() && model.has_ended, "{:?}", reply);
        return Ok(());
    };
    prop_assert_eq!(visitor.id(), Some(row.id()), "the browser knows the row");
    let same_name = model.saved.name == 0;
    prop_assert_eq!(first == Some(row.id()), same_name);
    if let Some(before) = before.filter(|_| !same_name) {
        prop_assert!(!Caller::with_cookie(&stage.sessions, &before).is_known().await, "the old id is dead");
    }
    let found = visitor.peek(|session| (values(session), session.user_id())).await;
    prop_assert_eq!(found.0, model.saved.values.clone());
    prop_assert_eq!(found.1.map(|user| user.to_string()), model.saved.user.map(str::to_owned));
    prop_assert_eq!(row.user_id().map(|user| user.to_string()), model.saved.user.map(str::to_owned));
    prop_assert_eq!(stage.sessions.describe(row).remembered, model.saved.remember);
    prop_assert_eq!(row.created_at(), model.saved.created, "the lifetime restarts with a login only");
    let used = if model.used { now } else { noon() };
    prop_assert_eq!(row.expires_at(), model.expiry(used), "used: {}", model.used);
    Ok(())
}

fn ops() -> impl Strategy<Value = Op> {
    let keys = prop::sample::select(vec!["a", "b", "n"]);
    let idle = prop::sample::select(vec![None, Some(600), Some(7200)]);
    prop_oneof![
        4 => (keys.clone(), 0..4u8).prop_map(|(key, value)| Op::Insert(key, value)),
        3 => keys.prop_map(Op::Remove),
        2 => Just(Op::Clear),
        3 => Just(Op::Update),
        2 => (0..3u8).prop_map(Op::Push),
        2 => Just(Op::Flash),
        1 => Just(Op::TakeFlashes),
        1 => Just(Op::Csrf),
        4 => prop::sample::select(vec!["ada", "bob"]).prop_map(Op::Login),
        3 => Just(Op::Rotate),
        4 => Just(Op::Logout),
        2 => any::<bool>().prop_map(Op::Remember),
        2 => idle.prop_map(Op::IdleTimeout),
        3 => Just(Op::Save),
    ]
}

fn starts() -> impl Strategy<Value = Start> {
    prop::sample::select(vec![
        Start::Nobody,
        Start::UnknownCookie,
        Start::Anonymous,
        Start::SignedIn("ada"),
        Start::SignedIn("bob"),
        Start::Remembered,
    ])
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![5 => Just(End::Succeeds), 1 => Just(End::Refuses), 2 => Just(End::Fails), 1 => Just(End::Panics)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// [S05] [S06] [S07] [S31] [A10] [A11] [B04] [C14] [C16] [C17] [C19] [C22] [C26] [C29] [C31] [I11] [J05] [J07]
    #[test]
    fn any_order_ends_in_what_the_last_means(
        start in starts(),
        ops in prop::collection::vec(ops(), 1..=12),
        end in ends(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(one_request(start, &ops, end))?;
    }
}
