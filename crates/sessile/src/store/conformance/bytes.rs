//! What goes in comes out byte for byte, and is compared byte for byte.

use std::sync::Arc;

use super::subject::{Row, Subject, at, row, text, update};
use super::verdict::{Failure, Verdict, same};
use crate::record::{MAX_USER_ID_CHARS, StoredData, Timestamp};
use crate::store::{Expiry, Liveness, Update, Write};

/// Texts that a collation, a codec or a normalising column takes for one another.
const TEXTS: [&str; 17] = [
    "{}",
    "{} ",
    " {}",
    "{}\n",
    "",
    r#"{"a": 1}"#,
    r#"{"A": 1}"#,
    r#"{"a":1}"#,
    r#"{"a": 1.0}"#,
    r#"{"a": 1, "a": 1}"#,
    r#"{"b": 1, "a": 1}"#,
    r#"{"a": "\u0000 \ud800 \u00e9"}"#,
    "{\"a\": \"\u{e9}\"}",
    "{\"a\": \"e\u{301}\"}",
    "{\"a\": \"ß ſ İ 👩‍👩‍👧 \u{feff}\u{200b}\"}",
    r#"{"a": NaN, "b": "'; DROP TABLE sessions; --", "c": "%_?$1:x\\"}"#,
    "not json",
];

/// [F01] [K01] Through insert and through update.
pub(super) async fn data_comes_back_byte_for_byte(store: Subject) -> Verdict {
    for (number, data) in (1..).zip(TEXTS) {
        let session = row(number).data(data).build();
        store.insert([&session]).await?;
        store.holds_row(&session, "inserted data").await?;
        let other = row(number + 100).build();
        store.insert([&other]).await?;
        store.applies(Write::Update(update(&other, data, at(1))), "updating the data").await?;
        store.holds_row(&row(number + 100).data(data).updated(at(1)).build(), "updated data").await?;
    }
    Ok(())
}

/// [G02] Law 1: a text that only looks the same has been changed by somebody.
pub(super) async fn data_is_compared_byte_for_byte(store: Subject) -> Verdict {
    for (number, stored) in (1..).zip(TEXTS) {
        let session = row(number).data(stored).build();
        store.insert([&session]).await?;
        for read in TEXTS.into_iter().filter(|&read| read != stored).map(text).chain([StoredData::Null]) {
            let what = format!("an update that expects {read:?} where {stored:?} is stored");
            let write = Update { expected: read, ..update(&session, "{}", at(1)) };
            store.leaves_alone(Write::Update(write), &what).await?;
        }
        store.applies(Write::Update(update(&session, stored, at(1))), "an update of what is stored").await?;
    }
    Ok(())
}

/// [G02] [R08] NULL, which older rows hold, is a value of its own: not the empty text, not `{}`.
pub(super) async fn data_may_be_null(store: Subject) -> Verdict {
    let null = row(1).stored(StoredData::Null).build();
    store.insert([&null]).await?;
    store.holds_row(&null, "a row whose data is NULL").await?;
    for read in ["", "{}", "null", "NULL"] {
        let write = Update { expected: text(read), ..update(&null, "{}", at(1)) };
        store.leaves_alone(Write::Update(write), "an update that expects text").await?;
    }
    store.applies(Write::Update(update(&null, "{}", at(1))), "an update that expects NULL").await?;
    store.holds_row(&row(1).updated(at(1)).build(), "the row after it").await
}

/// [F04] [R08] Rows of other programs may have no `created_at` and no `updated_at`.
pub(super) async fn times_may_be_null(store: Subject) -> Verdict {
    let mut nulls = row(1);
    nulls.0.created_at = None;
    nulls.0.updated_at = None;
    let session = nulls.clone().build();
    store.insert([&session]).await?;
    store.holds_row(&session, "a row without times").await?;
    store.applies(Write::Update(update(&session, "{}", at(1))), "updating it").await?;
    store.holds_row(&nulls.updated(at(1)).build(), "the row after it").await
}

/// [F10] 4 kB, 64 KiB, 1 MiB: whole through insert, update and compare.
pub(super) async fn large_data_comes_back_whole(store: Subject) -> Verdict {
    for (number, length) in (1..).zip([4_001, 65_537, 1 << 20]) {
        let (first, second) = (object(length, 'a'), object(length, 'é'));
        let session = row(number).stored(StoredData::Text(first)).build();
        store.insert([&session]).await?;
        store.holds_row(&session, "large data").await?;
        let almost = session.stored_data().as_text().unwrap_or_default().replace("a\"}", "b\"}");
        let conflicting = Update { expected: text(&almost), ..update(&session, "{}", at(1)) };
        store.leaves_alone(Write::Update(conflicting), "an update that differs in the end").await?;
        store.applies(Write::Update(update(&session, &second, at(1))), "updating large data").await?;
        let after = row(number).stored(StoredData::Text(second)).updated(at(1)).build();
        store.holds_row(&after, "updated large data").await?;
    }
    Ok(())
}

/// A JSON object of at least so many bytes.
fn object(length: usize, of: char) -> Arc<str> {
    format!("{{\"x\": \"{}\"}}", String::from_iter(std::iter::repeat_n(of, length))).into()
}

/// [F04] Microseconds, and the first and the last year there are.
pub(super) async fn times_are_kept_to_the_microsecond(store: Subject) -> Verdict {
    let first = Timestamp::MIN;
    let odd = Timestamp::from_micros(at(0).as_micros() + 1).ok_or_else(|| Failure("a time".to_owned()))?;
    let before_1970 = Timestamp::from_micros(-1).ok_or_else(|| Failure("a time".to_owned()))?;
    for (number, created_at) in (1..).zip([first, before_1970, odd, Timestamp::MAX]) {
        let mut session = row(number).expires(Timestamp::MAX).updated(created_at);
        session.0.created_at = Some(created_at);
        store.insert([&session.clone().build()]).await?;
        store.holds_row(&session.clone().build(), "a row with such times").await?;
        let write = Update {
            expires_at: Expiry::Set(Timestamp::from_micros(odd.as_micros() + 1).unwrap_or(odd)),
            ..update(&session.clone().build(), "{}", odd)
        };
        store.applies(Write::Update(write), "updating it").await?;
        let after = session.expires(Timestamp::from_micros(odd.as_micros() + 1).unwrap_or(odd)).updated(odd);
        store.holds_row(&after.build(), "the row after it").await?;
    }
    Ok(())
}

/// [E04] [L02] In order of time, not of text: the year 1 is over, the year 9999 is not.
pub(super) async fn times_are_compared_as_times(store: Subject) -> Verdict {
    let expiries: [Timestamp; 5] =
        [Timestamp::MIN, at(0), Timestamp::from_micros(at(0).as_micros() + 1).unwrap_or(at(0)), at(1), {
            Timestamp::MAX
        }];
    let rows: Vec<_> = (1..).zip(expiries).map(|(number, end)| row(number).expires(end).build()).collect();
    store.insert(&rows[1..]).await?;
    for (count, now) in expiries.iter().enumerate().skip(1) {
        let mut over: Vec<_> = rows[1..=count].iter().map(|row| row.id()).collect();
        over.sort();
        same(&store.ids(None, Liveness::Expired, *now).await?, &over, format!("expired at {now}"))?;
    }
    // A store that removes rows by its own clock may have removed this one already.
    store.insert(&rows[..1]).await?;
    let live = store.ids(None, Liveness::Live, Timestamp::MIN).await?;
    same(&live.contains(&rows[0].id()), &false, "a row of the year 1 is live in the year 1")
}

/// [F04] [H01] As many characters as the store's limit of any script, quotes, wildcards: each is a user of their own,
/// also where only the last character differs.
pub(super) async fn user_ids_are_compared_byte_for_byte(store: Subject) -> Verdict {
    let limit = store.0.user_id_limit();
    same(&(1..=MAX_USER_ID_CHARS).contains(&limit), &true, format!("user ids of {limit} characters"))?;
    let longest = ["a", "é", "👩"].map(|character| character.repeat(limit));
    let other = "a".repeat(limit - 1) + "b";
    let names =
        ["ada", "Ada", "ada ", " ada", "é", "e\u{301}", "a'da", "a\"da", "%", "_da", "*", "a\\da", "0", "00"];
    let names: Vec<&str> =
        names.into_iter().chain(longest.iter().chain([&other]).map(String::as_str)).collect();
    let rows: Vec<Row> = (1..).zip(&names).map(|(number, name)| row(number).user(name)).collect();
    let rows: Vec<_> = rows.into_iter().map(Row::build).collect();
    store.insert(&rows).await?;
    for row in &rows {
        store.holds_row(row, "a row of such a user").await?;
        let what = format!("the sessions of {:?}", row.user_id());
        same(&store.ids(row.user_id(), Liveness::Live, at(1)).await?, &vec![row.id()], what)?;
    }
    same(&store.stats(at(1)).await?.users, &(rows.len() as u64), "different users")?;
    for row in &rows {
        let Some(owner) = row.user_id() else { continue };
        let deleted = store.delete_user(owner, None).await?;
        same(&deleted, &vec![row.id()], format!("deleted with {owner:?}"))?;
    }
    Ok(())
}
