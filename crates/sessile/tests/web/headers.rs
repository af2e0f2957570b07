//! What a response says to browsers and caches.

use std::time::Duration;

use axum::Router;
use axum::response::AppendHeaders;
use axum::routing::any;
use http::{HeaderValue, Request, StatusCode, header};
use sessile::http::OriginCheckLayer;
use sessile::{CookieConfig, LazySession, Policy, Session, SessionError, SessionLayer};
use tower::ServiceExt as _;

use crate::support::{Browser, Stage};

/// [S19] A handler that asks only whether there is a cookie makes a page that depends on it.
#[tokio::test]
async fn is_named_is_a_consultation() {
    let stage = Stage::new();
    let menu = async |session: LazySession| if session.is_named() { "signed in" } else { "sign in" };
    let mut browser = stage.browser(Router::new().route("/", any(menu)));
    let without = browser.get("/").await;
    browser.jar.insert("__Host-session".to_owned(), "A".repeat(43));
    let with = browser.get("/").await;
    assert_ne!(with.body, without.body);
    for answer in [with, without] {
        assert_eq!(answer.headers.get_all(header::VARY).iter().collect::<Vec<_>>(), ["Cookie"]);
    }
    assert_eq!(stage.store.statements(), 0);
}

/// [S19] RFC 9213: whatever a handler says to some caches alone, a response with the cookie is kept by none. Without
/// the cookie it is the handler's business.
#[tokio::test]
async fn no_cache_is_told_to_keep_the_cookie() {
    const TARGETED: [&str; 11] = [
        "cdn-cache-control",
        "cloudflare-cdn-cache-control",
        "vercel-cdn-cache-control",
        "netlify-cdn-cache-control",
        "fastly-cache-control",
        "x-litespeed-cache-control",
        "akamai-cache-control",
        "surrogate-control",
        "edge-control",
        "x-accel-expires",
        "expires",
    ];
    async fn page(
        session: Session,
        changes: bool,
    ) -> Result<AppendHeaders<[(&'static str, &'static str); 13]>, SessionError> {
        if changes {
            session.login("ada")?;
        }
        let mut headers = [("cache-control", "public, max-age=600"); 13];
        for (header, name) in headers.iter_mut().zip(TARGETED) {
            header.0 = name;
        }
        headers[11].0 = "surrogate-key";
        Ok(AppendHeaders(headers))
    }
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let answer = visitor.does(async |session: Session| page(session, true).await).await;
    assert_eq!(answer.set_cookies().len(), 1);
    assert_eq!(answer.headers.get_all(header::CACHE_CONTROL).iter().collect::<Vec<_>>(), ["no-store"]);
    for name in TARGETED {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
    assert!(answer.headers.contains_key("surrogate-key"));
    let answer = visitor.does(async |session: Session| page(session, false).await).await;
    assert!(TARGETED.iter().all(|name| answer.headers.contains_key(*name)));
    // A removal is a response with the cookie, too.
    let leaves = async |session: Session| {
        session.logout();
        [("cdn-cache-control", "max-age=600")]
    };
    let answer = visitor.does(leaves).await;
    assert_eq!(answer.set_cookies().len(), 1);
    assert!(!answer.headers.contains_key("cdn-cache-control"));
}

/// [S18] The cookie lives at least as long as its session: parts of a second are rounded up.
#[tokio::test]
async fn max_age_is_rounded_up() {
    for (idle, max_age) in [(1_500, 2), (1_000, 1), (1_001, 2), (1_209_599_999, 1_209_600)] {
        let policy = Policy::default().remembered(Duration::from_millis(idle), None);
        let stage = Stage::with_policy(policy.renew_after(Duration::ZERO));
        let remembers = async |session: Session| -> Result<(), SessionError> {
            session.login("ada")?;
            session.remember(true);
            Ok(())
        };
        let answer = stage.visitor().does(remembers).await;
        let expected = format!("; Max-Age={max_age};");
        assert!(answer.set_cookies()[0].contains(&expected), "{idle}: {:?}", answer.set_cookies());
    }
}

/// [B01] [S18] Under a cookie for `/shop` nothing is loaded and nothing is made elsewhere: a page that reads finds an
/// anonymous visitor, and one that stores is told why it cannot.
#[tokio::test]
async fn nothing_happens_outside_of_the_cookies_path() {
    let stage = Stage::new();
    let cookie = CookieConfig::new().name("__Secure-shop").path("/shop");
    let layer = SessionLayer::new(stage.sessions.clone()).cookie(cookie).unwrap();
    let adds = async |session: Session| session.update("n", |n: &mut u32| *n += 1).map(|n| n.to_string());
    let reads = async |session: Session| session.get_or("n", 0).to_string();
    let routes = || Router::new().route("/add", any(adds)).route("/read", any(reads)).route("/", any(adds));
    let nested = Router::new().nest("/shop", routes()).merge(routes()).nest("/shopping", routes());
    // The nested router sees `/add` where the browser sees `/shop/add`.
    let inside = Router::new().nest("/shop", routes().layer(layer.clone()));
    for routes in [nested.layer(layer.clone()), inside] {
        let mut browser = Browser::new(routes.clone());
        assert_eq!(browser.post("/shop/add").await.body, "1");
        assert_eq!(browser.post("/shop").await.body, "2");
        assert_eq!(browser.post("/shop/read").await.body, "2");
    }
    let mut browser = Browser::new(
        Router::new().nest("/shop", routes()).nest("/shopping", routes()).merge(routes()).layer(layer),
    );
    browser.post("/shop/add").await;
    let rows = stage.store.rows().await;
    for path in ["/add", "/", "/shopping/add", "/SHOP/add", "/shop%2Fadd"] {
        stage.store.statements();
        let answer = browser.send(Request::post(path)).await;
        let is_route = answer.status != StatusCode::NOT_FOUND;
        assert!(!is_route || answer.status == StatusCode::INTERNAL_SERVER_ERROR, "{path}: {}", answer.status);
        assert_eq!((answer.set_cookies().len(), stage.store.statements()), (0, 0), "{path}");
    }
    let answer = browser.post("/read").await;
    assert_eq!((answer.status.as_u16(), &*answer.body, stage.store.statements()), (200, "0", 0));
    assert_eq!(stage.store.rows().await, rows);
    let said = SessionError::OutsideCookiePath { path: "/shop".into() }.to_string();
    assert!(said.contains("\"/shop\"") && said.contains("\"/\""), "{said}");
}

/// [S18] Behind a proxy that removes the path, every request is below it.
#[tokio::test]
async fn a_proxy_may_remove_the_cookies_path() {
    let stage = Stage::new();
    let cookie = CookieConfig::new().name("__Secure-shop").path_removed_by_proxy("/shop");
    let mut visitor = stage.visitor_with(cookie);
    for n in ["1", "2"] {
        let adds = async |session: Session| session.update("n", |n: &mut u32| *n += 1).map(|n| n.to_string());
        let answer = visitor.sends(Request::post("/cart"), adds).await;
        assert_eq!(answer.body, n);
        assert!(answer.set_cookies().iter().all(|cookie| cookie.contains("; Path=/shop;")));
    }
}

/// [S20] A handshake of a sibling site is refused before the handler, with a text and for no cache to keep.
#[tokio::test]
async fn a_websocket_handshake_of_another_site_is_refused() {
    let app = Router::new().route("/ws", any(async || "upgraded")).layer(OriginCheckLayer::new());
    let ask = async |origin: &'static str, site: Option<&'static str>| {
        let mut request = Request::get("/ws")
            .header("host", "shop.example")
            .header("origin", origin)
            .header("upgrade", "websocket")
            .header("connection", "Upgrade")
            .body(axum::body::Body::empty())
            .unwrap();
        if let Some(site) = site {
            request.headers_mut().insert("sec-fetch-site", HeaderValue::from_static(site));
        }
        app.clone().oneshot(request).await.unwrap()
    };
    for (origin, site) in [
        ("https://evil.shop.example", Some("same-site")),
        ("https://evil.shop.example", None),
        ("https://evil.example", Some("cross-site")),
        ("null", None),
    ] {
        let answer = ask(origin, site).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        let body = axum::body::to_bytes(answer.into_body(), 1_000).await.unwrap();
        assert!(body.starts_with(b"This request was started by another site"));
    }
    assert_eq!(ask("https://shop.example", Some("same-origin")).await.status(), StatusCode::OK);
    assert_eq!(ask("https://shop.example", None).await.status(), StatusCode::OK);
}
