//! The PostgreSQL store against a real server: rows that others wrote, what is sent and how often, and
//! a way to the server that fails.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod cache;
#[path = "../support/coherence.rs"]
mod coherence;
mod collisions;
mod failovers;
mod hot;
mod locked_rows;
#[path = "../support/locks.rs"]
mod locks;
mod opening;
mod outages;
mod poolers;
#[path = "../support/postgres.rs"]
mod postgres_server;
mod rows;
mod settings;
mod support;
mod tls;
mod watch;
#[path = "../support/watching.rs"]
mod watching;
mod writes;
