//! What people do in the shop.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};

use super::street::{LINUX, PHONE, Street};

const MUG: &str = "item=barnacle-mug";

/// [B01] Looking costs nothing: no statement, no cookie.
#[tokio::test]
async fn looking_around_makes_no_session() {
    let street = Street::new();
    let mut visitor = street.browser(LINUX);
    for path in ["/", "/cart", "/sign-in"] {
        let page = visitor.get(path).await;
        assert_eq!((page.status, street.store.statements()), (StatusCode::OK, 0), "{path}");
        assert!(!page.headers.contains_key(SET_COOKIE) && page.has("sign-in-link"), "{path}");
    }
}

#[tokio::test]
async fn the_cart_counts_every_click() {
    let street = Street::new();
    let mut visitor = street.browser(LINUX);
    let page = visitor.submit("/cart/add", MUG).await;
    assert_eq!(
        (page.texts("cart-count"), page.texts("flash")),
        (vec!["1"], vec!["Barnacle mug is in your cart."])
    );
    visitor.submit("/cart/add", MUG).await;
    visitor.submit("/cart/add", "item=kelp-scarf").await;

    let cart = visitor.get("/cart").await;
    assert_eq!((cart.count("cart-line"), cart.texts("cart-count")), (2, vec!["3"]));
    let cart = visitor.submit("/cart/add", "item=barnacle-mug&from=cart").await;
    assert_eq!((cart.texts("cart-count"), cart.count("flash")), (vec!["4"], 0));
    let cart = visitor.submit("/cart/remove", "item=barnacle-mug&from=cart&count=1").await;
    assert_eq!((cart.texts("cart-count"), cart.count("cart-line")), (vec!["3"], 2));
    let cart = visitor.submit("/cart/remove", "item=barnacle-mug&from=cart").await;
    assert_eq!((cart.texts("cart-count"), cart.count("cart-line")), (vec!["1"], 1));
    assert_eq!(cart.texts("flash"), ["Barnacle mug is no longer in your cart."]);
}

#[tokio::test]
async fn a_click_leads_back_to_where_its_button_was() {
    let street = Street::new();
    let mut visitor = street.browser(LINUX);
    assert_eq!(visitor.post("/cart/add", MUG).await.header(LOCATION), "/#barnacle-mug");
    assert_eq!(visitor.post("/cart/add", "item=barnacle-mug&from=cart").await.header(LOCATION), "/cart");
    assert_eq!(
        visitor.post("/cart/add", "item=barnacle-mug&from=//x.example").await.header(LOCATION),
        "/#barnacle-mug"
    );
}

/// [J01] [J04] [J05]
#[tokio::test]
async fn a_message_is_shown_on_one_page_only() {
    let street = Street::new();
    let mut visitor = street.browser(LINUX);
    visitor.post("/cart/add", MUG).await;
    // Nobody has seen it yet: an address that does not exist must not use it up.
    assert_eq!(visitor.get("/apple-touch-icon.png").await.status, StatusCode::NOT_FOUND);
    assert_eq!(visitor.get("/").await.count("flash"), 1);
    street.store.statements();
    assert_eq!(visitor.get("/").await.count("flash"), 0);
    assert_eq!(street.store.statements(), 1, "without a message the page only reads");
}

/// [S05] [S06]
#[tokio::test]
async fn signing_in_brings_the_cart_and_changes_the_token() {
    let street = Street::new();
    let mut visitor = street.browser(LINUX);
    visitor.submit("/cart/add", MUG).await;
    let before = visitor.jar.clone();

    let page = visitor.sign_in("ada", "lovelace").await;
    assert_eq!(page.texts("signed-in-as"), ["ada"]);
    assert_eq!(
        (page.texts("cart-count"), page.texts("flash")),
        (vec!["1"], vec!["Welcome, ada. You are signed in."])
    );
    assert_ne!(visitor.jar, before);

    let mut thief = street.browser(LINUX);
    thief.jar = before;
    let page = thief.get("/").await;
    assert_eq!(
        (page.count("signed-in-as"), page.texts("cart-count")),
        (0, vec!["0"]),
        "the old token is dead"
    );
}

/// [S06]
#[tokio::test]
async fn a_cart_never_passes_from_one_user_to_another() {
    let street = Street::new();
    let mut browser = street.browser(LINUX);
    browser.sign_in("ada", "lovelace").await;
    browser.submit("/cart/add", MUG).await;
    let page = browser.sign_in("grace", "hopper").await;
    assert_eq!((page.texts("signed-in-as"), page.texts("cart-count")), (vec!["grace"], vec!["0"]));
}

#[tokio::test]
async fn a_wrong_password_signs_nobody_in_and_is_not_shown_again() {
    let street = Street::new();
    let mut visitor = street.browser(LINUX);
    for form in ["user=ada&password=secret%2Dguess&remember=yes", "user=linus&password=secret%2Dguess"] {
        let page = visitor.post("/sign-in", form).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.has("sign-in-error") && !page.has("signed-in-as"));
        assert_eq!(page.body.contains(" checked"), form.contains("remember"));
        assert!(!page.body.contains("secret-guess"), "a password is never echoed");
    }
    assert!(visitor.jar.is_empty());
    assert_eq!(street.store.statements(), 0);
}

/// [S17] [A08]
#[tokio::test]
async fn remember_me_outlives_the_browser_and_the_idle_timeout() {
    let street = Street::new();
    let (mut forgetful, mut regular) = (street.browser(LINUX), street.browser(PHONE));
    let form = "user=ada&password=lovelace";
    let answer = forgetful.post("/sign-in", form).await;
    assert!(!answer.header(SET_COOKIE).contains("Max-Age"), "{}", answer.header(SET_COOKIE));
    let answer = regular.post("/sign-in", &format!("{form}&remember=yes")).await;
    assert!(answer.header(SET_COOKIE).contains("Max-Age=1209600"), "{}", answer.header(SET_COOKIE));
    assert!(
        answer.header(SET_COOKIE).contains("HttpOnly") && answer.header(SET_COOKIE).contains("SameSite=Lax")
    );

    street.clock.advance(Duration::from_secs(3 * 86_400));
    assert!(regular.get("/").await.has("signed-in-as"));
    assert!(!forgetful.get("/").await.has("signed-in-as"));
}

/// [S09]
#[tokio::test]
async fn signing_out_says_so_and_ends_the_session_for_every_copy_of_its_cookie() {
    let street = Street::new();
    let mut browser = street.browser(LINUX);
    browser.sign_in("ada", "lovelace").await;
    browser.submit("/cart/add", MUG).await;
    let mut copy = browser.clone();

    let page = browser.submit("/sign-out", "").await;
    assert_eq!((page.texts("flash"), page.texts("cart-count")), (vec!["You are signed out."], vec!["0"]));
    assert!(page.has("sign-in-link"));
    assert!(!copy.get("/").await.has("signed-in-as"));
}

/// [J10]
#[tokio::test]
async fn whoever_must_sign_in_first_comes_back_to_the_page_once() {
    let street = Street::new();
    let mut visitor = street.browser(LINUX);
    let asked = visitor.get("/sessions").await;
    assert_eq!((asked.status, asked.header(LOCATION)), (StatusCode::SEE_OTHER, "/sign-in"));
    assert_eq!(visitor.get("/sign-in").await.texts("flash"), ["Please sign in first."]);

    let form = "user=ada&password=lovelace";
    assert_eq!(visitor.post("/sign-in", form).await.header(LOCATION), "/sessions");
    assert_eq!(visitor.post("/sign-in", form).await.header(LOCATION), "/", "used once");

    let mut visitor = street.browser(LINUX);
    assert_eq!(visitor.post("/sessions/end-others", "").await.header(LOCATION), "/sign-in");
    assert_eq!(
        visitor.post("/sign-in", form).await.header(LOCATION),
        "/",
        "a form is no page to come back to"
    );
}

/// The id in a row of "Your sessions", of the row with that text.
fn id_in_row(body: &str, text: &str) -> String {
    let row = body.split("data-test=\"session-row\"").skip(1).find(|row| row.contains(text)).expect(text);
    row.split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

/// [S09] [S11]
#[tokio::test]
async fn one_browser_ends_the_session_of_the_other() {
    let street = Street::new();
    let (mut laptop, mut phone) = (street.browser(LINUX), street.browser(PHONE));
    laptop.sign_in("ada", "lovelace").await;
    street.clock.advance(Duration::from_secs(120));
    phone.sign_in("ada", "lovelace").await;

    let list = laptop.get("/sessions").await;
    assert_eq!((list.count("session-row"), list.count("session-current")), (2, 1));
    let rows: Vec<&str> = list.body.split("data-test=\"session-row\"").skip(1).collect();
    assert!(
        rows[0].contains("Firefox on Linux") && rows[0].contains("session-current"),
        "this one comes first"
    );
    assert!(rows[0].contains("2 min ago") && rows[0].contains("2 Jan 2030, 12:00 UTC"), "{}", rows[0]);
    assert!(rows[1].contains("Firefox on Android") && rows[1].contains("/pictures/phone.svg"));
    assert_eq!(list.header(CACHE_CONTROL), "no-store");

    let form = format!("id={}", id_in_row(&list.body, "Firefox on Android"));
    let list = laptop.submit("/sessions/end", &form).await;
    assert_eq!((list.count("session-row"), list.texts("flash")), (1, vec!["That session has ended."]));
    assert!(!phone.get("/").await.has("signed-in-as"));
    let list = laptop.submit("/sessions/end", &form).await;
    assert_eq!(list.texts("flash"), ["You have no such session. It may have ended already."]);
}

#[tokio::test]
async fn all_others_end_at_once_and_this_one_goes_on() {
    let street = Street::new();
    let mut here = street.browser(LINUX);
    let mut others = [street.browser(PHONE), street.browser(PHONE)];
    let mut grace = street.browser(LINUX);
    here.sign_in("ada", "lovelace").await;
    grace.sign_in("grace", "hopper").await;
    for other in &mut others {
        other.sign_in("ada", "lovelace").await;
    }
    let list = here.submit("/sessions/end-others", "").await;
    assert_eq!(
        (list.count("session-row"), list.texts("flash")),
        (1, vec!["All 2 other sessions have ended."])
    );
    for other in &mut others {
        assert!(!other.get("/").await.has("signed-in-as"));
    }
    assert!(grace.get("/").await.has("signed-in-as"), "somebody else's are none of the others");
}

#[tokio::test]
async fn ending_the_current_session_signs_out() {
    let street = Street::new();
    let mut browser = street.browser(LINUX);
    browser.sign_in("ada", "lovelace").await;
    let list = browser.get("/sessions").await;
    let page = browser.submit("/sessions/end", &format!("id={}", id_in_row(&list.body, "Linux"))).await;
    assert!(page.has("sign-in-link"));
    assert_eq!(page.texts("flash"), ["You ended this session, so you are signed out."]);
}

/// [S11]
#[tokio::test]
async fn a_foreign_session_answers_like_an_unknown_one_and_goes_on() {
    let street = Street::new();
    let (mut ada, mut grace) = (street.browser(LINUX), street.browser(PHONE));
    ada.sign_in("ada", "lovelace").await;
    grace.sign_in("grace", "hopper").await;
    let hers = id_in_row(&grace.get("/sessions").await.body, "Android");
    for id in [hers.as_str(), "00000000-0000-4000-8000-000000000000", "what", ""] {
        let list = ada.submit("/sessions/end", &format!("id={id}")).await;
        assert_eq!(list.texts("flash"), ["You have no such session. It may have ended already."], "{id}");
    }
    assert!(grace.get("/").await.has("signed-in-as"));
}
