//! A service on every store with a server: what its requests cost, and what becomes of them when the server
//! stops, dies, stands still or cannot be reached; and what belongs to one user, one request or one realm, on every
//! store.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

mod acknowledged;
mod costs;
mod expired;
mod isolation;
mod outages;
mod stage;
mod user_ids;
mod versions;
