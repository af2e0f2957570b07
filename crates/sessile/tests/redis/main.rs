//! The Redis store against real servers: what it opens and how, what stands in Redis and who else wrote
//! there, a server that fails, and a primary of a Cluster that is killed under load.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod cache;
#[path = "../support/coherence.rs"]
mod coherence;
mod failover;
mod opening;
mod outages;
mod purge;
#[path = "../support/redis.rs"]
mod redis_server;
mod rows;
mod sentinel;
mod setups;
mod support;
mod tls;
mod watch;
#[path = "../support/watching.rs"]
mod watching;
