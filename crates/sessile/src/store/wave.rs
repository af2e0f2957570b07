//! Waves: a batch cut into parts in which no row is met twice, for databases that make many writes
//! with one statement.

use std::collections::HashMap;

use super::Write;
use crate::record::SessionId;

/// The writes at these places, by waves. Made wave by wave, in any order within each, they do what
/// they would do one after the other.
pub(super) fn waves<'a>(writes: impl IntoIterator<Item = (usize, &'a Write)>) -> Vec<Vec<usize>> {
    let mut waves: Vec<Vec<usize>> = Vec::new();
    // The first wave in which an id is free again.
    let mut free: HashMap<SessionId, usize> = HashMap::new();
    for (place, write) in writes {
        let wave = write.ids().filter_map(|id| free.get(&id).copied()).max().unwrap_or(0);
        for id in write.ids() {
            free.insert(id, wave + 1);
        }
        if waves.len() <= wave {
            waves.push(Vec::new());
        }
        waves[wave].push(place);
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{SessionRecord, StoredData, Timestamp};
    use crate::store::Rotation;

    fn id(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    fn rotate(from: u8, to: u8) -> Write {
        let record = SessionRecord::new(id(to), Timestamp::MAX, Timestamp::MIN);
        Write::Rotate(Rotation {
            id: id(from),
            expected: StoredData::Null,
            record,
            now: Timestamp::MIN.into(),
        })
    }

    #[test]
    fn no_row_is_met_twice_in_a_wave() {
        let delete = |number| Write::Delete(id(number));
        let writes = [delete(1), delete(2), rotate(1, 3), delete(4), delete(3), delete(2), rotate(5, 5)];
        assert_eq!(waves(writes.iter().enumerate()), [vec![0, 1, 3, 6], vec![2, 5], vec![4]]);
        // Who comes after a late wave comes later still, though its other row was free.
        let chain = [rotate(1, 2), rotate(2, 3), rotate(4, 3), delete(4)];
        assert_eq!(waves(chain.iter().enumerate()), [vec![0], vec![1], vec![2], vec![3]]);
        assert!(waves([]).is_empty());
    }
}
