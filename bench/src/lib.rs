//! What a session costs, against a server without one and against SQL written by hand.
//!
//! Programs use this: `benches/requests.rs` calls the routers in process, `load` over HTTP with the server in
//! a process of its own; `memory` and `staleness` measure what their names say. A subject is a router with the same
//! routes as every other, so that a further one is a function in [`subject`] and a name; an answer that is no 200
//! stops the run, since a fast failure is no result.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot go on stops")]

pub mod databases;
pub mod hand;
pub mod latencies;
mod measured;
pub mod processes;
pub mod sample;
mod stage;
pub mod subject;

pub use measured::Measured;
pub use stage::Stage;
