//! Defects of lback 1.0.3 that other tests do not show, each beside what sessile does instead. When one of the halves
//! about lback fails, the package has been mended.

use serde_json::json;
use sessile::engine::Changes;
use sessile::store::StoreUrl;

use crate::scene::{Scene, id_in, noon, request, seconds};

/// lback renews and saves what has expired, and it is alive again. Law 2: here nothing brings it back.
#[tokio::test]
async fn what_has_expired_is_not_revived() {
    let mut scene = Scene::new().await;
    let [renewed, saved, touched, changed] = [(); 4].map(|()| scene.python.create("{}"));
    scene.set_clocks(noon().saturating_add(seconds(1801)));
    let python = |method: &str, id: sessile::SessionId| json!(["manager", method, id.to_string()]);
    assert_eq!(scene.python.ask(python("renew_session", renewed)), true);
    assert_eq!(scene.python.ask(json!(["manager", "save_session_data", saved.to_string(), {"k": 1}])), true);
    for id in [renewed, saved] {
        assert!(scene.python.ask(python("get_session_data", id)).is_object(), "revived");
    }
    let cells = [scene.cells(touched), scene.cells(changed)];
    assert_eq!(scene.sessions.touch(touched).await.unwrap(), None);
    let mut changes = Changes::new();
    changes.set_raw("k", "1").unwrap();
    assert_eq!(scene.sessions.change(changed, &changes).await.unwrap(), None);
    assert_eq!([scene.cells(touched), scene.cells(changed)], cells);
}

/// Setting one key by lback's manager drops all others.
#[tokio::test]
async fn one_key_is_set_and_the_others_stay() {
    let mut scene = Scene::new().await;
    let [theirs, ours] = [(); 2].map(|()| scene.python.create(r#"{"cart": [1], "name": "ada"}"#));
    scene.python.ask(json!(["manager", "set_session_data", theirs.to_string(), "k", 1]));
    assert_eq!(scene.python.data_of(theirs), r#"{"k": 1}"#);
    let mut changes = Changes::new();
    changes.set_raw("k", "1").unwrap();
    scene.sessions.change(ours, &changes).await.unwrap().unwrap();
    assert_eq!(scene.python.data_of(ours), r#"{"cart": [1], "name": "ada", "k": 1}"#);
}

/// lback's manager cannot read its own rows: to get a key, or to check a token, raises.
#[tokio::test]
async fn keys_and_tokens_of_any_row_are_read() {
    let mut scene = Scene::new().await;
    let id = scene.python.create(r#"{"k": 1, "csrf_token": "00", "_csrf_token": "11"}"#);
    let check = json!(["manager", "validate_csrf_token", id.to_string(), "00"]);
    let raised = scene.python.attempt(check).unwrap_err();
    assert!(raised.starts_with("AttributeError"), "{raised}");
    let session = scene.session(id).await;
    assert_eq!((session.get::<u8>("k").unwrap(), session.verify_csrf("11")), (Some(1), true));
}

/// The first request signs in, too. At lback it is told that there is no session.
#[tokio::test]
async fn the_first_request_signs_in() {
    let mut scene = Scene::new().await;
    let refused = scene.python.ask(request(None, &[json!(["login", 42, "user"])]));
    assert_eq!(refused["results"], json!([false]));
    let answer = scene
        .visit(None, |session| {
            session.login(42).unwrap();
            String::new()
        })
        .await;
    let id = id_in(&answer.cookies[0]);
    assert_eq!(scene.python.request(id, &[json!(["who"])])["results"], json!([[true, "42"]]));
}

/// [S08] An expiry with a `T` in it is later than every blank of that day to lback, which compares texts.
#[tokio::test]
async fn an_expiry_in_another_form_is_an_instant_all_the_same() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    scene.write("UPDATE sessions SET expires_at = '2030-01-02T08:00:00' WHERE id = ?", [id.to_string()]);
    let alive = scene.python.ask(json!(["manager", "get_session_data", id.to_string()]));
    assert!(alive.is_object(), "four hours after its end");
    assert_eq!(scene.session(id).await.id(), None);
}

/// lback takes no notice when something inside a value changes, and stores nothing.
#[tokio::test]
async fn a_change_inside_a_value_is_stored() {
    let mut scene = Scene::new().await;
    let id = scene.python.create(r#"{"cart": [1]}"#);
    scene.python.request(id, &[json!(["append", "cart", "2"])]);
    assert_eq!(scene.text(id), r#"{"cart": [1]}"#);
    scene
        .visit(Some(id), |session| {
            session.update("cart", |cart: &mut Vec<u8>| cart.push(2)).unwrap();
            String::new()
        })
        .await;
    assert_eq!(scene.text(id), r#"{"cart": [1, 2]}"#);
}

/// lback builds its database's URL without escaping: a password with `@` in it names another host.
#[test]
fn a_password_may_have_any_character() {
    let url: StoreUrl = "postgres://ada:p%40ss%3A%2F@db.example/shop".parse().unwrap();
    assert_eq!(url.to_string(), "postgres://ada@db.example/shop");
}
