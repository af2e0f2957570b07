//! How long a coherent cache goes on answering after a session was ended elsewhere, and what telling costs those
//! who write.
//!
//! `staleness ends`: for each way in which another process may end a session, and for each load beside it, so many
//! sessions are kept here and ended there, one after the other. Measured is the time from the moment at which the
//! other process was answered to the moment from which this one no longer answers from its cache; 0 where it had
//! heard before the answer. Both clocks are the system's monotonic one. Python is the program in
//! `SESSILE_TEST_PYTHON`.
//!
//! `staleness writers`: what the feed's trigger costs those who write to PostgreSQL.
//!
//! Prints one line for each measurement, its fields separated by tabs; `cargo xtask bench` makes tables of them.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

mod ends;
mod heard;
mod other;
mod stage;
mod writers;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

/// How stale a cache gets, and what it costs to tell it.
#[derive(Parser)]
#[command(name = "staleness")]
enum Task {
    /// How long the cache goes on after an end elsewhere
    Ends(ends::Plan),
    /// What telling costs those who write
    Writers(writers::Plan),
    /// End the sessions whose ids come in; this program starts it by itself
    #[command(hide = true)]
    End { way: String, url: String },
    /// Change sessions as fast as so many clients can; this program starts it by itself
    #[command(hide = true)]
    Load { url: String, clients: usize },
}

fn main() {
    match Task::parse() {
        Task::Ends(plan) => ends::run(&plan),
        Task::Writers(plan) => writers::run(&plan),
        Task::End { way, url } => runtime().block_on(other::end(&way, &url)),
        Task::Load { url, clients } => runtime().block_on(other::load(&url, clients)),
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
