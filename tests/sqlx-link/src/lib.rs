//! The proof that a service which uses sqlx on SQLite can use sessile too; see `tests/`.
//!
//! Only one crate in a program may link the native SQLite library, so both must agree on the version
//! of `libsqlite3-sys`: rusqlite 0.39 and sqlx 0.9 do. Should an update part them, cargo cannot
//! resolve this package any more, and the workspace does not build.
