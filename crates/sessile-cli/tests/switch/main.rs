//! A switch from another framework, from its first step to its last, with nothing made up: an application on
//! tower-sessions or Django in a process of its own, people with browsers who have signed in there, the real
//! `sessile copy` while it runs, and a service on sessile that takes their cookies.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

mod new;
mod old;

use std::process::Command;
use std::sync::Arc;

use old::{Framework, Old, SECRET_KEY};
use serde_json::{Value, json};
use sessile::record::SystemClock;
use sessile_interop::Agent;
use sessile_test_stores::Backend;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Who have signed in before the switch.
const USERS: usize = 100;
/// Requests to the old application at a time.
const AT_ONCE: usize = 4;

/// One switch: the old application, and the store to switch to.
struct Switch {
    old: Arc<Old>,
    folder: tempfile::TempDir,
    to: String,
}

impl Switch {
    fn new(framework: Framework, from: Backend, to: Backend) -> Switch {
        let folder = tempfile::tempdir().unwrap();
        let to = match to {
            Backend::Sqlite => format!("sqlite:{}", folder.path().join("new.db").display()),
            _ => to.shared().url(),
        };
        Switch { old: Arc::new(Old::start(framework, from)), folder, to }
    }

    /// What `sessile copy` says of itself. It must have worked, and kept every secret. [S14]
    fn copy(&self, secrets: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessile"));
        command.args(["copy", "--json", "--from", &self.old.source(), "--to", &self.to]);
        command.args(self.old.format()).current_dir(&self.folder);
        command.env("SESSILE_DJANGO_SECRET_KEY", SECRET_KEY);
        let ran = command.output().unwrap();
        let [out, err] = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(ran.status.success() && err.is_empty(), "{out}{err}");
        let journal = std::fs::read_to_string(self.folder.path().join("sessile-copy.journal")).unwrap();
        let password =
            [&self.old.source(), &self.to].map(|url| password(url).unwrap_or(SECRET_KEY).to_owned());
        for secret in secrets.iter().copied().chain(password.iter().map(String::as_str)) {
            assert!(!format!("{out}{journal}").contains(secret), "a secret is shown");
        }
        serde_json::from_str(&out).unwrap()
    }
}

/// Somebody with a browser, who is known at the old application.
#[derive(Clone)]
struct Customer {
    old: Arc<Old>,
    agent: Agent,
}

impl Customer {
    /// Fills a cart and then signs in, as people do.
    async fn come(old: Arc<Old>, user: &str) -> Customer {
        let mut customer = Customer::pass_by(old, user).await;
        customer.does_there("sign-in", &[("user", user)], "signed in").await;
        customer.changes_there("visits", user).await;
        customer
    }

    /// Puts something into a cart and does not sign in.
    async fn pass_by(old: Arc<Old>, item: &str) -> Customer {
        let mut customer = Customer { old, agent: Agent::new(Arc::new(SystemClock)) };
        customer.changes_there("cart", &json!(["tea", "grüße", item]).to_string()).await;
        customer
    }

    async fn does_there(&mut self, page: &str, fields: &[(&str, &str)], said: &str) {
        let reply = self.agent.post(self.old.port, &self.old.page(page), fields).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (200, said));
    }

    async fn changes_there(&mut self, key: &str, value: &str) {
        self.does_there("change", &[("key", key), ("value", value)], "changed").await;
    }

    async fn changes_here(&mut self, port: u16, key: &str, value: &str) {
        let reply = self.agent.post(port, "/change", &[("key", key), ("value", value)]).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (200, "changed"));
    }

    async fn signs_out_here(&mut self, port: u16) {
        let reply = self.agent.post(port, "/sign-out", &[]).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (200, "signed out"));
    }

    /// What the service at this port shows of the session.
    async fn shown(&mut self, port: u16) -> Value {
        self.agent.get(port, "/show").await.json()
    }

    /// The cookies that the browser has: the old one, and ours.
    fn cookies(&self) -> [Option<&str>; 2] {
        [self.agent.cookie(self.old.cookie_name()), self.agent.cookie(new::COOKIE)]
    }
}

/// So many, a few at a time: who sign in, numbered from 1, or who only pass by.
async fn crowd(old: &Arc<Old>, count: usize, sign_in: bool) -> Vec<Customer> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut coming = JoinSet::new();
    for number in 1..=count {
        let (old, turns, name) = (Arc::clone(old), Arc::clone(&turns), number.to_string());
        coming.spawn(async move {
            let _turn = turns.acquire().await;
            let customer = match sign_in {
                true => Customer::come(old, &name).await,
                false => Customer::pass_by(old, &name).await,
            };
            (number, customer)
        });
    }
    let mut all = coming.join_all().await;
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, customer)| customer).collect()
}

fn bought(user: &str) -> Value {
    json!({"user": user, "cart": ["tea", "grüße", user], "visits": user.parse::<u32>().unwrap()})
}

fn nobody() -> Value {
    json!({"user": null, "cart": null, "visits": null})
}

/// [S03] [S05] [S09] [S14] With `more` passing by, so that there are more rows than `copy` reads at a time.
async fn nobody_is_logged_out(framework: Framework, from: Backend, to: Backend, more: usize) {
    let switch = Switch::new(framework, from, to);
    let old = &switch.old;
    let mut users = crowd(old, USERS, true).await;
    let mut passers_by = crowd(old, more, false).await;
    let mut late = Customer::come(Arc::clone(old), "101").await;
    old.expire(late.cookies()[0].unwrap());
    let secret = users[0].cookies()[0].unwrap().to_owned();

    // 1. The bulk, while the old application runs; then the service.
    let live = (USERS + more) as u64;
    assert_counts(&switch.copy(&[&secret]), &[("read", live), ("copied", live)]);
    let port = new::start(&switch.to, old.cookie()).await;

    // The same cookies: the same people, with what they had.
    for (user, number) in users.iter_mut().zip(1..) {
        let before = user.cookies().map(|value| value.map(str::to_owned));
        assert_eq!(user.shown(port).await, bought(&format!("{number}")));
        assert_eq!(user.cookies(), before.each_ref().map(Option::as_deref), "who only reads moves nothing");
    }
    for (passer_by, number) in passers_by.iter_mut().zip(1..) {
        let cart = json!(["tea", "grüße", format!("{number}")]);
        assert_eq!(passer_by.shown(port).await, json!({"user": null, "cart": cart, "visits": null}));
    }
    // And nobody else: not who has expired, and not who makes a value up.
    assert_eq!(late.shown(port).await, nobody());
    let mut forger = Customer { old: Arc::clone(old), agent: Agent::new(Arc::new(SystemClock)) };
    forger.agent.holds(old.cookie_name(), old.unknown_value());
    assert_eq!(forger.shown(port).await, nobody());
    assert_eq!(forger.cookies(), [Some(old.unknown_value()), None], "nothing is adopted");

    // What happens at either side before the second run.
    let thieves: Vec<Customer> = users.iter().take(4).cloned().collect();
    let [ada, bob, eve, dan, ..] = &mut users[..] else { unreachable!("there are more") };
    ada.changes_there("cart", r#"["coffee"]"#).await;
    bob.does_there("sign-out", &[], "signed out").await;
    let mut new = Customer::come(Arc::clone(old), "102").await;
    assert_eq!(new.shown(port).await, nobody(), "no run has brought that one");

    // The first change leaves the old cookie behind, and a copy of it is worth nothing here.
    eve.changes_here(port, "cart", r#"["cocoa"]"#).await;
    assert!(matches!(eve.cookies(), [None, Some(_)]), "our cookie for the old one: {:?}", eve.cookies());
    assert_eq!(eve.shown(port).await, json!({"user": "3", "cart": ["cocoa"], "visits": 3}));
    dan.signs_out_here(port).await;
    assert_eq!(dan.cookies(), [None, None]);
    for thief in &thieves[2..] {
        assert_eq!(thief.clone().shown(port).await, nobody());
    }

    // 2. What has changed since; what ended, on either side, stays ended.
    let said = switch.copy(&[&secret]);
    let (present, moved) = (live - 4, 2);
    assert_counts(
        &said,
        &[("read", live), ("copied", 2), ("present", present), ("ended_there", moved), ("ended_here", 1)],
    );
    assert_eq!(ada.shown(port).await, json!({"user": "1", "cart": ["coffee"], "visits": 1}));
    for thief in &thieves[1..] {
        assert_eq!(thief.clone().shown(port).await, nobody());
    }
    assert_eq!(new.shown(port).await, bought("102"));
    assert_eq!(eve.shown(port).await, json!({"user": "3", "cart": ["cocoa"], "visits": 3}));

    // From here on it is a session like any other.
    eve.signs_out_here(port).await;
    assert_eq!(eve.cookies(), [None, None]);
    assert_eq!(eve.shown(port).await, nobody());
    let reply = eve.agent.post(port, "/sign-in", &[("user", "3")]).await;
    assert_eq!((&*reply.body, &eve.shown(port).await["user"]), ("signed in", &json!("3")));
}

/// Checks the counts that are named, and that all others are 0.
#[track_caller]
fn assert_counts(said: &Value, expected: &[(&str, u64)]) {
    for (key, count) in said.as_object().unwrap().iter().filter(|(_, count)| count.is_u64()) {
        let wanted = expected.iter().find(|(name, _)| name == key).map_or(0, |(_, count)| *count);
        assert_eq!(*count, wanted, "{key}: {said}");
    }
}

fn password(url: &str) -> Option<&str> {
    url.split_once('@')?.0.rsplit_once(':').map(|(_, password)| password)
}

/// Every database that both frameworks know, each to another kind of store.
macro_rules! switches {
    ($($test:ident: $framework:ident, $from:ident => $to:ident, $more:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            nobody_is_logged_out(Framework::$framework, Backend::$from, Backend::$to, $more).await;
        })*
    };
}

switches! {
    from_tower_sessions_on_sqlite_to_postgres: TowerSessions, Sqlite => Postgres, 450;
    from_axum_login_on_postgres_to_redis: AxumLogin, Postgres => Redis, 450;
    from_tower_sessions_on_mariadb_to_sqlite: TowerSessions, MariaDb => Sqlite, 450;
    from_django_on_sqlite_to_redis: Django, Sqlite => Redis, 20;
    from_django_on_postgres_to_mariadb: Django, Postgres => MariaDb, 20;
    from_django_on_mariadb_to_postgres: Django, MariaDb => Postgres, 20;
}
