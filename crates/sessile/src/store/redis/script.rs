//! Each [`Write`](crate::store::Write) as the script that makes it, and what the script says.

use std::sync::LazyLock;

use redis::Value;

use super::call::{self, Argument, Request, Script, lent, made};
use super::fault::{Fault, strange};
use super::keys::Keys;
use super::link::Answer;
use super::row::{self, MARGIN_MILLIS, bytes, end, expected, micros, put, text};
use crate::record::{SessionId, SessionRecord, UserId};
use crate::store::{Expiry, Rotation, Touch, Update, Write};

/// What a script on a row says.
pub(super) enum Verdict {
    /// Done; whose the row was and, where it was renewed, whose it is, where users' indexes have to be told.
    Applied {
        was: Option<UserId>,
        renewed: Option<UserId>,
        /// Fields and values that are to go along to another server.
        others: Vec<Vec<u8>>,
    },
    Unmatched,
    /// The row is being moved here, and whether it counts has to be found out first.
    Unresolved,
}

/// Reads what a script on a row says.
pub(super) fn verdict(answer: Answer) -> Result<Verdict, Fault> {
    let (code, was, renewed, others) = match answer? {
        Value::Int(code) => (code, None, None, Vec::new()),
        Value::Array(said) => {
            let mut said = said.into_iter();
            let Some(Value::Int(code)) = said.next() else { return Err(strange()) };
            let mut user = || {
                let user = said.next().and_then(bytes).and_then(|user| String::from_utf8(user).ok());
                user.filter(|user| !user.is_empty()).map(|user| UserId::stored(&user))
            };
            let (was, renewed) = (user(), user());
            (code, was, renewed, said.filter_map(bytes).collect())
        }
        _ => return Err(strange()),
    };
    match code {
        0 => Ok(Verdict::Unmatched),
        1 => Ok(Verdict::Applied { was, renewed, others }),
        2 => Ok(Verdict::Unresolved),
        _ => Err(strange()),
    }
}

/// Writes requests down.
#[derive(Clone, Copy)]
pub(super) struct Scribe<'a> {
    pub(super) keys: &'a Keys,
    /// How users' keys begin, where the scripts can reach them; otherwise empty.
    pub(super) users: &'a str,
    /// Names the attempt, where it may be sent twice; otherwise empty.
    pub(super) attempt: &'a str,
}

impl<'a> Scribe<'a> {
    /// A write whose rows are all on one server.
    pub(super) fn write(self, write: &'a Write) -> Request<'a> {
        match write {
            Write::Insert(record) => self.insert(record),
            Write::Update(update) => self.update(update),
            Write::Touch(touch) => self.touch(touch),
            Write::Rotate(rotation) => self.rotate(rotation),
            Write::Delete(id) => self.delete(*id, None),
        }
    }

    /// A script on a row: these arguments come after those that all have.
    fn on(
        self,
        script: &'static LazyLock<Script>,
        id: SessionId,
        rest: impl IntoIterator<Item = Argument<'a>>,
    ) -> Request<'a> {
        let head = [made(id), lent(self.users), lent(self.attempt)];
        Request::Script {
            script,
            keys: self.keys.of_row(id),
            arguments: head.into_iter().chain(rest).collect(),
        }
    }

    pub(super) fn insert(self, record: &'a SessionRecord) -> Request<'a> {
        self.on(&call::INSERT, record.id(), put(record))
    }

    pub(super) fn update(self, update: &'a Update) -> Request<'a> {
        let [is_text, content] = expected(&update.expected);
        let (user_change, user) = match &update.user_id {
            None => ("keep", ""),
            Some(Some(user)) => ("set", user.as_str()),
            Some(None) => ("clear", ""),
        };
        let (change, expires_at) = match update.expires_at {
            Expiry::Keep => ("keep", None),
            Expiry::Extend(to) => ("extend", Some(to)),
            Expiry::Set(to) => ("set", Some(to)),
        };
        let mut rest = Vec::with_capacity(12);
        let data = update.data.text();
        rest.extend([text(update.now.get()), is_text, content, lent(data.unwrap_or_default())]);
        rest.extend([lent(user_change), lent(change), lent(if data.is_some() { "set" } else { "keep" })]);
        if update.user_id.is_some() || expires_at.is_some() {
            let [expiry, count, last] = match expires_at {
                Some(to) => [text(to), micros(to), made(end(to))],
                None => [lent(""), lent(""), lent("")],
            };
            rest.extend([lent(user), expiry, count, last, made(MARGIN_MILLIS)]);
        }
        self.on(&call::UPDATE, update.id, rest)
    }

    pub(super) fn touch(self, touch: &'a Touch) -> Request<'a> {
        let to = touch.expires_at;
        self.on(&call::TOUCH, touch.id, [text(touch.now.get()), text(to), micros(to), made(end(to))])
    }

    /// Only if it is this user's, where one is named.
    pub(super) fn delete(self, id: SessionId, of: Option<&'a UserId>) -> Request<'a> {
        let condition = match of {
            Some(user) => [lent("1"), lent(user.as_str())],
            None => [lent("0"), lent("")],
        };
        self.on(&call::DELETE, id, condition)
    }

    pub(super) fn rotate(self, rotation: &'a Rotation) -> Request<'a> {
        let [is_text, content] = expected(&rotation.expected);
        let new = rotation.record.id();
        let condition = [text(rotation.now.get()), is_text, content, made(new)];
        let mut request =
            self.on(&call::ROTATE, rotation.id, condition.into_iter().chain(put(&rotation.record)));
        if let Request::Script { keys, .. } = &mut request {
            keys.extend(self.keys.of_row(new));
        }
        request
    }

    pub(super) fn prepare(self, rotation: &'a Rotation) -> Request<'a> {
        let record = &rotation.record;
        self.on(&call::PREPARE, record.id(), [made(rotation.id)].into_iter().chain(put(record)))
    }

    pub(super) fn decide(self, rotation: &'a Rotation) -> Request<'a> {
        let [is_text, content] = expected(&rotation.expected);
        let last = made(end(rotation.record.expires_at()));
        let new = made(rotation.record.id());
        self.on(&call::DECIDE, rotation.id, [text(rotation.now.get()), is_text, content, new, last])
    }

    pub(super) fn finish(self, new: SessionId, old: &'a str, others: &'a [Vec<u8>]) -> Request<'a> {
        let others = others.iter().map(|text| Argument::Borrowed(text.as_slice()));
        self.on(&call::FINISH, new, [lent(old)].into_iter().chain(others))
    }

    /// Takes away what is left at `id` and points to `other`: `rotated_to` or `rotated_from`.
    pub(super) fn forget(self, id: SessionId, field: &'a str, other: SessionId) -> Request<'a> {
        self.on(&call::FORGET, id, [lent(field), made(other)])
    }

    /// Enters the id into the user's index.
    pub(super) fn enter(self, user: &UserId, id: SessionId, last: i64) -> Request<'static> {
        // Never back: another row of that id may be the one that counts.
        call::plain(&["ZADD", &self.keys.user(user), "GT", &last.to_string(), id.to_text().as_str()])
    }

    /// Takes the id of a row that is gone out of the user's index.
    pub(super) fn leave(self, user: &UserId, id: SessionId) -> Request<'static> {
        call::plain(&["ZREM", &self.keys.user(user), id.to_text().as_str()])
    }

    pub(super) fn read(self, id: SessionId) -> Request<'static> {
        row::read(self.keys.row(id))
    }
}
