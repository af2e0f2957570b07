//! What a request costs.

mod support;

use axum::Router;
use axum::routing::{get, post};
use sessile::{LazySession, Session, SessionError};
use support::Stage;

fn routes() -> Router {
    Router::new()
        .route("/plain", get(|| async { "ok" }))
        .route("/lazy", get(|_: LazySession| async { "ok" }))
        .route(
            "/read",
            get(|session: Session| async move { session.get::<u32>("n").map(|n| format!("{n:?}")) }),
        )
        .route(
            "/change",
            post(|session: Session| async move {
                session.update("n", |n: &mut u32| *n += 1).map(|n| n.to_string())
            }),
        )
        .route(
            "/login",
            post(|session: Session| async move {
                session.login("ada")?;
                Ok::<_, SessionError>("ok")
            }),
        )
        .route(
            "/logout",
            post(|session: Session| async move {
                session.logout();
                "ok"
            }),
        )
        .route(
            "/leave",
            post(|session: LazySession| async move {
                session.logout();
                "ok"
            }),
        )
}

/// [B01] [B02] [B05] [B07] Statements per request: read 1, anonymous 0, untouched 0, change 2, login 2,
/// logout 2, or 1 unread.
#[tokio::test]
async fn each_kind_of_request_costs_what_is_promised() {
    let stage = Stage::new();
    let mut browser = stage.browser(routes());

    for path in ["/plain", "/lazy", "/read"] {
        let answer = browser.get(path).await;
        assert_eq!((stage.store.statements(), answer.set_cookies().len()), (0, 0), "anonymous {path}");
    }
    assert!(stage.store.rows().await.is_empty(), "a visitor leaves no row");

    browser.post("/change").await;
    assert_eq!(stage.store.statements(), 1, "the first change: one insert, nothing to load");
    for path in ["/plain", "/lazy"] {
        let answer = browser.get(path).await;
        assert_eq!((stage.store.statements(), answer.set_cookies().len()), (0, 0), "untouched {path}");
    }
    let answer = browser.get("/read").await;
    assert_eq!((stage.store.statements(), answer.set_cookies().len()), (1, 0), "read");
    let answer = browser.post("/change").await;
    assert_eq!((stage.store.statements(), answer.set_cookies().len()), (2, 0), "change");
    let answer = browser.post("/login").await;
    assert_eq!((stage.store.statements(), answer.set_cookies().len()), (2, 1), "login");
    assert_eq!(browser.get("/read").await.body, "Some(2)");
    stage.store.statements();
    let answer = browser.post("/logout").await;
    assert_eq!((stage.store.statements(), answer.set_cookies().len()), (2, 1), "logout");
    let answer = browser.post("/leave").await;
    assert_eq!((stage.store.statements(), answer.set_cookies().len()), (0, 0), "nothing to end");
    browser.post("/login").await;
    stage.store.statements();
    let answer = browser.post("/leave").await;
    assert_eq!((stage.store.statements(), answer.set_cookies().len()), (1, 1), "logout unread");
    assert!(stage.store.rows().await.is_empty());
}
