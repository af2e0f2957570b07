//! Reading and changing values (group A of the behaviour cases), and what several requests at once
//! make of it.
//!
//! Cases that have no test here:
//! * A02 "accessed": there is no such flag. Loading is what costs, and loading is explicit.
//! * A25: there are no methods or metadata on the stored object, so no key can be in their way; that
//!   a key named like a method works is shown with A26.
//! * A28 (no middleware) and A29 (destroyed) stand in `middleware.rs` and `identity.rs`.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sessile::engine::EngineError;
use sessile::record::DataError;
use sessile::{Key, Policy, Session, SessionError};
use support::Stage;

type Done = Result<(), SessionError>;

const CART: Key<Vec<String>> = Key::new("cart");
const COUNT: Key<u32> = Key::new("count");

/// [A01] [A29] Looking changes nothing, changing is seen, and a commit settles it.
#[tokio::test]
async fn a_session_is_modified_by_changes_alone() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let looks = async |session: Session| -> Done {
        assert!(!session.is_modified());
        assert!(session.is_empty() && session.keys().is_empty() && session.id().is_none());
        assert_eq!(session.get(COUNT)?, None);
        assert_eq!(session.get::<String>("other")?, None);
        assert!(!session.contains("count") && !session.remove("count"));
        assert_eq!(session.take(COUNT)?, None);
        session.clear();
        session.keep_only(&[]);
        assert!(session.flashes()?.is_empty());
        assert!(!session.is_modified(), "none of this changes anything");
        Ok(())
    };
    assert_eq!(visitor.does(looks).await.status, 200);
    let changes = async |session: Session| -> Done {
        session.insert(COUNT, &1)?;
        assert!(session.is_modified());
        session.save().await?;
        assert!(!session.is_modified() && session.id().is_some());
        session.clear();
        assert!(session.is_modified());
        Ok(())
    };
    assert_eq!(visitor.does(changes).await.status, 200);
    assert_eq!(stage.store.rows().await[0].data().to_text().as_ref(), "{}");
}

/// [A04] [A05] [A14] [A20] Taking out returns the value and removes it, whatever its type; what is
/// of another type stays.
#[tokio::test]
async fn values_are_taken_out() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor
        .does(async |session: Session| -> Done {
            session.extend(&serde_json::json!({"n": 7, "b": true, "s": "x", "l": [1, 2], "keep": "text"}))
        })
        .await;
    let answer = visitor
        .does(async |session: Session| -> Done {
            assert_eq!(session.take::<i64>("n")?, Some(7));
            assert_eq!(session.take::<bool>("b")?, Some(true));
            assert_eq!(session.take::<String>("s")?.as_deref(), Some("x"));
            assert_eq!(session.take("l")?, Some(vec![1u8, 2]));
            assert!(session.take::<u8>("keep").is_err());
            assert_eq!(session.take::<u8>("missing")?.unwrap_or(9), 9);
            assert_eq!(session.keys(), ["keep"]);
            Ok(())
        })
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(stage.store.rows().await[0].data().to_text().as_ref(), r#"{"keep": "text"}"#);
}

/// [A13] [A17] A value of another type is an error that names the key and not the value; a default is
/// used only where one was asked for.
#[tokio::test]
async fn a_value_of_another_type_is_never_a_panic() {
    let stage = Stage::new();
    let handler = async |session: Session| -> Done {
        session.insert("name", "ada lovelace")?;
        let error = session.get::<u32>("name").unwrap_err();
        assert!(matches!(&error, SessionError::Data(DataError::Decode { key, .. }) if &**key == "name"));
        assert!(!format!("{error} {error:?}").contains("lovelace"));
        assert_eq!(session.get_or("name", 5u32), 5);
        assert_eq!(session.get_or("missing", 6u32), 6);
        assert_eq!(session.get_or("name", String::new()), "ada lovelace");
        assert_eq!(session.require::<String>("name")?, "ada lovelace");
        let error = session.require::<String>("missing").unwrap_err();
        assert!(matches!(&error, SessionError::Missing { key } if key == "missing"));
        assert!(session.push("name", &1).is_err() && session.update("name", |n: &mut u32| *n += 1).is_err());
        assert_eq!(session.require::<String>("name")?, "ada lovelace", "a failed change changes nothing");
        Ok(())
    };
    assert_eq!(stage.visitor().does(handler).await.status, 200);
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Default, Clone)]
struct Profile {
    name: String,
    age: Option<u8>,
}

/// [A07] [A08] [A11] [A16] [A19] [A22] [A23] The pleasant things, and that the next request sees them.
#[tokio::test]
async fn the_pleasant_things_do_what_they_say() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        let answer = visitor
            .does(async |session: Session| -> Done {
                let made = Arc::new(AtomicUsize::new(0));
                for _ in 0..2 {
                    let made = Arc::clone(&made);
                    let value = session.get_or_insert_with("made", move || {
                        made.fetch_add(1, Ordering::SeqCst);
                        41
                    })?;
                    assert_eq!(value, 41);
                }
                assert_eq!(made.load(Ordering::SeqCst), 1, "made once");
                session.insert(CART, &vec!["pen".to_owned()])?;
                session.push("cart", "ink")?;
                session.push("tags", &7)?;
                let profile = Profile { name: "Ada".into(), age: None };
                session.extend(&profile)?;
                assert_eq!(session.update(COUNT, |n| *n += 2)?, 2);
                session.update("profile", |p: &mut Profile| p.name.push('!'))?;
                session.insert("gone", &1)?;
                session.insert("gone", &None::<u8>)?;
                session.insert("unit", &())?;
                Ok(())
            })
            .await;
        assert_eq!(answer.status, 200);
        let answer = visitor
            .does(async |session: Session| -> Done {
                assert_eq!(session.require(CART)?, ["pen", "ink"]);
                let borrowed = &CART;
                assert_eq!(session.get(borrowed)?.unwrap().len(), 2, "a key may be borrowed");
                assert_eq!(session.require::<Vec<u8>>("tags")?, [7]);
                assert_eq!(session.require::<String>("name")?, "Ada");
                assert_eq!(session.require(COUNT)?, 2);
                assert_eq!(session.require::<Profile>("profile")?.name, "!");
                assert!(!session.contains("gone") && !session.contains("unit"));
                assert!(session.contains_any(&["nope", "cart"]) && !session.contains_any(&["nope"]));
                session.keep_only(&["cart", "nope"]);
                assert_eq!(session.keys(), ["cart"]);
                Ok(())
            })
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(stage.store.rows().await[0].data().to_text().as_ref(), r#"{"cart": ["pen", "ink"]}"#);
    }
}

/// [A08] [A16] What is null in a map removes, as it does alone.
#[tokio::test]
async fn null_removes_in_a_map_too() {
    let stage = Stage::new();
    let handler = async |session: Session| -> Done {
        session.extend(&serde_json::json!({"a": 1, "b": 2}))?;
        session.extend(&serde_json::json!({"a": null}))?;
        assert_eq!(session.keys(), ["b"]);
        session.extend(&Profile { name: "Ada".into(), age: None })?;
        assert!(!session.contains("age"));
        Ok(())
    };
    assert_eq!(stage.visitor().does(handler).await.status, 200);
}

/// [A25] [A26] [H29] What sessile remembers is neither seen nor changed through the data, and names of
/// columns and methods are ordinary keys.
#[tokio::test]
async fn internals_never_leak_into_the_data() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let answer = visitor
        .does(async |session: Session| -> Done {
            for key in ["save", "id", "user_id", "expires_at", "__proto__", "", "a\"b"] {
                session.insert(key, "nope")?;
            }
            session.login("ada")?;
            session.remember(true);
            let reserved = |done: Done| matches!(done, Err(SessionError::Data(DataError::Reserved)));
            assert!(reserved(session.insert("_sessile", &1)));
            assert!(reserved(session.push("_sessile", &1)));
            assert!(reserved(session.update("_sessile", |n: &mut u8| *n += 1).map(drop)));
            assert!(reserved(session.extend(&BTreeMap::from([("fine", 1), ("_sessile", 2)]))));
            assert!(!session.contains("fine"), "all or nothing");
            assert!(!session.remove("_sessile"));
            Ok(())
        })
        .await;
    assert_eq!(answer.status, 200);
    let answer = visitor
        .does(async |session: Session| -> Done {
            assert_eq!(session.keys(), ["save", "id", "user_id", "expires_at", "__proto__", "", "a\"b"]);
            assert!(!session.contains("_sessile") && session.raw("_sessile").is_none());
            assert_eq!(session.user_id().unwrap(), "ada");
            session.clear();
            Ok(())
        })
        .await;
    assert_eq!(answer.status, 200);
    let row = &stage.store.rows().await[0];
    assert_eq!(row.user_id().unwrap(), &"ada", "clearing the data signs nobody out");
    assert!(stage.sessions.describe(row).remembered);
    assert!(row.data().is_empty());
}

/// [A10] Clearing wins over what the same request did before, and leaves what comes after.
#[tokio::test]
async fn clear_empties_and_what_follows_stays() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("old", &1)).await;
    visitor
        .does(async |session: Session| -> Done {
            session.insert("early", &1)?;
            session.clear();
            assert!(session.is_empty());
            session.insert("late", &1)
        })
        .await;
    assert_eq!(stage.store.rows().await[0].data().to_text().as_ref(), r#"{"late": 1}"#);
}

/// [G02] [G04] [B13] Requests that change different keys all win, and one that only looks undoes
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn different_keys_all_survive() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        visitor.does(async |session: Session| session.insert("start", &0)).await;
        let requests = (0..50).map(|n: u32| {
            let mut tab = visitor.clone();
            tokio::spawn(async move {
                if n.is_multiple_of(5) {
                    tab.does(async |session: Session| session.get::<u32>("start").map(drop)).await.status
                } else {
                    let key = format!("key{n}");
                    tab.does(async move |session: Session| session.insert(&key, &n)).await.status
                }
            })
        });
        for request in requests.collect::<Vec<_>>() {
            assert_eq!(request.await.unwrap(), StatusCode::OK);
        }
        let rows = stage.store.rows().await;
        assert_eq!((rows.len(), rows[0].data().len()), (1, 41));
    }
}

/// [G02] [R12] Fifty requests that add one make fifty, in one process and in two over one store; so do
/// fifty items and fifty flash messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_update_counts() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        visitor.does(async |session: Session| session.insert("start", &0)).await;
        let other = stage.another_process();
        let mut elsewhere = other.visitor();
        elsewhere.jar = visitor.jar.clone();
        let requests = (0..50).map(|n: u32| {
            let mut tab = if n.is_multiple_of(2) { visitor.clone() } else { elsewhere.clone() };
            tokio::spawn(async move {
                let handler = async move |session: Session| -> Done {
                    session.update(COUNT, |count| *count += 1)?;
                    session.push("list", &n)?;
                    session.flash("info", format!("message {n}"))
                };
                tab.does(handler).await.status
            })
        });
        for request in requests.collect::<Vec<_>>() {
            assert_eq!(request.await.unwrap(), StatusCode::OK);
        }
        let answer = visitor
            .does(async |session: Session| -> Done {
                assert_eq!(session.require(COUNT)?, 50);
                let mut list: Vec<u32> = session.require("list")?;
                list.sort_unstable();
                assert_eq!(list, (0..50).collect::<Vec<_>>());
                let messages: std::collections::BTreeSet<String> =
                    session.flashes()?.into_iter().map(|flash| flash.message).collect();
                assert_eq!(messages.len(), 50);
                Ok(())
            })
            .await;
        assert_eq!(answer.status, 200);
    }
}

/// [G02] Handles of one request share its session: what one adds while the other saves is kept.
#[tokio::test]
async fn a_change_made_while_a_save_is_on_its_way_is_kept() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("start", &0)).await;
    let store = stage.store.clone();
    let answer = visitor
        .does(async move |session: Session| -> Done {
            session.insert("first", &1)?;
            let clone = session.clone();
            store.before_next_write(async move {
                clone.insert("second", &2).unwrap();
                clone.update(COUNT, |n| *n += 1).unwrap();
            });
            session.save().await?;
            assert_eq!(session.keys(), ["start", "first", "second", "count"]);
            assert!(session.is_modified());
            Ok(())
        })
        .await;
    assert_eq!(answer.status, 200);
    let text = stage.store.rows().await[0].data().to_text();
    assert_eq!(text.as_ref(), r#"{"start": 0, "first": 1, "second": 2, "count": 1}"#);
}

/// [G02] What a session shows after it was made, or got another name, is its row, and the next change adds to that.
#[tokio::test]
async fn a_session_that_was_just_made_goes_on_from_its_row() {
    const KEY: &str = "a \"key\"\n";
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let store = stage.store.clone();
    let answer = visitor
        .does(async move |session: Session| -> Done {
            session.extend(&BTreeMap::from([(KEY, "é"), ("b", "x")]))?;
            for signs_in in [false, true] {
                if signs_in {
                    session.login("ada")?;
                }
                session.save().await?;
                let row = store.rows().await[0].data();
                assert!(session.raw(KEY).is_some() && !session.is_modified());
                for key in session.keys() {
                    assert_eq!(session.raw(&key).as_deref(), row.raw(&key), "{key:?} {signs_in}");
                }
                session.insert("n", &u8::from(signs_in))?;
            }
            session.remove("b");
            Ok(())
        })
        .await;
    assert_eq!(answer.status, 200);
    let data = stage.store.rows().await[0].data();
    assert_eq!((data.raw(KEY), data.raw("n"), data.raw("b")), (Some("\"\\u00e9\""), Some("1"), None));
}

/// [G02] A save that failed keeps its changes, and those made meanwhile, for the next try.
#[tokio::test]
async fn a_failed_save_can_be_tried_again() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("start", &0)).await;
    let store = stage.store.clone();
    let answer = visitor
        .does(async move |session: Session| -> Done {
            session.insert("first", &1)?;
            session.update(COUNT, |n| *n += 1)?;
            store.set_writes_down(true);
            let clone = session.clone();
            store.before_next_write(async move {
                clone.update(COUNT, |n| *n += 1).unwrap();
                clone.insert("first", "changed").unwrap();
            });
            let error = session.save().await.unwrap_err();
            assert!(error.is_transient());
            assert!(session.is_modified());
            store.set_writes_down(false);
            session.save().await
        })
        .await;
    assert_eq!(answer.status, 200);
    let data = stage.store.rows().await[0].data();
    assert_eq!(data.get::<String>("first").unwrap().as_deref(), Some("changed"));
    assert_eq!(data.get::<u32>("count").unwrap(), Some(2), "each update once");
}

/// [S22] [F10] Data beyond the limit is a typed error and 413, before any write; the old data stays.
#[tokio::test]
async fn too_much_data_is_refused_and_the_old_data_stays() {
    for stage in Stage::everywhere(Policy::default().max_data_bytes(1_000)).await {
        let mut visitor = stage.visitor();
        let answer = visitor.does(async |session: Session| session.insert("a", &"x".repeat(900))).await;
        assert_eq!(answer.status, 200);
        let before = stage.store.rows().await;
        stage.store.statements();
        let answer = visitor
            .does(async |session: Session| -> Done {
                let error = session.insert("b", &"y".repeat(200)).unwrap_err();
                let SessionError::Engine(EngineError::TooLarge { bytes, limit }) = &error else {
                    panic!("{error:?}");
                };
                assert_eq!((*bytes, *limit), (1_118, 1_000));
                assert!(error.to_string().contains("1000 are allowed") && !error.is_transient());
                Err(error)
            })
            .await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(answer.set_cookies().is_empty());
        assert_eq!(stage.store.statements(), 1, "the load, and no write");
        assert_eq!(stage.store.rows().await, before);
        // A new visitor leaves no row, and gets no cookie for one.
        let mut other = stage.visitor();
        let answer = other.does(async |session: Session| session.insert("b", &"y".repeat(2_000))).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(answer.set_cookies().is_empty() && stage.store.rows().await.len() == 1);
    }
}

/// [S22] What is nested too deep is refused when it is stored, and does not overflow a stack when it is
/// read.
#[tokio::test]
async fn depth_is_bounded() {
    let stage = Stage::new();
    let handler = async |session: Session| -> Done {
        let deep = format!("{}{}", "[".repeat(901), "]".repeat(901));
        let value: serde_json::Value =
            (0..901).fold(serde_json::json!(1), |value, _| serde_json::json!([value]));
        assert!(session.insert("deep", &value).is_err());
        // Dropping it must not overflow the test's own stack either.
        std::mem::forget(value);
        assert!(sessile::SessionData::new().insert_raw("deep", deep).is_err());
        assert!(!session.is_modified());
        Ok(())
    };
    assert_eq!(stage.visitor().does(handler).await.status, 200);
    let text = format!("{{\"a\": {}{}}}", "[".repeat(500_000), "]".repeat(500_000));
    assert!(text.parse::<sessile::SessionData>().is_err());
}

/// [K08] A value that cannot be written names its key and changes nothing.
#[tokio::test]
async fn a_value_without_a_text_is_refused() {
    let stage = Stage::new();
    let handler = async |session: Session| -> Done {
        let odd = BTreeMap::from([(vec![1u8], 1u8)]);
        let error = session.insert("odd", &odd).unwrap_err();
        assert!(error.to_string().contains("`odd`"));
        assert!(session.extend(&7).is_err() && session.extend(&[1, 2]).is_err());
        assert!(!session.is_modified());
        Ok(())
    };
    assert_eq!(stage.visitor().does(handler).await.status, 200);
    assert!(stage.store.rows().await.is_empty());
}

fn is_too_large<T: std::fmt::Debug>(done: Result<T, SessionError>) -> bool {
    matches!(done, Err(SessionError::Engine(EngineError::TooLarge { .. })))
}

/// [S22] [R20] Whatever would make the data larger than is allowed is refused when it is called, and changes nothing:
/// values, keys, lists, messages. What makes it smaller never is.
#[tokio::test]
async fn data_is_bounded_at_every_door() {
    let stage = Stage::with_policy(Policy::default().max_data_bytes(1_000));
    let mut visitor = stage.visitor();
    let answer = visitor
        .does(async |session: Session| -> Done {
            session.insert("a", &"x".repeat(900))?;
            session.save().await?;
            let (long, big) = ("k".repeat(90), "y".repeat(90));
            assert!(is_too_large(session.insert("b", &big)));
            assert!(is_too_large(session.insert(&long, &1)), "keys count");
            assert!(is_too_large(session.insert("\u{1f600}".repeat(8).as_str(), &1)), "as they are stored");
            assert!(is_too_large(session.get_or_insert_with("b", || big.clone())));
            assert!(is_too_large(session.update("a", |text: &mut String| text.push_str(&"z".repeat(95)))));
            assert!(is_too_large(session.push("list", &big)));
            assert!(is_too_large(session.flash("info", big.clone())));
            assert!(is_too_large(session.extend(&BTreeMap::from([("b", "1"), ("c", &big)]))));
            assert!(!session.is_modified() && session.keys() == ["a"], "nothing is changed");

            // To the byte: {"a": "xx…", "b": "yy…"}
            session.insert("b", &"y".repeat(82))?;
            assert!(is_too_large(session.insert("b", &"y".repeat(83))));
            assert!(is_too_large(session.insert("c", &1)));
            session.save().await?;
            session.extend(&serde_json::json!({"b": null, "c": "y".repeat(60)}))?;
            session.remove("c");
            session.update("a", |text: &mut String| text.truncate(10))?;
            for n in 0..10 {
                session.push("list", &n)?;
            }
            assert_eq!(session.csrf_token()?.len(), 32);
            Ok(())
        })
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        visitor.does(async |session: Session| session.get_or("list", vec![1u8]).len().to_string()).await.body,
        "10"
    );
}

/// [S22] Data that is larger than allowed already, because a smaller limit was set since or Python wrote it, can be
/// used, reduced and signed in; it cannot grow.
#[tokio::test]
async fn data_beyond_the_limit_can_only_shrink() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor
        .does(async |session: Session| {
            session.extend(
                &[("a", "x".repeat(900)), ("b", "y".repeat(900))].into_iter().collect::<BTreeMap<_, _>>(),
            )
        })
        .await;
    let smaller = Stage::over(stage.store.clone(), Policy::default().max_data_bytes(1_000));
    let mut tab = smaller.visitor();
    tab.jar = visitor.jar.clone();
    let answer = tab
        .does(async |session: Session| -> Done {
            assert!(is_too_large(session.insert("c", &1)));
            session.insert("a", &"z".repeat(800))?;
            session.login("ada")?;
            assert_eq!(session.csrf_token()?.len(), 32);
            session.save().await?;
            session.remove("b");
            Ok(())
        })
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(stage.store.rows().await[0].data().keys().collect::<Vec<_>>(), ["a", "_csrf_token"]);
}

/// [A11] Keys that no `&str` can name, which Python may store, are removed with the others, and only those.
#[tokio::test]
async fn keep_only_removes_keys_without_a_name() {
    let stage = Stage::new();
    let data = r#"{"\ud800": 1, "a": 2, "\ufffd": 3, "b\udfff": 4}"#;
    let new = || sessile::engine::NewSession { data: data.parse().unwrap(), ..Default::default() };
    for (keep, left) in
        [(&[][..], "{}"), (&["a"][..], r#"{"a": 2}"#), (&["\u{fffd}"][..], r#"{"\ufffd": 3}"#)]
    {
        let (credential, record) = stage.sessions.create(new()).await.unwrap();
        let session =
            sessile::LazySession::new(stage.sessions.clone(), vec![credential]).load().await.unwrap();
        session.keep_only(keep);
        assert_eq!(session.keys(), keep);
        session.save().await.unwrap();
        let row = stage.sessions.get(record.id()).await.unwrap().unwrap();
        assert_eq!(row.stored_data().as_text(), Some(left));
    }
}
