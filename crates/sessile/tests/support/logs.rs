//! What is logged on the thread of a test.
//!
//! All tests of a program share one subscriber. `tracing` caches for each place that logs whether anybody listens; with
//! a subscriber for each test, a place that two tests reach at the same moment can be cached as silent for both.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    reason = "shared by several test programs"
)]

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::sync::Once;

use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{fmt, registry};

thread_local!(static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) });
static SUBSCRIBER: Once = Once::new();

/// The log of this thread at every level, from here on until it is dropped.
pub struct Log(PhantomData<*const ()>);

impl Log {
    pub fn start() -> Log {
        SUBSCRIBER.call_once(|| {
            let listens = dynamic_filter_fn(|_, _| LOGGED.with_borrow(Option::is_some));
            let lines = fmt::layer().with_ansi(false).with_writer(|| Writer).with_filter(listens);
            tracing::subscriber::set_global_default(registry().with(lines)).unwrap();
        });
        LOGGED.set(Some(Vec::new()));
        Log(PhantomData)
    }

    /// Returns what was logged since the start.
    pub fn text(&self) -> String {
        LOGGED.with_borrow(|text| String::from_utf8(text.clone().unwrap()).unwrap())
    }

    /// Returns the lines of the warnings among it.
    pub fn warnings(&self) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(" WARN ")).map(str::to_owned).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        LOGGED.set(None);
    }
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|text| text.iter_mut().for_each(|text| text.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
