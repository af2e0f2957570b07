//! Who does what to which session.

use std::time::Duration;

use crate::history::Deed::{self, *};

/// Processes that race.
pub(crate) const PROCESSES: usize = 6;
/// How far the purge's clock is ahead. A store's own clock is compared with it and may lie a minute apart.
pub(crate) const PURGE_AHEAD: Duration = Duration::from_secs(30);
/// When sessions end that are to be purged unless they are renewed.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Stands for no session at all.
pub(crate) const NOBODY: u32 = u32::MAX;

const KINDS: u32 = 9;

/// What the processes do, the first one's part first.
const PARTS: [[&[Deed]; PROCESSES]; KINDS as usize] = [
    // Save racing revoke.
    [&[Revoke, Read], &[Insert, Read], &[Insert], &[Insert, Count], &[Read, Insert], &[Touch, Read]],
    // Rotate racing rotate.
    [&[Rotate, Read], &[Rotate, Read], &[Rotate, Rotate], &[Insert, Read], &[Touch, Insert], &[Read, Rotate]],
    // Touch racing logout.
    [&[Logout, Read], &[Touch, Read], &[Touch, Touch], &[Read, Touch], &[Touch, Insert], &[Insert, Read]],
    // Purge racing touch: the purge is one for all.
    [&[Touch], &[Touch, Read], &[Read], &[Read, Touch], &[Read], &[Read]],
    // Merge of different keys.
    [&[Insert], &[Insert], &[Insert, Read], &[Insert], &[Insert, Touch], &[Insert]],
    // Counting.
    [&[Count, Count], &[Count, Count], &[Count, Insert], &[Count], &[Count, Count], &[Count, Touch]],
    // Login racing logout.
    [&[Logout, Read], &[Login, Read], &[Insert, Read], &[Login, Insert], &[Touch, Read], &[Logout]],
    // Logout racing rotate.
    [&[Logout, Read], &[Rotate, Read], &[Rotate, Rotate], &[Insert, Rotate], &[Read, Rotate], &[Touch, Read]],
    // The end of all of a user's sessions racing rotate.
    [
        &[RevokeUser, Read],
        &[Rotate, Read],
        &[Rotate, Insert],
        &[Insert, Rotate],
        &[Touch, Read],
        &[Read, Rotate],
    ],
];

/// The parts go round, so that no process is always the first.
pub(crate) fn part(story: u32, worker: usize) -> &'static [Deed] {
    let turn = (story / KINDS) as usize;
    PARTS[(story % KINDS) as usize][(worker + turn) % PROCESSES]
}

/// Whether it ends soon.
pub(crate) fn is_to_be_purged(story: u32) -> bool {
    story % KINDS == 3
}

pub(crate) fn user_of(story: u32) -> String {
    format!("user-{story}")
}

/// Signed in from the beginning, or not: who logs in was nobody half of the time.
pub(crate) fn begins_signed_in(story: u32) -> bool {
    story % KINDS != 6 || (story / KINDS).is_multiple_of(2)
}
