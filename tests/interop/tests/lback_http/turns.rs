//! One browser, first at one service and then at the other, in both directions.

use serde_json::{Value, json};
use sessile::record::StoredData;
use sessile::{SessionId, UserId};

use crate::application::TOKEN_FIELD;
use crate::browser::{BOTH_WAYS, Lback, Sessile};
use crate::stage::Stage;

crate::on_every_database!(
    signed_in_here_is_signed_in_there,
    changes_of_both_are_seen_by_both,
    what_is_said_here_is_shown_there,
    a_form_made_here_is_accepted_there,
    signed_out_here_is_dead_there,
    a_whole_visit_goes_back_and_forth,
    who_only_looks_costs_rust_nothing,
    revoked_in_rust_is_dead_at_both,
);

/// Signed in at either, the visitor is signed in at both, under one cookie.
async fn signed_in_here_is_signed_in_there(stage: &mut Stage) {
    for (here, there) in BOTH_WAYS {
        for (user, noted) in [("42", json!(42)), ("ada", json!("ada"))] {
            let mut browser = stage.browser();
            browser.sign_in(here, user).await;
            let id = browser.id();
            for side in [there, here, there] {
                let shown = browser.shown(side).await;
                assert_eq!(
                    (&shown["user"], &shown["data"]["user_id"], &shown["data"]["user_type"]),
                    (&json!(user), &noted, &json!("user")),
                    "from {here:?}, seen by {side:?}"
                );
                assert_eq!(browser.id(), id, "neither hands out another cookie");
            }
        }
    }
}

/// What each changes the other sees; what neither touched stays.
async fn changes_of_both_are_seen_by_both(stage: &mut Stage) {
    for (here, there) in BOTH_WAYS {
        let mut browser = stage.browser();
        browser.sign_in(here, "42").await;
        let values = [
            (here, "cart", r#"[{"sku": "a-1", "n": 2}]"#),
            (there, "Grüße", r#""日本語 😀 \" \\ \u007f""#),
            (here, "numbers", "[0.1, 1e+16, -0.0, 18446744073709551615]"),
            (there, "nothing", r#"[null, true, false, {}, []]"#),
            (here, "cart", r#"[{"sku": "a-1", "n": 3}]"#),
        ];
        for (side, key, value) in values {
            let reply = browser.submit((side, side), "/change", &[("key", key), ("value", value)]).await;
            assert_eq!(reply.status, 200, "{side:?} {key}: {}", reply.body);
        }
        for side in [here, there] {
            let reply = browser.submit((side, side), "/remove", &[("key", "nothing")]).await;
            assert_eq!(reply.status, 200);
            let data = browser.shown(side).await["data"].clone();
            assert_eq!(data["cart"], json!([{"sku": "a-1", "n": 3}]));
            assert_eq!(data["Grüße"], "日本語 😀 \" \\ \u{7f}");
            assert_eq!(data["numbers"].to_string(), "[0.1,1e+16,-0.0,18446744073709551615]");
            assert_eq!(data.get("nothing"), None);
        }
    }
}

/// A message is shown once, by whichever service is asked next.
async fn what_is_said_here_is_shown_there(stage: &mut Stage) {
    for (here, there) in BOTH_WAYS {
        let mut browser = stage.browser();
        for (side, category, message) in
            [(here, "info", "Grüße"), (there, "danger", "no"), (here, "info", "bye")]
        {
            let fields = [("category", category), ("message", message)];
            assert_eq!(browser.submit((side, side), "/flash", &fields).await.status, 200);
        }
        let expected = json!([
            {"message": "Grüße", "category": "info"},
            {"message": "no", "category": "danger"},
            {"message": "bye", "category": "info"},
        ]);
        assert_eq!(browser.get(there, "/flashes").await.json(), expected);
        for side in [here, there] {
            assert_eq!(browser.get(side, "/flashes").await.json(), json!([]), "shown once");
        }
    }
}

/// [S20] A token of either is good for both, one that is not the session's for neither; what is refused changes
/// nothing.
async fn a_form_made_here_is_accepted_there(stage: &mut Stage) {
    for (here, there) in BOTH_WAYS {
        let mut browser = stage.browser();
        let token = browser.get(here, "/token").await.body;
        assert_eq!((token.len(), token.bytes().all(|b| b.is_ascii_hexdigit())), (32, true), "{token}");
        assert_eq!(browser.get(there, "/token").await.body, token);
        let change = [("key", "k"), ("value", "1")];
        for side in [there, here] {
            let reply = browser.submit((here, side), "/change", &change).await;
            assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "changed"));
        }
        let of_another = stage.browser().get(here, "/token").await.body;
        for wrong in ["", "0", &"0".repeat(32), &of_another, &token.to_uppercase(), &token[..31]] {
            for side in [here, there] {
                let fields = [("key", "k"), ("value", "2"), (TOKEN_FIELD, wrong)];
                assert_eq!(browser.post(side, "/change", &fields).await.status, 403, "{side:?} {wrong:?}");
            }
        }
        assert_eq!(browser.post(there, "/change", &change).await.status, 403, "none at all");
        assert_eq!(browser.shown(there).await["data"]["k"], json!(1));
    }
}

/// [S09] Signed out at either: the row is gone, and whoever kept the cookie is nobody at both.
async fn signed_out_here_is_dead_there(stage: &mut Stage) {
    for (here, there) in BOTH_WAYS {
        for signs_in in [here, there] {
            let mut browser = stage.browser();
            browser.sign_in(signs_in, "42").await;
            let id = browser.id().unwrap();
            let mut thief = browser.clone();
            assert_eq!(thief.user(there).await.as_deref(), Some("42"));
            let reply = browser.submit((there, here), "/sign-out", &[]).await;
            assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "signed out"));
            assert_eq!(browser.id(), None, "the cookie is removed");
            assert_eq!(stage.row(id).await, None);
            for side in [Sessile, Lback] {
                let mut thief = thief.clone();
                assert_eq!(thief.shown(side).await["user"], Value::Null, "{side:?}");
                assert_eq!(browser.user(side).await, None);
            }
            assert_eq!(stage.row(id).await, None, "nobody has brought it back");
        }
    }
}

/// All of it in one visit, with a service of each kind at every step.
async fn a_whole_visit_goes_back_and_forth(stage: &mut Stage) {
    for (here, there) in BOTH_WAYS {
        let mut browser = stage.browser();
        let put = [("key", "cart"), ("value", "[1]")];
        assert_eq!(browser.submit((here, there), "/change", &put).await.status, 200);
        let before = browser.id().unwrap();
        browser.sign_in(there, "7").await;
        let id = browser.id().unwrap();
        // Rust gives the session another name, Python does not.
        assert_eq!((before == id, stage.row(before).await.is_some()), (there == Lback, there == Lback));
        let put = [("key", "cart"), ("value", "[1, 2]")];
        assert_eq!(browser.submit((there, here), "/change", &put).await.status, 200);
        let say = [("category", "success"), ("message", "Bought")];
        assert_eq!(browser.submit((here, there), "/flash", &say).await.status, 200);
        let said = browser.get(here, "/flashes").await.json();
        assert_eq!(said, json!([{"message": "Bought", "category": "success"}]));
        let shown = browser.shown(there).await;
        assert_eq!((&shown["user"], &shown["data"]["cart"]), (&json!("7"), &json!([1, 2])));
        check_alike(stage, id).await;
        let reply = browser.submit((there, here), "/sign-out", &[]).await;
        assert_eq!(reply.body, "signed out");
        assert_eq!(stage.row(id).await, None);
    }
}

/// The row is the same to both: its columns, its times, its data to the byte.
async fn check_alike(stage: &mut Stage, id: SessionId) {
    let python = stage.read(id);
    let record = stage.row(id).await.unwrap();
    assert_eq!(python["repr"], record.to_string());
    let StoredData::Text(text) = record.stored_data() else { panic!("{:?}", record.stored_data()) };
    assert_eq!((python["data"].as_str(), python["data_dict"].as_str()), (Some(&**text), Some(&**text)));
    let times = [record.created_at(), Some(record.expires_at()), record.updated_at()];
    assert_eq!(python["times"], json!(times.map(|time| time.map(|time| time.to_string()))));
}

/// Law 3: lback makes a row for everybody who looks, sessile for nobody.
async fn who_only_looks_costs_rust_nothing(stage: &mut Stage) {
    for (side, rows) in [(Sessile, 0), (Lback, 1)] {
        let mut browser = stage.browser();
        assert_eq!(browser.user(side).await, None);
        assert_eq!((stage.rows(), browser.id().is_some()), (rows, rows == 1), "{side:?}");
    }
}

/// [S10] Whichever service signed the user in: one revocation ends all of their sessions, at both.
async fn revoked_in_rust_is_dead_at_both(stage: &mut Stage) {
    let mut browsers = Vec::new();
    for side in [Lback, Sessile, Lback] {
        let mut browser = stage.browser();
        browser.sign_in(side, "42").await;
        browsers.push(browser);
    }
    let mut other = stage.browser();
    other.sign_in(Lback, "43").await;
    let user = UserId::new("42").unwrap();
    assert_eq!(stage.sessions.sessions_of(&user).await.unwrap().len(), 3);
    assert_eq!(stage.sessions.revoke_user(&user).await.unwrap(), 3);
    for browser in &mut browsers {
        for side in [Sessile, Lback] {
            assert_eq!(browser.clone().user(side).await, None);
        }
    }
    assert_eq!(other.user(Sessile).await.as_deref(), Some("43"));
}
