//! The tool as people and programs use it: the built `sessile` on a SQLite file of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by it")]

mod changes;
mod copy;
mod doctor;
mod frame;
mod listing;
mod mass;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod sessions;
mod store;
mod support;
mod verify;
