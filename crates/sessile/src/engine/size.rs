//! How much a session holds of what it may hold.
//!
//! What sessile itself stores does not count: a session that is full can still be signed in, rotated and given a
//! CSRF token.

use super::error::EngineError;
use super::plan::{LBACK_USER_ID, LBACK_USER_TYPE};
use super::policy::Policy;
use crate::record::SessionData;

/// The key of the CSRF token in the data: lback's.
pub(crate) const CSRF_TOKEN: &str = "_csrf_token";

/// Bytes for all that sessile stores beside a handler's data: what stands under `_sessile`, at most 1.6 KiB, and the
/// keys of [`own_keys`].
pub(crate) const OWN_BYTES: usize = 4_096;

/// Keys among the handler's that sessile sets, each with the bytes that do not count.
fn own_keys(policy: &Policy) -> &'static [(&'static str, usize)] {
    const KEYS: [(&str, usize); 3] = [(CSRF_TOKEN, 64), (LBACK_USER_ID, 1_600), (LBACK_USER_TYPE, 64)];
    if policy.is_lback() { &KEYS } else { &KEYS[..1] }
}

/// Bytes of the data that count.
pub(crate) fn counted(data: &SessionData, policy: &Policy) -> usize {
    let own = own_keys(policy).iter().map(|&(key, free)| data.member_bytes(key).min(free));
    data.counted_bytes() - own.sum::<usize>()
}

/// Refuses a value of this length under a key, if the data would then hold more than `limit` and more than it does.
///
/// # Errors
/// [`EngineError::TooLarge`].
pub(crate) fn check_value(
    data: &SessionData,
    key: &str,
    length: usize,
    policy: &Policy,
    limit: usize,
) -> Result<(), EngineError> {
    let with = data.counted_with(key, length);
    if with <= limit {
        return Ok(());
    }
    let added = with.saturating_sub(data.counted_bytes());
    let own = |&(own, free): &(&str, usize)| {
        let now = data.member_bytes(own);
        if own == key { (now + added).min(free) } else { now.min(free) }
    };
    let bytes = with - own_keys(policy).iter().map(own).sum::<usize>();
    check(bytes, counted(data, policy), limit)
}

/// Refuses data that would count `bytes`, if that is more than `limit` and more than `before`.
///
/// # Errors
/// [`EngineError::TooLarge`].
pub(crate) fn check(bytes: usize, before: usize, limit: usize) -> Result<(), EngineError> {
    if bytes > limit && bytes > before { Err(EngineError::TooLarge { bytes, limit }) } else { Ok(()) }
}
