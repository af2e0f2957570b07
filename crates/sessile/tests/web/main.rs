//! What the web sees of a session: pages of errors, headers, cookies, other layers, realms and log lines.
#![allow(missing_docs, clippy::unwrap_used, reason = "the helpers of tests")]

mod errors;
mod headers;
mod log_lines;
mod realms;
mod stack;
#[path = "../support/mod.rs"]
mod support;
mod transport;
