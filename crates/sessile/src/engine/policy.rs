//! The policy: lifetimes, renewal, limits, and what to do when.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::meta::Meta;
use crate::record::{SessionRecord, Timestamp, UserId};
use crate::store::SettingError;
use crate::store::setting::DEADLINES;

const MINUTE: Duration = Duration::from_secs(60);
/// How far a session may begin in the future, by the clock that judges it.
const CLOCK_AHEAD: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest lifetime of a session: a browser counts in seconds.
const LIFETIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::MAX;
/// The text of a session that holds nothing.
const LEAST_DATA_BYTES: u64 = 2;

/// A policy under which no session could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// One value is outside of what is allowed.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A session would expire before a request may renew it.
    #[error(
        "`Policy::renew_after` is {renew_after:?} and `{setting}` {idle:?}: no request could renew a session; set \
         `renew_after` to less than that, after `idle_timeout`, which sets it to a tenth of its own"
    )]
    NeverRenews {
        /// [`Policy::renew_after`].
        renew_after: Duration,
        /// The setting of the idle timeout.
        setting: &'static str,
        /// The idle timeout.
        idle: Duration,
    },
    /// A session would reach its absolute lifetime before its idle timeout.
    #[error(
        "`{idle_setting}` is {idle:?} and `{absolute_setting}` {absolute:?}: no session lives that long without a \
         request; set the idle timeout to no more than the absolute lifetime, or the absolute lifetime to more or \
         to `None`"
    )]
    IdleOutlives {
        /// The setting of the idle timeout.
        idle_setting: &'static str,
        /// The idle timeout.
        idle: Duration,
        /// The setting of the absolute lifetime.
        absolute_setting: &'static str,
        /// The absolute lifetime.
        absolute: Duration,
    },
}

/// How a cookie names a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Naming {
    /// By a secret of which the table holds only a hash: a copy of the table signs nobody in.
    Token,
    /// By the row's id itself, as lback does. For a table shared with Python's cookies: whoever can
    /// read the table can then sign in as anybody.
    Id,
}

/// How long a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetimes {
    /// Without a request.
    pub idle: Duration,
    /// Whatever happens, from its sign-in. `None`: no limit.
    pub absolute: Option<Duration>,
}

/// Lifetimes, renewal and limits.
///
/// | | default | lback |
/// |---|---|---|
/// | idle timeout | 30 minutes | 30 minutes |
/// | absolute lifetime | 24 hours | none |
/// | the same with "remember me" | 14 days, 90 days | 14 days, none |
/// | renewal | once a tenth of the idle timeout has passed | on every request |
/// | largest data | 65,535 bytes | 65,535 bytes |
/// | answer of the store within | 5 seconds | 5 seconds |
///
/// Sources: OWASP ASVS 5.0 7.3.1 and 7.3.2 (both timeouts in force), NIST SP 800-63B-4 (24 hours, and
/// inactivity of an hour at most, at AAL2). 65,535 bytes is what MySQL's `TEXT` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub(crate) idle_timeout: Duration,
    pub(crate) absolute_lifetime: Option<Duration>,
    pub(crate) remember_idle_timeout: Duration,
    pub(crate) remember_absolute_lifetime: Option<Duration>,
    pub(crate) renew_after: Option<Duration>,
    pub(crate) max_data_bytes: usize,
    pub(crate) keep_anonymous_data: bool,
    pub(crate) keep_changes_on_server_error: bool,
    pub(crate) max_attempts: u32,
    pub(crate) store_timeout: Duration,
    pub(crate) naming: Naming,
    pub(crate) user_in_data: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            idle_timeout: 30 * MINUTE,
            absolute_lifetime: Some(DAY),
            remember_idle_timeout: 14 * DAY,
            remember_absolute_lifetime: Some(90 * DAY),
            renew_after: Some(3 * MINUTE),
            max_data_bytes: 65_535,
            keep_anonymous_data: true,
            keep_changes_on_server_error: false,
            max_attempts: 100,
            store_timeout: Duration::from_secs(5),
            naming: Naming::Token,
            user_in_data: false,
        }
    }
}

impl Policy {
    /// The defaults.
    pub fn new() -> Policy {
        Policy::default()
    }

    /// What a Python service on the framework lback does, for one table and one cookie with it: the id
    /// in the cookie, renewal on every request, 30 minutes, and the user in the data as well as in the
    /// column. The data is the authority, because Python changes nothing else.
    ///
    /// Python signs users in without a note in the column `user_id`. A request to sessile makes it up for its own
    /// session; [`Sessions::list`](super::Sessions::list), `sessions_of`, `revoke_user` and `revoke_others` first
    /// read all live sessions to find the others.
    pub fn lback() -> Policy {
        Policy {
            absolute_lifetime: None,
            remember_absolute_lifetime: None,
            renew_after: Some(Duration::ZERO),
            naming: Naming::Id,
            user_in_data: true,
            ..Policy::default()
        }
    }

    /// How long a session lives without a request, at least one second. Also sets
    /// [`renew_after`](Self::renew_after) to a tenth of it. No more than the
    /// [absolute lifetime](Self::absolute_lifetime), which is 24 hours unless it is set.
    #[must_use]
    pub fn idle_timeout(mut self, idle: Duration) -> Policy {
        self.idle_timeout = idle;
        if self.renew_after.is_some_and(|after| !after.is_zero()) {
            self.renew_after = Some(idle / 10);
        }
        self
    }

    /// How long a session lives at most, whatever happens, from its sign-in; at least one second. `None`: no limit.
    ///
    /// A session that began more than an hour in the future, because a clock was wrong, is not accepted where there
    /// is a limit: it would outlive the limit by as much. `sessile verify` finds such rows.
    #[must_use]
    pub fn absolute_lifetime(mut self, absolute: impl Into<Option<Duration>>) -> Policy {
        self.absolute_lifetime = absolute.into();
        self
    }

    /// Both lifetimes for sessions that are remembered, with the bounds of those that are not.
    #[must_use]
    pub fn remembered(mut self, idle: Duration, absolute: impl Into<Option<Duration>>) -> Policy {
        self.remember_idle_timeout = idle;
        self.remember_absolute_lifetime = absolute.into();
        self
    }

    /// A request moves the expiry only if that gains at least this much: one statement per session and
    /// interval instead of one per request, and changes that leave the expiry's index alone. A request that
    /// changes nothing does not wait for it: it is made in the background, together with those of others. Only
    /// where the response tells the browser when the session ends, or for lback, it is made before. Zero: on
    /// every request. `None`: only changes move it, each of them, and the idle timeout counts from the
    /// last one.
    #[must_use]
    pub fn renew_after(mut self, gained: impl Into<Option<Duration>>) -> Policy {
        self.renew_after = gained.into();
        self
    }

    /// The largest text in `data`, in bytes, at least 2: [`EngineError::TooLarge`](super::EngineError::TooLarge) is returned by
    /// whatever would make it larger, and nothing is changed.
    ///
    /// What sessile itself stores does not count: the CSRF token, and its notes, such as the time of the login. So a
    /// full session can still be signed in. A store whose column holds less (MySQL's `TEXT`, 65,535 bytes) keeps
    /// 4 KiB of it for them: there a session holds 61,439 bytes.
    #[must_use]
    pub fn max_data_bytes(mut self, bytes: usize) -> Policy {
        self.max_data_bytes = bytes;
        self
    }

    /// Whether what an anonymous visitor stored (a cart) goes along when they sign in. Default: yes.
    /// What another user stored never does.
    #[must_use]
    pub fn keep_anonymous_data(mut self, keep: bool) -> Policy {
        self.keep_anonymous_data = keep;
        self
    }

    /// Whether changes are kept when the response reports a failure: with 5xx, with 408, as a time-out does, or with a
    /// `grpc-status` header other than 0. Default: no. Endings are carried out in any case, and the changes of a
    /// handler that panics or returns an error are dropped in any case.
    #[must_use]
    pub fn keep_changes_on_server_error(mut self, keep: bool) -> Policy {
        self.keep_changes_on_server_error = keep;
        self
    }

    /// How long to wait for one answer of the store before the request fails with 503: at least one millisecond, at
    /// most a day.
    #[must_use]
    pub fn store_timeout(mut self, timeout: Duration) -> Policy {
        self.store_timeout = timeout;
        self
    }

    /// How often a change is merged onto newer data before the request fails; at least once. Default: 100.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Policy {
        self.max_attempts = attempts;
        self
    }

    /// Checks whether sessions can live and be used under this policy. [`SessionsBuilder::build`] and
    /// [`try_build`] call it.
    ///
    /// [`SessionsBuilder::build`]: super::SessionsBuilder::build
    /// [`try_build`]: super::SessionsBuilder::try_build
    ///
    /// # Errors
    /// When a value is outside of what is allowed, an idle timeout is longer than the absolute lifetime, or sessions
    /// would never be renewed.
    pub fn validate(&self) -> Result<(), PolicyError> {
        const IDLE: &str = "Policy::idle_timeout";
        const ABSOLUTE: &str = "Policy::absolute_lifetime";
        const REMEMBERED_IDLE: &str = "Policy::remembered (idle)";
        const REMEMBERED_ABSOLUTE: &str = "Policy::remembered (absolute)";
        let both = [
            (self.lifetimes(), IDLE, ABSOLUTE),
            (self.remembered_lifetimes(), REMEMBERED_IDLE, REMEMBERED_ABSOLUTE),
        ];
        for (Lifetimes { idle, absolute }, idle_setting, absolute_setting) in both {
            SettingError::check_time(idle_setting, idle, &LIFETIMES)?;
            if let Some(absolute) = absolute {
                SettingError::check_time(absolute_setting, absolute, &LIFETIMES)?;
                if idle > absolute {
                    return Err(PolicyError::IdleOutlives { idle_setting, idle, absolute_setting, absolute });
                }
            }
            if let Some(renew_after) = self.renew_after.filter(|renew_after| *renew_after >= idle) {
                return Err(PolicyError::NeverRenews { renew_after, setting: idle_setting, idle });
            }
        }
        SettingError::check_time("Policy::store_timeout", self.store_timeout, &DEADLINES)?;
        SettingError::check_number("Policy::max_attempts", self.max_attempts.into(), 1)?;
        SettingError::check_number("Policy::max_data_bytes", self.max_data_bytes as u64, LEAST_DATA_BYTES)?;
        Ok(())
    }

    /// The lifetimes of a session that is not remembered.
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes { idle: self.idle_timeout, absolute: self.absolute_lifetime }
    }

    /// The lifetimes of a session that is remembered.
    pub fn remembered_lifetimes(&self) -> Lifetimes {
        Lifetimes { idle: self.remember_idle_timeout, absolute: self.remember_absolute_lifetime }
    }

    /// What [`renew_after`](Self::renew_after) was set to.
    pub fn renews_after(&self) -> Option<Duration> {
        self.renew_after
    }

    /// The largest text in `data`, in bytes.
    pub fn data_limit(&self) -> usize {
        self.max_data_bytes
    }

    /// How often a change is merged onto newer data.
    pub(crate) fn attempts(&self) -> u32 {
        self.max_attempts
    }

    /// How long one answer of the store may take.
    pub fn store_deadline(&self) -> Duration {
        self.store_timeout
    }

    /// Whether anonymous data goes along when its visitor signs in.
    pub fn keeps_anonymous_data(&self) -> bool {
        self.keep_anonymous_data
    }

    /// How a cookie names a session.
    pub fn naming(&self) -> Naming {
        self.naming
    }

    /// Whether this is the lback preset, so that the cookie and the data follow lback's names.
    pub fn is_lback(&self) -> bool {
        self.user_in_data
    }

    /// Whether the data of `before` may go along to a session of `after`.
    pub(crate) fn keeps_data(&self, before: Option<&UserId>, after: &UserId) -> bool {
        before.map_or(self.keep_anonymous_data, |before| before == after)
    }

    fn lifetimes_of(&self, meta: &Meta) -> Lifetimes {
        let usual = if meta.remember() { self.remembered_lifetimes() } else { self.lifetimes() };
        Lifetimes { idle: meta.idle_timeout().unwrap_or(usual.idle), ..usual }
    }

    /// When a session that began at `created_at` and is used `now` ends.
    pub(crate) fn expiry(&self, created_at: Timestamp, meta: &Meta, now: Timestamp) -> Timestamp {
        let Lifetimes { idle, absolute } = self.lifetimes_of(meta);
        let idle_end = now.saturating_add(idle);
        absolute.map_or(idle_end, |absolute| idle_end.min(created_at.saturating_add(absolute)))
    }

    /// Whether the session is alive: not expired, and not older than its absolute lifetime, which the
    /// row cannot know when somebody else wrote its expiry.
    pub(crate) fn is_live(
        &self,
        record: &SessionRecord,
        meta: impl FnOnce() -> Meta,
        now: Timestamp,
    ) -> bool {
        if !record.is_live(now) {
            return false;
        }
        let Some(created_at) = record.created_at() else { return true };
        if self.is_from_the_future(created_at, now) {
            return false;
        }
        let within =
            |absolute: Option<Duration>| absolute.is_none_or(|limit| now < created_at.saturating_add(limit));
        // Nearly always both answer the same, and nothing has to be read.
        match (within(self.absolute_lifetime), within(self.remember_absolute_lifetime)) {
            (usual, remembered) if usual == remembered => usual,
            _ => within(self.lifetimes_of(&meta()).absolute),
        }
    }

    /// Whether the session began so far in the future that a clock must have been wrong: it would outlive its
    /// absolute lifetime by as much.
    pub(crate) fn is_from_the_future(&self, created_at: Timestamp, now: Timestamp) -> bool {
        self.absolute_lifetime.is_some() && created_at > now.saturating_add(CLOCK_AHEAD)
    }

    /// When the session ends, if nobody renews it.
    pub(crate) fn end(&self, record: &SessionRecord, meta: &Meta) -> Timestamp {
        let absolute = self.lifetimes_of(meta).absolute;
        let limit = record.created_at().zip(absolute).map(|(began, limit)| began.saturating_add(limit));
        limit.map_or(record.expires_at(), |limit| limit.min(record.expires_at()))
    }

    /// The new expiry if it is worth a statement of its own.
    pub(crate) fn renewal(&self, record: &SessionRecord, meta: &Meta, now: Timestamp) -> Option<Timestamp> {
        self.renewed(record, meta, now, self.renew_after?)
    }

    /// The new expiry if it is worth moving along with a change. Where nothing else renews, each change does.
    pub(crate) fn renewal_by_change(
        &self,
        record: &SessionRecord,
        meta: &Meta,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.renewed(record, meta, now, self.renew_after.unwrap_or_default())
    }

    fn renewed(
        &self,
        record: &SessionRecord,
        meta: &Meta,
        now: Timestamp,
        renew_after: Duration,
    ) -> Option<Timestamp> {
        // A session with a short idle timeout of its own could never gain as much as the policy asks for.
        let renew_after = meta.idle_timeout().map_or(renew_after, |idle| renew_after.min(idle / 10));
        let renewed = self.expiry(record.created_at()?, meta, now);
        let gained = renewed.saturating_since(record.expires_at());
        (renewed > record.expires_at() && gained >= renew_after).then_some(renewed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [R20] A policy under which no session could be used is refused, with the setting's name and what is allowed.
    #[test]
    fn a_policy_that_nobody_could_use_is_refused() {
        let (zero, second) = (Duration::ZERO, Duration::from_secs(1));
        let policy = Policy::default;
        for fine in [
            policy(),
            Policy::lback(),
            policy().absolute_lifetime(None).renew_after(None),
            policy().idle_timeout(second).absolute_lifetime(second).remembered(second, second),
            policy().idle_timeout(Duration::MAX).absolute_lifetime(None).renew_after(zero),
            policy().store_timeout(Duration::from_millis(1)).max_attempts(1).max_data_bytes(2),
        ] {
            assert_eq!(fine.validate(), Ok(()));
        }
        let almost = Duration::from_millis(999);
        for (refused, says) in [
            (policy().idle_timeout(zero), "`Policy::idle_timeout` is 0ns: at least 1s is needed"),
            (policy().idle_timeout(almost), "`Policy::idle_timeout` is 999ms: at least 1s is needed"),
            (policy().absolute_lifetime(zero), "`Policy::absolute_lifetime` is 0ns: at least 1s is needed"),
            (policy().remembered(zero, None), "`Policy::remembered (idle)` is 0ns: at least 1s is needed"),
            (policy().remembered(DAY, zero), "`Policy::remembered (absolute)` is 0ns: at least 1s is needed"),
            (policy().store_timeout(zero), "`Policy::store_timeout` is 0ns: at least 1ms is needed"),
            (
                policy().store_timeout(2 * DAY),
                "`Policy::store_timeout` is 172800s: at most 86400s is allowed",
            ),
            (policy().max_attempts(0), "`Policy::max_attempts` is 0: at least 1 is needed"),
            (policy().max_data_bytes(1), "`Policy::max_data_bytes` is 1: at least 2 is needed"),
            (
                policy().renew_after(30 * MINUTE),
                "`Policy::renew_after` is 1800s and `Policy::idle_timeout` 1800s: ",
            ),
            (
                policy().remembered(MINUTE, None),
                "`Policy::renew_after` is 180s and `Policy::remembered (idle)` 60s: ",
            ),
            (
                policy().idle_timeout(2 * DAY),
                "`Policy::idle_timeout` is 172800s and `Policy::absolute_lifetime` 86400s: ",
            ),
            (
                policy().remembered(DAY, MINUTE),
                "`Policy::remembered (idle)` is 86400s and `Policy::remembered (abs",
            ),
        ] {
            let error = refused.validate().unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
