//! An ending that was called is carried out whatever becomes of its request. [S26]
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::http::StatusCode;
use sessile::engine::{CacheOptions, EngineError, Event};
use sessile::record::Timestamp;
use sessile::store::{
    ListPage, ListQuery, Loaded, MemoryStore, Outcome, PurgeBatch, PurgeLimits, SessionStore, StoreError,
    StoreStats, Write,
};
use sessile::{LazySession, Policy, Session, SessionError, SessionId, SessionLayer, Sessions, UserId};
use support::{Stage, Visitor, seconds, sign_in, who};

type Done = Result<(), SessionError>;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// [S26] [R04] A logout fails while the store is away, and is carried out when the store is back, up to two minutes
/// later.
#[tokio::test(start_paused = true)]
async fn a_logout_is_retried_until_the_store_is_back() {
    for outage in [1, 5, 60, 110] {
        let stage = Stage::new();
        let mut visitor = stage.visitor();
        sign_in(&mut visitor, "ada").await;
        let id = stage.store.rows().await[0].id();
        stage.events();
        let store = stage.store.clone();
        let answer = visitor
            .does(async move |session: Session| {
                session.logout();
                store.set_writes_down(true);
            })
            .await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::SERVICE_UNAVAILABLE, 0));
        tokio::time::sleep(seconds(outage)).await;
        assert_eq!(who(&mut visitor).await, "ada", "the store is still away");
        stage.store.set_writes_down(false);
        stage.sessions.drain().await;
        assert!(stage.store.rows().await.is_empty(), "{outage} s");
        assert_eq!(stage.events(), [Event::LoggedOut { id }], "{outage} s");
    }
}

/// [S26] [S24] An ending that fails for two minutes is given up, with one event and no retry after it.
#[tokio::test(start_paused = true)]
async fn an_ending_that_is_given_up_is_told() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    sign_in(&mut visitor, "ada").await;
    let id = stage.store.rows().await[0].id();
    stage.events();
    stage.store.set_writes_down(true);
    let started = tokio::time::Instant::now();
    assert_eq!(visitor.does(async |session: Session| session.logout()).await.status, 503);
    stage.sessions.drain().await;
    assert!(started.elapsed() >= seconds(60), "{:?}", started.elapsed());
    assert_eq!(stage.events(), [Event::EndingFailed { id: Some(id), user: Some(user("ada")) }]);
    stage.store.set_writes_down(false);
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(who(&mut visitor).await, "ada");
}

/// [S26] Revocations from outside are retried like logouts: one session, a user's, and all others of a user.
#[tokio::test(start_paused = true)]
async fn a_revocation_is_retried_too() {
    for way in ["revoke", "revoke_of", "revoke_user", "revoke_others"] {
        let stage = Stage::new();
        let (mut here, mut there) = (stage.visitor(), stage.visitor());
        sign_in(&mut here, "ada").await;
        let id = stage.store.rows().await[0].id();
        sign_in(&mut there, "ada").await;
        let other = stage.store.rows().await.iter().map(|row| row.id()).find(|&other| other != id).unwrap();
        stage.store.set_down(true);
        let (ada, sessions) = (user("ada"), &stage.sessions);
        let failed = match way {
            "revoke" => sessions.revoke(other).await.is_err(),
            "revoke_of" => sessions.revoke_of(&ada, other).await.is_err(),
            "revoke_user" => sessions.revoke_user(&ada).await.is_err(),
            _ => sessions.revoke_others(&ada, id).await.is_err(),
        };
        assert!(failed, "{way}");
        tokio::time::sleep(seconds(10)).await;
        stage.store.set_down(false);
        stage.sessions.drain().await;
        let left: Vec<SessionId> = stage.store.rows().await.iter().map(|row| row.id()).collect();
        let kept = if way == "revoke_user" { vec![] } else { vec![id] };
        assert_eq!(left, kept, "{way}");
    }
}

/// [S26] [R03] A request that is dropped while the store carries out its logout ends the session all the same, with
/// every other one that it names.
#[tokio::test(start_paused = true)]
async fn a_request_dropped_during_its_logout_ends_all_that_it_names() {
    for lazy in [false, true] {
        let stage = Stage::new();
        let (mut ada, mut planted) = (stage.visitor(), stage.visitor());
        sign_in(&mut ada, "ada").await;
        sign_in(&mut planted, "mallory").await;
        let cookies = format!("{}; __Host-session={}", ada.cookie().unwrap(), planted.cookie().unwrap());
        let mut both = ada.with_cookie(cookies).impatient();
        let store = stage.store.clone();
        let request = tokio::spawn(async move {
            both.does(async move |session: LazySession| {
                if !lazy {
                    session.load().await.unwrap().logout();
                } else {
                    session.logout();
                }
                store.set_silent(true);
            })
            .await
        });
        tokio::time::sleep(seconds(1)).await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        stage.store.set_silent(false);
        stage.sessions.drain().await;
        assert!(stage.store.rows().await.is_empty(), "lazy: {lazy}");
    }
}

/// [S26] [S15] Two live cookies: a logout ends both sessions and removes the cookie, a sign-in ends both and begins a
/// new one.
#[tokio::test]
async fn two_live_cookies_end_together() {
    for stage in Stage::everywhere(Policy::default()).await {
        for signs_in in [false, true] {
            let (mut ada, mut planted) = (stage.visitor(), stage.visitor());
            sign_in(&mut ada, "ada").await;
            sign_in(&mut planted, "mallory").await;
            let cookies = format!("{}; __Host-session={}", planted.cookie().unwrap(), ada.cookie().unwrap());
            let mut both = ada.with_cookie(cookies);
            assert_eq!(who(&mut both).await, "nobody");
            let answer = both
                .does(async move |session: Session| -> Done {
                    if signs_in {
                        session.login("ada")?;
                    } else {
                        session.logout();
                    }
                    Ok(())
                })
                .await;
            assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
            assert_eq!((who(&mut ada).await, who(&mut planted).await), ("nobody".into(), "nobody".into()));
            assert_eq!(who(&mut both).await, if signs_in { "ada" } else { "nobody" });
            assert_eq!(stage.store.rows().await.len(), usize::from(signs_in));
            stage.sessions.revoke_user(&user("ada")).await.unwrap();
        }
    }
}

/// [S26] A logout with a cookie of a session that is gone costs no write and removes the cookie.
#[tokio::test]
async fn a_dead_cookie_is_removed_at_logout() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    sign_in(&mut visitor, "ada").await;
    stage.sessions.revoke_user(&user("ada")).await.unwrap();
    stage.store.statements();
    let answer = visitor.does(async |session: Session| session.logout()).await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
    assert_eq!((stage.store.statements(), visitor.cookie()), (1, None), "the load");
}

/// [S26] [H20] "All other sessions" keeps the caller's own session also when another tab has just renamed it.
#[tokio::test]
async fn others_end_and_a_renamed_session_stays() {
    for stage in Stage::everywhere(Policy::default()).await {
        let (mut here, mut there) = (stage.visitor(), stage.visitor());
        sign_in(&mut here, "ada").await;
        let id = stage.store.rows().await[0].id();
        sign_in(&mut there, "ada").await;
        here.does(async |session: Session| session.rotate()).await;
        assert_eq!(stage.sessions.revoke_others(&user("ada"), id).await.unwrap(), 1);
        assert_eq!((who(&mut here).await, who(&mut there).await), ("ada".into(), "nobody".into()));
    }
}

/// [S10] [S26] "Log out everywhere" in one call: never 409, what follows it is a fresh session, also when the handler
/// fails; a sign-in after it is kept.
#[tokio::test]
async fn logout_everywhere_ends_all_sessions_of_the_user() {
    for stage in Stage::everywhere(Policy::default()).await {
        for then in ["nothing", "flash", "login", "fail"] {
            let (mut here, mut there, mut eve) = (stage.visitor(), stage.visitor(), stage.visitor());
            sign_in(&mut here, "ada").await;
            sign_in(&mut there, "ada").await;
            sign_in(&mut eve, "eve").await;
            let answer = here
                .does(async move |session: Session| -> Result<StatusCode, SessionError> {
                    session.logout_everywhere();
                    assert!(session.user_id().is_none());
                    match then {
                        "flash" => session.flash("info", "signed out everywhere")?,
                        "login" => session.login("ada")?,
                        "fail" => return Ok(StatusCode::BAD_GATEWAY),
                        _ => {}
                    }
                    Ok(StatusCode::OK)
                })
                .await;
            assert_eq!(answer.status, if then == "fail" { 502 } else { 200 }, "{then}");
            assert_eq!(who(&mut there).await, "nobody", "{then}");
            assert_eq!(who(&mut eve).await, "eve", "{then}");
            assert_eq!(who(&mut here).await, if then == "login" { "ada" } else { "nobody" }, "{then}");
            let flashes = here.does(async |session: Session| session.peek_flashes().len().to_string()).await;
            assert_eq!(flashes.body, if then == "flash" { "1" } else { "0" });
            for name in ["ada", "eve"] {
                stage.sessions.revoke_user(&user(name)).await.unwrap();
            }
        }
    }
}

/// A store that reports locked rows of the user so often, and deletes one row each time.
struct Locked {
    rows: MemoryStore,
    left: Mutex<VecDeque<usize>>,
}

#[async_trait]
impl SessionStore for Locked {
    fn name(&self) -> &'static str {
        "locked"
    }
    async fn load(&self, id: SessionId) -> Loaded {
        self.rows.load(id).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.rows.apply(write).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.rows.list(query).await
    }
    async fn delete_user(&self, of: &UserId, keep: Option<SessionId>) -> Result<Vec<SessionId>, StoreError> {
        let left = self.left.lock().unwrap().pop_front();
        let Some(pending) = left else { return self.rows.delete_user(of, keep).await };
        let query = ListQuery {
            user: Some(of.clone()),
            liveness: sessile::store::Liveness::Any,
            now: Timestamp::MIN,
            after: None,
            limit: 1,
        };
        let first = self.rows.list(&query).await?.records[0].id();
        self.rows.apply(Write::Delete(first)).await?;
        Err(StoreError::PartlyDeleted { store: "locked", deleted: vec![first], pending })
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.rows.purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.rows.stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// [R18] [S26] Locked rows are reported with what has ended, and end in the background; each end is told once.
#[tokio::test(start_paused = true)]
async fn locked_rows_of_a_user_are_reported_and_end_later() {
    let rows = MemoryStore::new();
    let left = Mutex::new(VecDeque::from([3, 2]));
    let told: Arc<Mutex<Vec<Event>>> = Arc::default();
    let hears = Arc::clone(&told);
    let sessions = Sessions::builder(Locked { rows: rows.clone(), left })
        .listener(move |event: &Event| hears.lock().unwrap().push(event.clone()))
        .build();
    for _ in 0..4 {
        let new = sessile::engine::NewSession { user: Some(user("ada")), ..Default::default() };
        sessions.create(new).await.unwrap();
    }
    told.lock().unwrap().clear();
    let pending = sessions.revoke_user(&user("ada")).await.unwrap_err();
    assert!(matches!(pending, EngineError::EndingsPending { ended: 1, pending: 3 }), "{pending}");
    assert!(pending.is_transient());
    sessions.drain().await;
    assert!(sessions.sessions_of(&user("ada")).await.unwrap().is_empty());
    let told = told.lock().unwrap();
    assert_eq!(told.iter().filter(|event| matches!(event, Event::Revoked { .. })).count(), 4, "{told:?}");
}

/// A store whose writes take a while, and are made though their caller goes away.
#[derive(Clone)]
struct Slow(MemoryStore);

#[async_trait]
impl SessionStore for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }
    async fn load(&self, id: SessionId) -> Loaded {
        self.0.load(id).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        let rows = self.0.clone();
        let made = tokio::spawn(async move {
            tokio::time::sleep(seconds(1)).await;
            rows.apply(write).await
        });
        made.await.unwrap()
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.0.list(query).await
    }
    async fn delete_user(&self, of: &UserId, keep: Option<SessionId>) -> Result<Vec<SessionId>, StoreError> {
        let (rows, of) = (self.0.clone(), of.clone());
        let made = tokio::spawn(async move {
            tokio::time::sleep(seconds(1)).await;
            rows.delete_user(&of, keep).await
        });
        made.await.unwrap()
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.0.purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.0.stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// [S09] [S26] In this process every change counts at once, also under `stale_for` and when its caller has gone: a
/// read that is made while the write is under way is not kept.
#[tokio::test(start_paused = true)]
async fn a_write_whose_caller_has_gone_reaches_the_cache() {
    for way in ["logout", "revoke_user", "insert"] {
        let store = Slow(MemoryStore::new());
        let cache = CacheOptions::stale_for(seconds(3600));
        let sessions = Sessions::builder(store).cache(cache).await.unwrap().build();
        let mut visitor = Visitor::new(SessionLayer::new(sessions.clone()));
        sign_in(&mut visitor, "ada").await;
        let mut tab = visitor.impatient();
        let change = async move |session: Session| -> Done {
            match way {
                "logout" => session.logout(),
                "revoke_user" => drop(session.sessions().revoke_user(&user("ada")).await.unwrap()),
                _ => session.insert("a", &1)?,
            }
            Ok(())
        };
        let gone = tokio::time::timeout(std::time::Duration::from_millis(100), tab.does(change)).await;
        assert!(gone.is_err(), "{way}: the client goes away before the store has answered");
        assert_eq!(
            who(&mut visitor.impatient()).await,
            "ada",
            "{way}: read from the store, which is not there yet"
        );
        tokio::time::sleep(seconds(5)).await;
        let seen = visitor
            .does(async |session: Session| format!("{:?} {:?}", session.user_id().is_some(), session.keys()))
            .await;
        let expected = if way == "insert" { "true [\"a\"]" } else { "false []" };
        assert_eq!(seen.body, expected, "{way}");
    }
}
