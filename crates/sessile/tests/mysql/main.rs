//! The MySQL store against real servers: rows and tables that others made, what is sent and how often, and
//! a server, or a way to it, that fails.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod collisions;
mod locked_rows;
#[path = "../support/locks.rs"]
mod locks;
#[path = "../support/mysql.rs"]
mod mysql_server;
mod opening;
mod outages;
mod rows;
mod settings;
mod support;
mod tls;
mod writes;
