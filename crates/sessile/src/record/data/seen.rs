//! Which keys were there, roughly: most are told from all others without a look at those.

/// One bit for each sort of key that was there.
#[derive(Default)]
pub(super) struct Seen(u64);

impl Seen {
    /// Whether the key may have been there before; it is from here on.
    pub(super) fn perhaps(&mut self, key: &[u8]) -> bool {
        let end = |byte: Option<&u8>| usize::from(byte.copied().unwrap_or_default());
        let sort = key.len() ^ end(key.first()) << 1 ^ end(key.last()) << 2;
        let sort = 1 << (sort % 64);
        let perhaps = self.0 & sort != 0;
        self.0 |= sort;
        perhaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that was there is never taken for a new one; one that differs mostly is.
    #[test]
    fn no_key_that_was_there_is_missed() {
        let mut seen = Seen::default();
        let keys = ["", "user", "user_id", "n", "csrf", "locale", "theme", "roles", "cart", "return_to", "é"];
        let taken_for_old = keys.iter().filter(|key| seen.perhaps(key.as_bytes())).count();
        assert!(taken_for_old < keys.len() / 2, "{taken_for_old} of {} new ones", keys.len());
        assert!(keys.iter().all(|key| seen.perhaps(key.as_bytes())));
    }
}
