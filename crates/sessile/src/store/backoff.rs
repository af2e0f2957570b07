//! How long to wait before something is tried again.

use std::time::Duration;

/// The pause after the first attempt to connect that failed; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// After so many attempts to connect that failed: doubling, and never the same for two processes that
/// lost one server.
pub(super) fn pause(failures: u32) -> Duration {
    let full = LONGEST_PAUSE.min(PAUSE * 2u32.saturating_pow(failures.clamp(1, 16) - 1));
    // Jitter need not be secret: without the generator there is none.
    let part = getrandom::u32().unwrap_or(u32::MAX);
    full.mul_f64(0.5 + f64::from(part) / f64::from(u32::MAX) / 2.0)
}

/// 1 to 9 ms, so that two writes that collided do not collide again.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn short_pause() -> Duration {
    Duration::from_micros(1_000 + u64::from(getrandom::u32().unwrap_or(0) % 8_192))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        assert!((0..100).all(|failures| pause(failures) <= LONGEST_PAUSE));
        assert!(pause(1) >= PAUSE / 2 && pause(1) <= PAUSE);
        assert!(pause(90) >= LONGEST_PAUSE / 2);
        let some: Vec<_> = (0..20).map(|_| pause(8)).collect();
        assert!(some.iter().any(|pause| *pause != some[0]));
    }
}
