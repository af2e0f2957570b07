//! What an examination of a store finds, in words for the person who has to act on it.
//!
//! A finding names settings, columns and rights. It never holds what a row holds, and no password.
//!
//! Wrong is what keeps sessions from working, and a setting that was made weaker than the server's own
//! default so that an answered logout can be undone. What is weaker by nature (a standby that follows
//! later) and what is only slow is a note.

use std::error::Error;
use std::time::Duration;

use super::{SessionStore, StoreError};
#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::record::MAX_USER_ID_CHARS;
use crate::record::{Clock, Timestamp};

/// One thing that was looked at: see [`SessionStore::examine`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at, in a word or two that stay the same: `clock`, `fsync`.
    pub subject: String,
    /// Whether it is as it should be.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What that means for those who are signed in, or who sign out.
    pub meaning: String,
    /// What would put it right; nothing where nothing has to be done.
    pub remedy: Option<String>,
}

/// Whether what was seen is as it should be, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// To be put right.
    Wrong,
}

impl Finding {
    /// Something that is as it should be.
    pub fn good(subject: impl Into<String>, seen: impl Into<String>, meaning: impl Into<String>) -> Finding {
        Finding::new(Verdict::Good, subject.into(), seen.into(), meaning.into())
    }

    /// Something worth knowing.
    pub fn note(subject: impl Into<String>, seen: impl Into<String>, meaning: impl Into<String>) -> Finding {
        Finding::new(Verdict::Note, subject.into(), seen.into(), meaning.into())
    }

    /// Something that is to be put right.
    pub fn wrong(subject: impl Into<String>, seen: impl Into<String>, meaning: impl Into<String>) -> Finding {
        Finding::new(Verdict::Wrong, subject.into(), seen.into(), meaning.into())
    }

    /// Something that a store could not do at all.
    pub fn failed(subject: impl Into<String>, error: &StoreError) -> Finding {
        let meaning = match error {
            StoreError::Full { .. } => "Sessions can be read, but nobody can sign in and no change is kept.",
            _ if error.is_transient() => {
                "What a service does here fails in the same way: its requests are answered with 503 until it works."
            }
            _ => "What a service does here fails in the same way: its requests are answered with 500.",
        };
        match error {
            StoreError::Schema { problem, remedy } | StoreError::Unsupported { problem, remedy, .. } => {
                Finding::wrong(subject, problem, meaning).with_remedy(remedy)
            }
            _ => Finding::wrong(subject, in_one_line(error), meaning),
        }
    }

    /// The same with what would put it right.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Finding {
        self.remedy = Some(remedy.into());
        self
    }

    fn new(verdict: Verdict, subject: String, seen: String, meaning: String) -> Finding {
        Finding { subject, verdict, seen, meaning, remedy: None }
    }
}

/// The error and those of its causes that add something.
fn in_one_line(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !words.contains(&said) {
            words = format!("{words}: {said}");
        }
        cause = error.source();
    }
    words
}

/// How far the store's clock and ours may lie apart before nothing is purged: whoever is wrong, live
/// sessions must not pay for it.
pub(crate) const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// A difference between two clocks that nobody notices.
const CLOCKS_AGREE: Duration = Duration::from_secs(1);

/// What every store can be asked: whether it can be used as it stands, and for the time.
pub(super) async fn basics<S>(store: &S, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError>
where
    S: SessionStore + ?Sized,
{
    let mut findings = vec![match store.check().await {
        Ok(()) => Finding::good("table", "it is there with its six columns", "Sessions can be kept in it."),
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => Finding::failed("table", &error),
    }];
    findings.extend(clocks(store, clock).await);
    Ok(findings)
}

/// How far the store's clock is from this one; nothing where they are the same clock.
pub(super) async fn clocks<S>(store: &S, clock: &dyn Clock) -> Option<Finding>
where
    S: SessionStore + ?Sized,
{
    let asked = clock.now();
    match store.clock().await {
        Ok(theirs) => theirs.map(|theirs| compared(asked, theirs, clock.now())),
        Err(error) => Some(Finding::failed("clock", &error)),
    }
}

/// Judges the store's time that was asked for and answered at these times by our clock: a slow answer is
/// no difference.
fn compared(asked: Timestamp, theirs: Timestamp, answered: Timestamp) -> Finding {
    const BY_OURS: &str = "Sessions end by the clocks of the machines that serve them, and where two of \
        those differ a session ends too early or too late by as much.";
    let (ahead, behind) = (theirs.saturating_since(answered), asked.saturating_since(theirs));
    let apart = ahead.max(behind);
    let direction = if behind.is_zero() { "ahead of" } else { "behind" };
    let seen = match apart.as_secs() {
        0..1_000 => format!("the server's is {:.1} s {direction} this machine's", apart.as_secs_f64()),
        seconds => format!("the server's is {seconds} s {direction} this machine's"),
    };
    let remedy = "let NTP set both (`timedatectl` shows whether it does)";
    if apart <= CLOCKS_AGREE {
        let seen = "the server's and this machine's agree within a second";
        Finding::good("clock", seen, "Both agree on when a session ends.")
    } else if apart <= CLOCK_TOLERANCE {
        Finding::note("clock", seen, BY_OURS).with_remedy(remedy)
    } else {
        let bound = CLOCK_TOLERANCE.as_secs();
        let meaning = format!("{BY_OURS} Beyond {bound} s nothing is purged, so the table grows.");
        Finding::wrong("clock", seen, meaning).with_remedy(remedy)
    }
}

/// The two indexes beside the primary key; `has` knows whether a column begins one.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub(super) fn indexes(has: impl Fn(&str) -> bool, remedy: &str) -> Finding {
    const SLOW: [(&str, &str); 2] = [
        ("user_id", "To list or to end the sessions of one user reads the whole table."),
        ("expires_at", "Each step of a purge reads the whole table."),
    ];
    let missing: Vec<_> = SLOW.iter().filter(|(column, _)| !has(column)).collect();
    if missing.is_empty() {
        let meaning = "To end the sessions of one user, or the expired ones, reads only those.";
        return Finding::good("indexes", "on user_id and on expires_at", meaning);
    }
    let columns: Vec<_> = missing.iter().map(|(column, _)| *column).collect();
    let meanings: Vec<_> = missing.iter().map(|(_, meaning)| *meaning).collect();
    Finding::note("indexes", format!("none on {}", columns.join(", none on ")), meanings.join(" "))
        .with_remedy(remedy)
}

/// The longest user id that the column holds, if it is shorter than the longest there is; `alter` begins what widens
/// the column to a type. One that does not even hold a UUID is wrong.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) fn user_column(
    declared: &str,
    chars: Option<u64>,
    alter: impl Fn(&str) -> String,
) -> Option<Finding> {
    const UUID: u64 = 36;
    const ALL: u64 = MAX_USER_ID_CHARS as u64;
    let chars = chars.filter(|&chars| chars < ALL)?;
    let seen = format!("user_id is {declared}");
    let finding = if chars < UUID {
        let meaning = format!(
            "Users whose id has more than {chars} characters cannot sign in: a UUID has {UUID}, e-mail addresses and \
             OIDC subjects are often longer. Services read the width when they start."
        );
        Finding::wrong("user_id", seen, meaning)
    } else {
        let meaning = format!(
            "Users whose id has more than {chars} characters cannot sign in: e-mail addresses and OIDC subjects are \
             often longer. Nothing has to be done where no id is. Services read the width when they start."
        );
        Finding::note("user_id", seen, meaning)
    };
    Some(finding.with_remedy(alter(&format!("VARCHAR({ALL})"))))
}

/// What may be done to the table, and what stops where it may not; `grant` begins what gives the rights.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) fn rights(missing: &[&str], grant: impl Fn(&str) -> String) -> Finding {
    let stops = |right: &&str| match *right {
        "SELECT" => "No session can be read: every request with a cookie is answered with 500.",
        "INSERT" => "Nobody can sign in.",
        "UPDATE" => "No session can be changed or renewed: everybody is signed out when their time is over.",
        _ => "Nobody can sign out, and nothing is purged.",
    };
    if missing.is_empty() {
        let meaning = "All that a service does is granted.";
        return Finding::good("privileges", "SELECT, INSERT, UPDATE, DELETE", meaning);
    }
    let meaning: Vec<&str> = missing.iter().map(stops).collect();
    let missing = missing.join(", ");
    Finding::wrong("privileges", format!("no right to {missing}"), meaning.join(" "))
        .with_remedy(grant(&missing))
}

/// Whether a new connection would find a place.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) fn connections(used: i64, most: &str) -> Finding {
    let seen = format!("{used} of {most} are in use");
    match most.parse::<i64>() {
        Ok(most) if used.saturating_mul(10) >= most.saturating_mul(9) => {
            let meaning = "When none is left, a service that starts or lost its connections gets no new \
                ones, and answers 503.";
            Finding::note("connections", seen, meaning)
                .with_remedy("end those that nobody needs, or raise max_connections")
        }
        _ => Finding::good("connections", seen, "A service that starts now finds a place."),
    }
}

/// A row was made, changed and deleted, and all of it is gone.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "redis", feature = "sqlite"))]
pub(super) fn wrote() -> Finding {
    let meaning =
        "Users can sign in and out: a row was made, changed and deleted, and nothing of it is left.";
    Finding::good("writing", "rows can be written", meaning)
}

/// Of two findings about one thing, the worse.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) fn worst(findings: impl IntoIterator<Item = Finding>) -> Option<Finding> {
    findings.into_iter().reduce(|one, other| if other.verdict > one.verdict { other } else { one })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_micros((seconds * 1e6) as i64).unwrap()
    }

    /// [R07] The bound is the one beyond which nothing is purged.
    #[test]
    fn clocks_are_judged_by_the_least_that_they_differ() {
        for (asked, theirs, answered, verdict, seen) in [
            (100.0, 100.2, 100.4, Verdict::Good, "agree within a second"),
            // A slow answer, and times on its edges.
            (100.0, 100.0, 130.0, Verdict::Good, "agree within a second"),
            (100.0, 131.0, 130.0, Verdict::Good, "agree within a second"),
            (100.0, 99.0, 100.0, Verdict::Good, "agree within a second"),
            (100.0, 98.8, 100.0, Verdict::Note, "the server's is 1.2 s behind this machine's"),
            (100.0, 161.5, 101.5, Verdict::Note, "the server's is 60.0 s ahead of this machine's"),
            (100.0, 161.6, 101.5, Verdict::Wrong, "the server's is 60.1 s ahead of this machine's"),
            (9_000.0, 1_800.0, 9_000.0, Verdict::Wrong, "the server's is 7200 s behind this machine's"),
        ] {
            let finding = compared(at(asked), at(theirs), at(answered));
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.seen.contains(seen), "{finding:?}");
            assert_eq!(finding.remedy.is_some(), verdict != Verdict::Good);
        }
    }

    #[test]
    fn an_error_keeps_its_remedy_and_its_cause() {
        let schema = StoreError::Schema { problem: "no table".to_owned(), remedy: "make it".to_owned() };
        let finding = Finding::failed("table", &schema);
        assert_eq!((&*finding.seen, finding.remedy.as_deref()), ("no table", Some("make it")));
        let source = "disk I/O error".into();
        let backend = StoreError::Backend { store: "x", action: "load".to_owned(), source };
        let finding = Finding::failed("file", &backend);
        assert_eq!(finding.seen, "the x store failed to load: disk I/O error");
        assert_eq!((finding.verdict, &finding.remedy), (Verdict::Wrong, &None));
        assert!(finding.meaning.contains("answered with 500"), "{finding:?}");
        let away = StoreError::Unavailable { store: "x", reason: "gone".to_owned(), source: None };
        let finding = Finding::failed("server", &away);
        assert!(finding.meaning.contains("answered with 503"), "{finding:?}");
    }

    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    #[test]
    fn each_missing_index_says_what_is_slow() {
        assert_eq!(indexes(|_| true, "").verdict, Verdict::Good);
        let one = indexes(|column| column == "user_id", "make it");
        assert_eq!((one.verdict, &*one.seen), (Verdict::Note, "none on expires_at"));
        let none = indexes(|_| false, "make them");
        assert_eq!(none.seen, "none on user_id, none on expires_at");
        assert!(none.meaning.contains("one user") && none.meaning.contains("purge"), "{none:?}");
    }
}
