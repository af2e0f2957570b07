//! What sessile itself remembers about a session, under the key `_sessile` of its data.
//!
//! Six columns suffice: Python carries the key along untouched. What is missing means the stricter
//! policy. What another version of this crate wrote there is kept.

use std::time::Duration;

use crate::record::{SessionData, SessionId, Timestamp};

const REMEMBER: &str = "remember";
const AUTHENTICATED_AT: &str = "authenticated_at";
const DEVICE: &str = "device";
const IDLE_SECONDS: &str = "idle_seconds";
const PREVIOUS: &str = "previous";
const CSRF_VOIDED: &str = "csrf_voided";

/// Former names that are kept: only requests that are on their way still know one.
const MAX_PREVIOUS: usize = 3;

/// Characters of a device label that are kept.
const MAX_DEVICE_CHARS: usize = 100;

/// A reading of `_sessile`, and the way to change it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meta(SessionData);

impl Meta {
    /// Reads it; anything that is not an object is taken as missing.
    pub(crate) fn of(data: &SessionData) -> Meta {
        Meta(data.meta_raw().and_then(|text| SessionData::parse(text.into()).ok()).unwrap_or_default())
    }

    /// Writes it back, or takes the key away when nothing is left.
    pub(crate) fn store_in(&self, data: &mut SessionData) {
        // The text is made of valid values, so there is nothing to refuse.
        let _ = data.set_meta_raw((!self.0.is_empty()).then(|| self.0.to_text()));
    }

    pub(crate) fn remember(&self) -> bool {
        self.0.raw(REMEMBER) == Some("true")
    }

    pub(crate) fn set_remember(&mut self, remember: bool) {
        self.set(REMEMBER, remember.then(|| "true".to_owned()));
    }

    pub(crate) fn authenticated_at(&self) -> Option<Timestamp> {
        self.0.get::<String>(AUTHENTICATED_AT).ok().flatten().and_then(|text| Timestamp::parse(&text))
    }

    /// Begins a login: what was chosen before does not count for it.
    pub(crate) fn begin_login(&mut self, authenticated_at: Option<Timestamp>) {
        for key in [REMEMBER, DEVICE, IDLE_SECONDS, CSRF_VOIDED] {
            self.set(key, None);
        }
        if authenticated_at.is_some() {
            self.set_authenticated_at(authenticated_at);
        }
    }

    pub(crate) fn set_authenticated_at(&mut self, at: Option<Timestamp>) {
        self.set(AUTHENTICATED_AT, at.map(|at| format!("\"{}\"", at.to_rfc3339())));
    }

    pub(crate) fn device(&self) -> Option<String> {
        self.0.get(DEVICE).ok().flatten()
    }

    pub(crate) fn set_device(&mut self, device: &str) {
        let label: String = device.chars().filter(|c| !c.is_control()).take(MAX_DEVICE_CHARS).collect();
        // A string always has a JSON text.
        self.set(DEVICE, crate::record::json::to_text(&label).ok().filter(|_| !label.is_empty()));
    }

    /// The session's own idle timeout, where it differs from the policy's.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.0.get(IDLE_SECONDS).ok().flatten().map(Duration::from_secs)
    }

    /// In whole seconds, rounded up, at least one.
    pub(crate) fn set_idle_timeout(&mut self, idle: Option<Duration>) {
        let whole = |idle: Duration| idle.as_secs().saturating_add(u64::from(idle.subsec_nanos() > 0)).max(1);
        self.set(IDLE_SECONDS, idle.map(|idle| whole(idle).to_string()));
    }

    /// How often the CSRF token was made void since the login.
    pub(crate) fn csrf_voided(&self) -> u64 {
        self.0.get(CSRF_VOIDED).ok().flatten().unwrap_or(0)
    }

    /// Makes the CSRF tokens void that were derived so far.
    pub(crate) fn void_csrf(&mut self, times: u64) {
        if times > 0 {
            self.set(CSRF_VOIDED, Some(self.csrf_voided().saturating_add(times).to_string()));
        }
    }

    /// The ids that the session had before it was rotated, the last one first. None of them opens it.
    pub(crate) fn previous(&self) -> Vec<SessionId> {
        let texts: Vec<String> = self.0.get(PREVIOUS).ok().flatten().unwrap_or_default();
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub(crate) fn add_previous(&mut self, id: SessionId) {
        let all = std::iter::once(id).chain(self.previous()).take(MAX_PREVIOUS);
        let texts: Vec<String> = all.map(|id| format!("\"{id}\"")).collect();
        self.set(PREVIOUS, Some(format!("[{}]", texts.join(", "))));
    }

    /// Whether the session lives by other lifetimes than the policy's.
    pub(crate) fn sets_lifetime(&self) -> bool {
        self.remember() || self.idle_timeout().is_some()
    }

    fn set(&mut self, key: &str, text: Option<String>) {
        match text {
            // The texts made above are valid JSON, so there is nothing to report.
            Some(text) => drop(self.0.insert_raw(key, text)),
            None => drop(self.0.remove(key)),
        }
    }
}
