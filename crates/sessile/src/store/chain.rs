//! Chains: writes that have to wait, each behind those of the same row, so that a batch is made in its
//! order though some of it is made later.

use std::collections::HashMap;

use super::Write;
use crate::record::SessionId;

/// Places in a batch whose writes have to wait.
#[derive(Default)]
pub(super) struct Chains {
    chains: Vec<Vec<usize>>,
    of: HashMap<SessionId, usize>,
}

impl Chains {
    /// Whether the write is about a row for which others wait.
    pub(super) fn concern(&self, write: &Write) -> bool {
        write.ids().any(|id| self.of.contains_key(&id))
    }

    /// Puts the write behind all those of its rows.
    pub(super) fn add(&mut self, at: usize, write: &Write) {
        let joined: Vec<usize> = write.ids().filter_map(|id| self.of.get(&id).copied()).collect();
        let chain = joined.first().copied().unwrap_or_else(|| {
            self.chains.push(Vec::new());
            self.chains.len() - 1
        });
        // A rotation from one waiting row onto another.
        for other in joined.into_iter().filter(|&other| other != chain) {
            let moved = std::mem::take(&mut self.chains[other]);
            self.chains[chain].extend(moved);
            self.of.values_mut().filter(|of| **of == other).for_each(|of| *of = chain);
        }
        self.chains[chain].push(at);
        self.of.extend(write.ids().map(|id| (id, chain)));
    }

    /// The places, each chain in the order in which its writes are to be made.
    pub(super) fn into_chains(self) -> Vec<Vec<usize>> {
        self.chains.into_iter().filter(|chain| !chain.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{SessionRecord, StoredData, Timestamp};
    use crate::store::Rotation;

    fn id(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    #[test]
    fn a_write_comes_behind_all_those_of_its_rows() {
        let delete = |number| Write::Delete(id(number));
        let record = SessionRecord::new(id(2), Timestamp::MAX, Timestamp::MIN);
        let rotation = Rotation { id: id(1), expected: StoredData::Null, record, now: Timestamp::MIN.into() };
        let mut chains = Chains::default();
        for (at, number) in [1, 2, 3, 2].into_iter().enumerate() {
            chains.add(at, &delete(number));
        }
        assert!(chains.concern(&delete(3)) && !chains.concern(&delete(4)));
        chains.add(4, &Write::Rotate(rotation));
        chains.add(5, &delete(2));
        chains.add(6, &delete(3));
        assert_eq!(chains.into_chains(), [vec![0, 1, 3, 4, 5], vec![2, 6]]);
    }
}
