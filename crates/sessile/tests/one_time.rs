//! One-time values: of two requests that take one, one gets it.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use std::sync::Arc;

use axum::http::StatusCode;
use sessile::engine::{Changes, EngineError};
use sessile::store::SessionStore as _;
use sessile::{LazySession, Policy, Session, SessionError};
use support::{Answer, Stage, Visitor, sign_in, who};

type Done = Result<(), SessionError>;

async fn visitor_with_nonce(stage: &Stage) -> Visitor {
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.extend(&serde_json::json!({"nonce": "42", "n": 1}))).await;
    visitor
}

/// Two requests that have both read the session before one of them commits.
async fn two_at_once<F, A>(visitor: &Visitor, request: F) -> [Answer; 2]
where
    F: Fn(Session) -> A + Send + Sync + Copy + 'static,
    A: Future<Output = Result<String, SessionError>> + Send + 'static,
{
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    let one = |mut tab: Visitor, barrier: Arc<tokio::sync::Barrier>| async move {
        tab.does(async move |session: Session| {
            barrier.wait().await;
            request(session).await
        })
        .await
    };
    let (first, second) =
        tokio::join!(one(visitor.clone(), Arc::clone(&barrier)), one(visitor.clone(), barrier));
    [first, second]
}

/// [S30] A value is given to one of two requests, and the other one is told 409, whatever they do beside that: change
/// other keys, set the value anew, clear the data, sign in.
#[tokio::test]
async fn of_two_requests_that_take_a_value_one_succeeds() {
    async fn takes(session: Session) -> Result<String, SessionError> {
        Ok(format!("{:?}", session.take::<String>("nonce")?))
    }
    async fn changes_others(session: Session) -> Result<String, SessionError> {
        session.update("n", |n: &mut u32| *n += 1)?;
        takes(session).await
    }
    async fn sets_it_anew(session: Session) -> Result<String, SessionError> {
        let taken = takes(session.clone()).await?;
        session.insert("nonce", &fastrand_text())?;
        Ok(taken)
    }
    async fn clears(session: Session) -> Result<String, SessionError> {
        let taken = takes(session.clone()).await?;
        session.clear();
        Ok(taken)
    }
    async fn signs_in(session: Session) -> Result<String, SessionError> {
        let taken = takes(session.clone()).await?;
        session.login("ada")?;
        Ok(taken)
    }
    async fn signs_in_first(session: Session) -> Result<String, SessionError> {
        session.login("ada")?;
        takes(session).await
    }
    fn fastrand_text() -> String {
        // Another one for each call.
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        NUMBER.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_string()
    }
    async fn check(stage: &Stage, answers: [Answer; 2]) {
        let given = answers.iter().filter(|answer| answer.status == StatusCode::OK);
        assert_eq!(given.map(|answer| &*answer.body).collect::<Vec<_>>(), ["Some(\"42\")"], "{answers:?}");
        let refused = answers.iter().filter(|answer| answer.status == StatusCode::CONFLICT);
        assert_eq!(refused.count(), 1, "{answers:?}");
        assert_eq!(stage.store.rows().await.len(), 1);
        let id = stage.store.rows().await[0].id();
        stage.sessions.revoke(id).await.unwrap();
    }
    for policy in [Policy::default(), Policy::default().keep_anonymous_data(false)] {
        for stage in Stage::everywhere(policy.clone()).await {
            check(&stage, two_at_once(&visitor_with_nonce(&stage).await, takes).await).await;
            check(&stage, two_at_once(&visitor_with_nonce(&stage).await, changes_others).await).await;
            check(&stage, two_at_once(&visitor_with_nonce(&stage).await, sets_it_anew).await).await;
            check(&stage, two_at_once(&visitor_with_nonce(&stage).await, clears).await).await;
            check(&stage, two_at_once(&visitor_with_nonce(&stage).await, signs_in).await).await;
            if policy.keeps_anonymous_data() {
                check(&stage, two_at_once(&visitor_with_nonce(&stage).await, signs_in_first).await).await;
            }
        }
    }
}

/// [S30] The request that loses names the key, writes nothing, and is not told to come again.
#[tokio::test]
async fn a_value_that_was_taken_is_a_typed_error() {
    let stage = Stage::new();
    let visitor = visitor_with_nonce(&stage).await;
    let mut tab = visitor.clone();
    let answer = visitor
        .clone()
        .does(async move |session: Session| -> Done {
            assert_eq!(session.take::<String>("nonce")?.as_deref(), Some("42"));
            session.insert("mine", &1)?;
            let takes = async |session: Session| session.take::<String>("nonce").map(drop);
            assert_eq!(tab.does(takes).await.status, 200);
            let error = session.save().await.unwrap_err();
            assert!(!error.is_transient());
            let SessionError::Engine(EngineError::AlreadyTaken { key }) = &error else { panic!("{error:?}") };
            assert_eq!(&**key, "nonce");
            Err(error)
        })
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(stage.store.rows().await[0].data().to_text().as_ref(), r#"{"n": 1}"#);
}

/// [S30] A value that the same request has set is its own, and taking what is not there is no conflict.
#[tokio::test]
async fn taking_what_nobody_else_has_is_no_conflict() {
    let stage = Stage::new();
    let visitor = visitor_with_nonce(&stage).await;
    let mut tab = visitor.clone();
    let answer = visitor
        .clone()
        .does(async move |session: Session| -> Done {
            session.insert("nonce", "own")?;
            assert_eq!(session.take::<String>("nonce")?.as_deref(), Some("own"));
            assert_eq!(session.take::<String>("nonce")?, None);
            session.insert("fresh", &1)?;
            assert_eq!(session.take::<u8>("fresh")?, Some(1));
            let takes = async |session: Session| session.take::<String>("nonce").map(drop);
            assert_eq!(tab.does(takes).await.status, 200);
            session.save().await
        })
        .await;
    assert_eq!(answer.status, 200);
}

/// [S30] [J01] Messages may be read by two requests at once, as before: neither is refused.
#[tokio::test]
async fn messages_that_are_read_twice_are_no_conflict() {
    async fn reads(session: Session) -> Result<String, SessionError> {
        Ok(session.flashes()?.len().to_string())
    }
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        visitor.does(async |session: Session| session.flash("info", "once")).await;
        for answer in two_at_once(&visitor, reads).await {
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "1"));
        }
    }
}

/// [S30] `take_once` tells each request before it goes on whether it has got the value: 1 statement for the one that
/// has. Other changes of both are kept.
#[tokio::test]
async fn take_once_gives_a_value_to_one_request() {
    async fn takes(session: Session) -> Result<String, SessionError> {
        session.update("n", |n: &mut u32| *n += 1)?;
        let taken = session.take_once::<String>("nonce").await?;
        assert!(!session.contains("nonce"));
        assert_eq!(session.take_once::<String>("nonce").await?, None);
        Ok(format!("{taken:?}"))
    }
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = visitor_with_nonce(&stage).await;
        let answers = two_at_once(&visitor, takes).await;
        let mut bodies = answers.map(|answer| (answer.status, answer.body));
        bodies.sort_by(|a, b| a.1.cmp(&b.1));
        assert_eq!(bodies, [(StatusCode::OK, "None".into()), (StatusCode::OK, "Some(\"42\")".into())]);
        assert_eq!(stage.store.rows().await[0].data().to_text().as_ref(), r#"{"n": 3}"#);

        visitor.does(async |session: Session| session.insert("nonce", "43")).await;
        stage.store.statements();
        let store = stage.store.clone();
        let answer = visitor
            .does(async move |session: Session| -> Done {
                assert!(session.take_once::<u8>("nonce").await.is_err(), "of another type: it stays");
                assert_eq!(store.statements(), 1, "the load");
                assert_eq!(session.take_once::<String>("nonce").await?.as_deref(), Some("43"));
                assert_eq!(session.take_once::<String>("nonce").await?, None);
                assert_eq!(store.statements(), 1, "one write");
                session.insert("nonce", "own")?;
                assert_eq!(session.take_once::<String>("nonce").await?.as_deref(), Some("own"));
                assert_eq!(store.statements(), 0, "a value that nobody else has seen");
                Ok(())
            })
            .await;
        assert_eq!(answer.status, 200);
    }
}

/// [S30] A hundred requests, ten of them at a time, and each of the values is given out once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn take_once_is_fair_to_a_crowd() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        let values: std::collections::BTreeMap<String, u32> = (0..10).map(|n| (format!("v{n}"), n)).collect();
        let all = values.clone();
        visitor.does(async move |session: Session| session.extend(&all)).await;
        let other = stage.another_process();
        let tasks = (0..100).map(|n: u32| {
            let mut tab = if n.is_multiple_of(2) { visitor.clone() } else { other.visitor() };
            tab.jar = visitor.jar.clone();
            tokio::spawn(async move {
                let takes = async move |session: Session| -> Result<String, SessionError> {
                    let taken: Option<u32> = session.take_once(&format!("v{}", n / 2 % 10)).await?;
                    Ok(taken.map_or(String::new(), |taken| taken.to_string()))
                };
                let answer = tab.does(takes).await;
                assert_eq!(answer.status, 200);
                answer.body
            })
        });
        let mut given = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            given.extend(task.await.unwrap().parse::<u32>());
        }
        given.sort_unstable();
        assert_eq!(given, values.into_values().collect::<Vec<_>>());
    }
}

/// [S30] What another request put in the place of the value is taken instead, and what was changed under the key in
/// this request is committed first.
#[tokio::test]
async fn take_once_takes_what_is_stored_by_then() {
    let stage = Stage::new();
    let visitor = visitor_with_nonce(&stage).await;
    let mut tab = visitor.clone();
    let answer = visitor
        .clone()
        .does(async move |session: Session| -> Done {
            session.insert("mine", &1)?;
            tab.does(async |session: Session| session.insert("nonce", "43")).await;
            assert_eq!(session.take_once::<String>("nonce").await?.as_deref(), Some("43"));
            assert_eq!(session.keys(), ["n", "mine"]);
            session.update("n", |n: &mut u32| *n += 10)?;
            assert_eq!(session.take_once::<u32>("n").await?, Some(11));
            assert!(!session.is_modified(), "the changes under the key were committed, with the others");
            Ok(())
        })
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(stage.store.rows().await[0].data().to_text().as_ref(), r#"{"mine": 1}"#);
}

/// [S30] [R04] A removal that cannot be committed gives nothing out; a session that has ended is no `None`.
#[tokio::test]
async fn take_once_fails_rather_than_guess() {
    let stage = Stage::new();
    let mut visitor = visitor_with_nonce(&stage).await;
    let store = stage.store.clone();
    let answer = visitor
        .does(async move |session: Session| -> Done {
            store.set_writes_down(true);
            let error = session.take_once::<String>("nonce").await.unwrap_err();
            store.set_writes_down(false);
            assert!(error.is_transient());
            assert_eq!(session.take_once::<String>("nonce").await?.as_deref(), Some("42"));
            session.insert("nonce", "43")
        })
        .await;
    assert_eq!(answer.status, 200);
    let (sessions, id) = (stage.sessions.clone(), stage.store.rows().await[0].id());
    let answer = visitor
        .does(async move |session: Session| -> Done {
            sessions.revoke(id).await.unwrap();
            session.take_once::<String>("nonce").await.map(drop)
        })
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
}

/// [S30] A login or a rotation that is to come stays to come, and the value is gone before it.
#[tokio::test]
async fn take_once_leaves_a_login_to_its_commit() {
    let stage = Stage::new();
    let mut visitor = visitor_with_nonce(&stage).await;
    let mut old = visitor.clone();
    let answer = visitor
        .does(async |session: Session| -> Done {
            let before = session.id();
            session.login("ada")?;
            assert_eq!(session.take_once::<String>("nonce").await?.as_deref(), Some("42"));
            assert_eq!(session.id(), before);
            Ok(())
        })
        .await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
    assert_eq!((who(&mut visitor).await.as_str(), who(&mut old).await.as_str()), ("ada", "nobody"));
    assert_eq!(stage.store.rows().await[0].data().keys().collect::<Vec<_>>(), ["n"]);
}

/// [S30] A change from outside is no taking: the tool's removal conflicts with nothing, and a request that took the
/// value before loses.
#[tokio::test]
async fn a_removal_from_outside_is_seen_at_the_commit() {
    let stage = Stage::new();
    let mut visitor = visitor_with_nonce(&stage).await;
    sign_in(&mut visitor, "ada").await;
    let id = stage.store.rows().await[0].id();
    let sessions = stage.sessions.clone();
    let answer = visitor
        .does(async move |session: Session| -> Done {
            session.take::<String>("nonce")?;
            let mut removal = Changes::new();
            removal.remove("nonce");
            sessions.change(id, &removal).await?.unwrap();
            Ok(())
        })
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(stage.store.load(id).await.unwrap().is_some());
    // Without the middleware it is the same.
    let session = LazySession::new(stage.sessions.clone(), Vec::new()).load().await.unwrap();
    assert_eq!(session.take_once::<String>("nonce").await.unwrap(), None);
}
