//! The cart: what a visitor means to buy, kept in the session as slugs and counts.
//!
//! Names and prices are looked up when the cart is shown, never stored: a price in a session would outlive the
//! price on the shelf.

use serde::{Deserialize, Serialize};

use super::catalogue::{self, Good, Price};

/// More of one good than this is not for a small shop.
pub(crate) const MOST_OF_ONE: u32 = 99;

/// What is in the cart, in the order in which it was put there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Cart(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    item: String,
    count: u32,
}

/// A good in the cart, with all that is needed to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) good: &'static Good,
    pub(crate) count: u32,
}

impl Line {
    /// What this many of the good cost.
    pub(crate) fn price(&self) -> Price {
        self.good.price.times(self.count)
    }
}

impl Cart {
    /// Puts one more in; at [`MOST_OF_ONE`] the cart stays as it is.
    pub(crate) fn add(&mut self, good: &Good) {
        match self.0.iter_mut().find(|entry| entry.item == good.slug) {
            Some(entry) => entry.count = entry.count.saturating_add(1).min(MOST_OF_ONE),
            None => self.0.push(Entry { item: good.slug.to_owned(), count: 1 }),
        }
    }

    /// Takes one out; the last one takes the line with it.
    pub(crate) fn take_one(&mut self, good: &Good) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.item == good.slug) {
            entry.count = entry.count.saturating_sub(1);
        }
        self.0.retain(|entry| entry.count > 0);
    }

    /// Takes all of that good out.
    pub(crate) fn remove(&mut self, good: &Good) {
        self.0.retain(|entry| entry.item != good.slug);
    }

    /// What is in the cart; goods that the shop no longer has are passed over.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> {
        self.0
            .iter()
            .filter_map(|entry| Some(Line { good: catalogue::find(&entry.item)?, count: entry.count }))
            .filter(|line| line.count > 0)
    }

    /// How many pieces of that good are in the cart.
    pub(crate) fn count_of(&self, good: &Good) -> u32 {
        self.lines().find(|line| line.good == good).map_or(0, |line| line.count)
    }

    /// How many pieces are in the cart.
    pub(crate) fn count(&self) -> u32 {
        self.lines().fold(0, |total, line| total.saturating_add(line.count))
    }

    /// What all of it costs.
    pub(crate) fn total(&self) -> Price {
        self.lines().map(|line| line.price()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::catalogue::GOODS;

    fn cart(goods: &[&Good]) -> Cart {
        let mut cart = Cart::default();
        goods.iter().for_each(|good| cart.add(good));
        cart
    }

    #[test]
    fn adding_counts_up_and_keeps_the_order() {
        let [mug, lamp, ..] = &GOODS;
        let cart = cart(&[lamp, mug, lamp]);
        let lines: Vec<_> = cart.lines().map(|line| (line.good.slug, line.count)).collect();
        assert_eq!(lines, [("coral-lamp", 2), ("barnacle-mug", 1)]);
        assert_eq!(cart.count(), 3);
        assert_eq!(cart.total(), Price(2 * 6400 + 1800));
        assert_eq!(cart.count_of(lamp), 2);
    }

    #[test]
    fn a_line_goes_with_its_last_piece_or_all_at_once() {
        let [mug, lamp, ..] = &GOODS;
        let mut cart = cart(&[mug, mug, lamp]);
        cart.take_one(mug);
        assert_eq!(cart.count_of(mug), 1);
        cart.take_one(mug);
        cart.take_one(mug);
        assert_eq!(cart.lines().count(), 1);
        cart.add(lamp);
        cart.remove(lamp);
        assert_eq!(cart, Cart::default());
    }

    #[test]
    fn one_good_stops_at_the_most_a_visitor_may_have() {
        let cart = cart(&[&GOODS[0]; 120]);
        assert_eq!(cart.count(), MOST_OF_ONE);
    }

    #[test]
    fn goods_the_shop_no_longer_has_are_neither_shown_nor_counted() {
        let mut old = cart(&[&GOODS[0]]);
        old.0.push(Entry { item: "anchor".to_owned(), count: 3 });
        old.0.push(Entry { item: "kelp-scarf".to_owned(), count: 0 });
        assert_eq!(old.count(), 1);
        assert_eq!(old.lines().count(), 1);
        assert_eq!(old.total(), GOODS[0].price);
    }
}
