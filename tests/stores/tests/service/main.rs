//! A service on every store with a server: what its requests cost, and what becomes of them when the server
//! stops, dies, stands still or cannot be reached.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

mod acknowledged;
mod costs;
mod expired;
mod outages;
mod stage;
mod versions;
