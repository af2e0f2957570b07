//! Tokens stay secret: what the table holds, and what is ever written down (group D of the behaviour
//! cases).
//!
//! Cases that have no test here:
//! * D04: the table never held anything but hashes, so there is nothing to upgrade.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use axum::http::header::SET_COOKIE;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use sessile::engine::{Changes, Credential, NewSession, Selection};
use sessile::record::StoredData;
use sessile::store::{SqliteStore, Write};
use sessile::{LazySession, Policy, Session, SessionError, SessionId, SessionToken};
use support::{Stage, Visitor, seconds};

type Done = Result<(), SessionError>;

/// What a visitor stores and nobody else may read. Every form of it is looked for too.
const PRIVATE: &str = "correct-horse/battery+staple";

async fn who(session: Session) -> String {
    session.user_id().map_or("nobody".to_owned(), |user| user.to_string())
}

/// [D01] [D02] [D05] [D07] [D08] [S02] The table holds a hash as a UUID of version 8: neither the hash nor
/// anything else of a copy of the table signs anybody in, and a listed session can be ended by its id.
#[tokio::test]
async fn a_copy_of_the_table_signs_nobody_in() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        visitor
            .does(async |session: Session| -> Done {
                session.login("ada")?;
                session.csrf_token().map(drop)
            })
            .await;
        let token = visitor.cookie().unwrap();
        let page = stage.sessions.list(&Selection::default(), None, 10).await.unwrap();
        let row = &page.records[0];
        let text = format!("{row} {row:?} {} {}", row.data(), row.user_id().unwrap());
        assert_eq!(hits(&text, &forms(&token)), Vec::<String>::new());
        let id = row.id();
        let csrf: String = row.data().get("_csrf_token").unwrap().unwrap();
        let values = [id.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(&csrf).unwrap_or_default()];
        let values = values.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        assert_eq!(hits(&format!("{text} {values:?}"), &pieces(&token)), Vec::<String>::new());
        assert_eq!(id.to_string().as_bytes()[14], b'8');
        assert_eq!(SessionToken::parse(token.as_bytes()).unwrap().id(), id);
        for taken in [
            id.to_string(),
            id.to_string().replace('-', ""),
            URL_SAFE_NO_PAD.encode(id.as_bytes()),
            URL_SAFE_NO_PAD.encode([*id.as_bytes(), [0; 16]].concat()),
            URL_SAFE_NO_PAD.encode([*id.as_bytes(), *id.as_bytes()].concat()),
            csrf,
            format!("{}{}", id.to_string().replace('-', ""), "A".repeat(11)),
        ] {
            assert_eq!(visitor.with_cookie(taken.clone()).does(who).await.body, "nobody", "{taken}");
        }
        assert_eq!(visitor.does(who).await.body, "ada");
        assert!(stage.sessions.revoke(id).await.unwrap());
        assert_eq!(visitor.does(who).await.body, "nobody");
    }
}

/// A log that a test can read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The ways in which a secret text could be written down, in lower case.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    let mut kinds = vec![secret.as_bytes().to_vec()];
    // A token is itself base64url: of these bytes.
    kinds.extend(URL_SAFE_NO_PAD.decode(secret).ok());
    for bytes in kinds {
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            forms.push(engine.encode(&bytes));
        }
        let join = |show: &dyn Fn(&u8) -> String, between: &str| {
            bytes.iter().map(show).collect::<Vec<_>>().join(between)
        };
        for between in ["", " ", ":", ", ", "\\x", ", 0x"] {
            forms.push(join(&|byte| format!("{byte:02x}"), between));
        }
        forms.push(join(&|byte| byte.to_string(), ", "));
        forms.push(join(&|byte| format!("%{byte:02x}"), ""));
    }
    let percent = |byte: u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    forms.push(secret.bytes().map(percent).collect());
    forms.iter_mut().for_each(|form| form.make_ascii_lowercase());
    forms.sort();
    forms.dedup();
    forms
}

/// Pieces of six bytes of a token's secret and of its text, as they could stand in a row. That one of them is in a row
/// by chance has a probability of some 1 in 2^35.
fn pieces(token: &str) -> Vec<String> {
    let mut pieces: Vec<String> =
        token.as_bytes().windows(8).map(|text| text.escape_ascii().to_string()).collect();
    for bytes in [URL_SAFE_NO_PAD.decode(token).unwrap(), token.as_bytes().to_vec()] {
        for piece in bytes.windows(6) {
            pieces.extend([STANDARD.encode(piece), URL_SAFE.encode(piece)]);
            pieces.push(piece.iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }
    pieces.iter_mut().for_each(|piece| piece.make_ascii_lowercase());
    pieces
}

fn hits(text: &str, forms: &[String]) -> Vec<String> {
    let text = text.to_ascii_lowercase();
    forms.iter().filter(|form| text.contains(form.as_str())).cloned().collect()
}

/// Everything that people could print: the log at TRACE with every SQL statement, `Debug` and `Display` of
/// what they hold, errors, events, error pages.
struct Witness {
    text: String,
    secrets: Vec<String>,
}

impl Witness {
    fn note(&mut self, thing: impl std::fmt::Debug) {
        writeln!(self.text, "{thing:?}\n{thing:#?}").unwrap();
    }

    fn note_error(&mut self, error: &dyn std::error::Error) {
        writeln!(self.text, "{error}\n{error:?}\n{error:#?}").unwrap();
        let mut cause = error.source();
        while let Some(error) = cause {
            writeln!(self.text, "{error}\n{error:?}").unwrap();
            cause = error.source();
        }
    }

    /// Notes an answer as somebody would print it: status, headers with `Debug`, body.
    async fn ask<H, T>(&mut self, visitor: &mut Visitor, handler: H)
    where
        H: axum::handler::Handler<T, ()>,
        T: 'static,
    {
        self.secrets.extend(visitor.cookie());
        let answer = visitor.does(handler).await;
        self.note((answer.status, &answer.headers));
        self.text.push_str(&answer.body);
        self.secrets.extend(visitor.cookie());
    }
}

async fn stores_and_prints(session: Session, lazy: LazySession) -> Result<String, SessionError> {
    session.insert("private", PRIVATE)?;
    session.update("private", |text: &mut String| text.push('!'))?;
    let wrong = session.get::<u32>("private").unwrap_err();
    let missing = session.require::<u8>("missing").unwrap_err();
    let before = format!("{session:?} {lazy:?} {:?} {:?}", session.id(), session.user_id());
    session.save().await?;
    Ok(format!("{before} {wrong} {wrong:?} {missing} {session:#?} {lazy:#?}"))
}

async fn live_through_everything(stage: &Stage, witness: &mut Witness) {
    let mut visitor = stage.visitor();
    witness.ask(&mut visitor, stores_and_prints).await;
    witness.ask(&mut visitor, async |session: Session| session.login("ada")).await;
    witness.ask(&mut visitor, stores_and_prints).await;
    stage.clock.advance(seconds(900));
    witness.ask(&mut visitor, who).await;
    witness.ask(&mut visitor, async |session: Session| session.rotate()).await;
    witness.ask(&mut visitor, async |session: Session| session.remember(true)).await;
    // A conflict, a corrupt answer, a refusal, an end in mid-air, data beyond the limit.
    let mut faster = visitor.clone();
    stage.store.before_next_write(async move {
        faster.does(async |session: Session| session.insert("a", &1)).await;
    });
    witness.ask(&mut visitor, async |session: Session| session.insert("b", &1)).await;
    witness.ask(&mut visitor, async |session: Session| session.insert("large", &PRIVATE.repeat(5_000))).await;
    let mut other = stage.visitor();
    witness.ask(&mut other, async |session: Session| session.login("eve")).await;
    let both = format!("{}; __Host-session={}", visitor.cookie().unwrap(), other.cookie().unwrap());
    visitor.with_cookie(both).does(who).await;
    let unknown = SessionToken::generate(&sessile::record::SystemRandom).unwrap();
    witness.ask(&mut visitor.with_cookie(unknown.expose()), who).await;
    witness.ask(&mut visitor.with_cookie(format!("{PRIVATE}malformed")), who).await;
    let sessions = stage.sessions.clone();
    stage.store.before_next_write(async move {
        sessions.revoke_user(&sessile::UserId::new("eve").unwrap()).await.unwrap();
    });
    witness.ask(&mut other, async |session: Session| session.insert("late", &1)).await;
    stage.store.set_down(true);
    witness.ask(&mut visitor, who).await;
    stage.store.set_down(false);
    stage.store.set_writes_down(true);
    witness.ask(&mut visitor, async |session: Session| session.insert("c", &1)).await;
    stage.store.set_writes_down(false);
    let mut tab = visitor.clone();
    let panics = async |session: Session| -> &'static str {
        session.logout();
        panic!("as this test wants");
    };
    tokio::spawn(async move { tab.does(panics).await }).await.unwrap_err();
    witness.ask(&mut visitor, who).await;
    // What the service gives to programs.
    let new =
        NewSession { data: format!("{{\"p\": \"{PRIVATE}\"}}").parse().unwrap(), ..NewSession::default() };
    witness.note(&new);
    let (credential, record) = stage.sessions.create(new).await.unwrap();
    let Credential::Token(token) = &credential else { panic!("a token is the default") };
    witness.secrets.push(token.expose().to_owned());
    witness.note((&credential, token, Some(token.clone()), token.id()));
    witness.note((&record, record.stored_data(), record.data(), Write::Insert(record.clone())));
    writeln!(witness.text, "{record}").unwrap();
    let lazy = LazySession::new(stage.sessions.clone(), vec![credential.clone()]);
    witness.note(&lazy);
    let session = lazy.load().await.unwrap();
    witness.note((&session, &lazy));
    let mut changes = Changes::new();
    changes.set_raw("p", &format!("\"{PRIVATE}\"")).unwrap();
    witness.note(&changes);
    let changed = stage.sessions.change(record.id(), &changes).await.unwrap();
    witness.note((changed, stage.sessions.policy(), stage.sessions.stats().await.unwrap()));
    // Errors that were made near a secret.
    let text = format!("{{\"p\": \"{PRIVATE}");
    witness.note_error(&StoredData::Text(text.as_str().into()).decode().unwrap_err());
    witness.note_error(&changes.set_raw("p", &text).unwrap_err());
    witness.note_error(&SessionToken::parse(format!("{}=", token.expose()).as_bytes()).unwrap_err());
    witness.note_error(&token.expose().parse::<SessionId>().unwrap_err());
    witness.note_error(&session.login(token.expose().repeat(6)).unwrap_err());
    for record in stage.store.rows().await {
        witness.note(record);
    }
    stage.clock.advance(seconds(100 * 24 * 60 * 60));
    witness.note(stage.sessions.purge(|_| {}).await.unwrap());
    witness.note(stage.events());
}

/// [S14] [D07] The canary. Everything that happens to sessions is logged at TRACE with every SQL statement,
/// everything public is printed: no token and no data is found in it, in no form.
#[test]
fn nothing_secret_is_ever_written_down() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // For all threads of this program, the writer of SQLite too; no other test of it needs a log.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let mut witness = Witness { text: String::new(), secrets: vec![PRIVATE.to_owned()] };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        live_through_everything(&Stage::new(), &mut witness).await;
        let sqlite = SqliteStore::options().open_in_memory().await.unwrap();
        sessile::store::SessionStore::init(&sqlite).await.unwrap();
        live_through_everything(&Stage::over(sqlite, Policy::default()), &mut witness).await;
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("sessile::sql") && log.contains("UPDATE"), "the SQL log is on");
    for seen in
        ["Rotated", "Authenticated", "Conflict", "Revoked", "LoggedOut", "503", "several live sessions"]
    {
        assert!(log.contains(seen), "{seen} was not lived through");
    }
    witness.text.push_str(&log);
    witness.secrets.sort();
    witness.secrets.dedup();
    assert!(witness.secrets.len() > 10, "{} secrets", witness.secrets.len());
    for secret in &witness.secrets {
        assert_eq!(hits(&witness.text, &forms(secret)), Vec::<String>::new());
    }
}

/// [S14] The search of the canary finds what it looks for, in each of its forms.
#[test]
fn the_canary_can_sing() {
    let token = SessionToken::generate(&sessile::record::SystemRandom).unwrap();
    let secret = token.expose();
    let bytes = URL_SAFE_NO_PAD.decode(secret).unwrap();
    for leak in [
        secret.to_owned(),
        STANDARD.encode(&bytes),
        STANDARD.encode(secret),
        format!("{:?}", secret.as_bytes()),
        format!("{bytes:02x?}"),
        bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        secret.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        secret.replace('-', "%2D").replace('_', "%5F"),
    ] {
        assert!(!hits(&format!("GET /?t={leak}&x"), &forms(secret)).is_empty(), "{leak}");
    }
}

/// [S14] The header that carries the token hides it in `Debug`, as headers are often logged.
#[tokio::test]
async fn the_header_is_marked_as_sensitive() {
    let stage = Stage::new();
    let answer = stage.visitor().does(async |session: Session| session.login("ada")).await;
    assert!(answer.headers[SET_COOKIE].is_sensitive());
    assert!(format!("{:?}", answer.headers).contains("Sensitive"));
}
