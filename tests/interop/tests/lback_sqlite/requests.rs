//! Requests: the cookie, sign-in, flash messages, through lback's WSGI application and our layer.

use serde_json::{Value, json};
use sessile::SessionId;

use crate::scene::{Scene, USER, id_in, request};

use rusqlite::types::Value as Cell;

fn cookie(answer: &Value) -> SessionId {
    id_in(answer["cookies"][0].as_str().unwrap())
}

/// Python's cookie is good for Rust, and Rust's for Python; neither hands out another.
#[tokio::test]
async fn one_cookie_serves_both() {
    let mut scene = Scene::new().await;
    let made = scene.python.ask(request(None, &[json!(["set", "from", "\"python\""])]));
    let id = cookie(&made);
    let answer = scene.visit(Some(id), |session| session.get::<String>("from").unwrap().unwrap()).await;
    assert_eq!(answer.body, "python");
    for other in &answer.cookies {
        assert_eq!(id_in(other), id);
    }

    let answer = scene
        .visit(None, |session| {
            session.insert("from", "rust").unwrap();
            String::new()
        })
        .await;
    let id = id_in(&answer.cookies[0]);
    assert_eq!(answer.cookies, [format!("session_id={id}; Max-Age=1800; Path=/; HttpOnly")]);
    let answer = scene.python.request(id, &[json!(["get", "from"])]);
    assert_eq!((&answer["results"], &answer["cookies"]), (&json!(["\"rust\""]), &json!([])));

    // Upper case is another name, to both.
    let upper = format!("session_id={}", id.to_string().to_uppercase());
    let answer = scene.python.ask(json!(["request", upper, ["get", "from"]]));
    assert_ne!(cookie(&answer), id);
    assert_eq!(answer["results"], json!(["null"]));
}

/// Python notes a sign-in in the data alone; that is who is signed in.
#[tokio::test]
async fn a_login_of_python_is_seen_by_rust() {
    let mut scene = Scene::new().await;
    for (user, shown) in [(json!(42), "42"), (json!("ada"), "ada"), (json!("7"), "7"), (json!(-1), "-1")] {
        let id = scene.python.create("{}");
        let answer = scene.python.request(id, &[json!(["login", user, "user"])]);
        assert_eq!(answer["results"], json!([true]));
        assert_eq!(scene.cells(id).unwrap()[USER], Cell::Null);
        let answer = scene.visit(Some(id), |session| session.user_id().unwrap().to_string()).await;
        assert_eq!(answer.body, shown);
        let answer = scene.python.request(id, &[json!(["who"])]);
        assert_eq!(answer["results"], json!([[true, user.to_string()]]));
    }
    // A column that the package's own login views fill, and a user whom Python signed out by clearing the data.
    let id = scene.python.create(r#"{"a": 1}"#);
    scene.write("UPDATE sessions SET user_id = '42' WHERE id = ?", [id.to_string()]);
    assert_eq!(scene.session(id).await.user_id(), None);
    // What is no user id is nobody.
    for nobody in ["null", "true", "1.5", "[]", "\"\"", "{}", "NaN", "-Infinity"] {
        let id = scene.python.create(&format!(r#"{{"user_id": {nobody}}}"#));
        assert_eq!(scene.session(id).await.user_id(), None, "{nobody}");
    }
}

/// [S05] A sign-in through Rust has both keys of lback, a number stays a number, and the old id is dead.
#[tokio::test]
async fn a_login_of_rust_is_seen_by_python() {
    let mut scene = Scene::new().await;
    for (user, shown) in [("42", "42"), ("ada", "\"ada\""), ("007", "\"007\""), ("-3", "-3")] {
        let id = scene.python.create(r#"{"cart": [1]}"#);
        let answer = scene
            .visit(Some(id), move |session| {
                session.login(user).unwrap();
                String::new()
            })
            .await;
        let new = id_in(&answer.cookies[0]);
        assert_eq!(scene.cells(id), None);
        let answer =
            scene.python.request(new, &[json!(["who"]), json!(["get", "user_type"]), json!(["get", "cart"])]);
        assert_eq!(answer["results"], json!([[true, shown], "\"user\"", "[1]"]));
        assert_eq!(scene.cells(new).unwrap()[USER], Cell::Text(user.into()));
        assert_eq!(scene.session(new).await.user_id().unwrap(), user);
    }
    let answer = scene
        .visit(None, |session| {
            session.login_as(1, "admin").unwrap();
            String::new()
        })
        .await;
    let id = id_in(&answer.cookies[0]);
    let answer = scene.python.request(id, &[json!(["who"]), json!(["get", "user_type"])]);
    assert_eq!(answer["results"], json!([[true, "1"], "\"admin\""]));
}

/// [S06] Users and administrators of lback have the same numbers: user 1 gets nothing of administrator 1.
#[tokio::test]
async fn a_user_is_not_the_administrator_of_the_same_number() {
    let mut scene = Scene::new().await;
    let id = scene.python.create(r#"{"user_id": 1, "user_type": "admin", "secret": 1}"#);
    let answer = scene
        .visit(Some(id), |session| {
            session.login(1).unwrap();
            String::new()
        })
        .await;
    let answer = scene
        .python
        .request(id_in(&answer.cookies[0]), &[json!(["get", "user_type"]), json!(["get", "secret"])]);
    assert_eq!(answer["results"], json!(["\"user\"", "null"]));
}

/// [S09] Signed out on one side is signed out on the other, and the row is gone.
#[tokio::test]
async fn a_logout_of_either_side_ends_the_session() {
    let mut scene = Scene::new().await;
    let data = r#"{"user_id": 42, "user_type": "user"}"#;
    let id = scene.python.create(data);
    let answer = scene.python.request(id, &[json!(["logout"])]);
    assert_eq!(answer["cookies"], json!(["session_id=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/"]));
    let answer = scene.visit(Some(id), |session| format!("{:?}", session.user_id())).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "None"));
    assert_eq!(scene.cells(id), None);

    let id = scene.python.create(data);
    let answer = scene
        .visit(Some(id), |session| {
            session.logout();
            String::new()
        })
        .await;
    assert_eq!(
        answer.cookies,
        ["session_id=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; HttpOnly"]
    );
    assert_eq!(scene.cells(id), None);
    let answer = scene.python.request(id, &[json!(["who"])]);
    assert_eq!(answer["results"], json!([[false, "null"]]));
    assert_ne!(cookie(&answer), id);
}

/// Each says what the other shows, and the text in the row is the same whoever said it.
#[tokio::test]
async fn flash_messages_go_both_ways() {
    let mut scene = Scene::new().await;
    let (ours, theirs) = (scene.python.create("{}"), scene.python.create("{}"));
    let steps = [
        json!(["flash", "Grüße \"1\"", "info"]),
        json!(["flash", "no", "danger"]),
        json!(["flash", "2", "info"]),
    ];
    let said = |session: &sessile::Session| {
        session.flash("info", "Grüße \"1\"").unwrap();
        session.flash("danger", "no").unwrap();
        session.flash("info", "2").unwrap();
        String::new()
    };
    scene.visit(Some(ours), said).await;
    scene.python.request(theirs, &steps);
    assert_eq!(scene.text(ours), scene.text(theirs));

    // One category is taken, the other stays.
    let python = scene.python.request(ours, &[json!(["flashes", "info"])]);
    let rust = scene.visit(Some(theirs), |session| {
        let flashes = session.flashes_of("info").unwrap();
        sessile::record::json::to_text(&flashes).unwrap()
    });
    assert_eq!(python["results"][0], rust.await.body);
    let left = r#"{"flash_messages": [{"message": "no", "category": "danger"}]}"#;
    assert_eq!((scene.text(ours).as_str(), scene.text(theirs).as_str()), (left, left));

    // All are taken, crosswise.
    let rust = scene.visit(Some(ours), |session| {
        let flashes = session.flashes().unwrap();
        sessile::record::json::to_text(&flashes).unwrap()
    });
    assert_eq!(rust.await.body, r#"[{"message": "no", "category": "danger"}]"#);
    let python = scene.python.request(theirs, &[json!(["flashes"])]);
    assert_eq!(python["results"][0], r#"[{"message": "no", "category": "danger"}]"#);
    assert_eq!((scene.text(ours).as_str(), scene.text(theirs).as_str()), ("{}", "{}"));
}

/// Messages that are none, and messages with more in them, are to Rust what they are to Python.
#[tokio::test]
async fn odd_flash_messages_are_read_alike() {
    let mut scene = Scene::new().await;
    for list in [
        r#"[{"message": "a", "category": "info", "more": [1]}, 5, {"message": "b"}, {"category": "c"}, null]"#,
        r#"[{"message": "\ud800", "category": "info"}, {"message": "ok", "category": "info"}]"#,
        r#"[{"message": 5, "category": "info"}, {"message": "ok", "category": "info"}]"#,
        r#""no list""#,
        "{}",
        "[]",
    ] {
        let text = format!(r#"{{"flash_messages": {list}}}"#);
        let (ours, theirs) = (scene.python.create(&text), scene.python.create(&text));
        let say = |session: &sessile::Session| {
            session.flash("info", "new").unwrap();
            String::new()
        };
        scene.visit(Some(ours), say).await;
        scene.python.request(theirs, &[json!(["flash", "new", "info"])]);
        assert_eq!(scene.text(ours), scene.text(theirs), "{list}");
        // Taking them leaves none, and fails on neither side.
        let answer = scene.visit(Some(ours), |session| format!("{}", session.flashes().is_ok())).await;
        assert_eq!(answer.body, "true");
        assert_eq!(scene.python.request(theirs, &[json!(["flashes"])])["status"], 200);
        assert_eq!(scene.text(ours), scene.text(theirs), "{list}");
    }
}

/// A request without a cookie costs Rust no row, and an unknown id is adopted by neither.
#[tokio::test]
async fn an_unknown_id_is_adopted_by_neither() {
    let mut scene = Scene::new().await;
    let id: SessionId = "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11".parse().unwrap();
    let answer = scene.visit(Some(id), |session| format!("{:?}", session.id())).await;
    assert_eq!((answer.body.as_str(), answer.cookies.len()), ("None", 0));
    assert_eq!(scene.python.ask(json!(["sql", "SELECT count(*) FROM sessions"])), json!([[0]]));
    let answer = scene
        .visit(Some(id), |session| {
            session.insert("a", &1).unwrap();
            String::new()
        })
        .await;
    assert_ne!(id_in(&answer.cookies[0]), id);
    assert_ne!(cookie(&scene.python.request(id, &[])), id);
    assert_eq!(scene.cells(id), None);
}
