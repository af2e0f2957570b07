//! What others choose never forges a log line.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt as _, StreamBody};
use sessile::http::OriginCheckLayer;
use sessile::record::{Columns, DataError, StoredData};
use sessile::store::{MalformedRow, StoreError, Write};
use sessile::{LazySession, Session, SessionError, SessionId, SessionLayer, SessionRecord, UserId};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::support::logs::Log;
use crate::support::{Stage, noon};

/// Ends the line, begins a terminal's command in two ways, and turns the direction of writing.
const WILD: &str = "x\n2030-01-01T00:00:00Z  INFO shop: FORGED\r\x1b[31m\u{9b}31m\u{202e}\u{2028}";

fn is_tame(text: &str) -> bool {
    !text.chars().any(sessile::record::Visible::hides)
}

/// [S24] Keys of the data, through every accessor that names them in an error or in the log.
#[tokio::test]
async fn keys_forge_no_log_line() {
    let log = Log::start();
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
    let log = log.text();
    assert!(log.matches("FORGED").count() >= 4, "{log}");
    assert!(log.contains("cross-site request refused"));
    assert!(log.lines().all(|line| is_tame(line) && !line.starts_with("2030-01-01T")), "{log}");
}

/// A response of gRPC whose trailers have this status, from a handler that may have changed its session.
async fn call(
    stage: &Stage,
    content_type: &'static str,
    status: &'static [u8],
    changes: bool,
) -> Option<String> {
    let handler = move |request: Request<()>| async move {
        let session = request.extensions().get::<LazySession>().unwrap().load().await?;
        if changes {
            session.insert("n", &"private-value")?;
        }
        let trailers = HeaderMap::from_iter([
            (HeaderName::from_static("grpc-status"), HeaderValue::from_bytes(status).unwrap()),
            (HeaderName::from_static("grpc-message"), HeaderValue::from_static("private-message")),
        ]);
        let frames =
            [http_body::Frame::data(Bytes::from("private-body")), http_body::Frame::trailers(trailers)];
        let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, Infallible>)));
        let head = http::Response::builder().header(header::CONTENT_TYPE, content_type);
        Ok::<_, SessionError>(head.body(body).unwrap())
    };
    let service = SessionLayer::new(stage.sessions.clone()).layer(service_fn(handler));
    let answer = service.oneshot(Request::new(())).await.unwrap();
    let cookie = answer.headers().get(header::SET_COOKIE).map(|set| set.to_str().unwrap().to_owned());
    assert_eq!(answer.into_body().collect().await.unwrap().trailers().unwrap()["grpc-status"], status);
    Some(cookie?.strip_prefix("__Host-session=")?.split(';').next()?.to_owned())
}

/// [I11] A call of gRPC that fails in its trailers, after its changes were committed, is a warning with its status, and
/// without anything that the handler or the browser holds.
#[tokio::test]
async fn a_failure_in_grpc_trailers_is_logged() {
    const GRPC: &str = "application/grpc+proto";
    for (content_type, status, changes, expected) in [
        (GRPC, &b"13"[..], true, Some("grpc_status=13")),
        (GRPC, b"forged\tgrpc_status=0", true, Some("failed in its trailers")),
        (GRPC, b"0", true, None),
        (GRPC, b"13", false, None),
        ("text/plain", b"13", true, None),
    ] {
        let stage = Stage::new();
        let log = Log::start();
        let token = call(&stage, content_type, status, changes).await;
        let (warnings, log) = (log.warnings(), log.text());
        assert_eq!(warnings.len(), usize::from(expected.is_some()), "{status:?}: {log}");
        if let Some(expected) = expected {
            assert!(warnings[0].contains(expected) && !warnings[0].contains("forged"), "{warnings:?}");
        }
        assert_eq!(token.is_some(), changes);
        assert!(!log.contains("private-"), "{log}");
        assert!(token.is_none_or(|token| !log.contains(&token)), "{log}");
    }
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
