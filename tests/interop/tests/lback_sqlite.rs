//! sessile and the real lback 1.0.3 on one SQLite file, both ways.
//!
//! Python runs the package itself (`src/peer.py`); both sides have the same standing clock. The table is the
//! one that SQLAlchemy makes, unless a test says otherwise.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

#[path = "lback_sqlite/broken.rs"]
mod broken;
#[path = "lback_sqlite/defects.rs"]
mod defects;
#[path = "lback_sqlite/lifetimes.rs"]
mod lifetimes;
#[path = "lback_sqlite/merging.rs"]
mod merging;
#[path = "lback_sqlite/owners.rs"]
mod owners;
#[path = "lback_sqlite/requests.rs"]
mod requests;
#[path = "lback_sqlite/rows.rs"]
mod rows;
#[path = "lback_sqlite/scene.rs"]
mod scene;
#[path = "lback_sqlite/table.rs"]
mod table;
