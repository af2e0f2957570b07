//! The cookie of the framework that was used before: accepted when told to, left behind at the first change.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use axum::http::header::COOKIE;
use axum::http::{HeaderValue, Request};
use sessile::engine::{Event, Rejection};
use sessile::http::{CookieConfigError, OldCookie};
use sessile::record::{Columns, StoredData, SystemRandom};
use sessile::store::{Outcome, Write};
use sessile::{
    CookieConfig, LazySession, Session, SessionError, SessionId, SessionLayer, SessionRecord, SessionToken,
    UserId,
};
use support::{Stage, Visitor, noon, seconds};

const ADA: &str = "0123456789abcdefghijklmnopqrstuv";
const BOB: &str = "00000000000000000000000000000000";
const REMOVAL: &str =
    "sessionid=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax";

type Done = Result<(), SessionError>;

async fn who(session: Session) -> String {
    session.user_id().map_or("nobody".to_owned(), |user| user.to_string())
}

async fn adds(session: Session) -> Done {
    session.update("cart", |cart: &mut Vec<u32>| cart.push(2)).map(drop)
}

async fn logs_out(session: Session) {
    session.logout();
}

fn id(secret: &str) -> SessionId {
    SessionId::of_secret(secret.as_bytes())
}

/// As `sessile copy` brings it.
async fn bring(stage: &Stage, secret: &str, user: &str) {
    let record = SessionRecord::from_columns(Columns {
        id: id(secret),
        user_id: Some(UserId::new(user).unwrap()),
        data: StoredData::Text(r#"{"cart":[1]}"#.into()),
        created_at: Some(noon()),
        expires_at: noon().saturating_add(seconds(1_800)),
        updated_at: Some(noon()),
    });
    assert_eq!(stage.sessions.store().apply(Write::Insert(record)).await.unwrap(), Outcome::Applied);
    stage.store.statements();
    stage.store.looked_up();
}

fn layer(stage: &Stage) -> SessionLayer {
    SessionLayer::new(stage.sessions.clone()).accept_old(OldCookie::django("sessionid")).unwrap()
}

/// Somebody whose browser has the old cookie.
async fn ada() -> (Stage, Visitor) {
    let stage = Stage::new();
    bring(&stage, ADA, "ada").await;
    let mut visitor = Visitor::new(layer(&stage));
    visitor.jar.insert("sessionid".to_owned(), ADA.to_owned());
    (stage, visitor)
}

async fn is_there(stage: &Stage, id: SessionId) -> bool {
    stage.store.rows().await.iter().any(|record| record.id() == id)
}

#[tokio::test]
async fn off_unless_told_otherwise() {
    let (stage, visitor) = ada().await;
    let mut other = stage.visitor();
    other.jar = visitor.jar;
    assert_eq!(other.does(who).await.body, "nobody");
    assert_eq!(stage.store.statements(), 0);
}

/// Reading moves nothing: requests that come at once all stay signed in, at one statement each.
#[tokio::test]
async fn who_only_reads_stays_signed_in_by_the_old_cookie() {
    let (stage, mut visitor) = ada().await;
    for _ in 0..3 {
        let answer = visitor.does(who).await;
        assert_eq!((&*answer.body, answer.set_cookies()), ("ada", vec![]));
        assert_eq!(stage.store.statements(), 1);
    }
    // A renewal writes, and moves nothing either.
    stage.clock.advance(seconds(600));
    let answer = visitor.does(who).await;
    assert_eq!((&*answer.body, answer.set_cookies()), ("ada", vec![]));
    assert_eq!(stage.store.statements(), 2);
    stage.clock.advance(seconds(1_500));
    assert_eq!(visitor.does(who).await.body, "ada");
    assert!(is_there(&stage, id(ADA)).await);
}

/// [S02] [S05] One atomic step: our cookie for the old one, and the old value is dead.
#[tokio::test]
async fn the_first_change_leaves_the_old_cookie_behind() {
    let (stage, mut visitor) = ada().await;
    let old = visitor.clone();
    let answer = visitor.does(adds).await;
    assert_eq!(stage.store.statements(), 2);
    let set = answer.set_cookies();
    assert!(set[0].starts_with("__Host-session=") && set.len() == 2, "{set:?}");
    assert_eq!(set[1], REMOVAL);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(!is_there(&stage, id(ADA)).await);
    let answer = visitor
        .does(async |session: Session| {
            format!("{:?} {:?}", session.user_id(), session.get::<Vec<u32>>("cart"))
        })
        .await;
    assert_eq!(answer.body, r#"Some("ada") Ok(Some([1, 2]))"#);
    // Whoever has the old value has nothing.
    let mut thief = old;
    let answer = thief.does(who).await;
    assert_eq!((&*answer.body, answer.set_cookies()), ("nobody", vec![]));
    // What follows is as if there had never been another cookie.
    stage.store.statements();
    assert_eq!(visitor.does(adds).await.set_cookies(), Vec::<String>::new());
    assert_eq!(stage.store.statements(), 2);
    assert_eq!(stage.store.rows().await.len(), 1);
}

/// [S05] Session fixation by an old cookie that somebody planted.
#[tokio::test]
async fn a_login_leaves_the_old_cookie_behind() {
    let stage = Stage::new();
    bring(&stage, ADA, "mallory").await;
    let mut visitor = Visitor::new(layer(&stage));
    visitor.jar.insert("sessionid".to_owned(), ADA.to_owned());
    let mut mallory = visitor.clone();
    let answer = visitor.does(async |session: Session| session.login("ada")).await;
    assert_eq!(answer.set_cookies()[1], REMOVAL);
    let sees = async |session: Session| format!("{:?} {:?}", session.user_id(), session.raw("cart"));
    assert_eq!(visitor.does(sees).await.body, r#"Some("ada") None"#);
    assert_eq!(mallory.does(who).await.body, "nobody");
}

/// [S09]
#[tokio::test]
async fn a_logout_ends_it_and_removes_the_cookie() {
    let (stage, mut visitor) = ada().await;
    let mut thief = visitor.clone();
    let answer = visitor.does(logs_out).await;
    assert_eq!(answer.set_cookies(), [REMOVAL]);
    assert_eq!(stage.store.rows().await.len(), 0);
    assert_eq!(thief.does(who).await.body, "nobody");
}

/// [S15] Ours counts, whatever the old one names.
#[tokio::test]
async fn ours_comes_first_and_the_old_one_is_not_asked_for() {
    let (stage, mut visitor) = ada().await;
    let mut bob = Visitor::new(layer(&stage));
    bob.does(async |session: Session| session.login("bob")).await;
    visitor.jar.insert("__Host-session".to_owned(), bob.cookie().unwrap());
    stage.store.statements();
    stage.store.looked_up();
    assert_eq!(visitor.does(who).await.body, "bob");
    assert_eq!((stage.store.statements(), stage.store.looked_up()), (1, 1));
    // A change stays under our cookie, and takes nothing else away.
    assert_eq!(visitor.does(adds).await.set_cookies(), Vec::<String>::new());
    assert!(is_there(&stage, id(ADA)).await);
}

/// [S09] The next request, without our cookie, must not be signed in by the old one.
#[tokio::test]
async fn a_logout_under_ours_ends_the_old_one_too() {
    let (stage, mut visitor) = ada().await;
    let mut ours = Visitor::new(layer(&stage));
    ours.does(async |session: Session| session.login("ada")).await;
    let mut old = visitor.clone();
    visitor.jar.insert("__Host-session".to_owned(), ours.cookie().unwrap());
    let answer = visitor.does(logs_out).await;
    assert_eq!(answer.set_cookies().len(), 2);
    assert_eq!(answer.set_cookies()[1], REMOVAL);
    assert!(visitor.jar.is_empty());
    assert_eq!(old.does(who).await.body, "nobody");
    assert_eq!(stage.store.rows().await.len(), 0);
}

#[tokio::test]
async fn a_dead_cookie_of_ours_is_no_obstacle() {
    let (stage, mut visitor) = ada().await;
    let dead = SessionToken::generate(&SystemRandom).unwrap();
    visitor.jar.insert("__Host-session".to_owned(), dead.expose().to_owned());
    assert_eq!(visitor.does(who).await.body, "ada");
    assert_eq!((stage.store.statements(), stage.store.looked_up()), (2, 2));
    visitor.does(adds).await;
    assert_ne!(visitor.jar["__Host-session"], dead.expose());
    assert!(!visitor.jar.contains_key("sessionid"));
}

/// [S15] Two live ones: nobody can tell which one was planted.
#[tokio::test]
async fn two_live_sessions_are_refused() {
    let (stage, _) = ada().await;
    bring(&stage, BOB, "bob").await;
    stage.events();
    let asks = async |headers: &str| {
        let request = Request::get("/").header(COOKIE, HeaderValue::from_str(headers).unwrap());
        Visitor::new(layer(&stage)).sends(request, who).await.body
    };
    assert_eq!(asks(&format!("sessionid={ADA}; sessionid={BOB}")).await, "nobody");
    assert!(stage.events().contains(&Event::Rejected { reason: Rejection::Ambiguous }));
    assert_eq!(asks(&format!("sessionid={ADA}; sessionid={ADA}")).await, "ada");
    // Two of ours are no reason to ask the old one.
    let mut ours = Vec::new();
    for user in ["eve", "kim"] {
        let mut visitor = Visitor::new(layer(&stage));
        visitor.does(async move |session: Session| session.login(user)).await;
        ours.push(visitor.cookie().unwrap());
    }
    let [one, other] = [&ours[0], &ours[1]];
    assert_eq!(
        asks(&format!("__Host-session={one}; __Host-session={other}; sessionid={ADA}")).await,
        "nobody"
    );
}

/// [S15] [R09]
#[tokio::test]
async fn four_lookups_for_both_together() {
    let (stage, _) = ada().await;
    let token = || SessionToken::generate(&SystemRandom).unwrap().expose().to_owned();
    for (ours, found) in [(0, "ada"), (3, "ada"), (4, "nobody"), (50, "nobody")] {
        let mut cookies: Vec<String> = (0..ours).map(|_| format!("__Host-session={}", token())).collect();
        cookies.push(format!("sessionid={ADA}"));
        cookies.extend((10..60).map(|n| format!("sessionid=000000000000000000000000000000{n}")));
        let request = Request::get("/").header(COOKIE, cookies.join("; "));
        assert_eq!(Visitor::new(layer(&stage)).sends(request, who).await.body, found, "{ours}");
        assert_eq!(stage.store.looked_up(), 4);
    }
}

/// [S04] [S16]
#[tokio::test]
async fn another_form_or_name_asks_no_store() {
    let (stage, _) = ada().await;
    let upper = ADA.to_uppercase();
    for cookie in [
        "sessionid=".to_owned(),
        format!("sessionid={}", &ADA[1..]),
        format!("sessionid={ADA}0"),
        format!("sessionid={upper}"),
        format!("sessionid=\"{}\"", &ADA[2..]),
        format!("sessionid=%30{}", &ADA[1..]),
        format!("Sessionid={ADA}"),
        format!("session%69d={ADA}"),
        format!("__Host-session={ADA}"),
    ] {
        let request = Request::get("/").header(COOKIE, &cookie);
        assert_eq!(Visitor::new(layer(&stage)).sends(request, who).await.body, "nobody", "{cookie}");
        assert_eq!(stage.store.statements(), 0, "{cookie}");
    }
    // The id itself, as anybody may see it, is no secret.
    let request = Request::get("/").header(COOKIE, format!("sessionid={}", id(ADA)));
    assert_eq!(Visitor::new(layer(&stage)).sends(request, who).await.body, "nobody");
}

/// [R01]
#[tokio::test]
async fn a_store_that_is_down_takes_nobody_for_anonymous() {
    let (stage, mut visitor) = ada().await;
    stage.store.set_down(true);
    let answer = visitor.does(who).await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies()), (503, vec![]));
    stage.store.set_down(false);
    stage.store.set_writes_down(true);
    let answer = visitor.does(adds).await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies()), (503, vec![]));
    stage.store.set_writes_down(false);
    assert_eq!(visitor.does(who).await.body, "ada");
}

#[tokio::test]
async fn a_request_that_fails_or_asks_for_nothing_moves_nothing() {
    let (stage, mut visitor) = ada().await;
    let answer = visitor
        .does(async |session: Session| adds(session).await.map(|()| axum::http::StatusCode::BAD_GATEWAY))
        .await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies()), (502, vec![]));
    stage.store.statements();
    let answer = visitor.does(async |session: LazySession| session.is_named().to_string()).await;
    assert_eq!((&*answer.body, answer.set_cookies()), ("true", vec![]));
    assert_eq!(stage.store.statements(), 0);
    assert_eq!(visitor.does(who).await.body, "ada");
}

/// [R12] Of two changes at once the later one is refused: it would bring the old value back.
#[tokio::test]
async fn two_changes_at_once_by_the_old_cookie() {
    let (stage, visitor) = ada().await;
    let mut faster = visitor.clone();
    stage.store.before_next_write(async move {
        assert_eq!(faster.does(adds).await.status, 200);
    });
    let mut later = visitor;
    let answer = later.does(adds).await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies()), (409, vec![]));
    assert_eq!(stage.store.rows().await.len(), 1);
    assert!(!is_there(&stage, id(ADA)).await);
}

#[tokio::test]
async fn tower_sessions_cookie() {
    let stage = Stage::new();
    bring(&stage, "_-9aZ8AAAAAAAAAAAAAAAw", "ada").await;
    let layer = SessionLayer::new(stage.sessions.clone())
        .cookie(CookieConfig::insecure())
        .and_then(|layer| {
            layer.accept_old(OldCookie::tower_sessions("id").path("/shop").domain("example.com"))
        })
        .unwrap();
    let mut visitor = Visitor::new(layer);
    visitor.jar.insert("id".to_owned(), "_-9aZ8AAAAAAAAAAAAAAAw".to_owned());
    assert_eq!(visitor.does(who).await.body, "ada");
    let set = visitor.does(adds).await.set_cookies();
    assert!(set[0].starts_with("session="), "{set:?}");
    assert_eq!(
        set[1],
        "id=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/shop; Domain=example.com; HttpOnly; SameSite=Lax"
    );
    assert_eq!(visitor.does(who).await.body, "ada");
}

/// [S17]
#[test]
fn an_old_cookie_that_cannot_stand_beside_ours_is_refused() {
    let layer = || SessionLayer::new(Stage::new().sessions.clone());
    let same = CookieConfigError::SameName { name: "__Host-session".to_owned() };
    assert_eq!(layer().accept_old(OldCookie::django("__Host-session")).err(), Some(same));
    assert!(matches!(
        layer().accept_old(OldCookie::tower_sessions("a b")).err(),
        Some(CookieConfigError::Name { .. })
    ));
    assert!(matches!(
        layer().accept_old(OldCookie::tower_sessions("id").path("shop")).err(),
        Some(CookieConfigError::Path { .. })
    ));
    // Also when ours is named later.
    let accepting = layer().accept_old(OldCookie::tower_sessions("id")).unwrap();
    assert!(accepting.cookie(CookieConfig::new().name("id")).is_err());
}
