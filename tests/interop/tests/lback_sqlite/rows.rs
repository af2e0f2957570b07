//! Rows that one side made, read by the other.

use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use sessile::engine::NewSession;
use sessile::record::{StoredData, Timestamp};
use sessile::store::{SessionStore, StoreError};
use sessile::{SessionData, SessionId, UserId};

use crate::scene::{CREATED, DATA, EXPIRES, Scene, UPDATED, USER, noon, seconds, shown};

/// What sessions hold, and what Python alone can put there.
fn texts() -> Vec<String> {
    let nested = |open: &str, close: &str, levels| open.repeat(levels) + &close.repeat(levels);
    let mut texts = vec![
        "{}".to_owned(),
        r#"{"cart": [{"sku": "a-1", "n": 2}, {"sku": "b", "n": 1}], "seen": null, "on": true, "off": false}"#
            .into(),
        r#"{"Gr\u00fc\u00dfe": "\u65e5\u672c\u8a9e \ud83d\ude00", "\"\\\b\f\n\r\t/<\u007f\u0000": ""}"#
            .into(),
        r#"{"f": [1.0, 0.1, 1e-05, 1e+16, 1000000000000000.0, 5e-324, 1.7976931348623157e+308, -0.0]}"#
            .into(),
        r#"{"nan": NaN, "up": Infinity, "down": -Infinity, "in": [NaN]}"#.into(),
        r#"{"high": "\ud800", "low": "a\udfffb", "\udc00": 1, "list": ["\ud83d"]}"#.into(),
        format!(
            r#"{{"big": {}, "neg": -{}, "exact": 18446744073709551616}}"#,
            "7".repeat(4_300),
            "8".repeat(200)
        ),
        format!(r#"{{"deep": {}}}"#, nested("[", "]", 899)),
        format!(r#"{{"deep": {}1{}, "after": 1}}"#, "{\"k\": ".repeat(800), "}".repeat(800)),
        r#"{"": "", " ": [], "a.b": {}, "user_id": "ada", "_csrf_token": "00", "flash_messages": []}"#.into(),
    ];
    texts.push(format!(r#"{{"long": "{}"}}"#, "x".repeat(60_000)));
    texts
}

/// Rows by the model: its ids, its defaults, all that `json.dumps` writes. Reading changes nothing.
#[tokio::test]
async fn what_python_wrote_is_read() {
    let mut scene = Scene::new().await;
    for text in texts() {
        let id = scene.python.create(&text);
        let cells = scene.cells(id).unwrap();
        assert_eq!(shown(&cells[DATA]), text, "json.dumps writes what it read");
        check_alike(&mut scene, id).await;
        let session = scene.session(id).await;
        let keys: Vec<String> =
            SessionData::parse(text.as_str().into()).unwrap().keys().map(Into::into).collect();
        assert_eq!(session.keys(), keys);
        assert_eq!(scene.cells(id).unwrap(), cells, "reading changes nothing");
    }
    assert!(scene.events().is_empty(), "nothing is corrupt");
}

/// A row is the same to both: columns, times, data, repr.
async fn check_alike(scene: &mut Scene, id: SessionId) {
    let python = scene.python.read(id);
    let record = scene.store.load(id).await.unwrap().unwrap();
    assert_eq!(python["id"], record.id().to_string());
    assert_eq!(python["user_id"].as_str(), record.user_id().map(UserId::as_str));
    assert_eq!(python["data"].as_str(), record.stored_data().as_text());
    assert_eq!(python["data_dict"].as_str(), Some(&*record.data().to_text()));
    let times = [record.created_at(), Some(record.expires_at()), record.updated_at()];
    assert_eq!(python["times"], json!(times.map(|time| time.map(|time| time.to_string()))));
    assert_eq!(python["repr"], record.to_string());
}

/// The model's defaults, an int for a user, and Python values that JSON has no words for.
#[tokio::test]
async fn python_values_that_json_lacks_are_read() {
    let mut scene = Scene::new().await;
    let id: SessionId = scene.python.ask(json!(["create", null, 60, 42])).as_str().unwrap().parse().unwrap();
    let cells = scene.cells(id).unwrap();
    assert_eq!((&cells[USER], &cells[DATA]), (&Cell::Text("42".into()), &Cell::Text("{}".into())));
    check_alike(&mut scene, id).await;

    for (literal, text) in [
        ("{'t': (1, 2), 'n': [None, True]}", r#"{"t": [1, 2], "n": [null, true]}"#),
        (
            "{1: 'int', 1.5: 'float', True: 'bool', None: 'none'}",
            r#"{"1": "bool", "1.5": "float", "null": "none"}"#,
        ),
        ("{2: 'int', '2': 'text'}", r#"{"2": "int", "2": "text"}"#),
    ] {
        let id: SessionId =
            scene.python.ask(json!(["create_from", literal, 60])).as_str().unwrap().parse().unwrap();
        assert_eq!(scene.text(id), text);
        let session = scene.session(id).await;
        // Of two equal keys the last value counts, on either side.
        if text.contains(r#""2""#) {
            assert_eq!(session.get::<String>("2").unwrap().as_deref(), Some("text"));
            assert_eq!(scene.python.data_of(id), r#"{"2": "text"}"#);
        }
        assert_eq!(scene.text(id), text);
    }
}

/// `set_session_data` leaves bytes, and Python's model reads them.
#[tokio::test]
async fn bytes_that_python_wrote_are_read_and_become_text_when_changed() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    let set = |key: &str, value: Value| json!(["manager", "set_session_data", id.to_string(), key, value]);
    scene.python.ask(set("k", json!([1, "é"])));
    scene.python.ask(set("l", json!(2)));
    let cells = scene.cells(id).unwrap();
    assert_eq!(cells[DATA], Cell::Blob(br#"{"k": [1, "\u00e9"], "l": 2}"#.to_vec()));
    let session = scene.session(id).await;
    assert_eq!(session.get::<(u8, String)>("k").unwrap(), Some((1, "é".to_owned())));
    assert_eq!(scene.cells(id).unwrap(), cells);

    session.insert("m", &3).unwrap();
    session.save().await.unwrap();
    assert_eq!(scene.text(id), r#"{"k": [1, "\u00e9"], "l": 2, "m": 3}"#);
    assert_eq!(scene.python.data_of(id), r#"{"k": [1, "\u00e9"], "l": 2, "m": 3}"#);
    assert!(scene.events().is_empty());
}

/// NULLs of raw SQL: no data, no beginning.
#[tokio::test]
async fn nulls_of_raw_sql_are_read_alike() {
    let mut scene = Scene::new().await;
    let id: SessionId = "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11".parse().unwrap();
    scene.write(
        "INSERT INTO sessions (id, expires_at) VALUES (?, ?)",
        (id.to_string(), "2030-01-02 12:10:00.000000"),
    );
    let python = scene.python.read(id);
    assert_eq!(python["types"], json!(["str", "NoneType", "NoneType", "NoneType", "datetime", "NoneType"]));
    let record = scene.store.load(id).await.unwrap().unwrap();
    assert_eq!(
        (record.stored_data(), record.created_at(), record.updated_at()),
        (&StoredData::Null, None, None)
    );
    assert_eq!((record.data().len(), python["data_dict"].as_str()), (0, Some("{}")));
    assert_eq!(python["repr"], record.to_string());

    let session = scene.session(id).await;
    session.insert("a", &1).unwrap();
    session.save().await.unwrap();
    assert_eq!(scene.python.data_of(id), r#"{"a": 1}"#);
    let cells = scene.cells(id).unwrap();
    // A beginning is not made up: the row is held to its expiry alone.
    assert_eq!(cells[CREATED], Cell::Null);
    assert_eq!(shown(&cells[EXPIRES]), "2030-01-02 12:10:00.000000");
    assert_eq!(shown(&cells[UPDATED]), "2030-01-02 12:00:00.000000");
}

/// Forms of a date that Python reads mean the same to us, and those it cannot read are no dates to us either.
#[tokio::test]
async fn dates_are_read_as_python_reads_them() {
    let mut scene = Scene::new().await;
    let read = [
        "2030-01-02 13:04:05.678901",
        "2030-01-02 13:04:05",
        "2030-01-02 13:04:05.6",
        "2030-01-02 13:04:05.67",
        "2030-01-02 13:04:05.678",
        "2030-01-02 13:04:05.6789",
        "2030-01-02 13:04:05.67890",
        "2030-01-02 13:04:05.6789019",
        "2030-01-02 13:04:05.678901999",
        "2030-01-02 13:04:05.67890199999",
        "2030-01-02 13:04:05,678901",
        "2030-01-02 13:04",
        "2030-01-02 13",
        "2030-01-03",
        "2030-01-02T13:04:05",
        "2030-01-02x13:04:05",
        "2030-01-02é13:04:05",
        "20300102T130405",
        "20300102T130405.5",
        "20300102 1304",
        "2030-01-02 130405",
        "20300102T13:04:05",
        "0001-01-01 00:00:00.000000",
        "9999-12-31 23:59:59.999999",
        "2028-02-29 00:00:00",
    ];
    let with_zone = [
        ("2030-01-02 13:04:05Z", "2030-01-02 13:04:05"),
        ("2030-01-02 13:04:05+00:00", "2030-01-02 13:04:05"),
        ("2030-01-02 13:04:05.5+02", "2030-01-02 11:04:05.500000"),
        ("2030-01-02T13:04:05-05:30", "2030-01-02 18:34:05"),
        ("2030-01-02 13:04:05+01:00:30", "2030-01-02 12:03:35"),
        ("2030-01-02 13:04:05+01:00:30.5", "2030-01-02 12:03:34.500000"),
        ("20300102T130405+0200", "2030-01-02 11:04:05"),
    ];
    let refused = [
        "2030-01-02 13:04:05.",
        "2030-01-02 13:04:05z",
        "2030-01-02 13:04:05 UTC",
        "2030-1-2 3:4:5",
        "2030-01-02 25:00:00",
        "2030-01-02 13:04:60",
        "2030-01-02  13:04:05",
        " 2030-01-02 13:04:05",
        "2030-01-02 13:04:05 ",
        "10000-01-01 00:00:00",
        "0000-01-01 00:00:00",
        "2030-02-29 00:00:00",
        "2030-W54-1",
        "2030-W02-8",
        "2030-01-02 13:04:05+25:00",
        "2030-01-02 13:04:05+01:",
        "２０３０-01-02 13:04:05",
        "",
        "now",
        "CURRENT_TIMESTAMP",
    ];
    let numbers = [
        Cell::Integer(1_893_553_445),
        Cell::Integer(1_893_553_445_000),
        Cell::Real(2_462_504.5),
        // Affinity makes a number of it.
        Cell::Text("20300102".into()),
        Cell::Blob(b"2030-01-02 13:04:05.000000".to_vec()),
    ];
    let id = scene.python.create("{}");
    for text in read {
        put_expiry(&scene, id, Cell::Text(text.into()));
        let python = scene.python.read(id);
        let record = scene.store.load(id).await.unwrap_or_else(|error| panic!("{text:?}: {error}")).unwrap();
        assert_eq!(python["times"][1], record.expires_at().to_string(), "{text:?}");
    }
    for (text, utc) in with_zone {
        put_expiry(&scene, id, Cell::Text(text.into()));
        // Python reads a zone and then stumbles over it; we honour it.
        let python = scene.python.read(id);
        assert!(python["times"][1].as_str().unwrap().contains(['+', '-']), "{text:?}");
        let record = scene.store.load(id).await.unwrap_or_else(|error| panic!("{text:?}: {error}")).unwrap();
        assert_eq!(record.expires_at().to_string(), utc, "{text:?}");
    }
    for value in refused.map(|text| Cell::Text(text.into())).into_iter().chain(numbers) {
        put_expiry(&scene, id, value.clone());
        let raised = scene.python.attempt(json!(["read", id.to_string()])).unwrap_err();
        assert!(raised.starts_with("ValueError") || raised.starts_with("TypeError"), "{value:?}: {raised}");
        let refused = scene.store.load(id).await;
        assert!(matches!(refused, Err(StoreError::Malformed(_))), "{value:?}: {refused:?}");
    }
}

/// Python also reads ISO weeks, in which nobody writes a column of instants: such a row is malformed to us.
#[tokio::test]
async fn weeks_are_left_to_python() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    for text in ["2030-W02-3", "2030-W02-3 13:04:05", "2030W023T130405", "2030-W02"] {
        put_expiry(&scene, id, Cell::Text(text.into()));
        scene.python.read(id);
        assert!(matches!(scene.store.load(id).await, Err(StoreError::Malformed(_))), "{text}");
    }
}

fn put_expiry(scene: &Scene, id: SessionId, value: Cell) {
    scene.write("UPDATE sessions SET expires_at = ? WHERE id = ?", (value, id.to_string()));
}

/// What Rust writes is, column for column, what Python writes.
#[tokio::test]
async fn what_rust_wrote_is_read() {
    let mut scene = Scene::new().await;
    for (at, text) in texts().into_iter().enumerate() {
        // Once on a whole second, once not: repr and str leave a zero fraction out.
        scene.set_clocks(noon().saturating_add(seconds(at as u64) / 4));
        let data = SessionData::parse(text.as_str().into()).unwrap();
        let user = (at % 2 == 0).then(|| UserId::new("ada").unwrap());
        let new = NewSession { user: user.clone(), data, ..NewSession::default() };
        let (_, record) = scene.sessions.create(new).await.unwrap();
        let id = record.id();
        let cells = scene.cells(id).unwrap();
        for (column, cell) in cells.iter().enumerate() {
            assert!(matches!(cell, Cell::Text(_)) || (column == USER && user.is_none()), "{column} {cell:?}");
        }
        for column in [CREATED, EXPIRES, UPDATED] {
            assert_eq!(shown(&cells[column]).len(), 26);
        }
        check_alike(&mut scene, id).await;
        if user.is_none() {
            assert_eq!(shown(&cells[DATA]), text);
        }
        let python = scene.python.read(id);
        // Data that names a user is that user's, as for lback.
        let user_type = if user.is_some() || text.contains("user_id") { "str" } else { "NoneType" };
        assert_eq!(python["types"], json!(["str", user_type, "str", "datetime", "datetime", "datetime"]));
    }
}

/// What Rust types become is what Python's values would have become.
#[tokio::test]
async fn rust_values_are_what_python_would_have_written() {
    let mut scene = Scene::new().await;
    let answer = scene
        .visit(None, |session| {
            session.insert("float", &[0.1, 1e-5, 1e16, -0.0, f64::NAN, f64::NEG_INFINITY, 1e15]).unwrap();
            session.insert("ints", &(u64::MAX, i64::MIN, i128::MAX)).unwrap();
            session.insert("text", "Grüße \u{1f600} \u{7f} \" \\ / <").unwrap();
            session.insert("none", &(None::<u8>, ())).unwrap();
            session.insert("map", &std::collections::BTreeMap::from([(1, true)])).unwrap();
            session.insert("Schlüssel", &'x').unwrap();
            String::new()
        })
        .await;
    let id = crate::scene::id_in(&answer.cookies[0]);
    let text = scene.text(id);
    assert_eq!(
        text,
        concat!(
            r#"{"float": [0.1, 1e-05, 1e+16, -0.0, NaN, -Infinity, 1000000000000000.0], "#,
            r#""ints": [18446744073709551615, -9223372036854775808, 170141183460469231731687303715884105727], "#,
            r#""text": "Gr\u00fc\u00dfe \ud83d\ude00 \u007f \" \\ / <", "none": [null, null], "#,
            r#""map": {"1": true}, "Schl\u00fcssel": "x"}"#
        )
    );
    assert_eq!(scene.python.data_of(id), text, "json.dumps of what json.loads reads is the same text");
    let times = scene.python.read(id)["times"].clone();
    let end = Timestamp::parse("2030-01-02 12:30:00").unwrap().to_string();
    assert_eq!(times, json!([noon().to_string(), end, noon().to_string()]));
}
