//! What a client gets when its session cannot be loaded or committed.

use axum::Router;
use axum::response::{Html, IntoResponse};
use axum::routing::any;
use http::{Method, Request, Response, StatusCode, header};
use sessile::http::FailedRequest;
use sessile::store::MemoryStore;
use sessile::{Policy, Session, SessionError, SessionLayer};

use crate::support::{Answer, Browser, Stage, Visitor, sign_in};

type Done = Result<(), SessionError>;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn looks(session: Session) -> String {
    session.id().is_some().to_string()
}

async fn changes(session: Session) -> Done {
    session.insert("n", &1)
}

fn text<'a>(answer: &'a Answer, header: &str) -> &'a str {
    answer.headers[header].to_str().unwrap()
}

fn asks(accept: &str) -> http::request::Builder {
    Request::post("/").header(header::ACCEPT, accept)
}

/// The session of a request ends while the request changes it.
async fn conflict(stage: &Stage, visitor: &mut Visitor, request: http::request::Builder) -> Answer {
    sign_in(visitor, "ada").await;
    let (sessions, id) = (stage.sessions.clone(), stage.store.rows().await[0].id());
    stage.store.before_next_write(async move {
        sessions.revoke(id).await.unwrap();
    });
    visitor.sends(request, changes).await
}

/// [R01] [S22] [G01] Every error has a page in the format that the client asks for: HTML, problem+json or text, never
/// blank, never the cause, never kept by a cache; 503 says when to come again.
#[tokio::test]
async fn every_error_has_a_page_by_accept() {
    for (accept, content_type, begins) in [
        (BROWSER, "text/html; charset=utf-8", "<!doctype html>"),
        ("application/json", "application/problem+json", "{\"type\":\"about:blank\","),
        ("*/*", "text/plain; charset=utf-8", ""),
    ] {
        let stage = Stage::new();
        let mut visitor = stage.visitor();
        let mut answers = vec![(409, conflict(&stage, &mut visitor, asks(accept)).await)];
        sign_in(&mut visitor, "ada").await;
        let large = async |session: Session| session.insert("large", &"x".repeat(70_000));
        answers.push((413, visitor.sends(asks(accept), large).await));
        let wrong = async |session: Session| -> Done {
            session.insert("n", &1)?;
            session.get::<String>("n").map(drop)
        };
        answers.push((500, visitor.sends(asks(accept), wrong).await));
        let full = Stage::over(MemoryStore::with_capacity(0), Policy::default());
        answers.push((507, full.visitor().sends(asks(accept), changes).await));
        stage.store.set_writes_down(true);
        answers.push((503, visitor.sends(asks(accept), changes).await));
        stage.store.set_down(true);
        answers.push((503, visitor.sends(asks(accept), looks).await));
        for (status, answer) in answers {
            assert_eq!((answer.status.as_u16(), text(&answer, "content-type")), (status, content_type));
            assert!(answer.body.starts_with(begins) && answer.body.len() > 30, "{status}: {:?}", answer.body);
            assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
            assert_eq!(answer.headers.contains_key(header::RETRY_AFTER), status == 503);
            assert!(answer.set_cookies().is_empty());
            for cause in ["watched", "switched", "`n`", "70"] {
                assert!(!answer.body.contains(cause), "{status}: {:?}", answer.body);
            }
            if content_type == "application/problem+json" {
                let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(problem["status"], status);
                assert!(problem["title"].is_string() && problem["detail"].is_string());
            }
        }
    }
}

/// [R01] HEAD has the head of GET, the length included, and no body.
#[tokio::test]
async fn the_page_of_a_head_request_has_no_body() {
    let stage = Stage::new();
    let mut browser = stage.browser(Router::new().route("/", any(looks)));
    browser.jar.insert("__Host-session".to_owned(), "A".repeat(43));
    stage.store.set_down(true);
    let get = browser.send(asks(BROWSER).method(Method::GET)).await;
    let head = browser.send(asks(BROWSER).method(Method::HEAD)).await;
    assert_eq!((get.status, head.status), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(head.body, "");
    assert_eq!(head.headers[header::CONTENT_LENGTH], get.body.len().to_string());
}

fn renders(failed: &FailedRequest<'_>) -> Response<String> {
    let error = failed.error().to_string();
    assert!(error.contains("watched") || error.contains("ended"), "{error}");
    let (method, path, status) = (failed.method(), failed.uri().path(), failed.status());
    let accept = failed.accept().map_or("nothing", |accept| accept.to_str().unwrap());
    let text = format!("{status} {method} {path} {accept}: {}", failed.message());
    Response::builder().header("x-page", "ours").header("cdn-cache-control", "max-age=9").body(text).unwrap()
}

/// The application's own page, for errors of the commit and of the extractor, with the URI that the client sent. It
/// cannot make a success of an error, and no cache keeps it.
#[tokio::test]
async fn an_application_renders_its_own_page() {
    let stage = Stage::new();
    let layer = SessionLayer::new(stage.sessions.clone()).on_error(renders);
    let mut visitor = Visitor::new(layer.clone());
    let answer = conflict(&stage, &mut visitor, asks("text/html")).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.body.starts_with("409 Conflict POST / text/html: Your session ended"), "{}", answer.body);
    let inner = Router::new().route("/cart", any(looks)).layer(layer);
    let mut browser = Browser::new(Router::new().nest("/shop", inner));
    browser.jar.insert("__Host-session".to_owned(), "A".repeat(43));
    stage.store.set_down(true);
    let down = browser.post("/shop/cart").await;
    assert_eq!(down.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        down.body.starts_with("503 Service Unavailable POST /shop/cart nothing: Sessions"),
        "{}",
        down.body
    );
    for answer in [answer, down] {
        assert_eq!(answer.headers["x-page"], "ours");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        assert!(!answer.headers.contains_key("cdn-cache-control"));
        assert_eq!(answer.headers.contains_key(header::RETRY_AFTER), answer.status == 503);
    }
}

/// A page may lead elsewhere, and ask to come again later.
#[tokio::test]
async fn a_page_may_redirect_and_name_its_own_time() {
    let stage = Stage::new();
    let layer = SessionLayer::new(stage.sessions.clone()).on_error(|failed| match failed.status() {
        StatusCode::CONFLICT => {
            Response::builder().status(303).header("location", "/sign-in").body("").unwrap()
        }
        status => Response::builder().status(status).header("retry-after", "30").body("later").unwrap(),
    });
    let mut visitor = Visitor::new(layer);
    let answer = conflict(&stage, &mut visitor, asks("text/html")).await;
    assert_eq!((answer.status.as_u16(), text(&answer, "location")), (303, "/sign-in"));
    stage.store.set_down(true);
    visitor = visitor.with_cookie("A".repeat(43));
    let answer = visitor.does(looks).await;
    assert_eq!((answer.status.as_u16(), text(&answer, "retry-after")), (503, "30"));
}

/// What stands between the handler and the layer may add headers to a page, and replace it by one of its own.
#[tokio::test]
async fn a_response_of_the_application_is_left_alone() {
    async fn fails(session: Session) -> Result<(), SessionError> {
        session.get::<u8>("n").map(drop)
    }
    let own = async |session: Session| match fails(session).await {
        Ok(()) => "fine".into_response(),
        Err(error) => (StatusCode::IM_A_TEAPOT, error).into_response(),
    };
    let page = async |session: Session| match fails(session).await {
        Ok(()) => "fine".into_response(),
        Err(error) => {
            let mut response = error.into_response();
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, Html("").into_response().headers()["content-type"].clone());
            *response.body_mut() = "<p>Our own page</p>".into();
            response
        }
    };
    let marked = async |session: Session| fails(session).await.map_err(|error| ([("x-marked", "1")], error));
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("n", &"text")).await;
    let answer = visitor.sends(asks(BROWSER), own).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (418, "Your session could not be used.\n"));
    let answer = visitor.sends(asks(BROWSER), page).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (500, "<p>Our own page</p>"));
    let answer = visitor.sends(asks(BROWSER), marked).await;
    assert_eq!((answer.status.as_u16(), text(&answer, "x-marked")), (500, "1"));
    assert!(answer.body.starts_with("<!doctype html>"), "{}", answer.body);
    assert_eq!(answer.headers.get_all(header::CONTENT_TYPE).iter().count(), 1);
}
