//! Intervals of background work: one of zero would keep a core and the store busy.

use std::time::Duration;

/// The least that is allowed.
const LEAST: Duration = Duration::from_millis(10);

/// Background work would run without a pause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the interval of {of} is {} µs: the least is {} ms", .interval.as_micros(), LEAST.as_millis())]
pub struct IntervalTooShort {
    of: &'static str,
    interval: Duration,
}

impl IntervalTooShort {
    /// Checks the interval of this work.
    pub(super) fn check(of: &'static str, interval: Duration) -> Result<(), IntervalTooShort> {
        if interval < LEAST { Err(IntervalTooShort { of, interval }) } else { Ok(()) }
    }
}

/// Refuses a configuration that the program itself has set, as `tokio::time::interval` does.
#[expect(
    clippy::panic,
    reason = "documented: the program sets its own intervals, and learns it at its start"
)]
pub(super) fn refuse(error: &dyn std::error::Error) -> ! {
    panic!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [R20]
    #[test]
    fn the_message_names_the_interval_and_the_least() {
        let error = IntervalTooShort::check("the purge", Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "the interval of the purge is 0 µs: the least is 10 ms");
        assert_eq!(IntervalTooShort::check("the purge", LEAST), Ok(()));
    }
}
