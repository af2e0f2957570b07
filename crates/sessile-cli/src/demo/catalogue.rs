//! What the shop offers: a fixed list of invented goods, and prices as people write them.

use std::fmt;

/// An amount of money in cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Price(pub(crate) u32);

impl Price {
    /// The price of `count` pieces; it stays at the largest amount there is instead of wrapping round.
    pub(crate) fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

impl std::iter::Sum for Price {
    fn sum<I: Iterator<Item = Self>>(prices: I) -> Self {
        Self(prices.fold(0, |total, price| total.saturating_add(price.0)))
    }
}

/// `€18.00`
impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "€{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// One thing to buy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Good {
    /// Its name in forms, in addresses and in the session; never shown.
    pub(crate) slug: &'static str,
    /// Its name for people.
    pub(crate) name: &'static str,
    pub(crate) price: Price,
    /// One line, for the card in the catalogue.
    pub(crate) line: &'static str,
    /// What the picture shows, for those who do not see it.
    pub(crate) picture: &'static str,
}

/// All goods, in the order of the shelf.
pub(crate) const GOODS: [Good; 8] = [
    Good {
        slug: "barnacle-mug",
        name: "Barnacle mug",
        price: Price(1800),
        line: "Five barnacles, one handle, never slips.",
        picture: "A teal mug with a cluster of barnacles at its foot",
    },
    Good {
        slug: "coral-lamp",
        name: "Coral lamp",
        price: Price(6400),
        line: "Grows a warm light and nothing else.",
        picture: "A lit table lamp on a branching red coral",
    },
    Good {
        slug: "anemone-cushion",
        name: "Anemone cushion",
        price: Price(3900),
        line: "All of the arms, none of the sting.",
        picture: "A plum cushion with a coral-red anemone on it",
    },
    Good {
        slug: "sponge-set",
        name: "Sponge set",
        price: Price(1250),
        line: "Three tubes that drink what you spill.",
        picture: "Three tube sponges of different heights side by side",
    },
    Good {
        slug: "oyster-notebook",
        name: "Oyster notebook",
        price: Price(1400),
        line: "Closes tight. One pearl to a page.",
        picture: "A slate-blue notebook with an oyster and its pearl on the cover",
    },
    Good {
        slug: "mussel-bowl",
        name: "Mussel bowl",
        price: Price(2750),
        line: "Blue outside, mother-of-pearl within.",
        picture: "A blue bowl with mussel shells in it",
    },
    Good {
        slug: "sea-lily-print",
        name: "Sea-lily print",
        price: Price(3200),
        line: "An animal, though it looks otherwise.",
        picture: "A framed print of a sea lily with feathered arms",
    },
    Good {
        slug: "kelp-scarf",
        name: "Kelp scarf",
        price: Price(4500),
        line: "Two metres long and still growing.",
        picture: "A green scarf with a pattern of kelp over a wooden rail",
    },
];

/// The good of that slug, if the shop has it.
pub(crate) fn find(slug: &str) -> Option<&'static Good> {
    GOODS.iter().find(|good| good.slug == slug)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn prices_read_as_people_write_them() {
        assert_eq!(Price(1805).to_string(), "€18.05");
        assert_eq!(Price(7).to_string(), "€0.07");
        assert_eq!(Price(1250).times(3).to_string(), "€37.50");
    }

    #[test]
    fn no_cart_makes_the_total_wrap_round() {
        assert_eq!([Price(u32::MAX), Price(1)].into_iter().sum::<Price>(), Price(u32::MAX));
        assert_eq!(Price(u32::MAX).times(2), Price(u32::MAX));
    }

    #[test]
    fn every_good_is_found_by_its_own_slug() {
        let slugs: HashSet<_> = GOODS.iter().map(|good| good.slug).collect();
        assert_eq!(slugs.len(), GOODS.len());
        assert!(GOODS.iter().all(|good| find(good.slug) == Some(good)));
        assert_eq!(find("anchor"), None);
    }
}
