//! `SessionData`: what is read, what is written back, and what never changes on the way.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

use sessile::record::json::{self, JsonError, MAX_DECODE_DEPTH, MAX_DEPTH, MAX_WRITE_DEPTH};
use sessile::record::{DataError, RESERVED_KEY, SessionData};

fn data(text: &str) -> SessionData {
    SessionData::parse(text.into()).unwrap()
}

fn keys(data: &SessionData) -> Vec<String> {
    data.keys().map(Into::into).collect()
}

fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// [B11] What nobody changed goes back byte for byte, however it is written.
#[test]
fn untouched_text_goes_back_as_it_was() {
    let text = " {\"b\" :1.0,\t\"a\":[ 1e5,NaN ],\r\n\"\\u0062\": \"\\ud800\", \"ü\":\"\x7f\"} ";
    let mut data = data(text);
    assert_eq!(&*data.to_text(), text);
    assert_eq!(keys(&data), ["b", "a", "ü"]);
    assert_eq!(
        data.raw("b"),
        Some("\"\\ud800\""),
        "the last of two equal keys counts, in the first one's place"
    );

    data.insert("new", "é\u{7f}🦀\u{8}/\"\\").unwrap();
    assert_eq!(
        &*data.to_text(),
        "{\"b\": \"\\ud800\", \"a\": [ 1e5,NaN ], \"ü\": \"\x7f\", \
         \"new\": \"\\u00e9\\u007f\\ud83e\\udd80\\b/\\\"\\\\\"}"
    );
}

#[test]
fn storing_what_is_there_already_changes_nothing() {
    let mut data = data("{\"n\":1}");
    data.insert("n", &1).unwrap();
    data.clone().clear();
    assert!(!data.remove("absent"));
    data.retain(|_| true);
    assert_eq!(&*data.to_text(), "{\"n\":1}");
}

#[test]
fn empty_data_is_an_empty_object() {
    for mut empty in [SessionData::new(), data(""), data("{}"), data("{\"a\": 1}")] {
        empty.clear();
        assert!(empty.is_empty());
        assert_eq!(&*empty.to_text(), "{}");
    }
    assert_eq!(data("").to_string(), "{}");
    assert_eq!(data(" { } ").to_string(), " { } ");
}

/// [K02] [S22] Text that is no object says what it is and shows none of it.
#[test]
fn anything_but_an_object_is_a_typed_error() {
    for (text, found) in [
        ("[1, 2]", "an array"),
        ("\"secret\"", "a string"),
        (" 5 ", "a number"),
        ("NaN", "a number"),
        ("null", "null"),
        ("true", "a boolean"),
    ] {
        assert_eq!(SessionData::parse(text.into()), Err(DataError::NotAnObject { found }), "{text}");
    }
    for text in [
        " ",
        "{",
        "{\"secret\"}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":1e}",
        "{\"a\":nan}",
        "{\"a\":-NaN}",
        "{\"a\":tru}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u12",
        "{}x",
        "{} {}",
        "\u{feff}{}",
        "\u{a0}{}",
        "{\u{b}}",
        "{\"a\":1]",
        "[}",
        "{\"a\":{\"b\":[}]}",
        "{,}",
        "[,]",
        "\\x7b7d",
        "{1:2}",
    ] {
        let error = SessionData::parse(text.into()).unwrap_err();
        assert!(matches!(error, DataError::NotJson(JsonError::Syntax { .. })), "{text:?}: {error:?}");
        let shown = format!("{error} {error:?} {}", std::error::Error::source(&error).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
    let error = SessionData::parse("\u{feff}{}".into()).unwrap_err();
    assert!(matches!(error, DataError::NotJson(JsonError::Syntax { at: 0, found: "a byte-order mark", .. })));
}

/// [S22] Depth is bounded when reading, decoding, storing.
#[test]
fn depth_is_bounded() {
    let object = |levels: usize| format!("{{\"k\": {}}}", nested(levels - 1));
    let mut deep = data(&object(MAX_DEPTH));
    assert!(SessionData::parse(object(MAX_DEPTH + 1).into()).is_err());
    assert_eq!(deep.raw("k").map(str::len), Some(2 * (MAX_DEPTH - 1)));
    assert!(matches!(
        deep.get::<serde_json::Value>("k"),
        Err(DataError::Decode { source: JsonError::TooDeep { .. }, .. })
    ));
    assert!(deep.get::<serde::de::IgnoredAny>("k").unwrap().is_some());
    assert!(deep.insert_raw("k", nested(MAX_WRITE_DEPTH + 1)).is_err());
    deep.insert_raw("k", nested(MAX_WRITE_DEPTH)).unwrap();
    // A hostile text cannot use up the stack either.
    assert!(SessionData::parse("[".repeat(1_000_000).into()).is_err());
    assert!(SessionData::parse("{\"a\":".repeat(1_000_000).into()).is_err());
}

/// [A25] [A26] What sessile keeps for itself is carried along and out of a handler's reach.
#[test]
fn the_reserved_key_is_invisible_and_untouched() {
    let mut data = data("{\"a\": 1, \"_sess\\u0069le\":{\"v\":1}, \"b\": 2}");
    assert_eq!((data.len(), keys(&data)), (2, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!((data.contains(RESERVED_KEY), data.raw(RESERVED_KEY)), (false, None));
    assert_eq!(data.get::<serde::de::IgnoredAny>(RESERVED_KEY).unwrap().map(|_| ()), None);
    assert_eq!(data.insert(RESERVED_KEY, &1), Err(DataError::Reserved));
    assert_eq!(data.insert_raw(RESERVED_KEY, "1"), Err(DataError::Reserved));
    assert!(!data.remove(RESERVED_KEY));
    data.retain(|key| {
        assert_ne!(key, RESERVED_KEY);
        key == "a"
    });
    data.clear();
    assert!(data.is_empty());
    assert_eq!(&*data.to_text(), "{\"_sess\\u0069le\": {\"v\":1}}");
}

/// [S22] The promised levels fit the stack of a thread of 2 MiB, without optimisation: decoding fits half of it.
#[test]
fn deep_values_fit_a_small_stack() {
    let deep = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        let value: serde_json::Value = json::from_text(&nested(MAX_DECODE_DEPTH)).unwrap();
        assert!(json::from_text::<serde_json::Value>(&nested(MAX_DECODE_DEPTH + 1)).is_err());
        assert_eq!(json::to_text(&value).unwrap(), nested(MAX_DECODE_DEPTH));
        let objects = "{\"k\": ".repeat(MAX_DECODE_DEPTH) + "1" + &"}".repeat(MAX_DECODE_DEPTH);
        let value: serde_json::Value = json::from_text(&objects).unwrap();
        assert_eq!(json::to_text(&value).unwrap(), objects);
    });
    deep.unwrap().join().unwrap();
    let written = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        let mut value = serde_json::Value::Array(Vec::new());
        for _ in 1..MAX_WRITE_DEPTH {
            value = serde_json::Value::Array(vec![value]);
        }
        assert_eq!(json::to_text(&value).unwrap(), nested(MAX_WRITE_DEPTH));
        let deeper = serde_json::Value::Array(vec![value]);
        assert_eq!(json::to_text(&deeper), Err(JsonError::TooDeep { at: None, limit: MAX_WRITE_DEPTH }));
    });
    written.unwrap().join().unwrap();
}
