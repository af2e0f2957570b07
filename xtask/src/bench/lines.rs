//! A line of what a program prints: its fields, separated by tabs, in the order in which they stand here. A word before
//! them says which kind of line it is.

use std::str::Split;

/// The fields of a line that are left.
pub(super) struct Fields<'a>(Split<'a, char>);

impl<'a> Fields<'a> {
    pub(super) fn of(line: &'a str) -> Self {
        Self(line.split('\t'))
    }

    /// The next one; `None` when there is none, or it is something else.
    pub(super) fn next<F: Field>(&mut self) -> Option<F> {
        F::of(self.0.next()?)
    }

    pub(super) fn texts<const N: usize>(&mut self) -> Option<[String; N]> {
        let texts: Vec<String> = (0..N).map_while(|_| self.next()).collect();
        texts.try_into().ok()
    }
}

/// What a field may hold.
pub(super) trait Field: Sized {
    fn of(text: &str) -> Option<Self>;
}

impl Field for String {
    fn of(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Field for f64 {
    fn of(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// What is read field by field.
pub(super) trait Line: Sized {
    fn of(fields: &mut Fields<'_>) -> Option<Self>;
}

/// Each field is named once, for its place in the line is its place here.
macro_rules! lines {
    ($($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $field:ident: $holds:ty,)* })*) => {$(
        $(#[$about])*
        pub(crate) struct $name {
            $($(#[$note])* pub(crate) $field: $holds,)*
        }

        impl Line for $name {
            fn of(fields: &mut Fields<'_>) -> Option<Self> {
                Some(Self { $($field: fields.next()?,)* })
            }
        }
    )*};
}

lines! {
    /// What one round saw of a cell, and of bare axum just before. Times in microseconds.
    #[derive(Clone, Copy, Debug, PartialEq)]
    Cell {
        rate: f64,
        server: f64,
        database: f64,
        p50: f64,
        p99: f64,
        failed: f64,
        bare_rate: f64,
        bare_server: f64,
        bare_p50: f64,
        bare_p99: f64,
    }

    /// Requests beside a purge, or before it.
    Purge {
        subject: String,
        work: String,
        phase: String,
        rate: f64,
        p50: f64,
        p99: f64,
        max: f64,
        failed: f64,
    }

    /// What a purge without a pause removed, after the one in the background.
    Purged {
        subject: String,
        rows: f64,
        expired: f64,
        removed: f64,
        seconds: f64,
    }

    /// What one round saw of changes beside locked rows.
    #[derive(Clone, Copy)]
    Beside {
        rate: f64,
        p50: f64,
        p99: f64,
        max: f64,
        /// Requests for the locked rows.
        asked: f64,
    }

    /// Processor time for an operation on a table of this size.
    Size {
        store: String,
        rows: f64,
        operation: String,
        server: f64,
        database: f64,
    }

    /// How long a cache went on after sessions were ended elsewhere, beside so many clients.
    Lag {
        store: String,
        way: String,
        clients: f64,
        endings: f64,
        p50: f64,
        p99: f64,
        p999: f64,
        worst: f64,
        /// Endings the cache had heard of before whoever ended the session was answered.
        early: f64,
    }

    /// What one round saw of writes to a table with a feed or without.
    #[derive(Clone, Copy)]
    Written {
        rate: f64,
        p50: f64,
        p99: f64,
        database: f64,
    }

    /// Bytes for each session.
    Memory {
        what: String,
        sessions: f64,
        resident: f64,
        counted: f64,
    }
}
