//! The middleware between a handler and its response (group I of the behaviour cases, save the cookie
//! lines, which stand in `cookie.rs`, and the faults of the store, which stand in `outage.rs`).
//!
//! Cases that have no test here:
//! * I23, failing open: there is no such mode; a handler that takes no session works without a store.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONNECTION, LOCATION, SET_COOKIE, UPGRADE, VARY};
use axum::http::{Method, Response, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{any, get};
use futures_util::stream;
use http_body_util::BodyExt;
use sessile::engine::Event;
use sessile::{CookieConfig, LazySession, Policy, Session, SessionError, SessionLayer};
use support::{Browser, Stage, Visitor, seconds};
use tokio::sync::Notify;
use tower::{Layer, ServiceExt, service_fn};

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

/// [I11] [A29] A 5xx drops what was changed: no data, no cookie, no login, no new name.
#[tokio::test]
async fn a_server_error_drops_the_changes() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = signed_in(&stage).await;
        let before = stage.store.rows().await;
        for status in [500, 502, 503, 599] {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = visitor
                .does(async move |session: Session| -> Result<_, SessionError> {
                    session.insert("dropped", &1)?;
                    session.login("eve")?;
                    session.rotate()?;
                    Ok(status)
                })
                .await;
            assert_eq!((answer.status, answer.set_cookies().len()), (status, 0));
            assert_eq!(stage.store.rows().await, before);
        }
        let mut new = stage.visitor();
        let answer = new
            .does(async |session: Session| -> Result<_, SessionError> {
                session.login("eve")?;
                Ok(StatusCode::INTERNAL_SERVER_ERROR)
            })
            .await;
        assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (500, 0));
        assert_eq!(stage.store.rows().await, before);
    }
}

/// [I11] A setting keeps the changes of a 5xx, never those of a panic.
#[tokio::test]
async fn a_setting_keeps_the_changes_of_a_server_error() {
    let stage = Stage::with_policy(Policy::default().keep_changes_on_server_error(true));
    let mut visitor = signed_in(&stage).await;
    visitor
        .does(async |session: Session| -> Result<_, SessionError> {
            session.insert("also", &1)?;
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .await;
    assert_eq!(stage.store.rows().await[0].data().len(), 2);
    let mut other = visitor.clone();
    let panics = async |session: Session| -> &'static str {
        session.insert("never", &1).unwrap();
        panic!("as this test wants");
    };
    assert!(tokio::spawn(async move { other.does(panics).await }).await.unwrap_err().is_panic());
    assert_eq!(stage.store.rows().await[0].data().len(), 2);
}

/// [S09] [I11] Ending wins: a 5xx carries out a logout, and what came before or after it is dropped.
#[tokio::test]
async fn a_server_error_carries_out_a_logout() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = signed_in(&stage).await;
        let mut replay = visitor.clone();
        let answer = visitor
            .does(async |session: Session| -> Result<_, SessionError> {
                session.insert("dropped", &1)?;
                session.logout();
                session.login("eve")?;
                Ok(StatusCode::INTERNAL_SERVER_ERROR)
            })
            .await;
        assert_eq!(answer.status, 500);
        assert!(answer.set_cookies()[0].starts_with("__Host-session=; Max-Age=0"));
        assert!(stage.store.rows().await.is_empty());
        assert_eq!(replay.does(who).await.body, "nobody");
    }
}

/// [S09] [I11] A panic goes on to whoever catches it; changes are dropped, a logout is carried out.
#[tokio::test]
async fn a_panic_goes_on_and_a_logout_is_carried_out() {
    async fn panics(session: Session) {
        session.insert("dropped", &1).unwrap();
        session.login("eve").unwrap();
        tokio::task::yield_now().await;
        panic!("as this test wants");
    }
    async fn signs_out_and_panics(session: Session) {
        session.insert("dropped", &1).unwrap();
        session.logout();
        panic!("as this test wants");
    }
    for stage in Stage::everywhere(Policy::default()).await {
        let visitor = signed_in(&stage).await;
        let before = stage.store.rows().await;
        let mut tab = visitor.clone();
        let panic = tokio::spawn(async move { tab.does(panics).await }).await.unwrap_err();
        assert_eq!(panic.into_panic().downcast_ref(), Some(&"as this test wants"));
        assert_eq!(stage.store.rows().await, before);
        let mut tab = visitor.clone();
        let panic = tokio::spawn(async move { tab.does(signs_out_and_panics).await }).await.unwrap_err();
        assert_eq!(panic.into_panic().downcast_ref(), Some(&"as this test wants"));
        assert!(stage.store.rows().await.is_empty());
        assert!(matches!(stage.events().last(), Some(Event::LoggedOut { .. })));
    }
}

/// [I11] A service that fails without a response is like a panic: the error goes on, the logout is made.
#[tokio::test]
async fn an_error_of_the_service_goes_on() {
    for ends in [false, true] {
        let stage = Stage::new();
        let visitor = signed_in(&stage).await;
        let service =
            SessionLayer::new(stage.sessions.clone()).layer(service_fn(move |request: Request| async move {
                let lazy = request.extensions().get::<LazySession>().unwrap().clone();
                let session = lazy.load().await.unwrap();
                session.insert("dropped", &1).unwrap();
                if ends {
                    session.logout();
                }
                Err::<Response<Body>, &str>("broken")
            }));
        let cookie = format!("__Host-session={}", visitor.cookie().unwrap());
        let request = Request::get("/").header("cookie", cookie).body(Body::empty()).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap_err(), "broken");
        let rows = stage.store.rows().await;
        assert_eq!(rows.len(), usize::from(!ends));
        assert!(rows.iter().all(|row| !row.data().contains("dropped")));
    }
}

/// [I13] Every kind of response commits, once, before its head leaves.
#[tokio::test]
async fn every_kind_of_response_commits_once() {
    async fn change(session: &Session) {
        session.update("n", |n: &mut u32| *n += 1).unwrap();
    }
    let routes = Router::new()
        .route("/empty", any(async |s: Session| change(&s).await))
        .route("/redirect", any(async |s: Session| (change(&s).await, Redirect::to("/next")).1))
        .route("/no-content", any(async |s: Session| (change(&s).await, StatusCode::NO_CONTENT).1))
        .route("/not-modified", any(async |s: Session| (change(&s).await, StatusCode::NOT_MODIFIED).1))
        .route("/refused", any(async |s: Session| (change(&s).await, StatusCode::FORBIDDEN).1))
        .route("/fixed", any(async |s: Session| (change(&s).await, "text").1))
        .route(
            "/chunks",
            any(async |s: Session| {
                change(&s).await;
                Body::from_stream(stream::iter(["a", "b"].map(Ok::<_, Infallible>)))
            }),
        );
    let stage = Stage::new();
    let mut browser = stage.browser(routes);
    let mut changes = 0;
    for path in ["/empty", "/redirect", "/no-content", "/not-modified", "/refused", "/fixed", "/chunks"] {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS] {
            stage.store.statements();
            let answer = browser.send(Request::builder().method(&method).uri(path)).await;
            assert!(!answer.status.is_server_error(), "{method} {path}");
            changes += 1;
            let statements = if changes == 1 { 1 } else { 2 };
            assert_eq!(stage.store.statements(), statements, "{method} {path}");
            assert_eq!(answer.set_cookies().len(), usize::from(changes == 1), "{method} {path}");
            assert_eq!(stage.store.rows().await[0].data().get::<u32>("n").unwrap(), Some(changes));
        }
    }
    assert_eq!(browser.get("/redirect").await.headers[LOCATION], "/next");
}

/// [I14] The head of a stream leaves after the commit; what the stream changes needs a save, and gets it.
#[tokio::test]
async fn a_stream_commits_before_its_head_and_saves_later() {
    for stage in Stage::everywhere(Policy::default()).await {
        let streams = async |session: Session| {
            session.insert("head", &1).unwrap();
            let steps = stream::unfold((session, 0), async |(session, step)| match step {
                0 => Some((Ok::<_, Infallible>(Bytes::from("first ")), (session, 1))),
                1 => {
                    session.insert("saved", &1).unwrap();
                    session.save().await.unwrap();
                    session.insert("forgotten", &1).unwrap();
                    Some((Ok(Bytes::from("second")), (session, 2)))
                }
                _ => None,
            });
            Body::from_stream(steps)
        };
        let router = Router::new().route("/", get(streams)).layer(SessionLayer::new(stage.sessions.clone()));
        let response = router.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        assert!(response.headers().contains_key(SET_COOKIE));
        assert_eq!(stage.store.rows().await[0].data().keys().collect::<Vec<_>>(), ["head"]);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "first second");
        assert_eq!(stage.store.rows().await[0].data().keys().collect::<Vec<_>>(), ["head", "saved"]);
    }
}

/// [G01] [N08] A stream whose session ends meanwhile is told so, and brings nothing back.
#[tokio::test]
async fn a_save_in_a_stream_brings_nothing_back() {
    let stage = Stage::new();
    let mut visitor = signed_in(&stage).await;
    let sessions = stage.sessions.clone();
    let answer = visitor
        .does(async move |session: Session| {
            let steps = stream::once(async move {
                sessions.revoke(session.id().unwrap()).await.unwrap();
                session.insert("late", &1).unwrap();
                let error = session.save().await.unwrap_err();
                Ok::<_, Infallible>(Bytes::from(error.to_string()))
            });
            Body::from_stream(steps)
        })
        .await;
    assert!(answer.body.contains("ended"), "{}", answer.body);
    assert!(stage.store.rows().await.is_empty());
}

/// [N10] A protocol switch leaves with the cookie in its head, and the socket can save.
#[tokio::test]
async fn a_protocol_switch_goes_through() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let (closed, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (sees_close, tells) = (Arc::clone(&closed), Arc::clone(&done));
    let answer = visitor
        .does(async move |session: Session| -> Result<_, SessionError> {
            session.login("ada")?;
            tokio::spawn(async move {
                sees_close.notified().await;
                session.insert("socket", &1).unwrap();
                session.save().await.unwrap();
                tells.notify_one();
            });
            Ok((StatusCode::SWITCHING_PROTOCOLS, [(UPGRADE, "websocket"), (CONNECTION, "upgrade")]))
        })
        .await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (101, 1));
    assert_eq!(answer.headers[UPGRADE], "websocket");
    closed.notify_one();
    done.notified().await;
    assert!(stage.store.rows().await[0].data().contains("socket"));
    assert_eq!(visitor.does(who).await.body, "ada");
}

/// [I16] Mounted twice, around a nested router too, the layer loads, commits and sets a cookie once.
#[tokio::test]
async fn a_layer_mounted_twice_is_one() {
    let stage = Stage::new();
    let layer = || SessionLayer::new(stage.sessions.clone());
    let inner = Router::new().route(
        "/n",
        any(async |session: Session| session.update("n", |n: &mut u8| *n += 1).map(|n| n.to_string())),
    );
    let routes = Router::new()
        .route("/who", any(who))
        .nest("/deep", Router::new().nest("/er", inner.layer(layer())).layer(layer()))
        .layer(from_fn(async |session: Session, request: Request, next: Next| {
            let response = next.run(request).await;
            session.insert("seen by the middleware", &1).unwrap();
            response
        }))
        .layer(layer());
    let mut browser = stage.browser(routes);
    for n in 1..=3 {
        stage.store.statements();
        let answer = browser.post("/deep/er/n").await;
        assert_eq!(answer.body, n.to_string());
        assert_eq!(answer.set_cookies().len(), usize::from(n == 1));
        assert_eq!(stage.store.statements(), if n == 1 { 1 } else { 2 });
    }
    let rows = stage.store.rows().await;
    assert_eq!((rows.len(), rows[0].data().len()), (1, 2));
}

/// [I17] Two layers with two names are two sessions: neither sees, changes or ends the other.
#[tokio::test]
async fn two_names_are_two_sessions() {
    let (shop, admin) = (Stage::new(), Stage::new());
    let admin_cookie = CookieConfig::new().name("__Host-admin");
    let routes = Router::new()
        .route("/in", any(async |session: Session| session.login("root")))
        .route("/who", any(who))
        .route("/out", any(async |session: Session| session.logout()))
        .layer(SessionLayer::new(admin.sessions.clone()).cookie(admin_cookie).unwrap())
        .layer(from_fn(async |session: Session, request: Request, next: Next| {
            session.update("visits", |n: &mut u8| *n += 1).unwrap();
            next.run(request).await
        }))
        .layer(SessionLayer::new(shop.sessions.clone()));
    let mut browser = Browser::new(routes);
    let answer = browser.post("/in").await;
    assert_eq!(answer.set_cookies().len(), 2);
    assert_eq!(browser.jar.keys().collect::<Vec<_>>(), ["__Host-admin", "__Host-session"]);
    assert_eq!(browser.get("/who").await.body, "root");
    let swapped = [
        ("__Host-admin".to_owned(), browser.jar["__Host-session"].clone()),
        ("__Host-session".to_owned(), browser.jar["__Host-admin"].clone()),
    ];
    let mut mixed = browser.clone();
    mixed.jar = swapped.into();
    assert_eq!(mixed.get("/who").await.body, "nobody");
    let answer = browser.post("/out").await;
    assert_eq!(answer.set_cookies().len(), 1);
    assert_eq!(browser.jar.keys().collect::<Vec<_>>(), ["__Host-session"]);
    assert!(admin.store.rows().await.is_empty());
    let visits =
        shop.store.rows().await.iter().map(|row| row.data().get::<u8>("visits").unwrap().unwrap()).max();
    assert_eq!(visits, Some(3));
}

/// [I19] A preflight without a session passes, and costs nothing.
#[tokio::test]
async fn a_preflight_costs_nothing() {
    let stage = Stage::new();
    let visitor = signed_in(&stage).await;
    let routes = Router::new().route("/", get(who).options(async || StatusCode::NO_CONTENT));
    let mut browser = stage.browser(routes);
    browser.jar = visitor.jar.clone();
    stage.store.statements();
    let answer = browser.send(Request::builder().method(Method::OPTIONS).uri("/")).await;
    assert_eq!((answer.status.as_u16(), stage.store.statements()), (204, 0));
    assert!([VARY, SET_COOKIE, CACHE_CONTROL].iter().all(|name| !answer.headers.contains_key(name)));
}

/// [A28] Without the layer every extractor says which layer is missing, and where it belongs.
#[tokio::test]
async fn a_missing_layer_is_named() {
    let routes = Router::new()
        .route("/session", get(who))
        .route("/optional", get(async |session: Option<Session>| session.is_some().to_string()))
        .route("/lazy", get(async |_: LazySession| ()));
    let mut browser = Browser::new(routes);
    for path in ["/session", "/optional", "/lazy"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 500);
        assert!(answer.body.contains("SessionLayer") && answer.body.contains("router"), "{}", answer.body);
    }
    let text = SessionError::MissingLayer.to_string();
    assert!(text.contains(".layer(SessionLayer::new(sessions))"), "{text}");
}

/// [A28] [C28] `Option<Session>` is there exactly when the visitor has a live session.
#[tokio::test]
async fn an_optional_session_is_a_live_one() {
    let stage = Stage::new();
    let has = async |session: Option<Session>| session.is_some().to_string();
    let mut visitor = stage.visitor();
    assert_eq!(visitor.does(has).await.body, "false");
    visitor.does(async |session: Session| session.insert("a", &1)).await;
    assert_eq!(visitor.does(has).await.body, "true");
    let mut dead = visitor.clone();
    visitor.does(async |session: Session| session.logout()).await;
    assert_eq!(dead.does(has).await.body, "false");
    assert_eq!(visitor.does(has).await.body, "false");
}

/// [I22] [S26] Of a client that goes away in the middle of a handler the changes are discarded, and a logout that
/// was called is carried out.
#[tokio::test]
async fn a_dropped_request_keeps_its_logout_and_discards_its_changes() {
    let stage = Stage::new();
    let visitor = signed_in(&stage).await;
    let before = stage.store.rows().await;
    for ends in [false, true] {
        let reached = Arc::new(Notify::new());
        let tells = Arc::clone(&reached);
        let waits = async move |session: Session| {
            session.insert("dropped", &1).unwrap();
            if ends {
                session.logout();
            }
            tells.notify_one();
            std::future::pending::<()>().await;
        };
        let mut tab = visitor.clone();
        let request = tokio::spawn(async move { tab.does(waits).await });
        reached.notified().await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        stage.sessions.drain().await;
        assert_eq!(stage.store.rows().await, if ends { vec![] } else { before.clone() });
    }
    assert_eq!(visitor.clone().does(who).await.body, "nobody");
}

/// [I22] [R03] A client that goes away while its commit waits, or stands in line, blocks nobody.
#[tokio::test]
async fn a_client_that_goes_away_during_the_commit_blocks_nobody() {
    let stage = Stage::new();
    let visitor = signed_in(&stage).await;
    let counts = async |session: Session| session.update("n", |n: &mut u32| *n += 1).map(drop);
    let reached = Arc::new(Notify::new());
    for _ in 0..2 {
        // The first write of each request is overtaken, so that it stands in line; the second one hangs.
        let mut faster = visitor.clone();
        stage.store.before_next_write(async move { assert_eq!(faster.does(counts).await.status, 200) });
        stage.store.before_next_write(async {});
        let tells = Arc::clone(&reached);
        stage.store.before_next_write(async move {
            tells.notify_one();
            std::future::pending().await
        });
        let mut tab = visitor.clone();
        let request = tokio::spawn(async move { tab.does(counts).await });
        reached.notified().await;
        let mut behind = visitor.clone();
        let mut before_it = visitor.clone();
        stage.store.before_next_write(async move { assert_eq!(before_it.does(counts).await.status, 200) });
        let behind = tokio::spawn(async move { behind.does(counts).await.status });
        tokio::task::yield_now().await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        let behind = tokio::time::timeout(seconds(60), behind).await;
        assert_eq!(behind.expect("nobody answers").unwrap(), 200);
    }
    assert_eq!(stage.store.rows().await[0].data().get::<u32>("n").unwrap(), Some(6));
}

/// [B16] A handler that gives up waiting for a save neither loses it nor makes it twice.
#[tokio::test]
async fn a_save_that_is_given_up_is_made_once() {
    let stage = Stage::new();
    let mut visitor = signed_in(&stage).await;
    let store = stage.store.clone();
    let answer = visitor
        .does(async move |session: Session| -> Done {
            session.update("n", |n: &mut u32| *n += 1)?;
            let go_on = Arc::new(Notify::new());
            let waits = Arc::clone(&go_on);
            store.before_next_write(async move { waits.notified().await });
            tokio::select! {
                biased;
                saved = session.save() => saved?,
                () = tokio::task::yield_now() => {}
            }
            session.update("n", |n: &mut u32| *n += 1)?;
            go_on.notify_one();
            Ok(())
        })
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(stage.store.rows().await[0].data().get::<u32>("n").unwrap(), Some(2));
}

/// [S24] [N11] A listener that panics changes nothing for the request, nor for the other listeners.
#[tokio::test]
async fn a_listener_that_panics_changes_nothing() {
    let stage = Stage::new();
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let sessions = sessile::Sessions::builder(stage.store.clone())
        .listener(|_: &Event| panic!("as this test wants"))
        .listener(move |event: &Event| hears.lock().unwrap().push(event.clone()))
        .build();
    let mut visitor = Visitor::new(SessionLayer::new(sessions));
    let answer = visitor.does(async |session: Session| session.login("ada")).await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (200, 1));
    assert_eq!(visitor.does(who).await.body, "ada");
    assert!(matches!(heard.lock().unwrap()[..], [Event::Created { .. }, Event::Authenticated { .. }]));
}

/// [I07] [S18] What the handler says in its head is left alone.
#[tokio::test]
async fn the_handlers_head_is_left_alone() {
    let stage = Stage::new();
    let answer = stage
        .visitor()
        .does(async |session: Session| -> Result<_, SessionError> {
            session.login("ada")?;
            Ok((StatusCode::CREATED, [("x-own", "1"), ("set-cookie", "other=1")], "body").into_response())
        })
        .await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (201, "body"));
    assert_eq!(answer.headers["x-own"], "1");
    assert_eq!(answer.set_cookies().len(), 2);
}
