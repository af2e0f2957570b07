//! A browser that holds two cookies of one name, and pages of a neighbouring site.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use sessile::engine::Selection;
use sessile::http::OriginCheckLayer;
use sessile::store::MemoryStore;
use sessile::{CookieConfig, Session, SessionError, SessionLayer, Sessions};
use sessile_browser_tests::{Browser, DESKTOP, Driver, Failure, Outcome};
use tokio::net::TcpListener;

async fn login(Path(user): Path<String>, session: Session) -> Result<&'static str, SessionError> {
    session.login(user)?;
    Ok("signed in")
}

async fn logout(session: Session) -> &'static str {
    session.logout();
    "signed out"
}

async fn who(session: Session) -> String {
    session.user_id().map_or("nobody".to_owned(), |user| user.to_string())
}

/// Serves on a free port, as long as the test's runtime lives.
async fn serve(routes: impl FnOnce(SocketAddr) -> Router) -> Outcome<SocketAddr> {
    let failed = |error| Failure::new(format!("the service does not start: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let routes = routes(address);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

async fn shown(browser: &Browser, address: SocketAddr, path: &str) -> Outcome<String> {
    browser.goto(&format!("http://{address}{path}")).await?;
    let text = browser.evaluate("document.body.innerText").await?;
    Ok(text.as_str().unwrap_or_default().to_owned())
}

async fn users(sessions: &Sessions) -> Outcome<Vec<String>> {
    let rows = sessions.list(&Selection::default(), None, 100).await;
    let rows = rows.map_err(|error| Failure::new(error.to_string()))?.records;
    Ok(rows.iter().map(|row| row.user_id().map_or(String::new(), ToString::to_string)).collect())
}

/// [S15] [S26] A service whose cookie had `Path=/app` moves it to `Path=/`, and a browser keeps both cookies. Two live
/// ones sign nobody in; a login ends both of their sessions; a logout beside the dead one ends the live one.
#[tokio::test]
async fn two_cookies_of_one_name_do_not_outlive_a_login_or_a_logout() -> Outcome {
    let sessions = Sessions::new(MemoryStore::new());
    let layer = |path: &'static str| {
        let cookie = CookieConfig::insecure().path(path);
        SessionLayer::new(sessions.clone()).cookie(cookie).map_err(|error| Failure::new(error.to_string()))
    };
    let before = Router::new().route("/app/before/{user}", get(login)).layer(layer("/app")?);
    let now = Router::new()
        .route("/login/{user}", get(login))
        .route("/app/login/{user}", get(login))
        .route("/app/logout", get(logout))
        .route("/app/who", get(who))
        .route("/who", get(who))
        .layer(layer("/")?);
    let address = serve(|_| before.merge(now)).await?;
    let driver = Driver::start()?;
    let browser = driver.open(DESKTOP).await?;
    let shown = async |path| shown(&browser, address, path).await;

    shown("/app/before/ada").await?;
    shown("/login/bob").await?;
    assert_eq!(users(&sessions).await?.len(), 2, "two live sessions, one under each path");
    assert_eq!(shown("/who").await?, "bob", "only one cookie is sent here");
    assert_eq!(shown("/app/who").await?, "nobody", "two live ones are refused");

    assert_eq!(shown("/app/login/cyd").await?, "signed in");
    assert_eq!(users(&sessions).await?, ["cyd"]);
    assert_eq!(shown("/app/who").await?, "cyd", "beside the dead cookie with the longer path");
    assert_eq!(browser.cookies().await?.len(), 2);

    assert_eq!(shown("/app/logout").await?, "signed out");
    assert!(users(&sessions).await?.is_empty());
    assert_eq!((shown("/app/who").await?, shown("/who").await?), ("nobody".into(), "nobody".into()));

    shown("/app/login/dan").await?;
    assert_eq!(shown("/app/who").await?, "dan", "signing in works again");
    Ok(())
}

/// [S20] A page of a sibling site opens a websocket, and the browser sends the session's cookie along: the handshake is
/// refused, unless the site is trusted. A page of the site itself gets through.
#[tokio::test]
async fn a_handshake_from_a_sibling_site_is_refused() -> Outcome {
    /// Counts the handshakes of signed-in users. It completes none: what matters is who gets here.
    async fn socket(State(seen): State<Arc<AtomicUsize>>, session: Session) -> StatusCode {
        if session.user_id().is_some() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        StatusCode::NO_CONTENT
    }
    let sibling = serve(|_| Router::new().route("/", get(async || Html("<p>sibling</p>")))).await?;
    let trusting = OriginCheckLayer::new().trust(format!("http://{sibling}"));
    let trusting = trusting.map_err(|error| Failure::new(error.to_string()))?;
    let [checked, trusted] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let socket = |seen: &Arc<AtomicUsize>| get(socket).with_state(Arc::clone(seen));
    let layer = SessionLayer::new(Sessions::new(MemoryStore::new())).cookie(CookieConfig::insecure());
    let layer = layer.map_err(|error| Failure::new(error.to_string()))?;
    let routes = Router::new()
        .route("/login/{user}", get(login))
        .route("/checked", socket(&checked).layer(OriginCheckLayer::new()))
        .route("/trusting", socket(&trusted).layer(trusting))
        .layer(layer);
    let site = serve(|_| routes).await?;
    let driver = Driver::start()?;
    let browser = driver.open(DESKTOP).await?;
    let handshake = async |path: &str| {
        let url = format!("ws://{site}{path}");
        let over = format!("new Promise(over => {{ new WebSocket('{url}').onclose = () => over(1) }})");
        browser.evaluate(&over).await
    };

    shown(&browser, site, "/login/ada").await?;
    handshake("/checked").await?;
    assert_eq!(checked.load(Ordering::SeqCst), 1, "from the site itself");

    shown(&browser, sibling, "/").await?;
    handshake("/checked").await?;
    assert_eq!(checked.load(Ordering::SeqCst), 1, "from its sibling");
    handshake("/trusting").await?;
    assert_eq!(trusted.load(Ordering::SeqCst), 1, "from a sibling that is trusted");
    Ok(())
}
