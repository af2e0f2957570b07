//! Rows that one side cannot read: never written by us, and no stumbling block where somebody else wrote them.

use rusqlite::types::Value as Cell;
use serde_json::json;
use sessile::SessionId;
use sessile::engine::Event;
use sessile::record::json::{MAX_DEPTH, MAX_INTEGER_DIGITS, MAX_WRITE_DEPTH};
use sessile::store::{ListQuery, Liveness, SessionStore};

use crate::scene::{Scene, noon, seconds};

fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// [S22] What Python could not read is refused before any statement; what is just allowed Python reads, also inside
/// its running server.
#[tokio::test]
async fn rust_never_writes_what_python_cannot_read() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    let session = scene.session(id).await;
    let digits = |count: usize| "7".repeat(count);
    let mut changes = sessile::engine::Changes::new();
    for refused in [
        nested(MAX_WRITE_DEPTH + 1),
        nested(MAX_DEPTH + 1),
        digits(MAX_INTEGER_DIGITS + 1),
        format!("[-{}]", digits(MAX_INTEGER_DIGITS + 1)),
        "nan".into(),
        "{\"a\": 1,}".into(),
        "\"\u{1}\"".into(),
        "1 2".into(),
        "\u{feff}1".into(),
        String::new(),
    ] {
        assert!(changes.set_raw("k", &refused).is_err(), "{}", refused.len());
        let mut data = sessile::SessionData::new();
        assert!(data.insert_raw("k", refused.as_str()).is_err(), "{}", refused.len());
    }
    assert!(changes.is_empty());
    let mut tower = Tower(None);
    for _ in 0..MAX_WRITE_DEPTH + 1 {
        tower = Tower(Some(Box::new(tower)));
    }
    assert!(session.insert("k", &tower).is_err());
    assert!(!session.is_modified());
    session.save().await.unwrap();
    assert_eq!(scene.text(id), "{}");

    // The object around it is a level, too.
    changes.set_raw("deep", &nested(MAX_WRITE_DEPTH - 1)).unwrap();
    changes.set_raw("long", &digits(MAX_INTEGER_DIGITS)).unwrap();
    changes.set_raw("odd", r#"["\ud800", NaN, 1e999, -0, "\u0000"]"#).unwrap();
    scene.sessions.change(id, &changes).await.unwrap().unwrap();
    let read = scene.python.data_of(id);
    assert!(
        read.contains(&digits(MAX_INTEGER_DIGITS))
            && read.contains(r#"["\ud800", NaN, Infinity, 0, "\u0000"]"#)
    );
    let answer = scene.python.request(id, &[json!(["dict"]), json!(["set", "k", "1"])]);
    assert_eq!(answer["results"][0].as_str(), Some(read.as_str()), "in the server, too");
    assert!(scene.text(id).ends_with(r#""k": 1}"#));
}

/// What Python wrote deeper than we write goes back as it was when something else is changed, and Python reads it still.
#[tokio::test]
async fn rust_keeps_what_it_would_not_write() {
    let mut scene = Scene::new().await;
    let deep = nested(950);
    let id = scene.python.create(&format!(r#"{{"deep": {deep}}}"#));
    let session = scene.session(id).await;
    session.insert("a", &1).unwrap();
    session.save().await.unwrap();
    let expected = format!(r#"{{"deep": {deep}, "a": 1}}"#);
    assert_eq!((scene.text(id), scene.python.data_of(id)), (expected.clone(), expected));
    // Its own session under a new id, too.
    let answer = scene.visit(Some(id), |session| format!("{:?}", session.login("ada").is_ok())).await;
    let new = crate::scene::id_in(&answer.cookies[0]);
    assert!(scene.text(new).starts_with(&format!(r#"{{"deep": {deep}, "a": 1, "#)));
}

/// An array in an array in an array.
struct Tower(Option<Box<Tower>>);

impl serde::Serialize for Tower {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.as_deref())
    }
}

/// A row with this value in one of its columns.
fn broken(scene: &mut Scene, column: &str, value: Cell) -> SessionId {
    let id = scene.python.create(r#"{"user_id": 1}"#);
    scene.write(&format!("UPDATE sessions SET {column} = ? WHERE id = ?"), (value, id.to_string()));
    id
}

/// [R08] Rows on which lback's requests fail are anonymous visitors to Rust, with an event, and stay as they are.
#[tokio::test]
async fn rows_that_break_python_are_anonymous_to_rust() {
    let mut scene = Scene::new().await;
    for (column, value) in [
        ("expires_at", Cell::Text("9999".into())),
        ("expires_at", Cell::Text("tomorrow".into())),
        ("expires_at", Cell::Blob(b"2030-01-02 13:00:00".to_vec())),
        ("created_at", Cell::Integer(1_893_553_445)),
        ("created_at", Cell::Text("2030-1-2".into())),
        ("updated_at", Cell::Real(0.5)),
        ("data", Cell::Text("[]".into())),
        ("data", Cell::Text("null".into())),
        ("data", Cell::Text("{\"a\": 1".into())),
        ("data", Cell::Text("\\x7b".into())),
        ("data", Cell::Text(format!("{{\"k\": {}}}", nested(MAX_DEPTH)))),
        ("data", Cell::Text(format!("{{\"k\": {}}}", "7".repeat(MAX_INTEGER_DIGITS + 1)))),
        ("data", Cell::Blob(b"\xff".to_vec())),
        ("data", Cell::Blob(b"\xef\xbb\xbf{}".to_vec())),
        ("user_id", Cell::Blob(b"1".to_vec())),
    ] {
        let id = broken(&mut scene, column, value.clone());
        let cells = scene.cells(id).unwrap();
        let session = scene.session(id).await;
        assert_eq!((session.user_id(), session.keys().len()), (None, 0), "{column} {value:?}");
        let events = scene.events();
        let corrupt = |event: &Event| matches!(event, Event::Corrupt { id: of, .. } if *of == id.to_string());
        assert!(matches!(&events[..], [event] if corrupt(event)), "{column} {value:?}: {events:?}");
        let answer = scene.visit(Some(id), |session| format!("{:?}", session.user_id())).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "None"), "{column} {value:?}");
        let now = scene.cells(id).unwrap();
        assert_eq!(now[..4], cells[..4], "a look changes nothing");
        scene.events();
    }
    // Text that is no UTF-8 breaks every SELECT of Python's.
    let id = scene.python.create("{}");
    scene.write("UPDATE sessions SET data = CAST(x'7bff7d' AS TEXT) WHERE id = ?", [id.to_string()]);
    assert!(
        scene.python.attempt(json!(["read", id.to_string()])).unwrap_err().starts_with("OperationalError")
    );
    assert!(scene.session(id).await.keys().is_empty());
    assert!(matches!(scene.events()[..], [Event::Corrupt { .. }]));
}

/// Data that cannot be read stays in the row until somebody writes; then both sides can read it again.
#[tokio::test]
async fn a_change_mends_data_that_nobody_can_read() {
    let mut scene = Scene::new().await;
    let broken_text = "not JSON";
    let id = broken(&mut scene, "data", Cell::Text(broken_text.into()));
    assert_eq!(scene.python.data_of(id), "{}");
    let session = scene.session(id).await;
    assert_eq!(scene.text(id), broken_text);
    session.insert("a", &1).unwrap();
    session.save().await.unwrap();
    assert_eq!((scene.text(id).as_str(), scene.python.data_of(id).as_str()), (r#"{"a": 1}"#, r#"{"a": 1}"#));
}

/// [R08] Purge and list go on past rows that make lback's own cleanup fail for good.
#[tokio::test]
async fn purge_and_list_go_on_past_broken_rows() {
    let mut scene = Scene::new().await;
    let mut odd = Vec::new();
    for value in [
        Cell::Integer(1),
        Cell::Real(2_440_000.5),
        Cell::Text("0000-01-01 00:00:00".into()),
        Cell::Text("2029-13-01 00:00:00".into()),
        Cell::Text(String::new()),
        Cell::Blob(b"2029-01-01 00:00:00.000000".to_vec()),
    ] {
        odd.push(broken(&mut scene, "expires_at", value));
    }
    // Broken elsewhere, and expired: it goes.
    let bad_data = broken(&mut scene, "data", Cell::Text("nonsense".into()));
    let bad_start = broken(&mut scene, "created_at", Cell::Integer(7));
    let expired: Vec<SessionId> = (0..30).map(|_| scene.python.create("{}")).collect();
    scene.write("UPDATE sessions SET id = 'no-uuid' WHERE id = ?", [expired[0].to_string()]);
    scene.set_clocks(noon().saturating_add(seconds(1801)));
    let live = scene.python.create("{}");

    let failed = scene.python.attempt(json!(["manager", "cleanup_sessions"]));
    assert!(scene.cells(bad_data).is_some(), "Python's own cleanup removes nothing: {failed:?}");
    let report = scene.sessions.purge(|_| {}).await.unwrap();
    assert_eq!(report.removed, 32);
    for gone in expired.iter().chain([&bad_data, &bad_start]) {
        assert_eq!(scene.cells(*gone), None);
    }
    for kept in odd.iter().chain([&live]) {
        assert!(scene.cells(*kept).is_some(), "nobody knows when it ends");
    }
    let query = ListQuery {
        user: None,
        liveness: Liveness::Live,
        now: scene.sessions.now(),
        after: None,
        limit: 100,
    };
    let page = scene.store.list(&query).await.unwrap();
    assert_eq!(page.records.iter().map(|record| record.id()).collect::<Vec<_>>(), [live]);
    let mut malformed: Vec<String> = page.malformed.into_iter().map(|row| row.id).collect();
    let mut odd: Vec<String> = odd.iter().map(SessionId::to_string).collect();
    malformed.sort();
    odd.sort();
    assert_eq!(malformed, odd);
}
