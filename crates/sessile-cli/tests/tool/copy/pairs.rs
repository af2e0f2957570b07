//! Every store as a source and as a target: a switch from each to the next in a ring.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, header};
use axum::{Router, routing::get};
use serde_json::Value;
use sessile::record::{Clock as _, Columns, StoredData, SystemClock, SystemRandom, Timestamp};
use sessile::store::{SessionStore, StoreUrl, Write};
use sessile::{
    CookieConfig, Session, SessionId, SessionLayer, SessionRecord, SessionToken, Sessions, UserId,
};
use sessile_test_stores::Backend;
use tower::ServiceExt as _;

use super::assert_counts;
use crate::support::{Place, Ran};

/// More than `copy` reads at a time, several times over.
const LIVE: usize = 2_100;
const EXPIRED: usize = 30;

/// Two stores, the first of them filled, and the tool between them.
struct Switch {
    place: Place,
    from: String,
    to: String,
    tokens: Vec<SessionToken>,
}

impl Switch {
    async fn new(from: Backend, to: Backend) -> Switch {
        let place = Place::empty();
        let url = |backend: Backend, file: &str| match backend {
            Backend::Sqlite => format!("{}.{file}", place.store()),
            _ => backend.shared().url(),
        };
        let (from, to) = (url(from, "from"), url(to, "to"));
        let store = from.parse::<StoreUrl>().unwrap().connect().await.unwrap();
        store.init().await.unwrap();
        let tokens: Vec<_> = (0..LIVE).map(|_| SessionToken::generate(&SystemRandom).unwrap()).collect();
        let now = SystemClock.now();
        let live = tokens.iter().enumerate().map(|(number, token)| {
            let later = now.saturating_add(Duration::from_micros(3_600_000_001 + number as u64));
            record(token.id(), number, now, later)
        });
        let expired = (0..EXPIRED).map(|number| {
            let id = SessionId::random(&SystemRandom).unwrap();
            record(id, number, now, now.saturating_sub(Duration::from_secs(60)))
        });
        for outcome in store.apply_many(live.chain(expired).map(Write::Insert).collect()).await {
            outcome.unwrap();
        }
        Switch { place, from, to, tokens }
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let words = ["copy", "--json", "--from", &self.from, "--to", &self.to];
        words.iter().chain(more).map(|word| (*word).to_owned()).collect()
    }

    /// `copy --json`: what it says of itself. [S14]
    #[track_caller]
    fn counts(&self, more: &[&str]) -> Value {
        let ran = self.place.run(self.arguments(more));
        for secret in [&self.from, &self.to].into_iter().filter_map(|url| password(url)) {
            assert!(!format!("{ran:?}").contains(secret), "the password is shown");
            assert!(!self.journal().contains(secret), "the password is in the journal");
        }
        ran.json()
    }

    fn journal(&self) -> String {
        let file = self.place.file().with_file_name("sessile-copy.journal");
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// Starts a copy and kills it as soon as it has noted a batch. Whether it was in the midst of it.
    fn cut_short(&self) -> bool {
        let mut command = self.place.command(self.arguments(&[]));
        let mut copying: Child = command.stdout(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while self.journal().lines().count() < 2 {
            assert!(started.elapsed() < Duration::from_secs(60), "it does not begin");
            std::thread::sleep(Duration::from_millis(1));
        }
        copying.kill().unwrap();
        // No code: the signal ended it.
        copying.wait().unwrap().code().is_none() && self.journal().lines().count() < LIVE
    }

    fn id(&self, number: usize) -> String {
        self.tokens[number].id().to_string()
    }

    fn at(&self, store: &str, arguments: &[&str]) -> Ran {
        self.place.run([arguments, &["--store", store]].concat())
    }

    /// Every row, read from both.
    async fn assert_the_same(&self) {
        let ids: Vec<SessionId> = self.tokens.iter().map(SessionToken::id).collect();
        let [here, there] = [&self.from, &self.to].map(|url| url.parse::<StoreUrl>().unwrap());
        let here = here.connect_existing().await.unwrap().load_many(&ids).await;
        let there = there.connect_existing().await.unwrap().load_many(&ids).await;
        for (here, there) in here.into_iter().zip(there) {
            let columns = |record: Option<SessionRecord>| {
                let record = record.unwrap();
                (
                    record.user_id().cloned(),
                    record.stored_data().clone(),
                    [record.created_at(), Some(record.expires_at()), record.updated_at()],
                )
            };
            assert_eq!(columns(there.unwrap()), columns(here.unwrap()));
        }
    }

    /// Who the service on the target takes the bearer of this token for.
    async fn user_of(&self, number: usize) -> String {
        let store = self.to.parse::<StoreUrl>().unwrap().connect_existing().await.unwrap();
        let who =
            async |session: Session| session.user_id().map_or("nobody".to_owned(), |user| user.to_string());
        let layer = SessionLayer::new(Sessions::new(store)).cookie(CookieConfig::insecure()).unwrap();
        let service = Router::new().route("/", get(who)).layer(layer);
        let cookie = format!("session={}", self.tokens[number].expose());
        let request = Request::get("/").header(header::COOKIE, cookie).body(Body::empty()).unwrap();
        let body = service.oneshot(request).await.unwrap().into_body();
        String::from_utf8(axum::body::to_bytes(body, 1 << 10).await.unwrap().into()).unwrap()
    }
}

/// With text that collations, encodings and spaces are good to lose.
fn record(id: SessionId, number: usize, now: Timestamp, expires_at: Timestamp) -> SessionRecord {
    SessionRecord::from_columns(Columns {
        id,
        user_id: Some(UserId::new(format!("Grüße-{number} 😀")).unwrap()),
        data: StoredData::Text(format!(r#"{{"n": {number}, "ü":"\ud800 😀",  "f": 1.0, "f": NaN}} "#).into()),
        created_at: Some(now),
        expires_at,
        updated_at: Some(now),
    })
}

fn password(url: &str) -> Option<&str> {
    url.split_once('@')?.0.rsplit_once(':').map(|(_, password)| password)
}

/// [R06] [S02] [S09] [S14]
async fn nobody_is_logged_out(from: Backend, to: Backend) {
    let mut switch = Switch::new(from, to).await;
    let live = LIVE as u64;
    let said = switch.place.run(switch.arguments(&["--dry-run"])).json();
    assert_eq!(said["dry_run"], true);
    assert_counts(&said, &[("read", live), ("copied", live)]);
    assert_eq!(switch.journal(), "");

    // Killed in the midst of it, and run again.
    let mut attempts = 0;
    while !switch.cut_short() {
        attempts += 1;
        assert!(attempts < 10, "it is always faster");
        switch = Switch::new(from, to).await;
    }
    let said = switch.counts(&[]);
    let copied = said["copied"].as_u64().unwrap();
    assert!((1..live).contains(&copied), "{said}");
    assert_counts(&said, &[("read", live), ("copied", copied), ("present", live - copied)]);
    switch.assert_the_same().await;
    assert_counts(&switch.counts(&[]), &[("read", live), ("present", live)]);
    for number in [0, 1, LIVE - 1] {
        assert_eq!(switch.user_of(number).await, format!("Grüße-{number} 😀"));
    }

    // What ended or changed since then, at either side.
    switch.at(&switch.from, &["revoke", &switch.id(0)]).done();
    switch.at(&switch.to, &["revoke", &switch.id(1)]).done();
    switch.at(&switch.from, &["set", &switch.id(2), "n", "\"changed\""]).done();
    switch.at(&switch.to, &["set", &switch.id(3), "n", "\"changed there\""]).done();
    let expected = [
        ("read", live - 1),
        ("copied", 1),
        ("present", live - 4),
        ("newer_there", 1),
        ("ended_there", 1),
        ("ended_here", 1),
    ];
    assert_counts(&switch.counts(&["--dry-run"]), &expected);
    assert_eq!(switch.user_of(0).await, "Grüße-0 😀", "a dry run ends nothing");
    assert_counts(&switch.counts(&[]), &expected);
    for number in [0, 1] {
        assert_eq!(switch.user_of(number).await, "nobody");
    }
    for (number, value) in [(2, r#""changed","#), (3, r#""changed there","#)] {
        let shown = switch.at(&switch.to, &["show", &switch.id(number), "--json"]).json();
        assert!(shown["data_text"].as_str().unwrap().contains(value), "{shown}");
        assert_eq!(switch.user_of(number).await, format!("Grüße-{number} 😀"));
    }
}

/// Each is once where it comes from and once where it goes to.
macro_rules! ring {
    ($($test:ident: $from:ident => $to:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            nobody_is_logged_out(Backend::$from, Backend::$to).await;
        })*
    };
}

ring! {
    from_sqlite_to_mariadb: Sqlite => MariaDb;
    from_mariadb_to_redis: MariaDb => Redis;
    from_redis_to_redis_cluster: Redis => RedisCluster;
    from_redis_cluster_to_postgres: RedisCluster => Postgres;
    from_postgres_to_sqlite: Postgres => Sqlite;
}
