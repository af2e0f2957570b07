//! tower-sessions: MessagePack of its `Record`, an array of id, data and expiry.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use sessile::UserId;
use sessile::record::RESERVED_KEY;

use super::{Content, Row, Unfit, user};

/// The data of a row. `user_key` is a key of it, or a path of keys that begins with a slash.
pub(super) fn content(row: &Row, user_key: Option<&str>) -> Result<Content, Unfit> {
    // Only what JSON can hold is taken: bytes, and keys that are no text, are an error here.
    let record: Result<(IgnoredAny, Value, IgnoredAny), _> = rmp_serde::from_slice(&row.data);
    let (_, data, _) = record.map_err(|_| {
        Unfit::Impossible("its data is not the MessagePack of a Record whose values JSON can hold".to_owned())
    })?;
    let Value::Object(data) = data else {
        return Err(Unfit::Malformed("its data is no map".to_owned()));
    };
    if data.contains_key(RESERVED_KEY) {
        return Err(Unfit::Impossible(format!("its data has the key {RESERVED_KEY}, which is reserved")));
    }
    let user = user_key.map_or(Ok(None), |key| user_in(&data, key))?;
    Ok(Content { text: Value::Object(data).to_string(), user, ends_with_browser: false })
}

fn user_in(data: &Map<String, Value>, key: &str) -> Result<Option<UserId>, Unfit> {
    let value = match key.strip_prefix('/') {
        None => data.get(key),
        Some(path) => {
            let (first, rest) =
                path.split_once('/').map_or((path, ""), |(first, _)| (first, &path[first.len()..]));
            data.get(first).and_then(|value| value.pointer(rest))
        }
    };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => user(text).map(Some),
        Some(Value::Number(number)) if !number.is_f64() => user(&number.to_string()).map(Some),
        Some(_) => Err(Unfit::Impossible(format!("what {key} holds is neither a text nor a whole number"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Serialize;
    use sessile::record::Timestamp;

    use super::*;

    /// As tower-sessions' own: an id, the data, and a time made of nine numbers.
    fn row(data: impl Serialize) -> Row {
        let record = (7i128, data, (2030, 1, 0, 0, 0, 0, 0, 0, 0));
        Row {
            key: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            data: rmp_serde::to_vec(&record).unwrap(),
            expires_at: Ok(Timestamp::MAX),
        }
    }

    fn problem(row: &Row, key: Option<&str>) -> String {
        match content(row, key) {
            Err(Unfit::Malformed(problem) | Unfit::Impossible(problem)) => problem,
            Ok(content) => panic!("{}", content.text),
        }
    }

    #[test]
    fn values_come_as_they_are() {
        let data = serde_json::json!({"n": 18446744073709551615u64, "f": 1.5, "t": "grüße", "l": [null, {"a": true}]});
        let content = content(&row(&data), None).ok().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&content.text).unwrap(), data);
        assert_eq!(content.user, None);
    }

    #[test]
    fn the_user_is_where_one_says() {
        let data = serde_json::json!({"user": "ada", "n": 42, "a.b": {"user_id": 7}, "l": []});
        let user = |key| content(&row(&data), Some(key)).ok().unwrap().user.map(|user| user.to_string());
        assert_eq!(user("user").as_deref(), Some("ada"));
        assert_eq!(user("n").as_deref(), Some("42"));
        assert_eq!(user("/a.b/user_id").as_deref(), Some("7"));
        assert_eq!(user("/n").as_deref(), Some("42"));
        assert_eq!((user("none"), user("/a.b/none")), (None, None));
        assert!(problem(&row(&data), Some("l")).contains("neither a text nor a whole number"));
        assert!(problem(&row(serde_json::json!({"u": "x".repeat(256)})), Some("u")).contains("at most 255"));
    }

    /// What JSON cannot hold is said, not guessed.
    #[test]
    fn what_json_cannot_hold_is_refused() {
        struct Bytes;
        impl Serialize for Bytes {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(b"\xff")
            }
        }
        for row in [
            row(HashMap::from([("a", Bytes)])),
            row(HashMap::from([(1, "a")])),
            row("no map"),
            row(serde_json::json!({"_sessile": {"remember": true}})),
            Row { key: String::new(), data: b"\xc1".to_vec(), expires_at: Ok(Timestamp::MAX) },
            Row { key: String::new(), data: Vec::new(), expires_at: Ok(Timestamp::MAX) },
        ] {
            assert!(content(&row, None).is_err());
        }
    }
}
