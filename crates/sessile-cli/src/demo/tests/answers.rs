//! What every answer has, and what the shop says when it cannot do what it was asked.

use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE, VARY};
use axum::http::{Request, StatusCode};

use super::street::{Answer, LINUX, Street};
use crate::demo::assets::STYLE_PATH;

/// A readable page, whatever made the error, that claims nothing about who is signed in.
fn assert_error_page(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.header(CONTENT_TYPE), "text/html; charset=utf-8");
    assert!(answer.body.contains(&format!("<p class=\"status\">{}</p>", status.as_u16())), "{}", answer.body);
    assert!(!answer.has("sign-in-link") && !answer.has("signed-in-as"));
    assert_eq!(answer.header(CACHE_CONTROL), "no-store");
}

/// [R01]
#[tokio::test]
async fn a_store_that_is_down_signs_nobody_out() {
    let street = Street::new();
    let mut browser = street.browser(LINUX);
    browser.sign_in("ada", "lovelace").await;
    street.store.set_down(true);
    for (answer, what) in [
        (browser.get("/").await, "a page"),
        (browser.post("/cart/add", "item=barnacle-mug").await, "a change"),
        (browser.post("/sign-out", "").await, "a sign-out"),
    ] {
        assert_error_page(&answer, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header(RETRY_AFTER), "1", "{what}");
        assert!(!answer.headers.contains_key(SET_COOKIE), "{what}");
        assert!(answer.body.contains("You have not been signed out"), "{what}");
    }
    // Nothing to load for this one: it is the commit that fails, behind the handler.
    let answer = street.browser(LINUX).post("/cart/add", "item=barnacle-mug").await;
    assert_error_page(&answer, StatusCode::SERVICE_UNAVAILABLE);

    street.store.set_down(false);
    let page = browser.get("/").await;
    assert_eq!((page.texts("signed-in-as"), page.texts("cart-count")), (vec!["ada"], vec!["0"]));
}

#[tokio::test]
async fn whatever_makes_no_sense_is_told_on_a_page() {
    let street = Street::new();
    let mut visitor = street.browser(LINUX);
    assert_error_page(&visitor.get("/nowhere").await, StatusCode::NOT_FOUND);
    assert_error_page(&visitor.get("/pictures/nothing.svg").await, StatusCode::NOT_FOUND);
    assert_error_page(&visitor.post("/cart/add", "item=anchor").await, StatusCode::NOT_FOUND);
    assert_error_page(&visitor.post("/cart/add", "").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_error_page(
        &visitor.post("/cart/remove", "item=kelp-scarf&count=-1").await,
        StatusCode::UNPROCESSABLE_ENTITY,
    );
    let large = format!("item={}", "x".repeat(9_000));
    assert_error_page(&visitor.post("/cart/add", &large).await, StatusCode::PAYLOAD_TOO_LARGE);
    let answer = visitor.get("/sign-out").await;
    assert_error_page(&answer, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.header(ALLOW), "POST");
    assert_eq!((visitor.jar.len(), street.store.statements()), (0, 0));
}

/// [S20]
#[tokio::test]
async fn a_form_of_another_site_changes_nothing() {
    let street = Street::new();
    let mut browser = street.browser(LINUX);
    browser.sign_in("ada", "lovelace").await;
    street.store.statements();
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let answer = browser.send(Request::post("/sign-out").header(name, value), "").await;
        assert_error_page(&answer, StatusCode::FORBIDDEN);
    }
    assert_eq!(street.store.statements(), 0);
    assert!(browser.get("/").await.has("signed-in-as"));
}

/// [S19]
#[tokio::test]
async fn every_answer_has_the_security_headers_and_personal_ones_are_not_kept() {
    let street = Street::new();
    let mut browser = street.browser(LINUX);
    for path in ["/", "/cart", "/sign-in", "/sessions", "/nowhere", &STYLE_PATH, "/pictures/mark.svg"] {
        let answer = browser.get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
    }
    browser.sign_in("ada", "lovelace").await;
    for path in ["/", "/cart", "/sign-in", "/sessions"] {
        let answer = browser.get(path).await;
        assert_eq!((answer.header(CACHE_CONTROL), answer.header(VARY)), ("no-store", "Cookie"), "{path}");
    }
}

#[tokio::test]
async fn the_shops_own_files_are_kept_by_browsers_and_need_no_session() {
    let street = Street::new();
    let mut browser = street.browser(LINUX);
    browser.sign_in("ada", "lovelace").await;
    street.store.set_down(true);
    street.store.statements();
    for (path, kind) in
        [(STYLE_PATH.as_str(), "text/css; charset=utf-8"), ("/pictures/barnacle-mug.svg", "image/svg+xml")]
    {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.header(CONTENT_TYPE)), (StatusCode::OK, kind));
        assert!(answer.header(CACHE_CONTROL).starts_with("public, max-age="), "{path}");
        assert_eq!(answer.header(VARY), "");
    }
    assert_eq!(street.store.statements(), 0);
}
