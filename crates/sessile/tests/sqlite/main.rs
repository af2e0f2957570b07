//! The SQLite store beyond what every store must do: what stands in the file, how others' rows are
//! read, how writes are grouped, and what is said when something is wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod files;
mod log;
mod open;
mod purge;
mod rows;
mod support;
mod writes;
