//! The model: what lback's `Session` promises, sentence for sentence.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

#[path = "support/logs.rs"]
mod logs;

use std::time::Duration;

use logs::Log;
use sessile::record::{Columns, StoredData, SystemRandom, Timestamp};
use sessile::{SessionData, SessionId, SessionRecord, UserId};

const ID: &str = "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn noon() -> Timestamp {
    at("2030-01-02 12:00:00")
}

fn later() -> Timestamp {
    at("2030-01-02 12:10:00.5")
}

/// Made at noon, good for half an hour.
fn record() -> SessionRecord {
    SessionRecord::new(ID.parse().unwrap(), at("2030-01-02 12:30:00"), noon())
}

fn stored(data: StoredData) -> SessionRecord {
    SessionRecord::from_columns(Columns {
        id: ID.parse().unwrap(),
        user_id: None,
        data,
        created_at: None,
        expires_at: later(),
        updated_at: None,
    })
}

/// What the log says while `look` runs.
fn logged<T>(look: impl FnOnce() -> T) -> (T, String) {
    let log = Log::start();
    (look(), log.text())
}

/// "The unique identifier for the session, generated as a UUID": version 4, 36 lower-case characters.
#[test]
fn the_id_is_a_new_uuid() {
    let ids: Vec<String> = (0..100).map(|_| SessionId::random(&SystemRandom).unwrap().to_string()).collect();
    for id in &ids {
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        assert!(id.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        }));
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1);
    }
}

/// "Can be None for anonymous sessions", "default='{}'", "default=datetime.utcnow", and an expiry that has no default.
#[test]
fn a_new_record_has_the_defaults() {
    let record = record();
    assert_eq!(record.id().to_string(), ID);
    assert_eq!(record.user_id(), None);
    assert_eq!(record.stored_data(), &StoredData::Text("{}".into()));
    assert_eq!(record.created_at(), Some(noon()));
    assert_eq!(record.updated_at(), Some(noon()));
    assert_eq!(record.expires_at(), at("2030-01-02 12:30:00"));
}

/// "The ID of the authenticated user": what `String(36)` holds, and more, for a column may be wider.
#[test]
fn the_user_id_is_what_a_column_holds() {
    let mut record = record();
    for user in ["42", "ada", &"é".repeat(36), &"é".repeat(255)] {
        record.set_user_id(Some(UserId::new(user).unwrap()), later());
        assert_eq!(record.user_id().unwrap(), user);
    }
    assert!(UserId::new("a".repeat(256)).is_err());
    record.set_user_id(None, later());
    assert_eq!(record.user_id(), None);
}

/// "Data is serialized to JSON string before storage and deserialized from JSON string upon retrieval": the getter and
/// the setter of `data_dict`.
#[test]
fn data_is_set_and_got_as_an_object() {
    let mut record = record();
    let mut data = record.data();
    assert!(data.is_empty());
    data.insert("cart", &["a", "ü"]).unwrap();
    data.insert("n", &1.0).unwrap();
    record.set_data(&data, later());
    assert_eq!(record.stored_data().as_text(), Some(r#"{"cart": ["a", "\u00fc"], "n": 1.0}"#));
    assert_eq!(record.data(), data);
    assert_eq!(record.data().get::<Vec<String>>("cart").unwrap().unwrap(), ["a", "ü"]);
}

/// "or an empty dictionary if no data is stored": NULL and the empty text, without a word in the log.
#[test]
fn no_data_is_an_empty_object() {
    for nothing in [StoredData::Null, StoredData::Text("".into()), StoredData::Bytes([].as_slice().into())] {
        let record = stored(nothing);
        let (data, log) = logged(|| record.data());
        assert!(data.is_empty());
        assert_eq!(log, "");
        assert!(record.try_data().unwrap().is_empty());
    }
}

/// `logger.error("Failed to decode JSON data for session {id}. Returning empty dict.")`: one error line that names the
/// session, an empty object, and the text stays. The data is never in the log.
#[test]
fn what_is_no_object_is_logged_and_read_as_empty() {
    let unreadable = [
        StoredData::Text("{secret".into()),
        StoredData::Text(r#"["secret"]"#.into()),
        StoredData::Text("null".into()),
        StoredData::Text(r#"{"secret": tru}"#.into()),
        StoredData::Text(r#"{"secret": 1} secret"#.into()),
        StoredData::Text("\u{feff}{}".into()),
        StoredData::Bytes(b"\xff secret".as_slice().into()),
        StoredData::InvalidText(b"{\"secret\": \"\xff\"}".as_slice().into()),
    ];
    for data in unreadable {
        let record = stored(data.clone());
        let (read, log) = logged(|| record.data());
        assert!(read.is_empty(), "{data:?}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("ERROR") && log.contains(ID), "{log}");
        assert!(!log.contains("secret"), "{log}");
        assert!(record.try_data().is_err());
        assert_eq!(record.stored_data(), &data, "it stays until somebody writes");
    }
}

/// "Automatically updated on record modification": with every change, and only with one.
#[test]
fn updated_at_moves_with_a_change_and_only_with_one() {
    let mut data = SessionData::new();
    data.insert("a", &1).unwrap();
    let ada = || Some(UserId::new("ada").unwrap());
    type Change = Box<dyn Fn(&mut SessionRecord, Timestamp)>;
    let changes: [Change; 3] = [
        Box::new(move |record, now| record.set_data(&data, now)),
        Box::new(move |record, now| record.set_user_id(ada(), now)),
        Box::new(move |record, now| record.set_expires_at(at("2030-01-02 13:00:00"), now)),
    ];
    for change in &changes {
        let mut record = record();
        change(&mut record, later());
        assert_eq!(record.updated_at(), Some(later()));
        // The same again is no change.
        change(&mut record, later().saturating_add(Duration::from_secs(1)));
        assert_eq!(record.updated_at(), Some(later()));
        assert_eq!(record.created_at(), Some(noon()), "it never moves");
    }
    // To what it was: no change.
    let mut record = record();
    record.set_data(&SessionData::new(), later());
    record.set_user_id(None, later());
    record.set_expires_at(record.expires_at(), later());
    assert_eq!(record.updated_at(), Some(noon()));
}

/// Equal data over a text that is formatted otherwise is a change, as it is to Python; data as it was read is none.
#[test]
fn the_text_decides_what_is_a_change() {
    let mut record = stored(StoredData::Text(r#"{"a":1}"#.into()));
    let data = record.data();
    record.set_data(&data, later());
    assert_eq!((record.updated_at(), record.stored_data().as_text()), (None, Some(r#"{"a":1}"#)));
    let mut data = SessionData::new();
    data.insert("a", &1).unwrap();
    record.set_data(&data, later());
    assert_eq!((record.updated_at(), record.stored_data().as_text()), (Some(later()), Some(r#"{"a": 1}"#)));

    // Bytes become text, which is another column value.
    let mut record = stored(StoredData::Bytes(br#"{"a": 1}"#.as_slice().into()));
    record.set_data(&data, later());
    assert_eq!(record.updated_at(), Some(later()));
}

/// The object that the getter gives is a copy: changing it saves nothing.
#[test]
fn changing_what_was_got_changes_nothing() {
    let record = record();
    let mut data = record.data();
    data.insert("a", &1).unwrap();
    assert_eq!(record.stored_data().as_text(), Some("{}"));
    assert_eq!(record.updated_at(), Some(noon()));
}

/// A value that cannot be stored is refused, and what was there stays.
#[test]
fn what_cannot_be_stored_leaves_the_old_data() {
    struct Unspeakable;
    impl serde::Serialize for Unspeakable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let mut data = SessionData::parse(r#"{"a":1}"#.into()).unwrap();
    assert!(data.insert("a", &Unspeakable).is_err());
    assert!(data.insert("b", &Unspeakable).is_err());
    assert_eq!(&*data.to_text(), r#"{"a":1}"#);
}

/// "The timestamp when the session is scheduled to expire": alive before it, over at it.
#[test]
fn it_lives_until_it_expires() {
    let record = record();
    let end = record.expires_at();
    assert!(record.is_live(end.saturating_sub(Duration::from_secs(1))));
    assert!(record.is_live(end.saturating_sub(Duration::from_micros(1))));
    assert!(!record.is_live(end));
    assert!(!record.is_live(end.saturating_add(Duration::from_secs(1))));
}

/// `__repr__`, to the byte: 'None' for nobody, and no fraction on a whole second.
#[test]
fn it_is_displayed_as_python_prints_it() {
    let mut record = record();
    let whole = format!("<Session(id='{ID}', user_id='None', expires_at='2030-01-02 12:30:00')>");
    assert_eq!(record.to_string(), whole);
    record.set_user_id(Some(UserId::new("ada").unwrap()), later());
    record.set_expires_at(at("2030-01-02 12:30:00.05"), later());
    let fraction = format!("<Session(id='{ID}', user_id='ada', expires_at='2030-01-02 12:30:00.050000')>");
    assert_eq!(record.to_string(), fraction);
    record.set_expires_at(Timestamp::MIN, later());
    assert!(record.to_string().ends_with("expires_at='0001-01-01 00:00:00')>"));
}

/// [S14] What a record shows to a log has no data in it.
#[test]
fn debug_shows_no_data() {
    let record = stored(StoredData::Text(r#"{"secret": "secret"}"#.into()));
    assert!(!format!("{record:?} {:?}", record.data()).contains("secret"));
}
