//! A line of people: first come, first served, and who goes away leaves a gap that is closed later.

use std::collections::VecDeque;

/// Gaps that nobody minds.
const FEW: usize = 32;

/// Things in the order of their numbers, which only grow.
pub(crate) struct Line<T> {
    places: VecDeque<(u64, Option<T>)>,
    gaps: usize,
}

impl<T> Line<T> {
    pub(crate) fn new() -> Line<T> {
        Line { places: VecDeque::new(), gaps: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.gaps
    }

    pub(crate) fn push(&mut self, number: u64, thing: T) {
        self.places.push_back((number, Some(thing)));
    }

    /// Who comes next, without taking it out.
    pub(crate) fn first(&mut self) -> Option<&T> {
        while let Some((_, None)) = self.places.front() {
            self.places.pop_front();
            self.gaps -= 1;
        }
        self.places.front().and_then(|(_, thing)| thing.as_ref())
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        loop {
            match self.places.pop_front()? {
                (number, Some(thing)) => return Some((number, thing)),
                (_, None) => self.gaps -= 1,
            }
        }
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let at = self.places.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.places[at].1.as_mut()
    }

    /// Takes one out of the middle. Cheap also when all leave, each by itself.
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let at = self.places.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let thing = self.places[at].1.take()?;
        self.gaps += 1;
        if self.gaps > FEW.max(self.places.len() / 2) {
            self.places.retain(|(_, thing)| thing.is_some());
            self.gaps = 0;
        }
        Some(thing)
    }

    /// Takes out those of which this is true.
    pub(crate) fn remove_all(&mut self, mut leaves: impl FnMut(&mut T) -> bool) -> Vec<T> {
        let mut left = Vec::new();
        for (_, place) in &mut self.places {
            if place.as_mut().is_some_and(&mut leaves) {
                left.extend(place.take());
            }
        }
        self.places.retain(|(_, thing)| thing.is_some());
        self.gaps = 0;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_is_passed_by_and_the_order_stays() {
        let mut line = Line::new();
        for number in 0..1_000 {
            line.push(number, number);
        }
        for number in (0..1_000).filter(|number| number % 10 != 7) {
            assert_eq!(line.remove(number), Some(number));
            assert_eq!(line.remove(number), None);
        }
        assert_eq!(line.len(), 100);
        assert!(line.places.len() <= 200, "{} places for 100", line.places.len());
        *line.get_mut(17).unwrap() = 1;
        assert_eq!(line.remove_all(|&mut thing| thing == 27), [27]);
        let left: Vec<u64> = std::iter::from_fn(|| line.pop().map(|(_, thing)| thing)).collect();
        assert_eq!(left[..3], [7, 1, 37]);
        assert_eq!((left.len(), line.len()), (99, 0));
    }
}
