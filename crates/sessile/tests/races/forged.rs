//! The checker itself: sound histories pass, and each fault that is put into one is seen.

use std::collections::BTreeMap;

use sessile::SessionId;

use crate::checker::{Breach, Left, check, interleavings, key_of};
use crate::history::{Deed, Event, Told};
use crate::support::caller::token;

fn id(number: u32) -> SessionId {
    token(number).1
}

/// A story of session 0, told in order: each operation is over before the next begins.
struct Story {
    events: Vec<Event>,
    left: BTreeMap<SessionId, Left>,
    now: u64,
}

fn story() -> Story {
    Story { events: Vec::new(), left: BTreeMap::new(), now: 0 }
}

impl Story {
    fn event(mut self, worker: usize, deed: Deed, told: Told, of: u32, now: Option<u32>) -> Story {
        let (begun, ended) = (self.now, self.now + 5);
        self.now += 10;
        let now = now.map(id);
        self.events.push(Event { story: 0, worker, deed, told, begun, ended, of: id(of), now });
        self
    }

    fn done(self, worker: usize, deed: Deed, of: u32) -> Story {
        self.event(worker, deed, Told::Done, of, None)
    }

    fn renames(self, worker: usize, deed: Deed, of: u32, to: u32) -> Story {
        self.event(worker, deed, Told::Done, of, Some(to))
    }

    /// The last one began with the first.
    fn all_along(mut self) -> Story {
        self.events.last_mut().unwrap().begun = 0;
        self
    }

    fn leaves(mut self, of: u32, workers: &[usize], count: usize) -> Story {
        self.left
            .insert(id(of), Left { keys: workers.iter().map(|worker| key_of(*worker)).collect(), count });
        self
    }

    fn breaches(&self) -> Vec<Breach> {
        check(id(0), &self.events, &self.left)
    }

    fn last(&self) -> Event {
        self.events.last().unwrap().clone()
    }
}

#[test]
fn sound_histories_pass() {
    use Deed::*;
    for sound in [
        story().done(0, Insert, 0).done(1, Insert, 0).done(0, Read, 0).leaves(0, &[0, 1], 0),
        story().renames(0, Rotate, 0, 1).event(1, Insert, Told::Refused, 0, None).leaves(1, &[0], 0),
        story().renames(0, Rotate, 0, 1).renames(0, Rotate, 1, 2).leaves(2, &[0], 0),
        story().done(0, Revoke, 0).event(1, Read, Told::Missing, 0, None),
        // It began before the end was acknowledged: it may have been the first.
        story().done(0, Revoke, 0).done(1, Insert, 0).all_along(),
        story().done(0, Count, 0).event(1, Count, Told::Failed, 0, None).leaves(0, &[], 1),
        story().done(0, Count, 0).event(1, Count, Told::Failed, 0, None).leaves(0, &[], 2),
        story().renames(0, Login, 0, 1).done(1, Logout, 0).leaves(1, &[], 0),
        story().done(0, Purge, 0),
        story().done(0, Touch, 0).done(1, Purge, 0).leaves(0, &[], 0),
        story().done(0, RevokeUser, 0).event(1, Rotate, Told::Refused, 0, None).all_along(),
        // Done or not, under a name that nobody was told.
        story().event(0, Rotate, Told::Failed, 0, None),
    ] {
        assert_eq!(sound.breaches(), [], "{:?}", sound.events);
    }
}

#[test]
fn who_is_seen_after_its_end_is_found_out() {
    for end in [Deed::Revoke, Deed::Logout, Deed::RevokeUser] {
        for deed in [Deed::Read, Deed::Insert, Deed::Count, Deed::Touch] {
            let forged = story().done(0, end, 0).done(1, deed, 0);
            assert!(forged.breaches().contains(&Breach::SeenAfterItsEnd(forged.last())), "{end:?} {deed:?}");
        }
    }
    for renamed in [Deed::Rotate, Deed::Login] {
        let forged = story().renames(0, renamed, 0, 1).done(1, Deed::Read, 0).leaves(1, &[0], 0);
        assert_eq!(forged.breaches(), [Breach::SeenAfterItsEnd(forged.last())]);
    }
    // Under the name that it got meanwhile.
    for end in [Deed::Logout, Deed::RevokeUser] {
        let ended = story().done(0, end, 0).renames(1, Deed::Rotate, 0, 1).all_along();
        let forged = ended.done(2, Deed::Read, 1);
        assert_eq!(forged.breaches(), [Breach::SeenAfterItsEnd(forged.last())], "{end:?}");
    }
}

#[test]
fn a_row_that_came_back_is_found_out() {
    for end in [Deed::Revoke, Deed::Logout, Deed::RevokeUser] {
        let forged = story().done(0, end, 0).leaves(0, &[], 0);
        assert!(forged.breaches().contains(&Breach::CameBack(id(0))), "{end:?}");
    }
    let forged = story().renames(0, Deed::Login, 0, 1).leaves(0, &[], 0);
    assert!(forged.breaches().contains(&Breach::CameBack(id(0))));
    for end in [Deed::Logout, Deed::RevokeUser] {
        let ended = story().done(0, end, 0).renames(1, Deed::Rotate, 0, 1).all_along();
        assert_eq!(ended.leaves(1, &[1], 0).breaches(), [Breach::CameBack(id(1))], "{end:?}");
    }
}

#[test]
fn two_names_are_found_out() {
    let twice = story().renames(0, Deed::Rotate, 0, 1).renames(1, Deed::Rotate, 0, 2).all_along();
    let forged = twice.leaves(1, &[0], 0).leaves(2, &[1], 0);
    let breaches = forged.breaches();
    assert!(breaches.contains(&Breach::RotatedTwice(id(0))), "{breaches:?}");
    assert!(breaches.iter().any(|breach| matches!(breach, Breach::SeveralNames(names) if names.len() == 2)));
}

#[test]
fn a_session_that_is_gone_for_nothing_is_found_out() {
    assert_eq!(story().done(0, Deed::Insert, 0).breaches(), [Breach::Vanished]);
    assert_eq!(story().renames(0, Deed::Rotate, 0, 1).breaches(), [Breach::Vanished]);
    for told in [Told::Missing, Told::Refused] {
        let forged = story().event(0, Deed::Read, told, 0, None).leaves(0, &[], 0);
        assert_eq!(forged.breaches(), [Breach::GoneForNothing(forged.last())]);
        // The end came later.
        let forged = story().event(0, Deed::Insert, told, 0, None).done(1, Deed::Revoke, 0);
        assert_eq!(forged.breaches(), [Breach::GoneForNothing(forged.events[0].clone())]);
    }
    // Nobody but itself has rotated it.
    let forged = story().event(0, Deed::Rotate, Told::Refused, 0, None).leaves(0, &[], 0);
    assert_eq!(forged.breaches(), [Breach::GoneForNothing(forged.last())]);
}

#[test]
fn lost_keys_and_counts_are_found_out() {
    let forged = story().done(0, Deed::Insert, 0).done(1, Deed::Insert, 0).leaves(0, &[1], 0);
    assert_eq!(forged.breaches(), [Breach::LostKey(0)]);
    // Lost on the way to another name, or with the rotation itself.
    let forged = story().done(0, Deed::Insert, 0).renames(1, Deed::Rotate, 0, 1).leaves(1, &[1], 0);
    assert_eq!(forged.breaches(), [Breach::LostKey(0)]);
    let forged = story().renames(1, Deed::Rotate, 0, 1).leaves(1, &[], 0);
    assert_eq!(forged.breaches(), [Breach::LostKey(1)]);
    for (count, is_sound) in [(1, false), (2, true), (3, true), (4, false)] {
        let counted = story().done(0, Deed::Count, 0).done(1, Deed::Count, 0);
        let forged = counted.event(2, Deed::Count, Told::Failed, 0, None).leaves(0, &[], count);
        let expected = [Breach::Miscounted(count, 2, 3)];
        assert_eq!(forged.breaches(), if is_sound { &[][..] } else { &expected[..] });
    }
}

#[test]
fn a_purge_of_what_was_renewed_is_found_out() {
    let forged = story().done(0, Deed::Touch, 0).done(1, Deed::Purge, 0);
    assert_eq!(forged.breaches(), [Breach::PurgedThoughRenewed(forged.events[0].clone())]);
}

/// Only what crosses is counted: of two processes, at the same time, and not two readers.
#[test]
fn only_what_crosses_counts() {
    use Deed::*;
    let count = |story: Story| interleavings(&story.events);
    assert_eq!(count(story().done(0, Insert, 0).done(1, Insert, 0)), 0);
    assert_eq!(count(story().done(0, Insert, 0).done(0, Insert, 0).all_along()), 0);
    assert_eq!(count(story().done(0, Read, 0).done(1, Read, 0).all_along()), 0);
    assert_eq!(count(story().done(0, Read, 0).done(1, Insert, 0).all_along()), 1);
    assert_eq!(count(story().done(0, Insert, 0).done(1, Revoke, 0).done(2, Count, 0).all_along()), 2);
}

/// What a process writes is what is read.
#[test]
fn events_travel_as_text() {
    for event in
        story().renames(3, Deed::Rotate, 0, 1).event(1, Deed::RevokeUser, Told::Failed, 2, None).events
    {
        assert_eq!(event.to_string().parse(), Ok(event));
    }
    for broken in ["", "1 2 read", "1 2 dance done 0 1 00000000-0000-4000-8000-000000000000"] {
        assert!(broken.parse::<Event>().is_err(), "{broken}");
    }
}
