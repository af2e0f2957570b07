//! `sessile::record::json` against Python's own json module: the same texts read, the same bytes written.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

#[path = "python_json/texts.rs"]
mod texts;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sessile::record::SessionData;
use sessile::record::json::{MAX_DECODE_DEPTH, MAX_INTEGER_DIGITS, check, from_text, to_text};

use texts::Dice;

/// Asks one interpreter about all cases, in order.
fn ask(cases: &[Value]) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python_json/answers.py");
    let mut python = Command::new(sessile_interop::python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    let mut input = python.stdin.take().unwrap();
    let lines: String = cases.iter().fold(String::new(), |mut lines, case| {
        // serde_json leaves DEL and above as they are; ours is ASCII only.
        writeln!(lines, "{}", to_text(case).unwrap()).unwrap();
        lines
    });
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = BufReader::new(python.stdout.take().unwrap());
    let answers: Vec<Value> =
        output.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    writer.join().unwrap();
    assert!(python.wait().unwrap().success());
    assert_eq!(answers.len(), cases.len());
    answers
}

/// [K01] [S22] Every text Python accepts is accepted, every other refused; keys, order and duplicates come out the same,
/// and the values' own text decodes to what Python read.
#[test]
fn the_same_texts_are_read() {
    let mut dice = Dice(0x5e55_11e5);
    let mut texts: Vec<String> = Vec::new();
    for _ in 0..8_000 {
        let mut text = String::new();
        dice.object(4, &mut text);
        let damaged = dice.damaged(&text);
        texts.extend([text, damaged]);
    }
    for _ in 0..4_000 {
        let mut text = String::new();
        dice.value(3, &mut text);
        texts.push(text);
    }
    let nested =
        |open: &str, inner: &str, close: &str, levels| open.repeat(levels) + inner + &close.repeat(levels);
    let digits = |count: usize| "7".repeat(count);
    texts.extend([
        nested("[", "", "]", 980),
        nested("{\"k\":", "1", "}", 980),
        nested("[{\"\":", "0", "}]", 490),
    ]);
    texts.extend([
        nested("[", "", "]", 1001),
        nested("{\"k\":", "1", "}", 1001),
        nested("[", "", "]", 100_000),
    ]);
    texts.extend([digits(MAX_INTEGER_DIGITS), format!("-{}", digits(MAX_INTEGER_DIGITS))]);
    texts.extend([digits(MAX_INTEGER_DIGITS + 1), format!("-{}", digits(MAX_INTEGER_DIGITS + 1))]);
    texts.extend([format!("{}.0", digits(5000)), format!("{}e-4990", digits(5000))]);
    texts.extend(["", " ", "\u{feff}{}", "{}\u{0}"].map(String::from));

    let cases: Vec<Value> = texts.iter().map(|text| json!(["loads", text])).collect();
    let (mut accepted, mut refused, mut compared) = (0, 0, 0);
    for (text, python) in texts.iter().zip(ask(&cases)) {
        let ours = readable(text);
        assert_eq!(ours, !python.is_null(), "accepted here: {ours}: {text}");
        *if ours { &mut accepted } else { &mut refused } += 1;
        if let Some(members) = python["members"].as_array() {
            compare_members(text, members);
            compared += 1;
        }
    }
    assert!(accepted > 12_000 && refused > 4_000 && compared > 8_000, "{accepted} {refused} {compared}");
}

/// Whether the text is read: as data, or as a value of another kind.
fn readable(text: &str) -> bool {
    use sessile::record::DataError;
    match SessionData::parse(text.into()) {
        Ok(_) => !text.is_empty(),
        Err(DataError::NotAnObject { .. }) => true,
        Err(_) => false,
    }
}

fn compare_members(text: &str, members: &[Value]) {
    let mut data = SessionData::parse(text.into()).unwrap();
    assert_eq!(&*data.to_text(), text);
    assert_eq!(data.len(), members.len(), "{text}");
    for (shown, member) in data.keys().zip(members) {
        let (key, value) = (member[0].as_str().unwrap(), member[1].as_str().unwrap());
        // A key that Rust can hold: its value, decoded and written again, is what Python wrote.
        let Ok(key) = from_text::<String>(key) else {
            assert!(shown.contains('\u{fffd}'));
            continue;
        };
        assert_eq!(shown, key);
        let raw = data.raw(&key).unwrap();
        if raw.matches(['[', '{']).count() > MAX_DECODE_DEPTH {
            continue;
        }
        check(raw).unwrap();
        match data.get::<Tree>(&key) {
            Ok(tree) => {
                let tree = tree.unwrap_or(Tree::Null);
                assert_eq!(
                    to_text(&tree).unwrap(),
                    to_text(&from_text::<Tree>(value).unwrap()).unwrap(),
                    "{text}"
                );
                if !tree.rounded() {
                    assert_eq!(to_text(&tree).unwrap(), value, "{text}");
                }
            }
            // The only reason to refuse; Python may have dropped it with the first of two equal keys.
            Err(_) => assert_eq!(lone_surrogate(raw), Some(true), "{text}"),
        }
    }
    // Rebuilt from its pieces the text is still read alike.
    data.insert("one more", &1).unwrap();
    let rebuilt = SessionData::parse(data.to_text()).unwrap();
    assert_eq!(rebuilt, data);
}

/// Whether the text cannot be decoded because of a lone surrogate.
fn lone_surrogate(text: &str) -> Option<bool> {
    use sessile::record::json::JsonError;
    from_text::<Tree>(text).err().map(|error| matches!(error, JsonError::LoneSurrogate { .. }))
}

/// Any value, in order.
enum Tree {
    Null,
    Boolean(bool),
    Integer(i128),
    Float(f64),
    String(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Whether it holds a number that may have been an integer beyond 64 bits, which decodes as a float here.
    fn rounded(&self) -> bool {
        match self {
            Self::Float(value) => value.abs() >= 9e18,
            Self::Array(elements) => elements.iter().any(Self::rounded),
            Self::Object(members) => members.iter().any(|(_, value)| value.rounded()),
            _ => false,
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i128(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::String(value) => serializer.serialize_str(value),
            Self::Array(elements) => serializer.collect_seq(elements),
            Self::Object(members) => serializer.collect_map(members.iter().map(|(key, value)| (key, value))),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyTree)
    }
}

struct AnyTree;

impl<'de> serde::de::Visitor<'de> for AnyTree {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Boolean(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Integer(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::String(value.to_owned()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element()? {
            all.push(element);
        }
        Ok(Tree::Array(all))
    }

    /// Of equal keys the last value, in the first one's place.
    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut all: Vec<(String, Tree)> = Vec::new();
        while let Some((key, value)) = members.next_entry::<String, Tree>()? {
            match all.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => *known = value,
                None => all.push((key, value)),
            }
        }
        Ok(Tree::Object(all))
    }
}

/// [K01] Floats are spelled as Python's repr spells them.
#[test]
fn the_same_floats_are_written() {
    let mut dice = Dice(0x00f1_0a75);
    let mut values: Vec<f64> = (0..20_000).map(|_| f64::from_bits(dice.roll())).collect();
    for exponent in -330..=310 {
        let power: f64 = format!("1e{exponent}").parse().unwrap();
        let next = |step: u64| f64::from_bits(power.to_bits().wrapping_add(step));
        values.extend([power, -power, next(1), next(u64::MAX), power * 1.5, power * 9.999]);
    }
    // Below a power of two the neighbours are nearer than above.
    for exponent in -1074_i32..1024 {
        let power = if exponent < -1022 { 1 << (exponent + 1074) } else { ((exponent + 1023) as u64) << 52 };
        values.extend([power - 1, power, power + 1].map(f64::from_bits));
    }
    // Two shortest texts are equally near to some of these.
    values.extend((0..20_000).map(|_| (dice.roll() >> 11) as f64 / 2_f64.powi(dice.below(12) as i32)));
    values.extend((0..4_000).map(|_| dice.below(1 << 40) as f64 / 10_f64.powi(dice.below(24) as i32)));
    values.extend([
        0.0,
        -0.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        f64::MAX,
        5e-324,
    ]);
    let cases: Vec<Value> =
        values.iter().map(|value| json!(["double", format!("{:016x}", value.to_bits())])).collect();
    for (value, python) in values.iter().zip(ask(&cases)) {
        let text = to_text(value).unwrap();
        assert_eq!(text, python.as_str().unwrap());
        let back: f64 = from_text(&text).unwrap();
        assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()), "{text}");
    }
}

/// [K01] Strings are escaped as json.dumps escapes them; each character of the BMP and some beyond.
#[test]
fn the_same_strings_are_written() {
    let mut dice = Dice(0x0057_2146);
    let mut strings: Vec<String> = ('\0'..='\u{ffff}').map(String::from).collect();
    for _ in 0..5_000 {
        let characters = (0..dice.below(12)).map(|_| {
            let plane = [0x80, 0x800, 0x1_0000, 0x11_0000][dice.below(4) as usize];
            char::from_u32(dice.below(plane) as u32).unwrap_or('"')
        });
        strings.push(characters.collect());
    }
    let points = |string: &String| string.chars().map(u32::from).collect::<Vec<_>>();
    let cases: Vec<Value> = strings.iter().map(|string| json!(["string", points(string)])).collect();
    for (string, python) in strings.iter().zip(ask(&cases)) {
        let text = to_text(string).unwrap();
        assert_eq!(text, python.as_str().unwrap());
        assert_eq!(&from_text::<String>(&text).unwrap(), string);
    }
}

/// [K01] Strings with lone surrogates, which only Python can make, are kept as they are and never decoded wrongly.
#[test]
fn lone_surrogates_are_kept() {
    let mut dice = Dice(0x104e);
    let mut strings: Vec<Vec<u64>> = Vec::new();
    for _ in 0..3_000 {
        let length = 1 + dice.below(5);
        let mut point = || [0xd800 + dice.below(0x800), dice.below(0x80)][dice.below(2) as usize];
        strings.push((0..length).map(|_| point()).collect());
    }
    let cases: Vec<Value> = strings.iter().map(|points| json!(["string", points])).collect();
    for (points, python) in strings.iter().zip(ask(&cases)) {
        let literal = python.as_str().unwrap();
        let text = format!("{{{literal}: {literal}}}");
        let mut data = SessionData::parse(text.as_str().into()).unwrap();
        let units: Vec<u16> = points.iter().map(|&point| point as u16).collect();
        match String::from_utf16(&units) {
            Ok(string) => assert_eq!(data.get::<String>(&string).unwrap(), Some(string)),
            Err(_) => {
                assert_eq!(lone_surrogate(literal), Some(true));
                assert!(data.keys().all(|key| key.contains('\u{fffd}')));
            }
        }
        data.insert("more", &true).unwrap();
        assert_eq!(data.to_string(), format!("{{{literal}: {literal}, \"more\": true}}"));
    }
}

/// [K01] Integers are written in full, and read back by the types that hold them.
#[test]
fn the_same_integers_are_written() {
    let mut dice = Dice(0x0147);
    let wide: Vec<i128> = (0..2_000)
        .map(|_| (i128::from(dice.roll()) << 64 | i128::from(dice.roll())) >> dice.below(128))
        .collect();
    let cases: Vec<Value> = wide.iter().map(|value| json!(["integer", value.to_string()])).collect();
    for (value, python) in wide.iter().zip(ask(&cases)) {
        let text = to_text(value).unwrap();
        assert_eq!(text, python.as_str().unwrap());
        assert_eq!(from_text::<i128>(&text).unwrap(), *value);
    }
    for text in [i128::MIN.to_string(), u128::MAX.to_string()] {
        assert_eq!(ask(&[json!(["integer", text])])[0], text);
    }
    assert_eq!(to_text(&i128::MIN).unwrap(), i128::MIN.to_string());
    assert_eq!(to_text(&u128::MAX).unwrap(), u128::MAX.to_string());
}

/// [K01] Keys that are no strings become the strings that json.dumps makes of them.
#[test]
fn the_same_keys_are_written() {
    let kinds = ["integers", "booleans", "null", "floats"];
    let cases: Vec<Value> = kinds.iter().map(|kind| json!(["keys", kind])).collect();
    let floats = [(-0.0, 1), (1e-05, 2), (1e16, 3), (1.5, 4), (f64::INFINITY, 5)];
    let ours = [
        to_text(&Pairs(&[(-7_i128, 1), (0, 2)]))
            .unwrap()
            .replace('}', &format!(", \"{}\": 3}}", 1_u128 << 127)),
        to_text(&BTreeMap::from([(false, 1), (true, 2)])).unwrap(),
        to_text(&BTreeMap::from([(None::<u8>, 1)])).unwrap(),
        to_text(&Pairs(&floats)).unwrap(),
    ];
    for (ours, python) in ours.iter().zip(ask(&cases)) {
        assert_eq!(ours, python.as_str().unwrap());
    }
}

/// A map whose keys need no order.
struct Pairs<'a, K>(&'a [(K, i32)]);

impl<K: Serialize> Serialize for Pairs<'_, K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}
