//! Whether a connection leads to the server itself or to a pooler, and how that one deals out its connections.
//!
//! A server names the process that serves the connection when it begins; a pooler names something of its own,
//! for the process behind it may change. So a connection whose process is not the named one leads to a pooler.
//! Whether that keeps one process for each connection (session mode) or for each transaction is found out with
//! a second connection: both ask in turn which process serves them, while both are open. One process that
//! serves both, or two that serve one of them, prove transaction mode, whether the pooler is idle, has a single
//! server connection, or takes them in turn.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Client;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::fault::Fault;
use super::pipeline::{Pipeline, Request};
use super::settings;

/// How often two connections compare their processes: a busy pooler deals out others meanwhile.
const ROUNDS: usize = 8;

const PROCESS: &str = "SELECT pg_catalog.pg_backend_pid()";

/// The length of a cancel request, whose second half is the process and its secret.
const CANCEL_REQUEST: usize = 16;

/// How a pooler deals out the processes of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// One for each connection.
    Sessions,
    /// One for each transaction.
    Transactions,
}

/// The process that serves this connection, according to whoever is at its other end; 0 if that named none.
///
/// The driver keeps it for its cancel requests, so one is written into memory and read there.
pub(super) async fn named_process(client: &Client) -> i32 {
    let written = Written::default();
    let request = client.cancel_token().cancel_query_raw(written.clone(), written.clone()).await;
    let bytes = written.0.lock();
    match bytes.last_chunk::<CANCEL_REQUEST>() {
        Some([.., a, b, c, d, _, _, _, _]) if request.is_ok() => i32::from_be_bytes([*a, *b, *c, *d]),
        _ => 0,
    }
}

/// The process that answers now: one transaction, in one round trip.
pub(super) async fn process(pipeline: &Pipeline) -> Result<i32, Fault> {
    let rows = pipeline.transaction(settings::BEGIN, vec![Request::Typed(PROCESS, Vec::new())]).await?;
    let row = rows
        .first()
        .and_then(|rows| rows.first())
        .ok_or_else(|| Fault::Other("the server gave no row".to_owned()))?;
    Ok(row.try_get(0)?)
}

/// How a pooler deals out its connections, from two of them. Without an answer to `other` in `limit` it waits
/// for a process of its own, which only session mode makes it do while `one` is answered.
pub(super) async fn probe(one: &Pipeline, other: &Pipeline, limit: Duration) -> Result<Pooling, Fault> {
    let first = process(one).await?;
    for _ in 0..ROUNDS {
        let Ok(second) = tokio::time::timeout(limit, process(other)).await else { break };
        if second? == first || process(one).await? != first {
            return Ok(Pooling::Transactions);
        }
    }
    if process(one).await? == first { Ok(Pooling::Sessions) } else { Ok(Pooling::Transactions) }
}

/// Keeps what is written to it, and agrees to TLS without doing any.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl AsyncRead for Written {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        into.put_slice(b"S");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Written {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for Written {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl TlsConnect<Written> for Written {
    type Stream = Written;
    type Error = Infallible;
    type Future = Ready<Result<Written, Infallible>>;

    fn connect(self, stream: Written) -> Self::Future {
        ready(Ok(stream))
    }
}
