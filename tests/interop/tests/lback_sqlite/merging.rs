//! Both sides change one session, at once and in turn.

use serde_json::json;
use sessile::engine::{EngineError, Event};
use sessile::store::{SessionStore, SqliteStore};
use sessile::{Policy, SessionError, SessionId, Sessions};

use crate::scene::{CREATED, DATA, EXPIRES, Scene, USER, request, seconds, shown};

/// Law 1: a key that Rust changes leaves every other byte as Python, or whoever it was, wrote it.
#[tokio::test]
async fn what_rust_did_not_touch_keeps_its_bytes() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    let pieces = [
        r#"  {"a":1,   "spaced" :  [ 1 ,2.50, 1E5 ] ,"#,
        r#""é":"raw ü", "esc": "\u00e9\/", "big": 123456789012345678901234567890,"#,
        r#""lone": "\ud800", "nan": [NaN], "twice": 1, "twice": {"x":-0}, "#,
    ];
    let before = format!("{}{}{}\"last\" :\tnull}}\n", pieces[0], pieces[1], pieces[2]);
    scene.write(
        "UPDATE sessions SET data = ?, created_at = '2029-05-06T07:08:09', user_id = 'eve' WHERE id = ?",
        (&before, id.to_string()),
    );
    let read = scene.python.data_of(id);
    let cells = scene.cells(id).unwrap();

    let session = scene.session(id).await;
    let keys: Vec<String> = session.keys();
    let raws: Vec<_> = keys.iter().map(|key| session.raw(key)).collect();
    session.insert("new", &true).unwrap();
    session.insert("a", &2).unwrap();
    session.save().await.unwrap();

    let after = scene.text(id);
    for piece in ["[ 1 ,2.50, 1E5 ]", r#""é""#, r#""raw ü""#, r#""\u00e9\/""#, r#""\ud800""#, r#"{"x":-0}"#]
    {
        assert!(after.contains(piece), "{piece} in {after}");
    }
    let session = scene.session(id).await;
    for (key, raw) in keys.iter().zip(raws).filter(|(key, _)| *key != "a") {
        assert_eq!(session.raw(key), raw, "{key}");
    }
    let expected = read.replacen(r#""a": 1"#, r#""a": 2"#, 1).replacen("null}", r#"null, "new": true}"#, 1);
    assert_eq!(scene.python.data_of(id), expected);
    let now = scene.cells(id).unwrap();
    assert_eq!(now[CREATED], cells[CREATED]);
}

/// A session that was read, or changed to what it was, is not written at all.
#[tokio::test]
async fn a_change_to_the_same_value_writes_nothing() {
    let mut scene = Scene::new().await;
    let id = scene.python.create(r#"{"a": 1, "b": [1.0]}"#);
    let cells = scene.cells(id).unwrap();
    let session = scene.session(id).await;
    session.insert("a", &1).unwrap();
    session.insert("b", &[1.0]).unwrap();
    session.save().await.unwrap();
    assert_eq!(scene.cells(id).unwrap(), cells);
}

/// Law 1: Python's model changes the row while a Rust request has it; both changes are there.
#[tokio::test]
async fn changes_of_python_during_a_rust_request_are_merged() {
    let mut scene = Scene::new().await;
    let id = scene.python.create(r#"{"both": 0, "gone": 1}"#);
    let session = scene.session(id).await;
    scene.python.ask(json!(["change", id.to_string(), "python", r#"{"x": [1]}"#]));
    scene.python.ask(json!(["change", id.to_string(), "both", "1"]));
    session.insert("rust", "r").unwrap();
    session.update("count", |count: &mut u32| *count += 1).unwrap();
    session.remove("gone");
    session.save().await.unwrap();
    let both = r#"{"both": 1, "python": {"x": [1]}, "rust": "r", "count": 1}"#;
    assert_eq!((scene.text(id).as_str(), scene.python.data_of(id).as_str()), (both, both));
    assert_eq!(scene.events(), [Event::Conflict { id }]);
    // The handle goes on from the newest row.
    assert_eq!(session.get::<u32>("both").unwrap(), Some(1));

    // A whole request of Python's, in the midst of one of ours.
    let session = scene.session(id).await;
    scene.python.request(id, &[json!(["set", "request", "2"]), json!(["flash", "hello", "info"])]);
    session.update("count", |count: &mut u32| *count += 1).unwrap();
    session.flash("info", "and you").unwrap();
    session.save().await.unwrap();
    let expected = concat!(
        r#"{"both": 1, "python": {"x": [1]}, "rust": "r", "count": 2, "request": 2, "flash_messages": "#,
        r#"[{"message": "hello", "category": "info"}, {"message": "and you", "category": "info"}]}"#
    );
    assert_eq!(scene.python.data_of(id), expected);
}

/// Law 1: many changes of Rust among many of Python's. Python may lose its own (it writes the whole data); of
/// ours none is lost while it changes only what it has just read.
#[tokio::test]
async fn many_turns_lose_nothing() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    for turn in 0..20_u32 {
        let session = scene.session(id).await;
        let other = scene.session(id).await;
        scene.python.ask(json!(["change", id.to_string(), format!("p{turn}"), turn.to_string()]));
        session.update("sum", move |sum: &mut u32| *sum += turn).unwrap();
        other.insert(format!("r{turn}").as_str(), &turn).unwrap();
        let (first, second) = tokio::join!(session.save(), other.save());
        first.unwrap();
        second.unwrap();
    }
    let session = scene.session(id).await;
    assert_eq!(session.get::<u32>("sum").unwrap(), Some(190));
    for turn in 0..20_u32 {
        assert_eq!(session.get::<u32>(format!("p{turn}").as_str()).unwrap(), Some(turn));
        assert_eq!(session.get::<u32>(format!("r{turn}").as_str()).unwrap(), Some(turn));
    }
}

/// Law 2, three times: a session that Python ended while Rust changed it stays dead, and Rust is told.
#[tokio::test]
async fn a_session_that_python_ended_stays_dead() {
    let mut scene = Scene::new().await;
    for way in ["model", "manager", "request"] {
        let id = scene.python.create(r#"{"user_id": 1, "user_type": "user"}"#);
        let session = scene.session(id).await;
        match way {
            "model" => drop(scene.python.ask(json!(["delete", id.to_string()]))),
            "manager" => {
                assert_eq!(scene.python.ask(json!(["manager", "delete_session", id.to_string()])), true)
            }
            _ => drop(scene.python.request(id, &[json!(["logout"])])),
        }
        session.insert("rust", &1).unwrap();
        let error = session.save().await.unwrap_err();
        assert!(matches!(error, SessionError::Engine(EngineError::Ended)), "{way}: {error}");
        assert_eq!(scene.cells(id), None, "{way}");
        assert!(scene.session(id).await.id().is_none());
    }
}

/// Law 2: what Rust ended, Python cannot bring back, whatever it held.
#[tokio::test]
async fn a_session_that_rust_ended_stays_dead() {
    let mut scene = Scene::new().await;
    // The model updates the row it has read.
    let id = scene.python.create("{}");
    scene.python.ask_until_it_waits(json!(["change", id.to_string(), "k", "1", true]));
    assert!(scene.sessions.revoke(id).await.unwrap());
    let raised = scene.python.go_on().unwrap_err();
    assert!(raised.starts_with("StaleDataError"), "{raised}");
    assert_eq!(scene.cells(id), None);

    // AppSession looks the row up again, and takes no notice that it is gone.
    let id = scene.python.create("{}");
    scene.python.ask_until_it_waits(json!(["app_session", id.to_string(), ["hold"], ["set", "k", "1"]]));
    let session = scene.session(id).await;
    session.logout();
    session.save().await.unwrap();
    assert_eq!(scene.python.go_on().unwrap()["saved"], id.to_string());
    assert_eq!(scene.cells(id), None);

    // With its cookie Python begins a new session, under a new id.
    let answer = scene.python.request(id, &[json!(["dict"])]);
    assert_eq!(answer["results"], json!(["{}"]));
    assert_ne!(crate::scene::id_in(answer["cookies"][0].as_str().unwrap()), id);
    assert_eq!(scene.cells(id), None);
}

/// A Python request holds SQLite's write lock while its view runs: reads go on, a change waits, then both are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_waits_while_python_holds_the_lock() {
    let mut scene = Scene::new().await;
    let id = scene.python.create(r#"{"a": 1}"#);
    let other = scene.python.create("{}");
    let before = scene.cells(id).unwrap();
    scene.set_clocks(crate::scene::noon().saturating_add(seconds(60)));
    scene.python.ask_until_it_waits(request(Some(id), &[json!(["hold"])]));

    // Reading: at once, and what was committed.
    let session = scene.session(id).await;
    assert_eq!(session.get::<u8>("a").unwrap(), Some(1));
    assert_eq!(scene.cells(id).unwrap(), before);
    // Changing, either row: not yet.
    session.insert("rust", &2).unwrap();
    let elsewhere = scene.session(other).await;
    elsewhere.insert("rust", &3).unwrap();
    let mut saving = tokio::spawn(async move { tokio::join!(session.save(), elsewhere.save()) });
    tokio::time::timeout(std::time::Duration::from_millis(150), &mut saving).await.expect_err("it waits");
    assert_eq!(scene.cells(id).unwrap(), before);

    assert_eq!(scene.python.go_on().unwrap()["status"], 200);
    let (first, second) = saving.await.unwrap();
    first.unwrap();
    second.unwrap();
    assert_eq!(scene.python.data_of(id), r#"{"a": 1, "rust": 2}"#);
    assert_eq!(scene.python.data_of(other), r#"{"rust": 3}"#);
    // Python's renewal is there, too.
    assert_eq!(shown(&scene.cells(id).unwrap()[EXPIRES]), "2030-01-02 12:31:00.000000");
}

/// [R01] Python holds the lock beyond our patience: an error that says so, nothing written, and then all is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_held_too_long_is_an_error_and_passes() {
    let mut scene = Scene::new().await;
    let store = SqliteStore::options().busy_timeout(std::time::Duration::from_millis(50));
    let store = store.open(&scene.file).await.unwrap();
    scene.sessions = Sessions::builder(store).policy(Policy::lback()).clock(fixed()).build();
    let id = scene.python.create("{}");
    // A renewal that changes nothing would take no lock.
    scene.set_clocks(crate::scene::noon().saturating_add(seconds(60)));
    scene.python.ask_until_it_waits(request(Some(id), &[json!(["hold"])]));
    let change = |session: &sessile::Session| {
        session.insert("rust", &1).unwrap();
        String::new()
    };
    let answer = scene.visit(Some(id), change).await;
    assert_eq!((answer.status.as_u16(), answer.cookies.len()), (503, 0));
    // A request that only reads is not hurt: its renewal comes next time.
    let answer = scene.visit(Some(id), |session| format!("{:?}", session.id().is_some())).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "true"));
    scene.python.go_on().unwrap();
    assert_eq!(scene.text(id), "{}");
    assert_eq!(scene.visit(Some(id), change).await.status, 200);
    assert_eq!(scene.text(id), r#"{"rust": 1}"#);
}

fn fixed() -> sessile::record::ManualClock {
    sessile::record::ManualClock::new(crate::scene::noon())
}

/// Both sides take turns with all they have; at the end both see the same.
#[tokio::test]
async fn a_session_lives_with_both() {
    let mut scene = Scene::new().await;
    let answer = scene.python.ask(request(None, &[json!(["set", "cart", "[1]"])]));
    let id: SessionId = crate::scene::id_in(answer["cookies"][0].as_str().unwrap());
    let answer = scene
        .visit(Some(id), |session| {
            session.push("cart", &2).unwrap();
            session.raw("cart").unwrap()
        })
        .await;
    assert_eq!(answer.body, "[1, 2]");
    let answer = scene.python.request(id, &[json!(["get", "cart"]), json!(["set", "cart", "[1, 2, 3]"])]);
    assert_eq!(answer["results"][0], "[1, 2]");
    let cells = scene.cells(id).unwrap();
    assert_eq!(
        (shown(&cells[DATA]), &cells[USER]),
        (r#"{"cart": [1, 2, 3]}"#, &rusqlite::types::Value::Null)
    );
    let record = scene.store.load(id).await.unwrap().unwrap();
    assert_eq!(record.data().get::<Vec<u8>>("cart").unwrap(), Some(vec![1, 2, 3]));
    scene.python.ask(json!(["delete", id.to_string()]));
    assert!(scene.store.load(id).await.unwrap().is_none());
}
