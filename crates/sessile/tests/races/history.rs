//! What the processes did and were told, as lines of text.

use std::fmt::{self, Display};
use std::str::FromStr;

use sessile::SessionId;

/// What one process did to one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Read,
    /// Sets the process's own key.
    Insert,
    /// Adds one to the counter that all share.
    Count,
    Touch,
    /// A new name, and the process's own key.
    Rotate,
    Login,
    Logout,
    Revoke,
    RevokeUser,
    /// Of the whole table, with a clock that is ahead.
    Purge,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Acknowledged.
    Done,
    /// 409: the session ended meanwhile.
    Refused,
    /// There was no such live session.
    Missing,
    /// An error: it may have been done or not.
    Failed,
}

/// One operation. Times are of the machine's one monotonic clock, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The session, by the number under which it began.
    pub(crate) story: u32,
    pub(crate) worker: usize,
    pub(crate) deed: Deed,
    pub(crate) told: Told,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    /// The id that was asked for.
    pub(crate) of: SessionId,
    /// The id that the browser was given, where it was given another.
    pub(crate) now: Option<SessionId>,
}

impl Event {
    pub(crate) fn is_done(&self) -> bool {
        self.told == Told::Done
    }

    /// Whether the session was seen alive.
    pub(crate) fn saw_it(&self) -> bool {
        self.is_done() && !matches!(self.deed, Deed::Logout | Deed::Revoke | Deed::RevokeUser | Deed::Purge)
    }

    /// Whether the id that was asked for is dead once this is acknowledged.
    pub(crate) fn ends_its_id(&self) -> bool {
        self.is_done() && self.may_end()
    }

    /// Whether somebody else may find the session gone because of this.
    pub(crate) fn may_end(&self) -> bool {
        !matches!(self.deed, Deed::Read | Deed::Insert | Deed::Count | Deed::Touch)
    }

    pub(crate) fn overlaps(&self, other: &Event) -> bool {
        self.begun < other.ended && other.begun < self.ended
    }
}

const DEEDS: [(Deed, &str); 10] = [
    (Deed::Read, "read"),
    (Deed::Insert, "insert"),
    (Deed::Count, "count"),
    (Deed::Touch, "touch"),
    (Deed::Rotate, "rotate"),
    (Deed::Login, "login"),
    (Deed::Logout, "logout"),
    (Deed::Revoke, "revoke"),
    (Deed::RevokeUser, "revoke-user"),
    (Deed::Purge, "purge"),
];
const TOLD: [(Told, &str); 4] =
    [(Told::Done, "done"), (Told::Refused, "refused"), (Told::Missing, "missing"), (Told::Failed, "failed")];

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deed = DEEDS.iter().find(|(deed, _)| *deed == self.deed).unwrap().1;
        let told = TOLD.iter().find(|(told, _)| *told == self.told).unwrap().1;
        let Event { story, worker, begun, ended, of, now, .. } = self;
        write!(f, "{story} {worker} {deed} {told} {begun} {ended} {of}")?;
        now.map_or(Ok(()), |now| write!(f, " {now}"))
    }
}

impl FromStr for Event {
    type Err = String;

    fn from_str(line: &str) -> Result<Event, String> {
        let read = || {
            let mut words = line.split(' ');
            Some(Event {
                story: words.next()?.parse().ok()?,
                worker: words.next()?.parse().ok()?,
                deed: named(&DEEDS, words.next()?)?,
                told: named(&TOLD, words.next()?)?,
                begun: words.next()?.parse().ok()?,
                ended: words.next()?.parse().ok()?,
                of: words.next()?.parse().ok()?,
                now: words.next().map(str::parse).transpose().ok()?,
            })
        };
        read().ok_or_else(|| format!("no event: {line:?}"))
    }
}

fn named<T: Copy>(all: &[(T, &str)], name: &str) -> Option<T> {
    all.iter().find(|(_, other)| *other == name).map(|(value, _)| *value)
}
