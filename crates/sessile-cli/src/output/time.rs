//! Times as people and programs read them: relative, exact and as RFC 3339. The tool and the demo shop's
//! pages use the same words.

use sessile::record::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// A point in time as a person reads it, as a careful person reads it, and as a program reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment {
    /// `in 29 min`, `2 days ago`
    pub(crate) relative: String,
    /// `22 Nov 2026, 20:31 UTC`
    pub(crate) exact: String,
    /// RFC 3339: `2026-11-22T20:31:00Z`
    pub(crate) machine: String,
}

impl Moment {
    /// This instant, seen from `now`.
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Moment {
        Moment { relative: relative(at, now), exact: exact(at), machine: at.to_rfc3339() }
    }

    /// `in 29 min (22 Nov 2026, 20:31 UTC)`
    pub(crate) fn both(&self) -> String {
        format!("{} ({})", self.relative, self.exact)
    }
}

/// How far away, cut and never rounded up: `in 29 min` lasts at least that long.
fn relative(at: Timestamp, now: Timestamp) -> String {
    let ahead = at.saturating_since(now).as_secs();
    let behind = now.saturating_since(at).as_secs();
    match (ahead, behind) {
        (0, 0) => "now".to_owned(),
        (0, behind) => format!("{} ago", span(behind)),
        (ahead, _) => format!("in {}", span(ahead)),
    }
}

/// A span of seconds in its largest sensible unit: `42 s`, `29 min`, `23 h`, `13 days`, `3 years`.
pub(crate) fn span(seconds: u64) -> String {
    let many = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        DAY..YEAR => many(seconds / DAY, "day"),
        _ => many(seconds / YEAR, "year"),
    }
}

/// To the minute, which is as much as a person wants.
fn exact(at: Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = at.to_sql_text();
    let text = text.as_str();
    let (year, month, day, time) = (&text[..4], &text[5..7], &text[8..10], &text[11..16]);
    let month = month.parse::<usize>().ok().and_then(|month| MONTHS.get(month - 1)).unwrap_or(&month);
    format!("{} {month} {year}, {time} UTC", day.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-02 20:31:59.5").unwrap()
    }

    #[test]
    fn times_are_relative_with_the_exact_one_beside() {
        let moment = Moment::new(now().saturating_add(Duration::from_millis(1_799_999)), now());
        assert_eq!(moment.both(), "in 29 min (2 Nov 2026, 21:01 UTC)");
        assert_eq!(moment.machine, "2026-11-02T21:01:59.499000Z");
    }

    #[test]
    fn units_change_where_a_person_would_change_them() {
        let seen = |seconds: i64| {
            let span = Duration::from_secs(seconds.unsigned_abs());
            let at = if seconds < 0 { now().saturating_sub(span) } else { now().saturating_add(span) };
            Moment::new(at, now()).relative
        };
        assert_eq!(seen(0), "now");
        assert_eq!(seen(59), "in 59 s");
        assert_eq!(seen(-60), "1 min ago");
        assert_eq!(seen(3_599), "in 59 min");
        assert_eq!(seen(-7_200), "2 h ago");
        assert_eq!(seen(86_399), "in 23 h");
        assert_eq!(seen(86_400), "in 1 day");
        assert_eq!(seen(-20 * 86_400), "20 days ago");
        assert_eq!(seen(800 * 86_400), "in 2 years");
    }
}
