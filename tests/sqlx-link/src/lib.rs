//! The proof that a service which uses sqlx on SQLite can use sessile too; see `tests/`.
//!
//! Only one crate in a program may link the native SQLite library, so both must agree on the version of
//! `libsqlite3-sys`: within the ranges of both, cargo takes rusqlite 0.39 beside sqlx 0.9. `tests/links` has the other
//! versions.
