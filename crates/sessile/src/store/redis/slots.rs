//! The slots of a Cluster: which one a key is in, and which node has it.

use std::collections::BTreeSet;

use redis::Value;

use super::connect::Endpoint;
use super::fault::{Fault, strange};
use super::row::bytes;

/// Keys are divided among so many.
const SLOTS: u16 = 16_384;

/// The slot of a key: by its hash tag, the text between the first `{` and the `}` after it, or by all of it.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let after = key.iter().position(|&byte| byte == b'{').map(|at| &key[at + 1..]);
    let tag = after.and_then(|rest| rest.iter().position(|&byte| byte == b'}').map(|end| &rest[..end]));
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, as the specification of the Cluster names it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    })
}

/// Which node has which slots, as one of the nodes sees it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    /// In the order of their slots.
    ranges: Vec<Range>,
    replicas: BTreeSet<Endpoint>,
}

#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    primary: Endpoint,
}

impl Slots {
    /// From the answer to `CLUSTER SLOTS` of the node at `asked`.
    ///
    /// # Errors
    /// When it is no such answer, or when no node has any slots.
    pub(super) fn read(answer: Value, asked: &Endpoint) -> Result<Slots, Fault> {
        let Value::Array(told) = answer else { return Err(strange()) };
        let mut slots = Slots::default();
        for range in told {
            let (range, replicas) = range_of(range, asked).ok_or_else(strange)?;
            slots.ranges.push(range);
            slots.replicas.extend(replicas);
        }
        if slots.ranges.is_empty() {
            return Err(Fault::Away(format!("{asked} knows no node of a Cluster that has slots")));
        }
        slots.ranges.sort_unstable_by_key(|range| range.first);
        Ok(slots)
    }

    /// The node that has this slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&Endpoint> {
        let range = self.ranges.get(self.ranges.partition_point(|range| range.last < slot))?;
        (range.first <= slot).then_some(&range.primary)
    }

    /// The primaries that have slots.
    pub(super) fn primaries(&self) -> BTreeSet<Endpoint> {
        self.ranges.iter().map(|range| range.primary.clone()).collect()
    }

    pub(super) fn replicas(&self) -> &BTreeSet<Endpoint> {
        &self.replicas
    }
}

fn range_of(range: Value, asked: &Endpoint) -> Option<(Range, Vec<Endpoint>)> {
    let Value::Array(range) = range else { return None };
    let mut range = range.into_iter();
    let mut slot = || match range.next()? {
        Value::Int(slot) => u16::try_from(slot).ok(),
        _ => None,
    };
    let (first, last) = (slot()?, slot()?);
    let primary = node(range.next()?, asked)?;
    Some((Range { first, last, primary }, range.filter_map(|replica| node(replica, asked)).collect()))
}

fn node(told: Value, asked: &Endpoint) -> Option<Endpoint> {
    let Value::Array(node) = told else { return None };
    let mut node = node.into_iter();
    let host = bytes(node.next()?).and_then(|host| String::from_utf8(host).ok()).unwrap_or_default();
    let Value::Int(port) = node.next()? else { return None };
    beside(asked, &host, u16::try_from(port).ok()?)
}

/// The node at this address; without a host at that of the node that was asked, which knows itself by no name.
pub(super) fn beside(asked: &Endpoint, host: &str, port: u16) -> Option<Endpoint> {
    match (host, asked) {
        ("", Endpoint::Tcp(host, _)) => Some(Endpoint::Tcp(host.clone(), port)),
        ("", Endpoint::Unix(_)) => None,
        _ => Some(Endpoint::Tcp(host.to_owned(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Endpoint {
        Endpoint::Tcp("h".to_owned(), port)
    }

    fn told(first: i64, last: i64, nodes: &[(&str, i64)]) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |(host, port): &(&str, i64)| Value::Array(vec![text(host), Value::Int(*port), text("id")]);
        let bounds = [Value::Int(first), Value::Int(last)];
        Value::Array(bounds.into_iter().chain(nodes.iter().map(node)).collect())
    }

    /// As `CLUSTER KEYSLOT` answers.
    #[test]
    fn a_slot_is_that_of_the_hash_tag() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [
            ("foo", 12_182),
            ("sessile:{foo}:ids", 12_182),
            ("{foo}{bar}", 12_182),
            ("bar", 5_061),
            ("a{bar}}b", 5_061),
            ("", 0),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        for whole in ["{}foo", "foo{bar", "foo}{"] {
            assert_eq!(slot_of(whole.as_bytes()), crc16(whole.as_bytes()) % SLOTS, "{whole}");
        }
    }

    #[test]
    fn a_slot_has_the_primary_of_its_range() {
        let answer = Value::Array(vec![
            told(8_000, 16_383, &[("h", 2), ("h", 4)]),
            told(0, 99, &[("", 1), ("h", 3), ("h", 5)]),
            told(100, 100, &[("h", 2)]),
        ]);
        let slots = Slots::read(answer, &at(7)).unwrap();
        for (slot, owner) in [(0, 1), (99, 1), (100, 2), (8_000, 2), (16_383, 2)] {
            assert_eq!(slots.owner(slot), Some(&at(owner)), "{slot}");
        }
        assert_eq!(slots.owner(101), None);
        assert_eq!(slots.owner(7_999), None);
        assert_eq!(slots.primaries(), [at(1), at(2)].into());
        assert_eq!(*slots.replicas(), [at(3), at(4), at(5)].into());
    }

    #[test]
    fn what_is_no_view_is_an_error() {
        for answer in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![told(0, 70_000, &[("h", 1)])]),
            Value::Array(vec![told(0, 1, &[])]),
        ] {
            assert!(Slots::read(answer, &at(7)).is_err());
        }
    }
}
