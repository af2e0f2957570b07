//! How long requests took.

use std::time::Duration;

/// The time, in microseconds, that this share of the sorted latencies stays within; not a number when there
/// are none.
pub fn micros_at(sorted: &[Duration], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
}
