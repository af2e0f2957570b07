//! Entries in their order, each found by its key: by a scan while there are few, by a hash index when there are
//! many. Adding, finding and removing one cost the same, on average, however many there are.

use super::index::{Index, LINEAR};

/// Hands an entry's key to a function.
pub(crate) trait ReadKey<T>: Fn(&T, &mut dyn FnMut(&[u8])) {}

impl<T, F: Fn(&T, &mut dyn FnMut(&[u8]))> ReadKey<T> for F {}

/// Entries in their order. The keys stand in the entries, so the methods that may rebuild the index take a
/// function that reads one.
#[derive(Clone)]
pub(crate) struct Ordered<T> {
    /// A removed entry leaves a gap here when there is an index, because the index holds positions.
    list: Vec<Option<T>>,
    gaps: usize,
    index: Option<Box<Index>>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { list: Vec::new(), gaps: 0, index: None }
    }
}

impl<T> Ordered<T> {
    pub(crate) fn with_capacity(entries: usize) -> Self {
        Self { list: Vec::with_capacity(entries), ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len() - self.gaps
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.list.iter().flatten()
    }

    /// The position of the entry with this key; `is` compares one entry's key with it.
    pub(crate) fn find(&self, key: &[u8], is: impl Fn(&T) -> bool) -> Option<usize> {
        let is = |position: usize| self.list[position].as_ref().is_some_and(&is);
        match &self.index {
            Some(index) => index.find(key, is),
            None => (0..self.list.len()).find(|&position| is(position)),
        }
    }

    pub(crate) fn get(&self, position: usize) -> Option<&T> {
        self.list.get(position)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, position: usize) -> Option<&mut T> {
        self.list.get_mut(position)?.as_mut()
    }

    /// Appends an entry whose key is not there yet.
    pub(crate) fn push(&mut self, key: &[u8], entry: T, read_key: impl ReadKey<T>) {
        if self.list.capacity() == 0 {
            self.list.reserve_exact(LINEAR);
        }
        self.list.push(Some(entry));
        match &mut self.index {
            Some(index) if index.has_room() => index.add(key, self.list.len() - 1),
            _ => self.reindex(read_key),
        }
    }

    /// Takes the entry at this position out.
    pub(crate) fn remove(&mut self, position: usize, read_key: impl ReadKey<T>) -> Option<T> {
        if self.index.is_none() {
            return if position < self.list.len() { self.list.remove(position) } else { None };
        }
        let removed = self.list.get_mut(position)?.take();
        self.gaps += usize::from(removed.is_some());
        if self.gaps * 2 > self.list.len() {
            self.reindex(read_key);
        }
        removed
    }

    /// Keeps the entries for which `keep` returns true.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool, read_key: impl ReadKey<T>) {
        self.list.retain(|entry| entry.as_ref().is_some_and(&mut keep));
        self.gaps = 0;
        self.reindex(read_key);
    }

    /// Closes the gaps, and rebuilds the index if there are enough entries to need one.
    pub(crate) fn reindex(&mut self, read_key: impl ReadKey<T>) {
        if self.gaps > 0 {
            self.list.retain(Option::is_some);
            self.gaps = 0;
        }
        self.index = None;
        let Some(mut index) = Index::worthwhile(self.list.len()) else { return };
        for (position, entry) in self.list.iter().flatten().enumerate() {
            read_key(entry, &mut |key| index.add(key, position));
        }
        self.index = Some(Box::new(index));
    }
}

impl<T> IntoIterator for Ordered<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Option<T>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter().flatten()
    }
}

/// Without an index: see [`Ordered::reindex`].
impl<T> FromIterator<T> for Ordered<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        Self { list: entries.into_iter().map(Some).collect(), gaps: 0, index: None }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// What `n` keys cost: comparisons of keys, and keys read to rebuild the index.
    #[derive(Default)]
    struct Work {
        compared: Cell<usize>,
        reindexed: Cell<usize>,
    }

    impl Work {
        fn position(&self, ordered: &Ordered<String>, key: &str) -> Option<usize> {
            ordered.find(key.as_bytes(), |entry| {
                self.compared.set(self.compared.get() + 1);
                entry == key
            })
        }

        fn read_key(&self) -> impl ReadKey<String> {
            |entry: &String, use_key: &mut dyn FnMut(&[u8])| {
                self.reindexed.set(self.reindexed.get() + 1);
                use_key(entry.as_bytes());
            }
        }

        fn push(&self, ordered: &mut Ordered<String>, key: &str) {
            assert_eq!(self.position(ordered, key), None);
            ordered.push(key.as_bytes(), key.to_owned(), self.read_key());
        }

        fn remove(&self, ordered: &mut Ordered<String>, key: &str) {
            let position = self.position(ordered, key).unwrap();
            assert_eq!(ordered.remove(position, self.read_key()).as_deref(), Some(key));
        }
    }

    /// [R20] [S22] Adding, finding, removing and adding again: a few comparisons for each key, with a hundred keys
    /// and with a hundred thousand. A list that is scanned would need half as many for each as there are keys.
    #[test]
    fn each_operation_costs_the_same_however_many_keys_there_are() {
        for n in [100, 1_000, 10_000, 100_000] {
            let (work, mut ordered) = (Work::default(), Ordered::default());
            let keys: Vec<String> = (0..n).map(|n| format!("key {n}")).collect();
            for key in &keys {
                work.push(&mut ordered, key);
            }
            for key in &keys {
                assert!(work.position(&ordered, key).is_some());
            }
            for key in keys.iter().rev().step_by(2).chain(keys.iter().step_by(2)) {
                work.remove(&mut ordered, key);
            }
            assert!(ordered.is_empty() && ordered.iter().next().is_none());
            for key in &keys {
                work.push(&mut ordered, key);
                work.remove(&mut ordered, key);
                work.push(&mut ordered, key);
            }
            assert!(ordered.iter().eq(&keys) && ordered.len() == keys.len());
            ordered.retain(|key| key.ends_with('7'), work.read_key());
            assert_eq!(ordered.len(), n / 10);
            let (compared, reindexed) = (work.compared.get(), work.reindexed.get());
            println!("{n} keys: {compared} compared, {reindexed} reindexed");
            assert!(compared <= 20 * n && reindexed <= 20 * n, "{n}: {compared} {reindexed}");
        }
    }

    /// The order is that of insertion, with and without an index, and what was removed goes last when it returns.
    #[test]
    fn the_order_is_that_of_insertion() {
        for n in [3, LINEAR, LINEAR + 1, 100] {
            let (work, mut ordered) = (Work::default(), Ordered::default());
            let mut model: Vec<String> = (0..n).map(|n| format!("key {n}")).collect();
            for key in &model {
                work.push(&mut ordered, key);
            }
            for at in [0, n / 2, n - 1, 0, 0, n / 3] {
                let key = model.remove(at);
                work.remove(&mut ordered, &key);
                assert!(ordered.iter().eq(&model) && work.position(&ordered, &key).is_none());
                work.push(&mut ordered, &key);
                model.push(key);
                assert!(ordered.iter().eq(&model));
            }
        }
    }
}
