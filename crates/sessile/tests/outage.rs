//! A store that is down, restarted or too slow is not a logged-out user (law 6 of the rules' design).
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use sessile::engine::{EngineError, Event};
use sessile::store::StoreError;
use sessile::{LazySession, Policy, Session, SessionError};
use support::{Answer, Stage, Visitor, seconds};

type Done = Result<(), SessionError>;

async fn who(session: Session) -> String {
    session.user_id().map_or("nobody".to_owned(), |user| user.to_string())
}

async fn signed_in(stage: &Stage) -> Visitor {
    let mut visitor = stage.visitor();
    let answer = visitor
        .does(async |session: Session| -> Done {
            session.login("ada")?;
            session.insert("kept", &1)
        })
        .await;
    assert_eq!(answer.status, 200);
    visitor
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers[RETRY_AFTER].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert!(answer.set_cookies().is_empty(), "no cookie is touched");
    assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
    assert!(
        !answer.body.contains("watched") && !answer.body.contains("switched"),
        "the cause goes to the log"
    );
}

/// [R01] [F22] [I20] [I23] Down: 503 with Retry-After, the handler does not run, nobody is taken for
/// anonymous; then it recovers by itself.
#[tokio::test]
async fn a_store_that_is_down_logs_nobody_out() {
    let stage = Stage::new();
    let mut visitor = signed_in(&stage).await;
    let cookie = visitor.cookie();
    let before = stage.store.rows().await;
    stage.store.set_down(true);
    for _ in 0..3 {
        assert_unavailable(
            &visitor.does(async |_: Session| -> &'static str { panic!("must not run") }).await,
        );
        assert_unavailable(
            &visitor.does(async |_: Option<Session>| -> &'static str { panic!("must not run") }).await,
        );
        assert_unavailable(&visitor.does(async |lazy: LazySession| lazy.load().await.map(drop)).await);
    }
    // Several cookies are asked for at once.
    let two = format!("{}; __Host-session={}", cookie.clone().unwrap(), "A".repeat(43));
    assert_unavailable(&visitor.with_cookie(two).does(who).await);
    // A page without a session works, and so does a visitor without a cookie who only looks.
    assert_eq!(visitor.does(async || "page").await.body, "page");
    assert_eq!(stage.visitor().does(who).await.body, "nobody");
    stage.store.set_down(false);
    assert_eq!(visitor.does(who).await.body, "ada");
    assert_eq!((visitor.cookie(), stage.store.rows().await), (cookie, before));
}

/// [R01] [R04] Down when the commit comes: 503 in place of the handler's answer, no cookie, nothing done,
/// whatever it was; the same request succeeds later.
#[tokio::test]
async fn a_commit_that_fails_is_never_a_silent_200() {
    #[derive(Clone, Copy, Debug)]
    enum What {
        Change,
        Login,
        SomebodyElse,
        Rotate,
        Logout,
        LogoutAndFlash,
        LogoutAndLogin,
    }
    use What::*;
    async fn act(session: &Session, what: What) -> Done {
        match what {
            Change => session.insert("new", &1),
            Login => session.login("ada"),
            SomebodyElse => session.login("eve"),
            Rotate => session.rotate(),
            Logout => {
                session.logout();
                Ok(())
            }
            LogoutAndFlash => {
                session.logout();
                session.flash("info", "signed out")
            }
            LogoutAndLogin => {
                session.logout();
                session.login("eve")
            }
        }
    }
    for what in [Change, Login, SomebodyElse, Rotate, Logout, LogoutAndFlash, LogoutAndLogin] {
        let stage = Stage::new();
        let mut visitor = signed_in(&stage).await;
        let before = stage.store.rows().await;
        let handler = async move |session: Session| -> Result<_, SessionError> {
            act(&session, what).await?;
            Ok(([("set-cookie", "of=handler")], "done"))
        };
        stage.store.set_writes_down(true);
        stage.events();
        for _ in 0..2 {
            let answer = visitor.does(handler).await;
            assert_unavailable(&answer);
            assert!(!answer.body.contains("done"));
            assert_eq!(stage.store.rows().await, before, "{what:?}");
        }
        assert!(stage.events().is_empty(), "{what:?}: nothing happened");
        assert_eq!(visitor.does(who).await.body, "ada", "{what:?}: still there");
        stage.store.set_writes_down(false);
        let answer = visitor.does(handler).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "done"), "{what:?}");
        assert_ne!(stage.store.rows().await, before, "{what:?}");
    }
    // A new visitor gets no cookie for a row that does not exist.
    let stage = Stage::new();
    stage.store.set_writes_down(true);
    let mut visitor = stage.visitor();
    assert_unavailable(&visitor.does(async |session: Session| session.insert("a", &1)).await);
    assert_unavailable(&visitor.does(async |session: Session| session.login("ada")).await);
    assert!(stage.store.rows().await.is_empty());
}

/// [R01] [R04] A name that an early save has made reaches the browser even if a later commit fails: the old
/// one is dead.
#[tokio::test]
async fn a_confirmed_name_reaches_the_browser() {
    let stage = Stage::new();
    let mut visitor = signed_in(&stage).await;
    let store = stage.store.clone();
    let answer = visitor
        .does(async move |session: Session| -> Done {
            session.rotate()?;
            session.save().await?;
            store.set_writes_down(true);
            session.insert("late", &1)
        })
        .await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (503, 1));
    assert_eq!(visitor.does(who).await.body, "ada");
}

/// [R04] [S24] The answer to a logout was lost: it is asked again, and what was done is told once.
#[tokio::test]
async fn a_logout_whose_answer_is_lost_is_done_and_told() {
    let stage = Stage::new();
    let mut visitor = signed_in(&stage).await;
    let id = stage.store.rows().await[0].id();
    stage.events();
    stage.store.lose_an_answer();
    let answer = visitor.does(async |session: Session| session.logout()).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert!(stage.store.rows().await.is_empty() && visitor.cookie().is_none());
    assert_eq!(stage.events(), [Event::LoggedOut { id }]);
}

/// [R04] A logout that the store does not answer is an error after its deadline, never a false "done"; it is tried
/// once more behind the client's back, for as long, and told when it is done.
#[tokio::test(start_paused = true)]
async fn a_logout_without_an_answer_is_tried_once_more() {
    for (recovers, flashes, reads) in [
        (true, false, true),
        (true, true, true),
        (false, false, true),
        (true, false, false),
        (true, true, false),
        (false, false, false),
    ] {
        let stage = Stage::with_policy(Policy::default().store_timeout(seconds(2)));
        let visitor = signed_in(&stage).await;
        let id = stage.store.rows().await[0].id();
        stage.events();
        stage.store.statements();
        let store = stage.store.clone();
        let logout = async move |lazy: LazySession| -> Done {
            if reads {
                lazy.load().await?;
            }
            store.set_silent(true);
            let session = lazy.logout();
            if flashes { session.flash("info", "signed out") } else { Ok(()) }
        };
        let mut tab = visitor.impatient();
        let started = tokio::time::Instant::now();
        assert_unavailable(&tab.does(logout).await);
        assert_eq!(started.elapsed().as_secs(), 2, "the client waits for one deadline");
        assert!(stage.events().is_empty());
        stage.store.set_silent(!recovers);
        stage.sessions.settled().await;
        assert!(started.elapsed() <= seconds(4));
        stage.store.set_silent(false);
        if recovers {
            assert_eq!(stage.events(), [Event::LoggedOut { id }]);
            assert!(stage.store.rows().await.is_empty());
        } else {
            assert!(stage.events().is_empty());
            let statements = 2 + usize::from(reads);
            assert_eq!(stage.store.statements(), statements, "a load, the logout, and once more");
        }
    }
}

/// [R01] Writes fail and reads work: whoever only looks is served, and the renewal waits.
#[tokio::test]
async fn a_renewal_that_fails_is_no_error() {
    let stage = Stage::new();
    let mut visitor = signed_in(&stage).await;
    stage.clock.advance(seconds(900));
    stage.store.set_writes_down(true);
    let answer = visitor.does(who).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str(), answer.set_cookies().len()), (200, "ada", 0));
    stage.store.set_writes_down(false);
    visitor.does(who).await;
    assert_eq!(stage.store.rows().await[0].expires_at(), stage.sessions.now().saturating_add(seconds(1_800)));
}

/// [R01] No answer within the deadline: 503 after it, for loads, commits and lists; then it recovers.
#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_not_waited_for() {
    let stage = Stage::with_policy(Policy::default().store_timeout(seconds(2)));
    let mut visitor = signed_in(&stage).await;
    stage.store.set_silent(true);
    let started = tokio::time::Instant::now();
    assert_unavailable(&visitor.does(who).await);
    assert_eq!(started.elapsed().as_secs(), 2);
    let store = stage.store.clone();
    let started = tokio::time::Instant::now();
    stage.store.set_silent(false);
    let mut visitor = visitor.impatient();
    for ends in [false, true] {
        let store = store.clone();
        let answer = visitor
            .does(async move |session: Session| -> Done {
                store.set_silent(true);
                if ends {
                    session.logout();
                }
                session.insert("new", &1)
            })
            .await;
        assert_unavailable(&answer);
        stage.store.set_silent(false);
    }
    assert_eq!(started.elapsed().as_secs(), 4, "one deadline each");
    stage.sessions.settled().await;
    assert_eq!(visitor.does(who).await.body, "nobody", "the logout was tried once more");

    signed_in(&stage).await;
    let user = sessile::UserId::new("ada").unwrap();
    let id = stage.store.rows().await[0].id();
    stage.store.set_silent(true);
    let started = tokio::time::Instant::now();
    let timed_out = |error: EngineError| matches!(error, EngineError::Store(StoreError::Timeout { .. }));
    assert!(timed_out(stage.sessions.revoke(id).await.unwrap_err()));
    assert!(timed_out(stage.sessions.revoke_user(&user).await.unwrap_err()));
    assert!(timed_out(stage.sessions.get(id).await.unwrap_err()));
    assert!(timed_out(stage.sessions.purge(|_| {}).await.unwrap_err()));
    let listing = tokio::time::timeout(seconds(60), stage.sessions.sessions_of(&user)).await;
    assert!(timed_out(listing.expect("bounded").unwrap_err()));
    // Two for each, and four for the user's sessions, whose locked rows the store itself may wait for.
    assert_eq!(started.elapsed().as_secs(), 12);
}

/// [R02] Fifty requests that fight over one session when the store stops answering all get their 503
/// within a few deadlines, not one after the other.
#[tokio::test(start_paused = true)]
async fn a_crowd_does_not_wait_for_ever() {
    let stage = Stage::with_policy(Policy::default().store_timeout(seconds(2)));
    let visitor = signed_in(&stage).await;
    let started = tokio::time::Instant::now();
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let (mut tab, store) = (visitor.clone(), stage.store.clone());
            tokio::spawn(async move {
                let handler = async move |session: Session| -> Done {
                    session.update("n", |n: &mut u32| *n += 1)?;
                    store.set_silent(true);
                    Ok(())
                };
                tab.does(handler).await.status
            })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(started.elapsed() >= seconds(2));
    assert!(started.elapsed() <= seconds(10), "{:?}", started.elapsed());
}

/// [R01] A full store says so, and a logout frees room.
#[tokio::test]
async fn a_full_store_is_an_error_of_its_own() {
    let stage = Stage::over(sessile::store::MemoryStore::with_capacity(1), Policy::default());
    let mut visitor = signed_in(&stage).await;
    let mut other = stage.visitor();
    let answer = other.does(async |session: Session| session.insert("a", &1)).await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::INSUFFICIENT_STORAGE, 0));
    assert_eq!(visitor.does(who).await.body, "ada");
    visitor.does(async |session: Session| session.logout()).await;
    assert_eq!(other.does(async |session: Session| session.insert("a", &1)).await.status, 200);
}
