//! The way between a store and its server, for the tests: a [`Proxy`] that fails as networks do, and an
//! [`Authority`] whose certificates a server can show.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test whose network cannot be made ends")]

mod authority;
mod proxy;

pub use authority::{Authority, Certificate};
pub use proxy::Proxy;
