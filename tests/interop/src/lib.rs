//! The tests of sessile against Python; see `tests/`. They need `cargo xtask test`, which makes the
//! interpreter's environment and names it in `SESSILE_TEST_PYTHON`.

mod agent;
mod database;
mod peer;

use std::ffi::OsString;

pub use agent::{Agent, Reply};
pub use database::Database;
pub use peer::{Peer, request};

/// The interpreter to test against.
///
/// # Panics
/// `SESSILE_TEST_PYTHON` is not set: these tests are never skipped.
#[must_use]
pub fn python() -> OsString {
    let name = "SESSILE_TEST_PYTHON";
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask test`"))
}
