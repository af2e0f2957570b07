//! Rows that nobody can read: anonymous, told once, and in nobody's way.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use sessile::engine::{Event, Selection};
use sessile::record::{MAX_STORED_BYTES, StoredData};
use sessile::store::{Liveness, SqliteStore};
use sessile::{Policy, UserId};
use support::caller::{Caller, Row, token};
use support::{Stage, noon, seconds};

fn texts() -> Vec<String> {
    let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    ["{", "secret", "[1, 2]", "\"text\"", "17", "null", "{\"a\": }", "{} {}", "{\"a\": 1,}", " "]
        .map(str::to_owned)
        .into_iter()
        .chain([deep(20_000), format!(r#"{{"a": "{}"}}"#, "x".repeat(MAX_STORED_BYTES))])
        .collect()
}

fn ada() -> UserId {
    UserId::new("ada").unwrap()
}

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The log of this thread, which is the log of its test.
struct Log;

impl Log {
    fn open() -> Log {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR);
            subscriber.with_ansi(false).with_writer(|| Log).init();
        });
        Log
    }

    fn take(&self) -> String {
        String::from_utf8(LOG.take()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// [R08] [K02] Anonymous and empty, one event, one line in the log; the text stays until somebody
/// writes, and then it is replaced.
#[tokio::test]
async fn a_corrupt_row_is_anonymous_until_somebody_writes() {
    let log = Log::open();
    for stage in Stage::everywhere(Policy::default()).await {
        for (number, text) in (1..).zip(texts()) {
            let shown: String = text.chars().take(20).collect();
            let (cookie, id) = token(number);
            let mut row = Row::new(id, &*text, noon());
            row.user = Some("ada");
            row.put_into(&stage.store).await;
            let mut caller = Caller::with_cookie(&stage.sessions, &cookie);
            stage.store.statements();
            log.take();
            caller
                .does(|session| {
                    assert_eq!((session.user_id(), session.is_empty()), (None, true), "{shown}");
                })
                .await;
            assert_eq!(stage.store.statements(), 1, "{shown}");
            let events = stage.events();
            assert!(
                matches!(&events[..], [Event::Corrupt { id: told, .. }] if *told == id.to_string()),
                "{shown}: {events:?}"
            );
            let lines = log.take();
            assert_eq!(
                (lines.lines().count(), lines.contains(&id.to_string())),
                (1, true),
                "{shown}: {lines}"
            );
            assert!(lines.contains("ERROR") && !lines.contains("secret"), "no data in the log: {lines}");
            let stored = StoredData::Text(text.as_str().into());
            let untouched = stage.sessions.get(id).await.unwrap().unwrap();
            assert_eq!((untouched.stored_data(), untouched.user_id()), (&stored, Some(&ada())));

            // A renewal is no reason to lose it either.
            stage.clock.advance(seconds(600));
            caller.does(|_| {}).await;
            let renewed = stage.sessions.get(id).await.unwrap().unwrap();
            assert_eq!(*renewed.stored_data(), stored, "{shown}");
            stage.clock.set(noon());

            caller.does(|session| session.insert("k", &1).unwrap()).await;
            let replaced = stage.sessions.get(id).await.unwrap().unwrap();
            assert_eq!(replaced.stored_data().as_text(), Some(r#"{"k": 1}"#), "{shown}");
            assert_eq!(replaced.user_id(), None, "nobody is signed in by a row that could not be read");
            stage.events();
            caller.does(|session| assert_eq!(session.require::<u8>("k").unwrap(), 1)).await;
            assert_eq!(stage.events(), [], "{shown}: whole again");
        }
    }
}

/// [R08] Logging in over it, rotating and logging out work as over any other row.
#[tokio::test]
async fn a_corrupt_row_can_be_signed_in_over_and_ended() {
    for stage in Stage::everywhere(Policy::default()).await {
        let sessions: Vec<Caller> = {
            let mut callers = Vec::new();
            for number in 1..=3 {
                let (cookie, id) = token(number);
                let mut row = Row::new(id, "[]", noon());
                row.user = Some("bob");
                row.put_into(&stage.store).await;
                callers.push(Caller::with_cookie(&stage.sessions, &cookie));
            }
            callers
        };
        let [mut login, mut rotate, mut logout] = sessions.try_into().ok().unwrap();
        login.does(|session| session.login("ada").unwrap()).await;
        assert_eq!(login.peek(|session| session.user_id()).await, Some(ada()));
        rotate.does(|session| session.rotate().unwrap()).await;
        assert_eq!(rotate.peek(|session| session.user_id()).await, None);
        logout.does(|session| session.logout()).await;
        assert_eq!(stage.store.rows().await.len(), 2);
    }
}

/// [R08] Listings, purge and the user's own list go on past it; and the user can end it.
#[tokio::test]
async fn everything_goes_on_past_corrupt_rows() {
    for stage in Stage::everywhere(Policy::default()).await {
        for (number, text) in (1..).zip(texts().into_iter().chain(["{}".into(), "{}".into()])) {
            let mut row = Row::new(token(number).1, text, noon());
            row.user = Some("ada");
            row.put_into(&stage.store).await;
        }
        let all = texts().len() + 2;
        let everything = Selection { user: None, liveness: Liveness::Any };
        let page = stage.sessions.list(&everything, None, 100).await.unwrap();
        assert_eq!((page.records.len(), page.malformed.len()), (all, 0));
        assert_eq!(stage.sessions.sessions_of(&ada()).await.unwrap().len(), all);
        let corrupt = token(1).1;
        let bob = UserId::new("bob").unwrap();
        assert!(!stage.sessions.revoke_of(&bob, corrupt).await.unwrap(), "not bob's");
        assert!(stage.sessions.revoke_of(&ada(), corrupt).await.unwrap(), "what one sees one can end");
        assert_eq!(stage.sessions.stats().await.unwrap().live as usize, all - 1);
        stage.clock.advance(seconds(3600));
        assert_eq!(stage.sessions.purge(|_| {}).await.unwrap().removed as usize, all - 1);
    }
}

/// [R08] A row that is no session at all (SQLite holds anything): unknown to requests, told, and passed
/// by in listings.
#[tokio::test]
async fn a_malformed_row_is_unknown_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let stage = Stage::over(SqliteStore::open(&path).await.unwrap(), Policy::default());
    sessile::store::SessionStore::init(&stage.store).await.unwrap();
    let sql = rusqlite::Connection::open(&path).unwrap();
    sql.busy_timeout(seconds(5)).unwrap();
    let (cookie, id) = token(1);
    let put = "INSERT INTO sessions (id, user_id, data, expires_at) VALUES (?, 'ada', '{}', 'soon')";
    sql.execute(put, [id.to_string()]).unwrap();
    Row { user: Some("ada"), ..Row::new(token(2).1, "{}", noon()) }.put_into(&stage.store).await;

    let mut caller = Caller::with_cookie(&stage.sessions, &cookie);
    caller.does(|session| assert_eq!(session.id(), None)).await;
    let told = stage.events();
    assert!(
        told.iter().any(|event| matches!(event, Event::Corrupt { id: told, .. } if *told == id.to_string()))
    );
    assert_eq!(stage.sessions.sessions_of(&ada()).await.unwrap().len(), 1);
    assert_eq!(stage.events().len(), 1, "told again");
    assert_eq!(stage.sessions.purge(|_| {}).await.unwrap().removed, 0);
    assert_eq!(stage.sessions.revoke_user(&ada()).await.unwrap(), 2, "and it can be ended");
}
