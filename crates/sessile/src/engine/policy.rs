//! The policy: lifetimes, renewal, limits, and what to do when.

use std::time::Duration;

use super::meta::Meta;
use crate::record::{SessionRecord, Timestamp, UserId};

const MINUTE: Duration = Duration::from_secs(60);
/// How far a session may begin in the future, by the clock that judges it.
const CLOCK_AHEAD: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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

    /// How long a session lives without a request. Also sets [`renew_after`](Self::renew_after) to a
    /// tenth of it. In whole seconds or finer; zero makes sessions that are dead at once.
    #[must_use]
    pub fn idle_timeout(mut self, idle: Duration) -> Policy {
        self.idle_timeout = idle;
        if self.renew_after.is_some_and(|after| !after.is_zero()) {
            self.renew_after = Some(idle / 10);
        }
        self
    }

    /// How long a session lives at most, whatever happens, from its sign-in. `None`: no limit.
    ///
    /// A session that began more than an hour in the future, because a clock was wrong, is not accepted where there
    /// is a limit: it would outlive the limit by as much. `sessile verify` finds such rows.
    #[must_use]
    pub fn absolute_lifetime(mut self, absolute: impl Into<Option<Duration>>) -> Policy {
        self.absolute_lifetime = absolute.into();
        self
    }

    /// Both lifetimes for sessions that are remembered.
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

    /// The largest text in `data`, in bytes. A larger one is an error and the old data stays.
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

    /// Whether changes are kept when the handler answers 5xx. Default: no. Endings always are.
    #[must_use]
    pub fn keep_changes_on_server_error(mut self, keep: bool) -> Policy {
        self.keep_changes_on_server_error = keep;
        self
    }

    /// How long to wait for one answer of the store before the request fails with 503.
    #[must_use]
    pub fn store_timeout(mut self, timeout: Duration) -> Policy {
        self.store_timeout = timeout;
        self
    }

    /// How often a change is merged onto newer data before the request fails. Default: 100.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Policy {
        self.max_attempts = attempts.max(1);
        self
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
        let renewed = self.expiry(record.created_at()?, meta, now);
        let gained = renewed.saturating_since(record.expires_at());
        (renewed > record.expires_at() && gained >= renew_after).then_some(renewed)
    }
}
