//! What a request's changes make of a row: pure decisions, no store.

use std::sync::Arc;

use super::changes::{Changes, SignIn};
use super::error::EngineError;
use super::meta::Meta;
use super::policy::Policy;
use super::size;
use crate::record::{
    Columns, RESERVED_KEY, SessionData, SessionId, SessionRecord, StoredData, Timestamp, UserId,
};
use crate::store::{Expiry, NewData, Rotation, Touch, Update, Write};

/// lback's keys in the data.
pub(super) const LBACK_USER_ID: &str = "user_id";
pub(super) const LBACK_USER_TYPE: &str = "user_type";
/// The type of those who are no administrators.
const LBACK_USER: &str = "user";

/// What a row may become: the policy, and what the store's columns hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) policy: &'a Policy,
    /// Bytes of the data.
    pub(crate) data_bytes: usize,
    /// Characters of the user id.
    pub(crate) user_chars: usize,
}

/// A row as a request sees it: decoded once, the corrupt one taken as empty and anonymous.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) record: SessionRecord,
    pub(crate) data: SessionData,
    pub(crate) user: Option<UserId>,
    pub(crate) problem: Option<String>,
    /// Whether it comes from the cache, so that the row may have been changed before the request began.
    pub(crate) is_cached: bool,
}

impl Base {
    pub(crate) fn of(record: SessionRecord, rules: Rules<'_>) -> Base {
        match record.try_data() {
            Ok(data) => Base::with(record, data, rules),
            Err(error) => Base {
                record,
                data: SessionData::new(),
                user: None,
                problem: Some(error.to_string()),
                is_cached: false,
            },
        }
    }

    /// A row whose data is decoded already.
    pub(crate) fn with(record: SessionRecord, data: SessionData, rules: Rules<'_>) -> Base {
        let user = user_of(&record, &data, rules);
        Base { record, data, user, problem: None, is_cached: false }
    }

    /// Returns whose session it is. Where the data cannot be read, the column names the owner, as in the user's list.
    pub(crate) fn owner(&self) -> Option<&UserId> {
        if self.problem.is_some() { self.record.user_id() } else { self.user.as_ref() }
    }

    /// Whether the row belongs to whom it belonged to when it was `before`. lback's users and administrators have
    /// numbers of their own.
    pub(crate) fn has_same_user(&self, before: &Base, policy: &Policy) -> bool {
        let user_type = |base: &Base| base.data.raw(LBACK_USER_TYPE).map(str::to_owned);
        self.user == before.user && (!policy.user_in_data || user_type(self) == user_type(before))
    }

    /// Whether the data names another user than the column: lback writes the column only when it makes a row.
    fn has_moved(&self) -> bool {
        self.problem.is_none() && self.user.as_ref() != self.record.user_id()
    }
}

/// Whose session it is. For lback the data is the authority: Python never changes the column.
fn user_of(record: &SessionRecord, data: &SessionData, rules: Rules<'_>) -> Option<UserId> {
    if rules.policy.user_in_data { user_in(data, rules.user_chars) } else { record.user_id().cloned() }
}

/// The user that the data names. An id that the column does not hold names none: a revocation goes by the column, and
/// would not find the session.
fn user_in(data: &SessionData, user_chars: usize) -> Option<UserId> {
    let text = data.raw(LBACK_USER_ID)?;
    let user = match data.get::<String>(LBACK_USER_ID) {
        Ok(text) => text.and_then(|text| UserId::new(text).ok()),
        Err(_) if is_integer(text) => UserId::new(text).ok(),
        Err(_) => None,
    };
    user.filter(|user| user.check_fits(user_chars).is_ok())
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether what is there may go along to who signs in now. lback's users and administrators have
/// numbers of their own, so there user 1 and administrator 1 are two people.
pub(crate) fn keeps_data(
    policy: &Policy,
    data: &SessionData,
    before: Option<&UserId>,
    sign_in: &SignIn,
) -> bool {
    let same_type = || match data.get::<String>(LBACK_USER_TYPE) {
        Ok(before) => before.as_deref().unwrap_or(LBACK_USER) == user_type(sign_in),
        Err(_) => false,
    };
    policy.keeps_data(before, &sign_in.user) && (!policy.user_in_data || before.is_none() || same_type())
}

/// Returns the type that is stored for lback: `user` unless the login names another, as in its own login.
fn user_type(sign_in: &SignIn) -> &str {
    sign_in.user_type.as_deref().unwrap_or(LBACK_USER)
}

/// Notes the user where lback looks. A number stays a number, as the framework's own login writes it.
fn write_lback_user(data: &mut SessionData, sign_in: &SignIn) -> Result<(), EngineError> {
    let user = sign_in.user.as_str();
    match user.parse::<i64>() {
        Ok(number) if number.to_string() == user => data.insert(LBACK_USER_ID, &number)?,
        _ => data.insert(LBACK_USER_ID, user)?,
    }
    // Its AuthMiddleware signs out whoever has no type.
    data.insert(LBACK_USER_TYPE, user_type(sign_in))?;
    Ok(())
}

/// What a session holds.
struct Content {
    data: SessionData,
    user: Option<UserId>,
}

fn changed(
    mut data: SessionData,
    user: Option<UserId>,
    changes: &Changes,
    rules: Rules<'_>,
    now: Timestamp,
) -> Result<Content, EngineError> {
    let policy = rules.policy;
    changes.check_taken(&data)?;
    if let Some(sign_in) = changes.signed_in() {
        sign_in.user.check_fits(rules.user_chars)?;
        if !keeps_data(policy, &data, user.as_ref(), sign_in) {
            // Another user signed in here in the meantime, or the policy drops anonymous data.
            data = SessionData::new();
        }
    }
    changes.apply_to(&mut data, now)?;
    let mut user = changes.signed_in().map(|sign_in| sign_in.user.clone()).or(user);
    if policy.user_in_data {
        if let Some(sign_in) = changes.signed_in() {
            write_lback_user(&mut data, sign_in)?;
        }
        user = user_in(&data, rules.user_chars);
    }
    Ok(Content { data, user })
}

/// The text to store, unless it counts more than the limit and more than the data `before`.
fn bounded(data: &SessionData, before: &SessionData, rules: Rules<'_>) -> Result<Arc<str>, EngineError> {
    let Rules { policy, data_bytes: limit, .. } = rules;
    let text = data.to_text();
    if text.len() > limit {
        // A text that nobody changed may have other separators than one that is assembled.
        let unusual = text.len().saturating_sub(data.counted_bytes() + data.member_bytes(RESERVED_KEY));
        size::check(size::counted(data, policy) + unusual, size::counted(before, policy), limit)?;
    }
    Ok(text)
}

/// A session that begins: its row, but for the name.
pub(crate) struct Fresh {
    content: Content,
    stored: StoredData,
    expires_at: Timestamp,
    now: Timestamp,
}

impl Fresh {
    pub(crate) fn record(&self, id: SessionId) -> SessionRecord {
        SessionRecord::from_columns(Columns {
            id,
            user_id: self.content.user.clone(),
            data: self.stored.clone(),
            created_at: Some(self.now),
            expires_at: self.expires_at,
            updated_at: Some(self.now),
        })
    }

    /// What the request sees from here on, under the name it was stored by.
    pub(crate) fn into_base(self, record: SessionRecord, rules: Rules<'_>) -> Base {
        Base::with(record, self.content.data, rules)
    }
}

/// The session that begins now, or `None` when there is nothing to store.
pub(crate) fn fresh(
    changes: &Changes,
    rules: Rules<'_>,
    now: Timestamp,
) -> Result<Option<Fresh>, EngineError> {
    let content = changed(SessionData::new(), None, changes, rules, now)?;
    let Content { data, user } = &content;
    if data.is_empty() && user.is_none() && !changes.keeps_empty() {
        return Ok(None);
    }
    let expires_at = match changes.expires_in() {
        Some(first) => now.saturating_add(first),
        None => rules.policy.expiry(now, &Meta::of(data), now),
    };
    let stored = StoredData::Text(bounded(data, &SessionData::new(), rules)?);
    Ok(Some(Fresh { content, stored, expires_at, now }))
}

/// The one write that makes the changes on this row, and the data it then has; `None` when they change
/// nothing.
pub(crate) fn rewrite(
    base: &Base,
    changes: &Changes,
    new_id: Option<SessionId>,
    rules: Rules<'_>,
    now: Timestamp,
) -> Result<Option<(Write, SessionData)>, EngineError> {
    let (Base { record, .. }, policy) = (base, rules.policy);
    let Content { mut data, user } = changed(base.data.clone(), base.user.clone(), changes, rules, now)?;
    let meta = Meta::of(&data);
    let Some(id) = new_id else {
        let text = changes.changes_data().then(|| bounded(&data, &base.data, rules)).transpose()?;
        let same = |text: &Arc<str>| *record.stored_data() == StoredData::Text(Arc::clone(text));
        if text.as_ref().is_none_or(same) && user.as_ref() == record.user_id() {
            return Ok(None);
        }
        let update = Update {
            id: record.id(),
            expected: record.stored_data().clone(),
            data: text.map_or(NewData::Keep, NewData::Text),
            user_id: (user.as_ref() != record.user_id()).then_some(user),
            expires_at: expiry_of_update(record, &meta, changes, policy, now),
            now: now.into(),
        };
        return Ok(Some((Write::Update(update), data)));
    };
    // A login begins a new lifetime; a mere rotation keeps the old one, and its end.
    let created_at = if changes.signed_in().is_some() { Some(now) } else { record.created_at() };
    let expires_at = match created_at {
        None => record.expires_at(),
        Some(began) if changes.changes_lifetime() => policy.expiry(began, &meta, now),
        Some(began) => policy.expiry(began, &meta, now).max(record.expires_at()),
    };
    if base.user.is_some() && base.user == user {
        // So that a logout which is on its way under the old name finds it.
        let mut meta = meta;
        meta.add_previous(record.id());
        meta.store_in(&mut data);
    }
    let stored = StoredData::Text(bounded(&data, &base.data, rules)?);
    let columns = Columns { id, user_id: user, data: stored, created_at, expires_at, updated_at: Some(now) };
    let rotation = Rotation {
        id: record.id(),
        expected: record.stored_data().clone(),
        record: SessionRecord::from_columns(columns),
        now: now.into(),
    };
    Ok(Some((Write::Rotate(rotation), data)))
}

/// The write that puts a fresh row in the place of one that ends.
pub(crate) fn succession(ended: &SessionRecord, record: SessionRecord, now: Timestamp) -> Write {
    let expected = ended.stored_data().clone();
    Write::Rotate(Rotation { id: ended.id(), expected, record, now: now.into() })
}

/// Returns the write that moves the expiry forward and changes nothing else, unless lback has changed the user.
///
/// Data that sets a lifetime of its own ("remember me") is compared: a renewal in flight while another request
/// withdraws that must not keep the session for two weeks.
pub(crate) fn renewal(base: &Base, meta: &Meta, expires_at: Timestamp, now: Timestamp) -> Write {
    if is_mere_renewal(base, meta) {
        return Write::Touch(Touch { id: base.record.id(), expires_at, now: now.into() });
    }
    Write::Update(same_data(base, Expiry::Extend(expires_at), now))
}

/// Whether a renewal changes nothing but the expiry, whatever the data has become meanwhile.
pub(crate) fn is_mere_renewal(base: &Base, meta: &Meta) -> bool {
    !meta.sets_lifetime() && !base.has_moved()
}

/// The write that brings the column in line with the data, if they differ and one of them says `user`.
pub(crate) fn owner(base: &Base, user: &UserId, now: Timestamp) -> Option<Write> {
    let either = [base.user.as_ref(), base.record.user_id()];
    let concerned = base.has_moved() && either.contains(&Some(user));
    concerned.then(|| Write::Update(same_data(base, Expiry::Keep, now)))
}

/// Compares the data and leaves it; changes the expiry, and the user's column where the data names another user.
fn same_data(base: &Base, expires_at: Expiry, now: Timestamp) -> Update {
    Update {
        id: base.record.id(),
        expected: base.record.stored_data().clone(),
        data: NewData::Keep,
        user_id: base.has_moved().then(|| base.user.clone()),
        expires_at,
        now: now.into(),
    }
}

/// A change moves the expiry no more often than a request that changes nothing: an expiry that stays
/// leaves its index alone, which is most of what a small update costs.
fn expiry_of_update(
    record: &SessionRecord,
    meta: &Meta,
    changes: &Changes,
    policy: &Policy,
    now: Timestamp,
) -> Expiry {
    let Some(created_at) = record.created_at() else { return Expiry::Keep };
    if changes.changes_lifetime() {
        return Expiry::Set(policy.expiry(created_at, meta, now));
    }
    policy.renewal_by_change(record, meta, now).map_or(Expiry::Keep, Expiry::Extend)
}
