//! How long a session lives when both sides use it, and the browser's copy of the cookie with it.

use serde_json::json;
use sessile::record::{Clock, Timestamp};

use crate::browser::{BOTH_WAYS, Lback, Sessile};
use crate::stage::{Stage, minutes};

crate::on_every_database!(
    a_request_to_either_renews_for_both,
    a_second_decides_at_both,
    a_reader_of_rust_keeps_the_cookie,
    rust_follows_a_shorter_end_and_never_makes_one,
);

/// Half an hour from each request on, whichever service had it; two hours of ten-minute steps.
async fn a_request_to_either_renews_for_both(stage: &mut Stage) {
    for (here, there) in BOTH_WAYS {
        let mut browser = stage.browser();
        browser.sign_in(here, "42").await;
        let id = browser.id().unwrap();
        for side in [there, here].repeat(6) {
            stage.pass(minutes(10));
            assert_eq!(browser.user(side).await.as_deref(), Some("42"), "{side:?}");
            let ends = stage.clock.now().saturating_add(minutes(30));
            assert_eq!(stage.row(id).await.unwrap().expires_at(), ends);
            assert_eq!(stage.read(id)["times"][1], ends.to_string());
        }
    }
}

/// [S08] A second before its end both know the visitor, at its end neither does.
async fn a_second_decides_at_both(stage: &mut Stage) {
    for (here, there) in BOTH_WAYS {
        let mut browser = stage.browser();
        browser.sign_in(here, "42").await;
        let second = std::time::Duration::from_secs(1);
        for side in [there, here] {
            stage.pass(minutes(30) - second);
            assert_eq!(browser.user(side).await.as_deref(), Some("42"), "{side:?}");
            // Only a change makes Python send the date again.
            browser.submit((side, side), "/change", &[("key", "k"), ("value", "1")]).await;
        }
        let id = browser.id().unwrap();
        stage.pass(minutes(30));
        assert_eq!(browser.id(), None, "the browser has dropped it, too");
        for side in [here, there] {
            let mut late = browser.clone();
            late.keeps_everything();
            assert_eq!(late.user(side).await, None, "{side:?}");
            assert_eq!(stage.row(id).await.unwrap().expires_at(), stage.clock.now(), "nobody revives it");
        }
    }
}

/// lback sends the cookie's date only with a change, so its browsers drop the cookie of a session that is read
/// all the time. Sessile's date moves with the row's.
async fn a_reader_of_rust_keeps_the_cookie(stage: &mut Stage) {
    for (side, stays) in [(Lback, false), (Sessile, true)] {
        let mut browser = stage.browser();
        browser.sign_in(side, "42").await;
        let id = browser.id().unwrap();
        for _ in 0..2 {
            stage.pass(minutes(12));
            assert_eq!(browser.user(side).await.as_deref(), Some("42"));
        }
        stage.pass(minutes(12));
        assert!(stage.row(id).await.unwrap().is_live(stage.clock.now()), "the row lives");
        assert_eq!(browser.id().is_some(), stays, "{side:?}");
        if stays {
            assert_eq!(browser.keeps_until(), Some(stage.row(id).await.unwrap().expires_at()));
        }
    }
}

/// One request at lback cuts an end in 2099 to half an hour. One at sessile leaves it, and follows the cut.
async fn rust_follows_a_shorter_end_and_never_makes_one(stage: &mut Stage) {
    let mut browser = stage.browser();
    browser.sign_in(Lback, "42").await;
    let id = browser.id().unwrap();
    stage.python.ask(json!(["expire", id.to_string(), 2_000_000_000_i64]));
    let far: Timestamp = stage.row(id).await.unwrap().expires_at();
    browser.shown(Sessile).await;
    let change = [("key", "k"), ("value", "1")];
    assert_eq!(browser.submit((Sessile, Sessile), "/change", &change).await.status, 200);
    assert_eq!(stage.row(id).await.unwrap().expires_at(), far);
    browser.shown(Lback).await;
    let cut = stage.clock.now().saturating_add(minutes(30));
    assert_eq!(stage.row(id).await.unwrap().expires_at(), cut);
    stage.pass(minutes(30));
    browser.keeps_everything();
    assert_eq!(browser.user(Sessile).await, None);
}
