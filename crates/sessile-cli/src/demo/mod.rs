//! The demo shop: a small server-rendered shop that a person can use in a browser, so that every promise about
//! sessions can be seen at work. Its goods are invented and nothing is ever sold; its sessions are real.
//!
//! The pages are pure functions from plain values to markup: nothing in [`pages`] may load, change or
//! even know a session. There is no JavaScript, and no style outside the one style sheet, so the
//! Content-Security-Policy can forbid everything but the shop's own files.
//!
//! Read [`shop`] first, then the [`handlers`]: they use the library as an application would.

mod assets;
mod cart;
mod catalogue;
mod device;
mod dress;
mod error;
mod handlers;
mod pages;
mod pictures;
mod serve;
mod shop;
mod users;

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};

use sessile::Sessions;
use sessile::engine::PurgeSchedule;
use sessile::http::CookieConfigError;
use sessile::store::{StoreError, StoreUrl};
use tokio::net::TcpListener;
use tracing_subscriber::filter::LevelFilter;

use crate::arguments::{StoreArgs, by};

/// Where the shop is, and where it keeps its sessions.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080", value_parser = by(address))]
    addr: SocketAddr,
    #[command(flatten)]
    store: StoreArgs,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| "expected an address and a port, for example 127.0.0.1:8080".to_owned())
}

/// Why the shop did not open, or had to close. Each says all of it in one line, the cause included, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("{0} is in use: end the program that listens there, or let --addr {other} pick a free port", other = SocketAddr::new(.0.ip(), 0))]
    InUse(SocketAddr),
    #[error("cannot listen on {address}: {cause}; choose another address with --addr")]
    Listen { address: SocketAddr, cause: io::Error },
    #[error("{0}; with --store the sessions can be kept elsewhere, as in --store sqlite:PATH")]
    Store(StoreError),
    #[error("the shop's cookie is not one that browsers take: {0}")]
    Cookie(CookieConfigError),
    #[error("the shop had to close: {0}")]
    Serve(io::Error),
}

/// Opens the shop, and returns once Ctrl-C or SIGTERM has closed it.
pub(crate) async fn run(
    DemoArgs { addr, store: StoreArgs { store: url } }: DemoArgs,
) -> Result<(), DemoError> {
    // It fails where somebody listens to the log already, which is as well.
    let _ = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(io::stderr).try_init();
    // Before the store: a port that is taken should leave no new file behind.
    let listener = TcpListener::bind(addr).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => DemoError::InUse(addr),
        _ => DemoError::Listen { address: addr, cause: error },
    })?;
    let address = listener.local_addr().map_err(DemoError::Serve)?;
    let stop = serve::interruption().map_err(DemoError::Serve)?;

    let store = url.connect().await.map_err(DemoError::Store)?;
    store.init().await.map_err(DemoError::Store)?;
    let sessions = Sessions::new(store);
    let shop = shop::router(sessions.clone()).map_err(DemoError::Cookie)?;
    let purge = sessions.spawn_purge(PurgeSchedule::default());

    welcome(address, &url);
    let served = serve::serve(listener, shop, stop, serve::DEADLINE).await;
    purge.stop().await;
    if tokio::time::timeout(serve::DEADLINE, sessions.drain()).await.is_err() {
        tracing::warn!("some sessions could not be ended before the shop closed");
    }
    served.map_err(DemoError::Serve)
}

fn welcome(address: SocketAddr, store: &StoreUrl) {
    let mut out = io::stdout().lock();
    // Nobody may be reading; the shop is open all the same.
    let _ = writeln!(out, "The shop is open: http://{address}");
    let _ = writeln!(out, "Sessions are kept in {store}. Press Ctrl-C to close the shop.");
    let _ = out.flush();
    if !address.ip().is_loopback() {
        tracing::warn!(
            "without TLS, everybody between here and a visitor can read the visitor's session cookie"
        );
    }
}

#[cfg(test)]
mod tests;
