//! How long a session lives is judged alike, and neither side shortens what the other gave.

use std::time::Duration;

use rusqlite::types::Value as Cell;
use serde_json::json;
use sessile::SessionId;
use sessile::engine::{EngineError, Event, NewSession, Rejection};
use sessile::{SessionError, UserId};

use crate::scene::{CREATED, DATA, EXPIRES, Scene, UPDATED, noon, seconds, shown};

fn expiry(scene: &Scene, id: SessionId) -> String {
    shown(&scene.cells(id).unwrap()[EXPIRES]).to_owned()
}

/// Whether each side takes the cookie for a live session.
async fn alive(scene: &mut Scene, id: SessionId) -> (bool, bool) {
    let python = scene.python.ask(json!(["manager", "get_session_data", id.to_string()]));
    (!python.is_null(), scene.session(id).await.id().is_some())
}

/// [S08] A second before its end, and a microsecond, a session is alive on both sides; at its end and after it is
/// dead on both. Once the clocks stand still and the end moves, once the other way about.
#[tokio::test]
async fn the_end_is_the_same_instant() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    for (end, lives) in [
        ("2030-01-02 12:00:01.000000", true),
        ("2030-01-02 12:00:00.000001", true),
        ("2030-01-02 12:00:00.000000", false),
        ("2030-01-02 11:59:59.999999", false),
        ("2030-01-02 11:59:59.000000", false),
    ] {
        scene.write("UPDATE sessions SET expires_at = ? WHERE id = ?", (end, id.to_string()));
        assert_eq!(alive(&mut scene, id).await, (lives, lives), "{end}");
    }
    let end = noon().saturating_add(seconds(1800));
    let micro = Duration::from_micros(1);
    let new = NewSession { user: Some(UserId::new("ada").unwrap()), ..NewSession::default() };
    let (_, of_rust) = scene.sessions.create(new).await.unwrap();
    let of_python = scene.python.create("{}");
    for (now, lives) in [
        (end.saturating_sub(seconds(1)), true),
        (end.saturating_sub(micro), true),
        (end, false),
        (end.saturating_add(seconds(1)), false),
    ] {
        scene.set_clocks(now);
        for id in [of_rust.id(), of_python] {
            assert_eq!(alive(&mut scene, id).await, (lives, lives), "{now}");
        }
    }
}

/// A whole day at once: the text comparison of SQLite and ours agree across midnight, month and year.
#[tokio::test]
async fn the_end_is_the_same_across_midnight() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    for (now, end) in [
        ("2029-12-31 23:59:59.999999", "2030-01-01 00:00:00.000000"),
        ("2028-02-28 23:59:59", "2028-02-29 00:00:00"),
        ("2030-09-09 09:59:59", "2030-09-09 10:00:00.5"),
        ("0999-12-31 00:00:00", "1000-01-01 00:00:00"),
    ] {
        scene.write("UPDATE sessions SET expires_at = ? WHERE id = ?", (end, id.to_string()));
        for (now, lives) in [(now, true), (end, end.ends_with(".5") || end.len() == 19)] {
            let instant = sessile::record::Timestamp::parse(now).unwrap();
            scene.set_clocks(instant);
            let (python, rust) = alive(&mut scene, id).await;
            // Shorter texts than 26 characters are Python's own trap: `...00` sorts before `...00.000000`.
            if now == end {
                assert!(!rust, "{now} {end}");
            } else {
                assert_eq!((python, rust), (lives, lives), "{now} {end}");
            }
        }
    }
}

/// Python's renewal, and its shortening, count for Rust at once.
#[tokio::test]
async fn rust_follows_what_python_does_to_the_expiry() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    let session = scene.session(id).await;
    assert_eq!(session.expires_at(), Some(noon().saturating_add(seconds(1800))));
    scene.set_clocks(noon().saturating_add(seconds(1000)));
    assert_eq!(scene.python.ask(json!(["manager", "renew_session", id.to_string()])), true);
    scene.set_clocks(noon().saturating_add(seconds(2000)));
    assert_eq!(alive(&mut scene, id).await, (true, true));

    // Shortened: alive until then, dead after it.
    scene.python.ask(json!(["expire", id.to_string(), 10]));
    assert_eq!(alive(&mut scene, id).await, (true, true));
    scene.set_clocks(noon().saturating_add(seconds(2010)));
    assert_eq!(alive(&mut scene, id).await, (false, false));
    assert_eq!(scene.events(), [Event::Expired { id, user: None }]);
}

/// Law 2: shortened to nothing while Rust changes it, the session has ended.
#[tokio::test]
async fn a_session_that_python_expired_takes_no_change() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    let session = scene.session(id).await;
    scene.python.ask(json!(["expire", id.to_string(), 0]));
    let cells = scene.cells(id).unwrap();
    session.insert("rust", &1).unwrap();
    let error = session.save().await.unwrap_err();
    assert!(matches!(error, SessionError::Engine(EngineError::Ended)), "{error}");
    assert_eq!(scene.cells(id).unwrap(), cells);
}

/// A request through Rust moves the expiry as one through Python would, and nothing but it and `updated_at`.
#[tokio::test]
async fn rust_renews_as_python_does() {
    let mut scene = Scene::new().await;
    let by_rust = scene.python.create(r#"{"a":1.50,  "b": [ ]}"#);
    let by_python = scene.python.create(r#"{"a":1.50,  "b": [ ]}"#);
    scene.write("UPDATE sessions SET data = '{\"a\":1.50,  \"b\": [ ]}'", ());
    let (before, neighbour) = (scene.cells(by_rust).unwrap(), scene.cells(by_python).unwrap());
    scene.set_clocks(noon().saturating_add(seconds(90)));
    let answer = scene.visit(Some(by_rust), |session| session.raw("a").unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "1.50"));
    assert_eq!(scene.cells(by_python).unwrap(), neighbour, "no other row is touched");
    scene.python.request(by_python, &[]);
    let after = scene.cells(by_rust).unwrap();
    assert_eq!(expiry(&scene, by_rust), "2030-01-02 12:31:30.000000");
    assert_eq!(expiry(&scene, by_rust), expiry(&scene, by_python));
    assert_eq!((&after[DATA], &after[CREATED]), (&before[DATA], &before[CREATED]));
    assert_eq!(shown(&after[UPDATED]), "2030-01-02 12:01:30.000000");
}

/// Rust never shortens: neither a look nor a change takes from an expiry that Python set far away.
#[tokio::test]
async fn rust_never_shortens_an_expiry() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    scene.python.ask(json!(["expire", id.to_string(), 2_000_000_000_i64]));
    let far = expiry(&scene, id);
    scene.visit(Some(id), |_| String::new()).await;
    assert_eq!(expiry(&scene, id), far);
    scene
        .visit(Some(id), |session| {
            session.insert("a", &1).unwrap();
            String::new()
        })
        .await;
    assert_eq!((expiry(&scene, id), scene.text(id).as_str()), (far.clone(), r#"{"a": 1}"#));

    // Python moves it forward while a Rust request, which read the nearer end, is in flight.
    let id = scene.python.create("{}");
    let session = scene.session(id).await;
    scene.python.ask(json!(["expire", id.to_string(), 2_000_000_000_i64]));
    session.insert("a", &1).unwrap();
    session.save().await.unwrap();
    assert_eq!(expiry(&scene, id), far);
}

/// [S09] What has expired is dead though nobody purged it, and each side's purge removes the other's rows.
#[tokio::test]
async fn each_purges_what_the_other_left() {
    let mut scene = Scene::new().await;
    let of_python = scene.python.create("{}");
    let create = || NewSession { user: Some(UserId::new("ada").unwrap()), ..NewSession::default() };
    let (_, of_rust) = scene.sessions.create(create()).await.unwrap();
    scene.set_clocks(noon().saturating_add(seconds(900)));
    let live_python = scene.python.create("{}");
    let (_, live_rust) = scene.sessions.create(create()).await.unwrap();
    scene.set_clocks(noon().saturating_add(seconds(1801)));
    assert_eq!(scene.python.ask(json!(["manager", "cleanup_sessions"])), json!(null));
    for (id, there) in
        [(of_python, false), (of_rust.id(), false), (live_python, true), (live_rust.id(), true)]
    {
        assert_eq!(scene.cells(id).is_some(), there);
    }
    scene.set_clocks(noon().saturating_add(seconds(2701)));
    assert_eq!(scene.sessions.purge(|_| {}).await.unwrap().removed, 2);
    assert_eq!((scene.cells(live_python), scene.cells(live_rust.id())), (None, None));
    scene.events();
    assert!(scene.session(live_python).await.id().is_none());
    assert_eq!(scene.events(), [Event::Rejected { reason: Rejection::Unknown }]);
}

/// A row that expired is not revived by any change of Rust's, and by none of Python's requests.
#[tokio::test]
async fn an_expired_row_stays_as_it_is() {
    let mut scene = Scene::new().await;
    let id = scene.python.create(r#"{"a": 1}"#);
    scene.set_clocks(noon().saturating_add(seconds(1800)));
    let cells: Vec<Cell> = scene.cells(id).unwrap();
    let answer = scene
        .visit(Some(id), |session| {
            session.insert("b", &2).unwrap();
            format!("{:?}", session.keys())
        })
        .await;
    assert_eq!(answer.body, r#"["b"]"#, "a fresh session");
    assert_ne!(crate::scene::id_in(&answer.cookies[0]), id);
    let answer = scene.python.request(id, &[json!(["set", "c", "3"])]);
    assert_ne!(crate::scene::id_in(answer["cookies"][0].as_str().unwrap()), id);
    assert_eq!(scene.cells(id).unwrap(), cells);
}
