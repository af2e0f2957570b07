//! Cross-site request forgery: the token of a session, and where a request comes from.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use axum::Router;
use axum::http::{Method, Request, StatusCode};
use axum::routing::any;
use sessile::http::OriginCheckLayer;
use sessile::{Session, SessionError};
use support::{Browser, Stage, Visitor};

type Done = Result<(), SessionError>;

async fn token(session: Session) -> Result<String, SessionError> {
    session.csrf_token()
}

async fn accepts(visitor: &mut Visitor, token: &str) -> bool {
    let token = token.to_owned();
    visitor.does(async move |session: Session| session.verify_csrf(&token).to_string()).await.body == "true"
}

/// [S20] [J07] [J08] One token per session, kept while it lasts; another session's, a part of it and
/// none at all are refused.
#[tokio::test]
async fn a_token_is_bound_to_its_session() {
    let stage = Stage::new();
    let (mut visitor, mut other) = (stage.visitor(), stage.visitor());
    assert!(!accepts(&mut visitor, "").await, "a session without a token accepts none");
    let ours = visitor.does(token).await.body;
    assert_eq!(visitor.does(token).await.body, ours);
    assert!(ours.len() == 32 && ours.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
    let theirs = other.does(token).await.body;
    assert_ne!(ours, theirs);
    assert!(accepts(&mut visitor, &ours).await && accepts(&mut other, &theirs).await);
    let flipped = ours.replace(|c| c == ours.chars().next().unwrap(), "g");
    for wrong in
        ["", &theirs, &ours[..31], &ours.to_uppercase().replace('A', "a"), &flipped, &format!("{ours}0")]
    {
        assert!(wrong == ours || !accepts(&mut visitor, wrong).await, "{wrong}");
    }
    visitor.does(async |session: Session| session.forget_csrf_token()).await;
    assert!(!accepts(&mut visitor, &ours).await);
    assert_ne!(visitor.does(token).await.body, ours);
}

/// [S20] An empty token, which another program may have stored, opens nothing.
#[tokio::test]
async fn an_empty_token_opens_nothing() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("_csrf_token", "")).await;
    assert!(!accepts(&mut visitor, "").await);
    assert_eq!(visitor.does(token).await.body.len(), 32);
}

/// [S20] [J07] [S05] A login changes the token, and one that another request makes at that moment does
/// not survive it; a rotation keeps it.
#[tokio::test]
async fn a_login_changes_the_token() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let before = visitor.does(token).await.body;
    visitor.does(async |session: Session| session.rotate()).await;
    assert!(accepts(&mut visitor, &before).await);
    visitor.does(async |session: Session| session.login("ada")).await;
    assert!(!accepts(&mut visitor, &before).await);
    assert_ne!(visitor.does(token).await.body, before);

    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("cart", &1)).await;
    let (mut other, planted) = (visitor.clone(), std::sync::Arc::new(std::sync::Mutex::new(String::new())));
    let plants = planted.clone();
    stage.store.before_next_write(async move {
        let made = other.does(token).await.body;
        *plants.lock().unwrap() = made;
    });
    visitor.does(async |session: Session| session.login("ada")).await;
    let planted = planted.lock().unwrap().clone();
    assert_eq!(planted.len(), 32);
    assert!(!accepts(&mut visitor, &planted).await, "made for the anonymous visitor");
    let answer = visitor
        .does(async |session: Session| -> Done {
            let of_ada = session.csrf_token()?;
            session.login("eve")?;
            assert!(!session.verify_csrf(&of_ada));
            session.logout();
            assert!(!session.verify_csrf(&of_ada));
            Ok(())
        })
        .await;
    assert_eq!(answer.status, 200);
}

/// [S20] The comparison takes the constant-time path. Timing cannot be measured reliably in a test, so
/// this reads the source.
#[test]
fn tokens_are_compared_in_constant_time() {
    let source = include_str!("../src/session/csrf.rs");
    let verify = source.split("pub fn verify_csrf").nth(1).unwrap().split("\n    }\n").next().unwrap();
    assert!(verify.contains(".ct_eq(") && !verify.contains("=="), "{verify}");
}

/// [S20] What another site starts is refused before the handler, our own pages and other clients pass,
/// safe methods are free.
#[tokio::test]
async fn requests_of_other_sites_are_refused() {
    let stage = Stage::new();
    let check = OriginCheckLayer::new().trust("https://pay.example").unwrap();
    let routes =
        Router::new().route("/", any(async |session: Session| session.insert("changed", &1))).layer(check);
    let mut browser: Browser = stage.browser(routes);
    let cases: &[(&[(&str, &str)], bool)] = &[
        (&[], true),
        (&[("host", "shop.example"), ("origin", "https://shop.example")], true),
        (&[("host", "shop.example:8080"), ("origin", "http://shop.example:8080")], true),
        (&[("sec-fetch-site", "same-origin")], true),
        (&[("sec-fetch-site", "none")], true),
        (&[("sec-fetch-site", "cross-site"), ("origin", "https://pay.example")], true),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "same-site")], false),
        (&[("sec-fetch-site", "SAME-ORIGIN")], false),
        (&[("host", "shop.example"), ("origin", "https://evil.example")], false),
        (&[("host", "shop.example"), ("origin", "https://shop.example.evil.example")], false),
        (&[("host", "shop.example"), ("origin", "https://shop.example:8443")], false),
        (&[("host", "shop.example"), ("origin", "null")], false),
        (&[("origin", "https://shop.example")], false),
        (&[("origin", "https://pay.example.evil.example"), ("host", "shop.example")], false),
    ];
    for (headers, welcome) in cases {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let request = Request::builder().method(&method).uri("/");
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            stage.store.statements();
            let answer = browser.send(request).await;
            let expected = if *welcome { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(answer.status, expected, "{method} {headers:?}");
            assert!(*welcome || stage.store.statements() == 0);
        }
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            let request = Request::builder().method(&method).uri("/");
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            assert_eq!(browser.send(request).await.status, StatusCode::OK, "{method} {headers:?}");
        }
    }
}
