//! What goes wrong at lback and does not at sessile, request by request.

use serde_json::json;

use crate::application::TOKEN_FIELD;
use crate::browser::{Lback, Sessile};
use crate::stage::Stage;

crate::on_every_database!(
    a_request_that_fails_leaves_no_change,
    a_login_changes_the_id_and_the_token,
    a_session_that_ends_meanwhile_is_not_said_to_be_saved,
);

/// A view that raises after a change: lback stores the change all the same.
async fn a_request_that_fails_leaves_no_change(stage: &mut Stage) {
    for (side, stored) in [(Lback, json!(1)), (Sessile, json!(null))] {
        let mut browser = stage.browser();
        let reply = browser.submit((side, side), "/fail", &[("key", "k"), ("value", "1")]).await;
        assert_eq!(reply.status, 500, "{side:?}");
        assert_eq!(browser.shown(side).await["data"]["k"], stored, "{side:?}");
    }
}

/// [S05] [S20] Who has planted an id or knows a form's token, knows nothing after the login; at lback both stay.
async fn a_login_changes_the_id_and_the_token(stage: &mut Stage) {
    for (side, stays) in [(Lback, true), (Sessile, false)] {
        let mut browser = stage.browser();
        let token = browser.get(side, "/token").await.body;
        let mut planted = browser.clone();
        let id = browser.id();
        browser.sign_in(side, "42").await;
        assert_eq!(browser.id() == id, stays, "{side:?}");
        assert_eq!(planted.user(Sessile).await.is_some(), stays, "{side:?}");
        let fields = [("key", "k"), ("value", "1"), (TOKEN_FIELD, token.as_str())];
        assert_eq!(browser.post(side, "/change", &fields).await.status.is_success(), stays, "{side:?}");
    }
}

/// [G01] The row goes while a request changes it: lback answers 200 as if it were stored, sessile 409.
async fn a_session_that_ends_meanwhile_is_not_said_to_be_saved(stage: &mut Stage) {
    let mut browser = stage.browser();
    browser.sign_in(Sessile, "42").await;
    let id = browser.id().unwrap();
    let token = browser.get(Sessile, "/token").await.body;
    let fields = [("key", "k"), ("value", "1"), ("seconds", "1"), (TOKEN_FIELD, token.as_str())];
    let (reply, ()) = tokio::join!(browser.post(Sessile, "/slow", &fields), async {
        // It is read when the handler begins, a second before it is written.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        stage.sessions.revoke(id).await.unwrap();
    });
    // On a machine so busy that the request came later, it was refused before it began.
    assert!([409, 403].contains(&reply.status.as_u16()), "{}", reply.body);
    assert_eq!(stage.row(id).await, None);
}
