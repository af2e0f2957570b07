//! A row that Python could not read is never written: lengths, JSON, dates.

use serde_json::json;
use sessile::engine::{Changes, NewSession};
use sessile::record::json::{MAX_INTEGER_DIGITS, MAX_WRITE_DEPTH};
use sessile::record::{Clock, Timestamp};
use sessile::{Policy, Sessions, UserId};

use crate::browser::{Lback, Sessile};
use crate::stage::{Stage, minutes};

crate::on_every_database!(
    a_user_id_fits_its_column_or_is_refused,
    data_fit_their_column_or_are_refused,
    python_reads_all_that_rust_writes,
    no_end_lies_beyond_what_python_reads,
    the_id_is_bytes,
);

/// [F04] 36 characters fit in lback's table, however many bytes they have; on SQLite, which stores more than the column
/// is declared with, 255, and Python reads them. One more is refused and nobody is signed in.
async fn a_user_id_fits_its_column_or_is_refused(stage: &mut Stage) {
    let limit = stage.store.user_id_limit();
    assert_eq!(limit, if stage.store.name() == "sqlite" { 255 } else { 36 });
    let [fits, refused] =
        [limit, limit + 1].map(|chars| ["a", "é", "😀"].map(|character| character.repeat(chars)));
    for fits in fits.into_iter().chain(["0".to_owned(), "-1".to_owned()]) {
        let mut browser = stage.browser();
        browser.sign_in(Sessile, &fits).await;
        assert_eq!(browser.user(Lback).await.as_deref(), Some(fits.as_str()));
        assert_eq!(stage.read(browser.id().unwrap())["user_id"], fits);
    }
    for refused in refused.into_iter().chain([String::new(), "a\nb".to_owned(), "a\0".to_owned()]) {
        let mut browser = stage.browser();
        let reply = browser.submit((Sessile, Sessile), "/sign-in", &[("user", &refused)]).await;
        assert_eq!(reply.status, 422, "{refused:?}");
        for side in [Sessile, Lback] {
            assert_eq!(browser.user(side).await, None, "{refused:?}");
        }
    }
}

/// [S22] What a policy allows by default fits, on MariaDB's `TEXT` of 65,535 bytes all but the 4 KiB that are kept for
/// sessile's own. More is an answer that says so, and the old data stays; lback answers 200 and loses it there. What
/// the row holds of sessile's own, at most 4 KiB, does not count.
async fn data_fit_their_column_or_are_refused(stage: &mut Stage) {
    let mut browser = stage.browser();
    browser.submit((Sessile, Sessile), "/change", &[("key", "small"), ("value", "1")]).await;
    let id = browser.id().unwrap();
    let before = stage.row(id).await.unwrap().stored_data().len();
    let most = stage.store.data_limit().map_or(65_535, |bytes| (bytes - 4_096).min(65_535));
    let room = most - before - r#", "big": """#.len();
    let value = |length: usize| format!("\"{}\"", "x".repeat(length));
    let too_big = value(room + 4_097);
    let reply = browser.submit((Sessile, Sessile), "/change", &[("key", "big"), ("value", &too_big)]).await;
    assert_eq!(reply.status, 413, "{}", reply.body);
    assert_eq!(stage.row(id).await.unwrap().stored_data().len(), before, "the old data stay");
    let fits = value(room);
    let reply = browser.submit((Sessile, Sessile), "/change", &[("key", "big"), ("value", &fits)]).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(stage.row(id).await.unwrap().stored_data().len(), most);
    let data = browser.shown(Lback).await["data"].clone();
    assert_eq!((data["big"].as_str().unwrap().len(), &data["small"]), (room, &json!(1)));
}

/// [S22] The oddest JSON that Rust writes Python reads, in its model and in its running server; what Python could not
/// read is refused before any statement.
async fn python_reads_all_that_rust_writes(stage: &mut Stage) {
    let mut browser = stage.browser();
    browser.sign_in(Sessile, "42").await;
    let id = browser.id().unwrap();
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let digits = |count: usize| "7".repeat(count);
    for (key, text) in [
        ("deep", nested(MAX_WRITE_DEPTH - 1)),
        ("long", digits(MAX_INTEGER_DIGITS)),
        ("odd", r#"["\ud800", NaN, 1e999, -Infinity, -0, -0.0, "\u0000\u007f"]"#.to_owned()),
        ("raw", r#""Grüße 日本語 😀""#.to_owned()),
        ("spaces", "{ \"a\" :\t[ 1 ,2 ]\r\n}".to_owned()),
        ("", "null".to_owned()),
    ] {
        let mut changes = Changes::new();
        changes.set_raw(key, &text).unwrap();
        stage.sessions.change(id, &changes).await.unwrap().unwrap();
        let read = stage.read(id);
        assert_eq!(read["types"][2], "str", "{key}");
        assert!(read["data_dict"].as_str().unwrap().contains(&format!("{key:?}: ")), "{key}");
        // Through the server, which writes all of it back: and Rust reads that.
        let fields = [("key", "by"), ("value", "\"python\"")];
        assert_eq!(browser.submit((Lback, Lback), "/change", &fields).await.status, 200, "{key}");
        assert_eq!(browser.shown(Sessile).await["user"], "42", "{key}");
        stage.sessions.change(id, &removal(key)).await.unwrap().unwrap();
    }
    let before = stage.row(id).await.unwrap();
    for refused in
        [nested(MAX_WRITE_DEPTH + 1), digits(MAX_INTEGER_DIGITS + 1), "nan".into(), "\"\u{1}\"".into()]
    {
        assert!(Changes::new().set_raw("k", &refused).is_err());
    }
    assert_eq!(stage.row(id).await.unwrap(), before);
    assert!(stage.events().iter().all(|event| !matches!(event, sessile::engine::Event::Corrupt { .. })));
}

fn removal(key: &str) -> Changes {
    let mut changes = Changes::new();
    changes.remove(key);
    changes
}

/// Lifetimes beyond all measure end at the last instant that Python has a date for.
async fn no_end_lies_beyond_what_python_reads(stage: &mut Stage) {
    let endless = std::time::Duration::from_secs(u64::MAX / 2);
    let policy = Policy::lback().idle_timeout(endless).remembered(endless, endless);
    let sessions = Sessions::builder(std::sync::Arc::clone(&stage.store))
        .policy(policy)
        .clock(std::sync::Arc::clone(&stage.clock))
        .build();
    let new = |ttl| NewSession { user: Some(UserId::new("ada").unwrap()), ttl, ..NewSession::default() };
    for ttl in [None, Some(endless)] {
        let (_, record) = sessions.create(new(ttl)).await.unwrap();
        let read = stage.read(record.id());
        assert_eq!(read["times"][1].as_str().unwrap().get(..19), Some("9999-12-31 23:59:59"));
        assert_eq!(read["types"][4], "datetime");
        let touched = sessions.touch(record.id()).await.unwrap().unwrap();
        assert_eq!(touched.expires_at().to_string().get(..19), Some("9999-12-31 23:59:59"));
    }
    // And far in the past nothing begins before the first.
    stage.clock.set(Timestamp::MIN);
    let (_, record) = stage.sessions.create(new(None)).await.unwrap();
    assert_eq!(stage.read(record.id())["times"][0].as_str().unwrap().get(..4), Some("0001"));
    assert_eq!(record.expires_at(), stage.clock.now().saturating_add(minutes(30)));
}

/// An id in other letters, or with something after it, is another id: whatever a collation thinks of it.
async fn the_id_is_bytes(stage: &mut Stage) {
    let mut browser = stage.browser();
    browser.sign_in(Sessile, "42").await;
    let id = browser.id().unwrap().to_string();
    assert!(id.bytes().any(|byte| byte.is_ascii_lowercase()));
    for other in [id.to_uppercase(), format!("{id} x"), format!("{id}\u{e1}"), format!("\"{id}\"")] {
        let mut stranger = stage.browser();
        stranger.holds(&other);
        assert_eq!(stranger.user(Sessile).await, None, "{other:?}");
    }
    assert_eq!(browser.user(Sessile).await.as_deref(), Some("42"));
}
