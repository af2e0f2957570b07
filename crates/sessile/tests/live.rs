//! The example with the event stream, over HTTP: it closes when the session is ended elsewhere.
#![allow(missing_docs, clippy::unwrap_used, reason = "the helpers of tests")]

#[allow(dead_code, unreachable_pub, reason = "the example's own main")]
#[path = "../examples/live.rs"]
mod live;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sessile::store::{SessionStore, SqliteStore};
use sessile::{Sessions, UserId};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

async fn sessions(path: &Path) -> Sessions {
    let store = SqliteStore::open(path).await.unwrap();
    store.init().await.unwrap();
    Sessions::builder(store).watch_interval(Duration::from_millis(20)).build()
}

/// Sends a request and leaves the answer to be read, line by line.
async fn send(to: SocketAddr, request: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

/// The next line that begins so; `None`: the server has closed before.
async fn line(of: &mut BufReader<TcpStream>, begins: &str) -> Option<String> {
    loop {
        let mut line = String::new();
        if of.read_line(&mut line).await.unwrap() == 0 {
            return None;
        }
        if let Some(rest) = line.to_lowercase().strip_prefix(begins) {
            return Some(rest.trim().to_owned());
        }
    }
}

async fn signed_in(to: SocketAddr) -> String {
    let request = "POST /sign-in HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\n\"ada\"";
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(cookie) = line.strip_prefix("set-cookie: ") {
            return cookie.split(';').next().unwrap().to_owned();
        }
    }
}

async fn stream(to: SocketAddr, cookie: &str) -> BufReader<TcpStream> {
    send(to, &format!("GET /events HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\r\n")).await
}

/// [N05] [N10] Revoked here, revoked by another process, signed out by the user: each stream is told, and closed;
/// one that was closed before disturbs nobody.
#[tokio::test]
async fn the_stream_ends_with_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.db");
    let (here, elsewhere) = (sessions(&path).await, sessions(&path).await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let app = live::app(here.clone()).unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let ada = UserId::new("ada").unwrap();
    for way in 0..3 {
        let cookie = signed_in(to).await;
        let mut events = stream(to, &cookie).await;
        let closed = stream(to, &cookie).await;
        let mut other = stream(to, &cookie).await;
        for events in [&mut events, &mut other] {
            assert_eq!(line(events, "data: ").await.as_deref(), Some("alive"));
        }
        drop(closed);
        match way {
            0 => assert_eq!(here.revoke_user(&ada).await.unwrap(), 1),
            1 => assert_eq!(elsewhere.revoke_user(&ada).await.unwrap(), 1),
            _ => {
                let request = "POST /sign-out-everywhere HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n";
                let mut answer = send(to, &format!("{request}cookie: {cookie}\r\n\r\n")).await;
                assert!(line(&mut answer, "http/1.1 200").await.is_some());
            }
        }
        for events in [&mut events, &mut other] {
            assert_eq!(line(events, "event: ").await.as_deref(), Some("ended"), "way {way}");
            assert_eq!(line(events, "data: ").await.as_deref(), Some("you were signed out"));
            assert_eq!(line(events, "0").await.as_deref(), Some(""), "the last chunk");
        }
        let mut refused = stream(to, &cookie).await;
        assert!(line(&mut refused, "http/1.1 401").await.is_some());
    }
}
