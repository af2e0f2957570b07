//! Pure values: the row, its names, its data, time. No I/O, no async.

pub mod json;
