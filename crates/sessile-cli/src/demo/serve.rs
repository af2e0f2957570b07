//! Serving until somebody says stop, and then ending in good time.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long requests that are under way may take once the shop is closing.
pub(super) const DEADLINE: Duration = Duration::from_secs(3);

/// Serves until `stop` is ready. Then nobody new is let in, idle connections are closed at once, and requests
/// that are under way have until the deadline.
pub(super) async fn serve(
    listener: TcpListener,
    shop: Router,
    stop: impl Future<Output = ()> + Send + 'static,
    deadline: Duration,
) -> io::Result<()> {
    let (closing, closed) = oneshot::channel();
    let stop = async move {
        stop.await;
        // Nobody waits for it any more when the server failed by itself.
        let _ = closing.send(());
    };
    let too_late = async move {
        match closed.await {
            Ok(()) => tokio::time::sleep(deadline).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = axum::serve(listener, shop).with_graceful_shutdown(stop).into_future() => served,
        () = too_late => Ok(()),
    }
}

/// Ctrl-C, or the SIGTERM of a service manager. From here on neither ends the process by itself.
#[cfg(unix)]
pub(super) fn interruption() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ctrl-C.
#[cfg(not(unix))]
pub(super) fn interruption() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    /// Longer than any of this takes, shorter than the deadline that must not be needed.
    const SOON: Duration = Duration::from_secs(30);
    const NEVER: Duration = Duration::from_secs(3600);

    async fn ask(address: std::net::SocketAddr, path: &str) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n").as_bytes()).await.unwrap();
        client
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_keep_the_shop_open() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shop = Router::new().route("/", get(|| async { "open" }));
        let stopping = async { stopped.await.unwrap() };
        let server = tokio::spawn(serve(listener, shop, stopping, NEVER));

        let mut client = ask(address, "/").await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"open") {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
        }
        stop.send(()).unwrap();
        timeout(SOON, server).await.expect("the idle client does not hold it").unwrap().unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
    }

    #[tokio::test]
    async fn a_request_that_never_ends_is_given_up_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (begun, mut begins) = mpsc::channel::<()>(1);
        let stuck = move || async move {
            begun.send(()).await.unwrap();
            pending::<&str>().await
        };
        let shop = Router::new().route("/", get(stuck));
        let stopping = async move { assert!(begins.recv().await.is_some()) };
        let server = tokio::spawn(serve(listener, shop, stopping, Duration::from_millis(1)));

        let _client = ask(address, "/").await;
        timeout(SOON, server).await.expect("the deadline counts").unwrap().unwrap();
    }
}
