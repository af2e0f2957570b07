//! Server-side sessions in the database you already run.
//!
//! A session is one row of one `sessions` table; a secret in a cookie names it.
#![forbid(unsafe_code)]

pub mod record;
pub mod store;
