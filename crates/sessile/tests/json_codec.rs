//! `sessile::record::json` and `SessionData` with Rust types: decoding, encoding, and what is refused.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sessile::record::json::{JsonError, from_text, to_text};
use sessile::record::{DataError, SessionData};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    New(u8),
    Tuple(i64, String),
    Fields { a: Option<bool>, b: Vec<char> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    shapes: Vec<Shape>,
    by_number: BTreeMap<i32, String>,
    by_flag: BTreeMap<bool, ()>,
    by_letter: BTreeMap<char, u128>,
    pair: (f32, i128),
    #[serde(flatten)]
    rest: BTreeMap<String, u64>,
}

fn everything() -> Everything {
    Everything {
        shapes: vec![
            Shape::Unit,
            Shape::New(7),
            Shape::Tuple(-1, "é\"".into()),
            Shape::Fields { a: None, b: vec!['x', '🦀'] },
        ],
        by_number: BTreeMap::from([(-1, "a".into()), (20, String::new())]),
        by_flag: BTreeMap::from([(false, ()), (true, ())]),
        by_letter: BTreeMap::from([('k', u128::MAX)]),
        pair: (0.1, i128::MIN),
        rest: BTreeMap::from([("more".into(), u64::MAX)]),
    }
}

/// [K01] Types take the forms that `serde_json` gives them, spelled as `json.dumps` spells them.
#[test]
fn types_have_the_usual_forms() {
    let value = everything();
    let text = to_text(&value).unwrap();
    assert_eq!(
        text,
        "{\"shapes\": [\"Unit\", {\"New\": 7}, {\"Tuple\": [-1, \"\\u00e9\\\"\"]}, \
         {\"Fields\": {\"a\": null, \"b\": [\"x\", \"\\ud83e\\udd80\"]}}], \
         \"by_number\": {\"-1\": \"a\", \"20\": \"\"}, \"by_flag\": {\"false\": null, \"true\": null}, \
         \"by_letter\": {\"k\": 340282366920938463463374607431768211455}, \
         \"pair\": [0.1, -170141183460469231731687303715884105728], \"more\": 18446744073709551615}"
    );
    assert_eq!(from_text::<BTreeMap<String, serde::de::IgnoredAny>>(&text).unwrap().len(), 6);
    let shapes: Vec<Shape> = from_text(&to_text(&value.shapes).unwrap()).unwrap();
    assert_eq!(shapes, value.shapes);
    let by_serde_json = serde_json::to_string(&value.shapes).unwrap();
    assert_eq!(from_text::<Vec<Shape>>(&by_serde_json).unwrap(), value.shapes);
    assert_eq!(
        from_text::<BTreeMap<char, u128>>(&to_text(&value.by_letter).unwrap()).unwrap(),
        value.by_letter
    );
    assert_eq!(
        from_text::<(f32, i128)>("[0.1,-170141183460469231731687303715884105728]").unwrap(),
        value.pair
    );
    assert_eq!(from_text::<BTreeMap<bool, ()>>("{\"true\":null}").unwrap(), BTreeMap::from([(true, ())]));
    assert_eq!(from_text::<BTreeMap<i32, u8>>("{\"-0\":1}").unwrap(), BTreeMap::from([(0, 1)]));
    assert_eq!(from_text::<Shape>("{\"Unit\": null}").unwrap(), Shape::Unit);
    assert_eq!(to_text(serde_bytes(&[0, 255])).unwrap(), "[0, 255]");
}

/// Bytes as `serialize_bytes` gives them.
fn serde_bytes(bytes: &'static [u8]) -> &'static impl Serialize {
    struct Bytes(&'static [u8]);
    impl Serialize for Bytes {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    Box::leak(Box::new(Bytes(bytes)))
}

#[test]
fn numbers_are_read_as_python_reads_them() {
    assert_eq!(from_text::<f64>("1e999").unwrap(), f64::INFINITY);
    assert_eq!(from_text::<f64>("-Infinity").unwrap(), f64::NEG_INFINITY);
    assert!(from_text::<f32>("NaN").unwrap().is_nan());
    assert_eq!(from_text::<u8>("-0").unwrap(), 0);
    assert!(from_text::<f64>("-0.0").unwrap().is_sign_negative());
    assert_eq!(from_text::<u128>("340282366920938463463374607431768211455").unwrap(), u128::MAX);
    assert_eq!(from_text::<f64>("100000000000000000000").unwrap(), 1e20);
    assert_eq!(from_text::<serde_json::Value>("100000000000000000000").unwrap(), serde_json::json!(1e20));
    // Halfway between two floats, but for a digit far behind: through f64 it would be rounded twice.
    assert_eq!(from_text::<f32>("1.00000017881393432617187499").unwrap(), 1.000_000_1);
    let out_of_range = |error| matches!(error, JsonError::IntegerRange { at: 0, .. });
    assert!(out_of_range(from_text::<i64>("9223372036854775808").unwrap_err()));
    assert!(out_of_range(from_text::<u8>("256").unwrap_err()));
    assert!(out_of_range(from_text::<u64>("-1").unwrap_err()));
    assert!(out_of_range(from_text::<u128>("340282366920938463463374607431768211456").unwrap_err()));
    assert!(out_of_range(from_text::<f64>(&"9".repeat(400)).unwrap_err()));
    assert_eq!(from_text::<f64>(&"9".repeat(4301)), Err(JsonError::LongInteger { at: 0, digits: 4301 }));
}

fn message<T: DeserializeOwned>(text: &str) -> String {
    let error = from_text::<T>(text).map(|_| ()).unwrap_err();
    format!("{error} / {error:?}")
}

/// [S14] An error tells where and what kind, and quotes nothing of the data.
#[test]
fn errors_say_where_and_quote_nothing() {
    let messages = [
        message::<u8>("\"secret\""),
        message::<u8>("31337"),
        message::<Shape>("\"secret\""),
        message::<Shape>("{\"secret\": 1}"),
        message::<Shape>("[\"secret\"]"),
        message::<Everything>("{\"secret\": \"secret\"}"),
        message::<std::net::IpAddr>("\"secret\""),
        message::<(u8, u8)>("[1, 2, 31337]"),
        message::<BTreeMap<u8, u8>>("{\"secret\": 1}"),
        message::<String>("\"secret\\ud800\""),
        message::<String>("\"secret"),
        message::<bool>("truesecret"),
    ];
    for message in &messages {
        assert!(!message.contains("secret") && !message.contains("31337"), "{message}");
    }
    let error = from_text::<(bool, bool)>("[true, \"yes\"]").unwrap_err();
    assert_eq!(error.to_string(), "found a string at byte 7, expected a boolean");
    let JsonError::Refused { at: Some(0), detail } = from_text::<std::net::IpAddr>("\"x\"").unwrap_err()
    else {
        panic!("a type that refuses by itself");
    };
    assert_eq!(detail.expose(), "invalid IP address syntax");
    assert_eq!(from_text::<String>(" \"\\udc00\""), Err(JsonError::LoneSurrogate { at: 1 }));
}

/// [K08] What cannot be stored names its key, and nothing is changed.
#[test]
fn a_value_without_a_json_form_is_refused_whole() {
    let mut data: SessionData = "{\"k\": 1}".parse().unwrap();
    let error = data.insert("k", &HashMap::from([(vec![1], 1)])).unwrap_err();
    assert_eq!(error, DataError::Encode { key: "k".into(), source: JsonError::Key { found: "a list" } });
    for text in ["", "1 2", "{", "nan", "\u{feff}1", "[1,]"] {
        assert!(data.insert_raw("k", text).is_err(), "{text:?}");
    }
    assert_eq!(data.to_string(), "{\"k\": 1}");
    data.insert_raw("k", "[ 1,2 ]").unwrap();
    assert_eq!((data.raw("k"), data.get("k").unwrap()), (Some("[ 1,2 ]"), Some(vec![1, 2])));
}

/// [A13] A wrong type is a typed error that names the key; Python's None is no value.
#[test]
fn a_typed_read_of_another_type_is_an_error() {
    let data: SessionData = "{\"n\": null, \"s\": \"x\"}".parse().unwrap();
    assert_eq!(data.get::<u8>("n").unwrap(), None);
    assert_eq!(data.get::<Option<u8>>("n").unwrap(), Some(None));
    assert_eq!(data.get::<u8>("absent").unwrap(), None);
    assert!(data.contains("n"));
    let error = data.get::<u8>("s").unwrap_err();
    assert_eq!(error.to_string(), "session value `s` cannot be read");
}

#[test]
fn strict_json_names_the_first_key_that_is_not() {
    let strict = |text: &str| text.parse::<SessionData>().unwrap().strict_json();
    assert_eq!(strict("{\"a\": \"NaN\", \"b\": [1e999]}"), Ok(()));
    for text in ["{\"a\": 1, \"b\": [{\"c\": NaN}]}", "{\"b\": -Infinity, \"b\": 1, \"z\": NaN}"] {
        assert_eq!(strict(text), Err(DataError::NotStrict { key: "b".into() }), "{text}");
    }
}

#[test]
fn debug_shows_sizes_only() {
    let data: SessionData = "{\"secret\": \"secret\"}".parse().unwrap();
    assert_eq!(format!("{data:?}"), "SessionData { keys: 1, bytes: 20, .. }");
}

/// [S22] A hundred thousand keys cost about as much per key as a thousand: no comparison of each with each.
#[test]
fn many_keys_take_linear_time() {
    let start = std::time::Instant::now();
    let keys: Vec<String> = (0..100_000).map(|number| format!("key{number}")).collect();
    let mut data = SessionData::new();
    for key in &keys {
        data.insert(key, &1).unwrap();
    }
    let mut parsed = SessionData::parse(data.to_text()).unwrap();
    assert_eq!(parsed, data);
    assert!(keys.iter().all(|key| parsed.raw(key) == Some("1")));
    parsed.retain(|key| key.ends_with('7'));
    assert_eq!(parsed.len(), 10_000);
    assert!(parsed.contains("key7") && !parsed.contains("key8"));
    // One second without optimisation; comparing each with each takes minutes.
    assert!(start.elapsed() < std::time::Duration::from_secs(30));
}

#[derive(Debug, Clone)]
enum Step {
    Insert(String, i64),
    Remove(String),
    Retain(u8),
    Clear,
    Reparse,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few keys, so that they meet; enough for the index; some with escapes.
    let key = || prop_oneof![(0_u8..40).prop_map(|number| format!("k{number}")), "[a\"\\\\é🦀\n]{0,2}"];
    let step = prop_oneof![
        12 => (key(), any::<i64>()).prop_map(|(key, value)| Step::Insert(key, value)),
        4 => key().prop_map(Step::Remove),
        1 => any::<u8>().prop_map(Step::Retain),
        1 => Just(Step::Reparse),
        1 => (0..8).prop_map(|dice| if dice == 0 { Step::Clear } else { Step::Reparse }),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    /// [K01] Any order of changes leaves what a plain ordered list would hold.
    #[test]
    fn changes_are_those_of_an_ordered_map(steps in steps()) {
        let mut data = SessionData::new();
        let mut model: Vec<(String, i64)> = Vec::new();
        for step in steps {
            match step {
                Step::Insert(key, value) => {
                    data.insert(&key, &value).unwrap();
                    match model.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, known)) => *known = value,
                        None => model.push((key, value)),
                    }
                }
                Step::Remove(key) => {
                    let known = model.iter().any(|(known, _)| *known == key);
                    prop_assert_eq!(data.remove(&key), known);
                    model.retain(|(known, _)| *known != key);
                }
                Step::Retain(bound) => {
                    data.retain(|key| key.len() % 3 != usize::from(bound % 3));
                    model.retain(|(key, _)| key.len() % 3 != usize::from(bound % 3));
                }
                Step::Clear => {
                    data.clear();
                    model.clear();
                }
                Step::Reparse => {
                    let clone = data.clone();
                    data = SessionData::parse(data.to_text()).unwrap();
                    prop_assert_eq!(&clone, &data);
                }
            }
            prop_assert_eq!(data.len(), model.len());
        }
        for (shown, (key, value)) in data.keys().zip(&model) {
            prop_assert_eq!(&*shown, key);
            prop_assert_eq!(data.get::<i64>(key).unwrap(), Some(*value));
        }
        let by_serde_json: serde_json::Value = serde_json::from_str(&data.to_text()).unwrap();
        prop_assert_eq!(by_serde_json.as_object().unwrap().len(), model.len());
    }

    /// [K01] Any string, any float and any integer come back as they were.
    #[test]
    fn scalars_come_back(string in any::<String>(), float in any::<f64>(), single in any::<f32>(), wide in any::<i128>()) {
        prop_assert_eq!(from_text::<String>(&to_text(&string).unwrap()).unwrap(), string);
        prop_assert_eq!(from_text::<f64>(&to_text(&float).unwrap()).unwrap().to_bits(), float.to_bits());
        prop_assert_eq!(from_text::<f32>(&to_text(&single).unwrap()).unwrap().to_bits(), single.to_bits());
        prop_assert_eq!(from_text::<i128>(&to_text(&wide).unwrap()).unwrap(), wide);
    }

    /// [K02] [S22] No text at all makes the reader panic, and what it accepts it writes back as it was.
    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}:,\"\\\\ u0e.\\-ntaNI\u{e9}]{0,40}") {
        if let Ok(data) = text.parse::<SessionData>() {
            prop_assert!(text.is_empty() || *data.to_text() == *text);
        }
        let _ = from_text::<serde_json::Value>(&text);
        let _ = from_text::<Shape>(&text);
        let _ = from_text::<BTreeMap<i8, Vec<f32>>>(&text);
    }
}
