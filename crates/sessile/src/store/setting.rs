//! Settings that cannot work are refused where they are put to use. None is changed silently.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How long an answer may be waited for: a deadline of zero fails every call, and one of more than a day is none.
pub(crate) const DEADLINES: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);

/// A setting has a value that cannot work.
///
/// ```
/// use sessile::engine::PurgeSchedule;
/// use std::time::Duration;
///
/// let schedule = PurgeSchedule { interval: Duration::ZERO, ..PurgeSchedule::default() };
/// let error = schedule.validate().unwrap_err();
/// assert_eq!(error.setting(), "PurgeSchedule::interval");
/// assert_eq!(error.to_string(), "`PurgeSchedule::interval` is 0ns: at least 10ms is needed");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` is {given}: {allowed}")]
pub struct SettingError {
    setting: &'static str,
    given: Amount,
    allowed: Allowed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    Time(Duration),
    Number(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    AtLeast(Amount),
    AtMost(Amount),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Time(time) => write!(f, "{time:?}"),
            Amount::Number(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowed::AtLeast(least) => write!(f, "at least {least} is needed"),
            Allowed::AtMost(most) => write!(f, "at most {most} is allowed"),
        }
    }
}

impl SettingError {
    /// Returns the type and the method or field that sets it, such as `SqliteOptions::readers`.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// Refuses a time outside of `allowed`.
    pub(crate) fn check_time(
        setting: &'static str,
        given: Duration,
        allowed: &RangeInclusive<Duration>,
    ) -> Result<(), SettingError> {
        let bound = match given {
            given if given < *allowed.start() => Allowed::AtLeast(Amount::Time(*allowed.start())),
            given if given > *allowed.end() => Allowed::AtMost(Amount::Time(*allowed.end())),
            _ => return Ok(()),
        };
        Err(SettingError { setting, given: Amount::Time(given), allowed: bound })
    }

    /// Refuses a number below `least`.
    pub(crate) fn check_number(setting: &'static str, given: u64, least: u64) -> Result<(), SettingError> {
        if given >= least {
            return Ok(());
        }
        let allowed = Allowed::AtLeast(Amount::Number(least));
        Err(SettingError { setting, given: Amount::Number(given), allowed })
    }
}

/// Refuses a configuration that the program itself has set, as `tokio::time::interval` does.
#[expect(
    clippy::panic,
    reason = "documented: the program sets its own configuration, and learns it at its start"
)]
pub(crate) fn refuse(error: &dyn std::error::Error) -> ! {
    panic!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [R20] Both ends of what is allowed are allowed; the message names the setting, its value and the bound.
    #[test]
    fn the_message_names_the_setting_and_the_bound() {
        let times = Duration::from_millis(10)..=Duration::from_secs(1);
        for fine in [*times.start(), *times.end()] {
            assert_eq!(SettingError::check_time("A::b", fine, &times), Ok(()));
        }
        assert_eq!(SettingError::check_number("A::b", 2, 2), Ok(()));
        let refused = [
            SettingError::check_time("A::b", Duration::from_micros(9_999), &times),
            SettingError::check_time("A::b", Duration::from_millis(1_001), &times),
            SettingError::check_number("A::b", 1, 2),
        ];
        let messages = [
            "`A::b` is 9.999ms: at least 10ms is needed",
            "`A::b` is 1.001s: at most 1s is allowed",
            "`A::b` is 1: at least 2 is needed",
        ];
        assert_eq!(refused.map(|refused| refused.unwrap_err().to_string()), messages);
    }
}
