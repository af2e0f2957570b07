//! What others choose never forges a log line.

use std::io;
use std::sync::{Arc, Mutex};

use http::Request;
use sessile::http::OriginCheckLayer;
use sessile::record::{Columns, DataError, StoredData};
use sessile::store::{MalformedRow, StoreError, Write};
use sessile::{Session, SessionError, SessionId, SessionRecord, UserId};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::support::{Stage, noon};

/// Ends the line, begins a terminal's command in two ways, and turns the direction of writing.
const WILD: &str = "x\n2030-01-01T00:00:00Z  INFO shop: FORGED\r\x1b[31m\u{9b}31m\u{202e}\u{2028}";

fn is_tame(text: &str) -> bool {
    !text.chars().any(sessile::record::Visible::hides)
}

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

/// [S24] Keys of the data, through every accessor that names them in an error or in the log.
#[tokio::test]
async fn keys_forge_no_log_line() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert(WILD, &1)).await;
    visitor.does(async |session: Session| drop(session.get_or::<String>(WILD, "d".into()))).await;
    visitor.does(async |session: Session| session.get::<String>(WILD).map(drop)).await;
    visitor.does(async |session: Session| session.update(WILD, |s: &mut String| s.clear())).await;
    visitor.does(async |session: Session| session.push(WILD, &1)).await;
    visitor
        .does(async |session: Session| session.insert(WILD, &std::collections::BTreeMap::from([((1, 2), 3)])))
        .await;
    visitor.does(async |_: Session| Err::<(), _>(SessionError::Missing { key: WILD.into() })).await;
    let check = OriginCheckLayer::new()
        .layer(service_fn(async |_: Request<()>| Ok::<_, ()>(http::Response::new(()))));
    let request = Request::post("/\u{9b}31m").header("sec-fetch-site", "cross-site").body(()).unwrap();
    check.oneshot(request).await.unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.matches("FORGED").count() >= 4, "{log}");
    assert!(log.contains("cross-site request refused"));
    assert!(log.lines().all(|line| is_tame(line) && !line.starts_with("2030-01-01T")), "{log}");
}

/// [S24] Every error and row that shows what others wrote.
#[tokio::test]
async fn messages_show_text_of_others_on_one_line() {
    let key: Box<str> = WILD.into();
    let source = sessile::record::json::from_text::<u8>("\"\"").unwrap_err();
    let reason = || WILD.to_owned();
    let row = SessionRecord::from_columns(Columns {
        id: SessionId::from_bytes([1; 16]),
        user_id: Some(UserId::new("ada\u{202e}").unwrap()),
        data: StoredData::Null,
        created_at: None,
        expires_at: noon(),
        updated_at: None,
    });
    let messages = [
        DataError::Decode { key: key.clone(), source: source.clone() }.to_string(),
        DataError::Encode { key: key.clone(), source }.to_string(),
        DataError::NotStrict { key }.to_string(),
        SessionError::Missing { key: WILD.into() }.to_string(),
        MalformedRow { id: reason(), problem: reason() }.to_string(),
        StoreError::Unavailable { store: "s", reason: reason(), source: None }.to_string(),
        StoreError::Full { store: "s", reason: reason(), source: None }.to_string(),
        StoreError::Refused { store: "s", reason: reason(), source: None }.to_string(),
        StoreError::Schema { problem: reason(), remedy: reason() }.to_string(),
        StoreError::Backend { store: "s", action: reason(), source: "source".into() }.to_string(),
        OriginCheckLayer::new().trust(WILD).unwrap_err().to_string(),
        sessile::CookieConfig::new().name(WILD).validate().unwrap_err().to_string(),
        sessile::CookieConfig::new().name("s").path(WILD).validate().unwrap_err().to_string(),
        sessile::CookieConfig::new().name("s").domain(WILD).validate().unwrap_err().to_string(),
        sessile::record::Realm::new(WILD).unwrap_err().to_string(),
        row.to_string(),
        format!("{row:?}"),
    ];
    for message in messages {
        assert!(is_tame(&message), "{message:?}");
    }
    // A row of somebody else's goes through the store's own list, too.
    let stage = Stage::new();
    stage.sessions.store().apply(Write::Insert(row)).await.unwrap();
    assert!(stage.store.rows().await.iter().all(|row| is_tame(&row.to_string())));
}
