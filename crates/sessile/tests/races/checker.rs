//! The laws, and who breaks them: told by the acknowledged operations on one session and what is left of it.
//!
//! Only what was acknowledged binds. What failed may have been done or not, and what ran at the same time may have
//! come first or second.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use sessile::SessionId;

use crate::history::{Deed, Event, Told};

/// A live row when all was over.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Left {
    pub(crate) keys: BTreeSet<String>,
    pub(crate) count: usize,
}

/// A law that was broken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Breach {
    /// Seen alive by who began after the end was acknowledged.
    SeenAfterItsEnd(Event),
    /// An id whose end was acknowledged has a live row.
    CameBack(SessionId),
    /// Two rotations of one id were acknowledged.
    RotatedTwice(SessionId),
    /// One session lives under several ids.
    SeveralNames(Vec<SessionId>),
    /// Nothing has ended it, and it is gone.
    Vanished,
    /// Somebody was told that it is gone before anything can have ended it.
    GoneForNothing(Event),
    /// A process's key was acknowledged and is not there.
    LostKey(usize),
    /// The counter is not what the acknowledged increments make it; with the least and the most it may be.
    Miscounted(usize, usize, usize),
    /// Renewed, as somebody was told, and purged all the same.
    PurgedThoughRenewed(Event),
}

impl Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Breach::SeenAfterItsEnd(event) => write!(f, "seen alive after its end: {event}"),
            Breach::GoneForNothing(event) => write!(f, "gone for nothing: {event}"),
            Breach::PurgedThoughRenewed(event) => write!(f, "purged though renewed: {event}"),
            other => write!(f, "{other:?}"),
        }
    }
}

pub(crate) fn key_of(worker: usize) -> String {
    format!("k{worker}")
}

/// Every breach in the story of one session, which began as `first`.
pub(crate) fn check(first: SessionId, events: &[Event], left: &BTreeMap<SessionId, Left>) -> Vec<Breach> {
    let mut breaches = ends(events, left);
    let names = names(first, events);
    breaches.extend(every_name(&names, events, left));
    breaches.extend(one_name(&names, events, left));
    breaches.extend(gone_for_nothing(events));
    breaches.extend(purged(events, left));
    let living: Vec<&Left> = names.iter().filter_map(|id| left.get(id)).collect();
    if let [row] = living[..] {
        breaches.extend(keys(events, row));
        breaches.extend(count(events, row));
    }
    breaches
}

/// An id whose end was acknowledged is seen by nobody who began later, and its row does not come back.
fn ends(events: &[Event], left: &BTreeMap<SessionId, Left>) -> Vec<Breach> {
    let mut ended: BTreeMap<SessionId, u64> = BTreeMap::new();
    for event in events.iter().filter(|event| event.ends_its_id() && event.deed != Deed::Purge) {
        let at = ended.entry(event.of).or_insert(event.ended);
        *at = event.ended.min(*at);
    }
    let late = |event: &&Event| ended.get(&event.of).is_some_and(|end| event.begun > *end);
    let seen = events.iter().filter(|event| event.saw_it()).filter(late).cloned();
    let back = ended.keys().filter(|id| left.contains_key(id)).copied();
    seen.map(Breach::SeenAfterItsEnd).chain(back.map(Breach::CameBack)).collect()
}

/// Every id that the session had, as far as anybody was told. A login begins a session of its own.
fn names(first: SessionId, events: &[Event]) -> Vec<SessionId> {
    let mut names = vec![first];
    let mut at = 0;
    while let Some(&name) = names.get(at) {
        let renamed = |event: &&Event| event.deed == Deed::Rotate && event.is_done() && event.of == name;
        names.extend(events.iter().filter(renamed).filter_map(|event| event.now));
        at += 1;
    }
    names
}

/// Once it was signed out, or all of its user's sessions are ended, it is dead under every name. Everybody who is
/// renamed here is signed in.
fn every_name(names: &[SessionId], events: &[Event], left: &BTreeMap<SessionId, Left>) -> Vec<Breach> {
    let ends_all = |event: &&Event| matches!(event.deed, Deed::Logout | Deed::RevokeUser);
    let ends = events.iter().filter(ends_all).filter(|event| event.is_done());
    let Some(end) = ends.map(|event| event.ended).min() else { return Vec::new() };
    let seen = events.iter().filter(|event| event.saw_it() && event.begun > end && names.contains(&event.of));
    let back = names.iter().filter(|id| left.contains_key(id)).copied();
    seen.cloned().map(Breach::SeenAfterItsEnd).chain(back.map(Breach::CameBack)).collect()
}

/// One name at a time; and one at the end, unless something has ended it.
fn one_name(names: &[SessionId], events: &[Event], left: &BTreeMap<SessionId, Left>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for name in names {
        let renames =
            |event: &&Event| matches!(event.deed, Deed::Rotate) && event.is_done() && event.of == *name;
        if events.iter().filter(renames).count() > 1 {
            breaches.push(Breach::RotatedTwice(*name));
        }
    }
    let living: Vec<SessionId> = names.iter().filter(|id| left.contains_key(id)).copied().collect();
    if living.len() > 1 {
        breaches.push(Breach::SeveralNames(living.clone()));
    }
    // A rotation that failed may have been done, under a name that nobody was told.
    let may_have_ended = |event: &Event| match event.deed {
        Deed::Rotate => event.told == Told::Failed,
        _ => event.may_end(),
    };
    if living.is_empty() && !events.iter().any(may_have_ended) {
        breaches.push(Breach::Vanished);
    }
    breaches
}

/// Who is told that it is gone must have ended after somebody began to end it.
fn gone_for_nothing(events: &[Event]) -> Vec<Breach> {
    let first = events.iter().filter(|event| event.may_end()).map(|event| event.begun).min();
    let told = |event: &&Event| matches!(event.told, Told::Refused | Told::Missing);
    let too_early = |event: &&Event| {
        // Its own rotation does not end what it asks for.
        let others = events.iter().filter(|other| other.may_end() && other != event).map(|other| other.begun);
        others.min().is_none_or(|begun| event.ended < begun)
    };
    let suspects = events.iter().filter(told).filter(|event| first.is_none() || too_early(event));
    suspects.cloned().map(Breach::GoneForNothing).collect()
}

/// A session that was renewed beyond the purge's clock is not purged.
fn purged(events: &[Event], left: &BTreeMap<SessionId, Left>) -> Vec<Breach> {
    if events.iter().any(|event| event.may_end() && event.deed != Deed::Purge) {
        return Vec::new();
    }
    let renewed = events.iter().filter(|event| event.deed == Deed::Touch && event.is_done());
    renewed.filter(|event| !left.contains_key(&event.of)).cloned().map(Breach::PurgedThoughRenewed).collect()
}

fn keys(events: &[Event], row: &Left) -> Vec<Breach> {
    let wrote = |event: &&Event| matches!(event.deed, Deed::Insert | Deed::Rotate) && event.is_done();
    let workers: BTreeSet<usize> = events.iter().filter(wrote).map(|event| event.worker).collect();
    workers.into_iter().filter(|worker| !row.keys.contains(&key_of(*worker))).map(Breach::LostKey).collect()
}

fn count(events: &[Event], row: &Left) -> Option<Breach> {
    let counted = |told| events.iter().filter(|it| it.deed == Deed::Count && it.told == told).count();
    let least = counted(Told::Done);
    let most = least + counted(Told::Failed);
    (!(least..=most).contains(&row.count)).then_some(Breach::Miscounted(row.count, least, most))
}

/// Pairs of operations of different processes that ran at the same time, of which one at least changes something.
pub(crate) fn interleavings(events: &[Event]) -> usize {
    let mut pairs = 0;
    for (at, one) in events.iter().enumerate() {
        let meets = |other: &&Event| {
            let both_read = one.deed == Deed::Read && other.deed == Deed::Read;
            other.worker != one.worker && !both_read && other.overlaps(one)
        };
        pairs += events[at + 1..].iter().filter(meets).count();
    }
    pairs
}
