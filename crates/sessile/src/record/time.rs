//! Time: one instant type, one clock, injected.
//!
//! A [`Timestamp`] is what the table holds: naive UTC with microseconds, years 1 to 9999. Nothing
//! in this crate asks the operating system for the time but [`SystemClock`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::civil::{Date, Time};

/// An instant in UTC, in whole microseconds, within the years 1 to 9999 (Python's `datetime`).
///
/// Arithmetic saturates at both ends of that range: an expiry can be far away, never wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const EPOCH: Date = Date::constant(1970, 1, 1);
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

impl Timestamp {
    /// `0001-01-01 00:00:00`, the earliest instant the table can hold.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000_000);
    /// `9999-12-31 23:59:59.999999`, the latest instant the table can hold.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);

    /// The instant so many microseconds after 1970-01-01 00:00:00 UTC, if it lies within the range.
    pub const fn from_micros(micros: i64) -> Option<Timestamp> {
        if micros < Self::MIN.0 || micros > Self::MAX.0 { None } else { Some(Timestamp(micros)) }
    }

    /// Microseconds since 1970-01-01 00:00:00 UTC; negative before it.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This instant moved into the future, at most to [`Timestamp::MAX`].
    pub fn saturating_add(self, duration: Duration) -> Timestamp {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(micros).min(Self::MAX.0))
    }

    /// This instant moved into the past, at most to [`Timestamp::MIN`].
    pub fn saturating_sub(self, duration: Duration) -> Timestamp {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(micros).max(Self::MIN.0))
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    pub fn saturating_since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// `YYYY-MM-DD HH:MM:SS.ffffff`, always 26 characters: the form that SQLite compares as text.
    pub fn to_sql_text(self) -> SqlText {
        let (date, micros) = self.civil();
        let mut text = *b"0000-00-00 00:00:00.000000";
        write_digits(&mut text[0..4], date.year().unsigned_abs().into());
        write_digits(&mut text[5..7], date.month().unsigned_abs().into());
        write_digits(&mut text[8..10], date.day().unsigned_abs().into());
        let seconds = micros / MICROS_PER_SECOND.unsigned_abs();
        write_digits(&mut text[11..13], seconds / 3600);
        write_digits(&mut text[14..16], seconds / 60 % 60);
        write_digits(&mut text[17..19], seconds % 60);
        write_digits(&mut text[20..26], micros % MICROS_PER_SECOND.unsigned_abs());
        SqlText(text)
    }

    /// `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`: RFC 3339, for programs and for other machines.
    pub fn to_rfc3339(self) -> String {
        let sql = self.to_sql_text();
        let (date, rest) = sql.as_str().split_at(10);
        let fraction = if self.0.rem_euclid(MICROS_PER_SECOND) == 0 { 8 } else { 15 };
        format!("{date}T{}Z", &rest[1..=fraction])
    }

    /// Reads what Python's `datetime.fromisoformat` reads from the column, and means the same instant:
    /// any one character between date and time, `HH`, `HH:MM` or `HH:MM:SS`, any number of fraction
    /// digits of which six count, a date alone. A trailing `Z` or offset is honoured, though lback then
    /// fails. ISO weeks are not read: nobody writes a column of instants in them.
    pub fn parse(text: &str) -> Option<Timestamp> {
        parse::timestamp(text)
    }

    pub(crate) fn from_civil(date: Date, time: Time) -> Timestamp {
        let days = i64::from((date - EPOCH).get_days());
        Timestamp(days * MICROS_PER_DAY + micros_of_day(time))
    }

    /// The day, and the microseconds since its midnight.
    pub(crate) fn civil(self) -> (Date, u64) {
        let days = self.0.div_euclid(MICROS_PER_DAY);
        let micros = self.0.rem_euclid(MICROS_PER_DAY).unsigned_abs();
        // Within the range of this type every day exists in jiff's calendar.
        let date = i32::try_from(days)
            .ok()
            .and_then(|days| EPOCH.checked_add(jiff::Span::new().days(days)).ok())
            .unwrap_or(Date::MAX);
        (date, micros)
    }
}

fn micros_of_day(time: Time) -> i64 {
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    seconds * MICROS_PER_SECOND + i64::from(time.subsec_nanosecond() / 1000)
}

fn write_digits(to: &mut [u8], mut value: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// The 26 characters of [`Timestamp::to_sql_text`], on the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SqlText([u8; 26]);

impl SqlText {
    /// The text.
    pub fn as_str(&self) -> &str {
        // Only digits and ASCII punctuation are ever written.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// As Python's `str(datetime)`: the fraction is left out when it is zero.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_sql_text();
        let shown = if self.0.rem_euclid(MICROS_PER_SECOND) == 0 { 19 } else { 26 };
        f.write_str(&text.as_str()[..shown])
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

mod parse {
    use super::{Date, Time, Timestamp};

    /// A cursor over the text; every step says whether it matched.
    struct Reader<'a>(&'a [u8]);

    impl Reader<'_> {
        fn digits<const N: usize>(&mut self) -> Option<i16> {
            let (head, tail) = self.0.split_at_checked(N)?;
            let value = head.iter().try_fold(0i16, |sum, &byte| {
                byte.is_ascii_digit().then(|| sum * 10 + i16::from(byte - b'0'))
            })?;
            self.0 = tail;
            Some(value)
        }

        fn accept(&mut self, wanted: u8) -> bool {
            match self.0.split_first() {
                Some((&byte, rest)) if byte == wanted => {
                    self.0 = rest;
                    true
                }
                _ => false,
            }
        }

        /// Fraction digits after a point or comma: at least one, six count.
        fn microseconds(&mut self) -> Option<i32> {
            if !(self.accept(b'.') || self.accept(b',')) {
                return Some(0);
            }
            let (mut micros, mut counted, mut any) = (0, 0, false);
            while let Some(digit) = self.0.first().filter(|byte| byte.is_ascii_digit()) {
                if counted < 6 {
                    micros = micros * 10 + i32::from(digit - b'0');
                    counted += 1;
                }
                any = true;
                self.0 = &self.0[1..];
            }
            any.then(|| micros * 10i32.pow(6 - counted))
        }

        /// `HH`, `HH:MM` or `HH:MM:SS` with a fraction, or the same without colons: what a time and an
        /// offset are made of.
        fn time(&mut self) -> Option<Time> {
            let hour = self.digits::<2>()?;
            let extended = self.accept(b':');
            let goes_on = |reader: &Self| reader.0.first().is_some_and(u8::is_ascii_digit);
            let (mut minute, mut second, mut micros) = (0, 0, 0);
            if extended || goes_on(self) {
                minute = self.digits::<2>()?;
                let has_seconds = if extended { self.accept(b':') } else { goes_on(self) };
                if has_seconds {
                    second = self.digits::<2>()?;
                    micros = self.microseconds()?;
                }
            }
            // jiff takes a leap second for the 59th; Python refuses it.
            if second > 59 {
                return None;
            }
            let narrow = |part: i16| i8::try_from(part).ok();
            Time::new(narrow(hour)?, narrow(minute)?, narrow(second)?, micros * 1000).ok()
        }

        /// The offset in microseconds east of UTC, `0` when there is none.
        fn offset(&mut self) -> Option<i64> {
            if self.0.is_empty() || self.accept(b'Z') {
                return Some(0);
            }
            let east = self.accept(b'+');
            if !east && !self.accept(b'-') {
                return None;
            }
            let offset = super::micros_of_day(self.time()?);
            Some(if east { offset } else { -offset })
        }
    }

    pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
        let mut reader = Reader(text.as_bytes());
        let date = date(&mut reader)?;
        if reader.0.is_empty() {
            return Some(Timestamp::from_civil(date, Time::midnight()));
        }
        // Any one character may stand between date and time, also one of several bytes.
        let position = text.len() - reader.0.len();
        let separator = text.get(position..)?.chars().next()?;
        reader.0 = &reader.0[separator.len_utf8()..];
        let time = reader.time()?;
        let offset = reader.offset()?;
        if !reader.0.is_empty() {
            return None;
        }
        let local = Timestamp::from_civil(date, time);
        Timestamp::from_micros(local.as_micros() - offset)
    }

    fn date(reader: &mut Reader<'_>) -> Option<Date> {
        let year = reader.digits::<4>()?;
        let extended = reader.accept(b'-');
        let month = reader.digits::<2>()?;
        if extended && !reader.accept(b'-') {
            return None;
        }
        let day = reader.digits::<2>()?;
        if year < 1 {
            return None;
        }
        Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
    }
}

/// Where the time comes from. There is one source of it in a program: what [`Sessions`] was given.
///
/// [`Sessions`]: crate::Sessions
pub trait Clock: Send + Sync + 'static {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

/// The time a write is judged by, asked as late as possible.
///
/// Between the plan of a write and its statement lie queues. A session that expires while its write waits
/// there is dead when the write arrives, and has to stay so: who makes the write calls [`get`](Now::get)
/// when the statement leaves.
#[derive(Clone)]
pub struct Now {
    planned: Timestamp,
    clock: Option<Arc<dyn Clock>>,
}

impl Now {
    /// What `clock` says whenever it is asked, and never less than `planned`.
    pub fn by(clock: Arc<dyn Clock>, planned: Timestamp) -> Now {
        Now { planned, clock: Some(clock) }
    }

    /// The time at this moment. Two calls may differ: one statement asks once.
    pub fn get(&self) -> Timestamp {
        // A clock that was set back brings nobody back.
        self.clock.as_ref().map_or(self.planned, |clock| clock.now().max(self.planned))
    }

    /// When the write was planned.
    pub fn planned(&self) -> Timestamp {
        self.planned
    }
}

/// A time that stands still.
impl From<Timestamp> for Now {
    fn from(planned: Timestamp) -> Now {
        Now { planned, clock: None }
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.planned, f)
    }
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let micros = jiff::Timestamp::now().as_microsecond();
        Timestamp::from_micros(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
    }
}

/// A clock that stands still until it is told to move: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> ManualClock {
        ManualClock(AtomicI64::new(start.as_micros()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        self.set(self.now().saturating_add(duration));
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Timestamp::parse(text).map(|t| t.to_sql_text().as_str().to_owned())
    }

    #[test]
    fn writes_exactly_what_python_writes() {
        for text in [
            "2030-01-02 03:04:05.000000",
            "0001-01-01 00:00:00.000000",
            "9999-12-31 23:59:59.999999",
            "1969-12-31 23:59:59.999999",
            "2024-02-29 12:00:00.000001",
        ] {
            assert_eq!(shown(text).as_deref(), Some(text));
        }
        assert_eq!(
            Timestamp::parse("2030-01-02 03:04:05.5").unwrap().to_string(),
            "2030-01-02 03:04:05.500000"
        );
        assert_eq!(Timestamp::parse("2030-01-02 03:04:05").unwrap().to_string(), "2030-01-02 03:04:05");
        assert_eq!(Timestamp::parse("2030-01-02 03:04:05").unwrap().to_rfc3339(), "2030-01-02T03:04:05Z");
        assert_eq!(
            Timestamp::parse("2030-01-02 03:04:05.5").unwrap().to_rfc3339(),
            "2030-01-02T03:04:05.500000Z"
        );
    }

    #[test]
    fn reads_what_python_reads() {
        let whole = Some("2030-01-02 03:04:05.000000".to_owned());
        for text in ["2030-01-02 03:04:05", "2030-01-02T03:04:05", "2030-01-02é03:04:05", "20300102T030405"]
        {
            assert_eq!(shown(text), whole, "{text}");
        }
        for (digits, micros) in [
            ("6", "600000"),
            ("67", "670000"),
            ("67890", "678900"),
            ("678901", "678901"),
            ("678901999", "678901"),
        ] {
            let expected = Some(format!("2030-01-02 03:04:05.{micros}"));
            assert_eq!(shown(&format!("2030-01-02 03:04:05.{digits}")), expected);
            assert_eq!(shown(&format!("2030-01-02 03:04:05,{digits}")), expected);
        }
        assert_eq!(shown("2030-01-02").as_deref(), Some("2030-01-02 00:00:00.000000"));
        assert_eq!(shown("2030-01-02 03:04").as_deref(), Some("2030-01-02 03:04:00.000000"));
        assert_eq!(shown("2030-01-02 03:04:05+02:00").as_deref(), Some("2030-01-02 01:04:05.000000"));
        assert_eq!(shown("2030-01-02 03:04:05-02").as_deref(), Some("2030-01-02 05:04:05.000000"));
        assert_eq!(shown("2030-01-02T03:04:05Z"), whole);
        assert_eq!(shown("2030-01-02 03").as_deref(), Some("2030-01-02 03:00:00.000000"));
        assert_eq!(
            shown("20300102T030405.67890199999+010030.5").as_deref(),
            Some("2030-01-02 02:03:35.178901")
        );
    }

    #[test]
    fn refuses_what_python_refuses() {
        for text in [
            "",
            "now",
            "2030-1-2 3:4:5",
            "2030-01-02 03:04:05.",
            "2030-01-02 24:00:00",
            "2030-01-02 03:04:60",
            " 2030-01-02 03:04:05",
            "2030-01-02 03:04:05 ",
            "10000-01-01 00:00:00",
            "0000-01-01 00:00:00",
            "2030-01-02 03:04:05z",
            "2030-01-02 03:04:05 UTC",
            "2030-02-30 00:00:00",
            "2030-01-02  03:04:05",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_stays_in_range() {
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_sub(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::MIN.saturating_since(Timestamp::MAX), Duration::ZERO);
    }
}
