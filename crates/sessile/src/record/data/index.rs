//! A hash index over keys that stand elsewhere: it holds positions only, so that a session of a hundred thousand
//! keys costs no more per key than a small one.

use std::hash::{BuildHasher, RandomState};

/// Up to here, looking at each key in turn is faster.
pub(super) const LINEAR: usize = 16;

/// Open addressing with linear probing, at most half full. Keys are never taken out: the index is made anew.
#[derive(Clone)]
pub(super) struct Index {
    /// Position + 1, or 0 when free. A power of two of them.
    slots: Vec<usize>,
    used: usize,
    /// Randomly keyed: whoever chooses the keys must not choose the collisions.
    hasher: RandomState,
}

impl Index {
    /// An empty index with room for twice as many keys; none when there are few.
    pub(super) fn worthwhile(keys: usize) -> Option<Self> {
        (keys > LINEAR).then(|| Self {
            slots: vec![0; (keys * 4).next_power_of_two()],
            used: 0,
            hasher: RandomState::new(),
        })
    }

    pub(super) fn has_room(&self) -> bool {
        self.used * 2 < self.slots.len()
    }

    /// Notes a key that is not there yet.
    pub(super) fn add(&mut self, key: &[u8], position: usize) {
        let mut slot = self.first_slot(key);
        while self.slots[slot] != 0 {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = position + 1;
        self.used += 1;
    }

    /// The position among those with this hash for which `is` says so.
    pub(super) fn find(&self, key: &[u8], is: impl Fn(usize) -> bool) -> Option<usize> {
        let mut slot = self.first_slot(key);
        loop {
            let position = self.slots[slot].checked_sub(1)?;
            if is(position) {
                return Some(position);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    fn first_slot(&self, key: &[u8]) -> usize {
        // Only the low bits count.
        self.hasher.hash_one(key) as usize & (self.slots.len() - 1)
    }
}
