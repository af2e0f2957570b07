//! Expired sessions that this process has reported, so that each is reported once: by the first request that presents
//! its cookie, or by the purge that removes its row.
//!
//! The memory is bounded. What requests reported is kept apart from what purges removed, so that a purge of many rows
//! does not displace it. The second part is for requests that loaded a row just before it was removed.

use std::collections::{HashSet, VecDeque};

use parking_lot::Mutex;

use crate::record::SessionId;

/// Ids that requests reported: about 3 MB.
const BY_REQUESTS: usize = 65_536;
/// Ids that purges removed: as many as they remove in the time of some round trips.
const BY_PURGES: usize = 16_384;

pub(super) struct Reported(Mutex<Both>);

struct Both {
    by_requests: Newest,
    by_purges: Newest,
}

/// The newest ids, up to a number of them.
struct Newest {
    most: usize,
    ids: HashSet<SessionId>,
    order: VecDeque<SessionId>,
}

impl Default for Reported {
    fn default() -> Reported {
        Reported::with_room(BY_REQUESTS, BY_PURGES)
    }
}

impl Reported {
    fn with_room(by_requests: usize, by_purges: usize) -> Reported {
        let newest = |most| Newest { most, ids: HashSet::new(), order: VecDeque::new() };
        Reported(Mutex::new(Both { by_requests: newest(by_requests), by_purges: newest(by_purges) }))
    }

    /// Returns whether the session was not reported before, and notes that a request reports it.
    pub(super) fn is_first_request(&self, id: SessionId) -> bool {
        let mut both = self.0.lock();
        !both.by_purges.ids.contains(&id) && both.by_requests.add(id)
    }

    /// Returns whether no request and no purge has reported the session, and notes that a purge reports it.
    pub(super) fn is_first_purge(&self, id: SessionId) -> bool {
        let mut both = self.0.lock();
        !both.by_requests.ids.contains(&id) && both.by_purges.add(id)
    }
}

impl Newest {
    /// Adds the id, in place of the oldest where there is no room. Returns whether it was not there.
    fn add(&mut self, id: SessionId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        if self.order.len() == self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.order.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    /// [L06] A session is reported once: by the first request or purge that meets it.
    #[test]
    fn each_is_reported_once() {
        let reported = Reported::default();
        assert!(reported.is_first_request(id(1)));
        assert!(!reported.is_first_request(id(1)) && !reported.is_first_purge(id(1)));
        assert!(reported.is_first_purge(id(2)));
        assert!(!reported.is_first_request(id(2)) && !reported.is_first_purge(id(2)));
    }

    /// [L06] The memory is bounded, and what requests reported is not displaced by a large purge.
    #[test]
    fn a_large_purge_displaces_nothing_that_requests_reported() {
        let reported = Reported::with_room(2, 3);
        assert!(reported.is_first_request(id(0)));
        for number in 1..=100 {
            assert!(reported.is_first_purge(id(number)));
        }
        assert!(!reported.is_first_purge(id(0)));
        let both = reported.0.lock();
        for (newest, ids) in [(&both.by_requests, 1), (&both.by_purges, 3)] {
            assert_eq!((newest.ids.len(), newest.order.len()), (ids, ids));
        }
    }
}
