//! What is told of expired sessions, by requests and by purges, in one process and in two.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::COOKIE;
use http::{Request, StatusCode};
use sessile::engine::{Credential, Event, NewSession};
use sessile::record::{Clock as _, ManualClock, SystemClock};
use sessile::store::{SessionStore, StoreUrl};
use sessile::{Session, SessionId, SessionLayer, Sessions, UserId};
use sessile_test_stores::Backend;
use tower::ServiceExt as _;

/// Sessions by their ids, and whose they were.
type Told = BTreeMap<SessionId, Option<UserId>>;

/// The same in the order in which they were told.
type Heard = Arc<Mutex<Vec<(SessionId, Option<UserId>)>>>;

/// A service in a process of its own.
struct Process {
    sessions: Sessions,
    service: Router,
    expired: Heard,
}

/// A session that lives for a second.
struct Brief {
    id: SessionId,
    user: Option<UserId>,
    cookie: String,
}

impl Process {
    fn new(store: Arc<dyn SessionStore>, clock: &Arc<ManualClock>) -> Process {
        let expired = Heard::default();
        let heard = Arc::clone(&expired);
        let listener = move |event: &Event| {
            if let Event::Expired { id, user } = event {
                heard.lock().unwrap().push((*id, user.clone()));
            }
        };
        let sessions = Sessions::builder(store).clock(Arc::clone(clock)).listener(listener).build();
        let who =
            async |session: Session| session.user_id().map_or("nobody".to_owned(), |user| user.to_string());
        let service = Router::new().route("/", get(who)).layer(SessionLayer::new(sessions.clone()));
        Process { sessions, service, expired }
    }

    async fn brief(&self, user: Option<&str>) -> Brief {
        let user = user.map(|user| UserId::new(user).unwrap());
        let ttl = Some(Duration::from_secs(1));
        let new = NewSession { user: user.clone(), ttl, ..NewSession::default() };
        let (credential, record) = self.sessions.create(new).await.unwrap();
        let Credential::Token(token) = credential else { panic!("{credential:?}") };
        Brief { id: record.id(), user, cookie: token.expose().to_owned() }
    }

    async fn briefs(&self, number: usize) -> Vec<Brief> {
        let mut briefs = vec![self.brief(None).await];
        for number in 1..number {
            briefs.push(self.brief(Some(&format!("user-{number}"))).await);
        }
        briefs
    }

    /// A request with the cookie of a session that is over.
    async fn asks(&self, brief: &Brief) {
        let request = Request::get("/").header(COOKIE, format!("__Host-session={}", brief.cookie));
        let response = self.service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body, "nobody");
    }

    async fn purges(&self) -> u64 {
        self.sessions.purge(|_| {}).await.unwrap().removed
    }

    /// What was told since the last call, each session once.
    fn told(&self) -> Told {
        let all = std::mem::take(&mut *self.expired.lock().unwrap());
        let number = all.len();
        let told: Told = all.into_iter().collect();
        assert_eq!(told.len(), number, "a session was told twice");
        told
    }
}

fn those<'a>(briefs: impl IntoIterator<Item = &'a Brief>) -> Told {
    briefs.into_iter().map(|brief| (brief.id, brief.user.clone())).collect()
}

/// Two processes over the same rows, on a clock that is not far from that of their server.
async fn processes(backend: Backend) -> ([Process; 2], Arc<ManualClock>) {
    let place = backend.shared();
    let url: StoreUrl = place.url().parse().unwrap();
    let one = url.connect().await.unwrap();
    one.init().await.unwrap();
    let other = if url.is_in_memory() { Arc::clone(&one) } else { url.connect().await.unwrap() };
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    ([one, other].map(|store| Process::new(store, &clock)), clock)
}

/// [L06] [S24] However often its cookie is presented, an expired session is told once in each process, with its user;
/// the purge that removes its row tells it where no request did.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_is_told_once_by_whoever_comes_first() {
    for backend in Backend::ALL {
        let ([one, other], clock) = processes(backend).await;
        let dead = one.briefs(6).await;
        clock.advance(Duration::from_secs(2));
        let live = one.brief(Some("ada")).await;

        for _ in 0..10 {
            one.asks(&dead[0]).await;
        }
        futures_util::future::join_all((0..10).map(|_| one.asks(&dead[1]))).await;
        assert_eq!(one.told(), those(&dead[..2]), "{backend:?}: by requests");

        other.asks(&dead[1]).await;
        other.asks(&dead[2]).await;
        assert_eq!(other.told(), those(&dead[1..3]), "{backend:?}: in another process, too");

        assert_eq!(one.purges().await, 6, "{backend:?}");
        assert_eq!(one.told(), those(&dead[2..]), "{backend:?}: by the purge, but for what requests told");
        assert_eq!(other.purges().await, 0, "{backend:?}");
        for brief in &dead {
            one.asks(brief).await;
            other.asks(brief).await;
        }
        assert_eq!((one.told(), other.told()), (Told::new(), Told::new()), "{backend:?}: nothing is left");
        assert!(one.sessions.get(live.id).await.unwrap().is_some());
    }
}

/// [L06] [L07] Two processes that purge at once tell each session once between them.
#[tokio::test(flavor = "multi_thread")]
async fn two_purges_at_once_tell_each_session_once() {
    for backend in Backend::ALL {
        let ([one, other], clock) = processes(backend).await;
        let dead = one.briefs(150).await;
        clock.advance(Duration::from_secs(2));
        let (left, right) = tokio::join!(one.purges(), other.purges());
        // Each passes by what the other has locked.
        let rest = one.purges().await;
        assert_eq!(left + right + rest, 150, "{backend:?}");
        let (mut told, others) = (one.told(), other.told());
        assert_eq!((told.len() as u64, others.len() as u64), (left + rest, right), "{backend:?}");
        told.extend(others);
        assert_eq!(told, those(&dead), "{backend:?}");
    }
}

/// [L06] A request that has loaded the row when the purge removes it tells nothing that the purge tells.
#[tokio::test(flavor = "multi_thread")]
async fn requests_and_a_purge_at_once_tell_each_session_once() {
    for backend in Backend::ALL {
        let ([one, _], clock) = processes(backend).await;
        let dead = one.briefs(60).await;
        clock.advance(Duration::from_secs(2));
        let asking = futures_util::future::join_all(dead.iter().map(|brief| one.asks(brief)));
        let ((), _) = tokio::join!(one.purge_until_empty(60), asking);
        assert_eq!(one.told(), those(&dead), "{backend:?}");
    }
}

impl Process {
    async fn purge_until_empty(&self, mut left: u64) {
        while left > 0 {
            left -= self.purges().await;
        }
    }
}
