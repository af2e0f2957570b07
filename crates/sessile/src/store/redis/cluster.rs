//! Writes in a Cluster, where a row, its user's index and the row that a rotation makes are in different
//! slots, and no step covers two of them.
//!
//! * An id stands in its user's index before its row is that user's, and leaves it after the row is gone. So
//!   the index may name too many, never too few: unless a failover has made its server forget an entry, which
//!   the next renewal of the session enters again.
//! * A rotation first *prepares* the new row, which points to the old one (`rotated_from`) and does not count
//!   yet. Then it *decides*: in one step, and only if the old row is still what was read, the old row becomes
//!   a pointer to the new one (`rotated_to`), with the fields that this version does not know. From there on the old id is dead and the new row counts. At
//!   last it *finishes*: the new row loses its mark and takes those fields over, and the pointer goes.
//! * Whoever meets a prepared row asks the old one: if that points here, it was decided, and the reader
//!   finishes it; if not, the new row does not exist. Cut short anywhere, exactly one of both is alive.
//!
//! What a rotation that was cut short leaves behind goes with its expiry.

use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::task::JoinError;

use super::Inner;
use super::call::{self, Request};
use super::fault::{Fault, strange};
use super::keys::bucket_of;
use super::row::{self, Found, end};
use super::script::{Scribe, Verdict, verdict};
use crate::record::{SessionId, Timestamp, UserId};
use crate::store::{Expiry, Outcome, Rotation, Update, Write};

pub(super) type Made = Result<Outcome, Fault>;

/// How often a write goes back to a row that was being moved.
const ATTEMPTS: usize = 4;

impl Inner {
    /// Makes one write, in as many steps as it takes.
    pub(super) async fn make(self: &Arc<Inner>, write: Write) -> Made {
        match write {
            Write::Rotate(rotation) if bucket_of(rotation.id) != bucket_of(rotation.record.id()) => {
                let inner = Arc::clone(self);
                // Its steps go on when the caller has gone.
                let moving = tokio::spawn(async move { inner.rotate(&rotation).await });
                moving.await.unwrap_or_else(|error| Err(lost(&error)))
            }
            write => self.make_in_place(&write).await,
        }
    }

    async fn make_in_place(&self, write: &Write) -> Made {
        let attempt = attempt()?;
        let scribe = self.scribe(&attempt);
        if let Some((user, id, last)) = becomes(write) {
            self.link.ask(scribe.enter(user, id, last)).await?;
        }
        match self.decided(write.id(), || scribe.write(write)).await? {
            Verdict::Applied { was, renewed, .. } => {
                if let Some(user) = was.filter(|_| is_left(write)) {
                    self.leaves(&user, write.id());
                }
                if let (Some(user), Some(last)) = (renewed, renewal(write)) {
                    // Its server may have forgotten the entry; a renewal is a good time to mend that.
                    let _ = self.link.ask(scribe.enter(&user, write.id(), last)).await;
                }
                Ok(Outcome::Applied)
            }
            Verdict::Unmatched | Verdict::Unresolved => Ok(Outcome::Unmatched),
        }
    }

    /// Sends a script on this row, again after finding out whether the row counts.
    async fn decided<'a>(&self, id: SessionId, request: impl Fn() -> Request<'a>) -> Result<Verdict, Fault> {
        for _ in 0..ATTEMPTS {
            match verdict(self.link.ask(request()).await)? {
                Verdict::Unresolved => match self.load(id).await? {
                    Found::Nothing | Found::Moving(_) => return Ok(Verdict::Unmatched),
                    Found::Row(_) => {}
                },
                settled => return Ok(settled),
            }
        }
        Ok(Verdict::Unmatched)
    }

    async fn rotate(&self, rotation: &Rotation) -> Made {
        let (old, new) = (rotation.id, rotation.record.id());
        let attempt = attempt()?;
        let scribe = self.scribe(&attempt);
        let mut first = vec![scribe.prepare(rotation)];
        if let Some(user) = rotation.record.user_id() {
            first.push(scribe.enter(user, new, end(rotation.record.expires_at())));
        }
        let mut answers = self.link.send(&first).await.into_iter();
        let prepared = verdict(answers.next().unwrap_or_else(|| Err(strange())))?;
        if let Some(entered) = answers.next() {
            entered?;
        }
        if !matches!(prepared, Verdict::Applied { .. }) {
            return Ok(Outcome::Unmatched);
        }
        let (was, others) = match self.decided(old, || scribe.decide(rotation)).await? {
            Verdict::Applied { was, others, .. } => (was, others),
            Verdict::Unmatched | Verdict::Unresolved => {
                self.abandon(scribe, rotation).await;
                return Ok(Outcome::Unmatched);
            }
        };
        let from = old.to_string();
        verdict(self.link.ask(scribe.finish(new, &from, &others)).await)?;
        // Who finds the pointer finds out that it means nothing.
        let _ = self.link.ask(scribe.forget(old, "rotated_to", new)).await;
        if let Some(user) = &was {
            self.leaves(user, old);
        }
        Ok(Outcome::Applied)
    }

    /// Takes back what was prepared, and only that.
    async fn abandon(&self, scribe: Scribe<'_>, rotation: &Rotation) {
        let new = rotation.record.id();
        let forgotten = self.link.ask(scribe.forget(new, "rotated_from", rotation.id)).await;
        if let (Ok(Verdict::Applied { .. }), Some(user)) = (verdict(forgotten), rotation.record.user_id()) {
            self.leaves(user, new);
        }
    }

    /// The row, after finding out whether it counts.
    pub(super) async fn load(&self, id: SessionId) -> Result<Found, Fault> {
        match self.look(id).await? {
            Found::Moving(from) => self.resolve(id, &from).await,
            found => Ok(found),
        }
    }

    async fn look(&self, id: SessionId) -> Result<Found, Fault> {
        row::found(id, self.link.look(self.scribe("").read(id)).await)
    }

    /// What a prepared row is: the row that counts, or nothing.
    pub(super) async fn resolve(&self, new: SessionId, from: &str) -> Result<Found, Fault> {
        let scribe = self.scribe("");
        let decided = match from.parse::<SessionId>() {
            Ok(old) => {
                let mut command = Cmd::new();
                command.arg("HGET").arg(self.keys.row(old)).arg("rotated_to");
                match self.link.look(Request::Plain(command)).await? {
                    Value::BulkString(to) => (to == new.to_string().as_bytes()).then_some(old),
                    _ => None,
                }
            }
            Err(_) => None,
        };
        if let Some(old) = decided {
            let all = self.link.look(call::plain(&["HGETALL", &self.keys.row(old)])).await?;
            // Nothing where somebody else has finished it meanwhile.
            let others = row::others(all);
            verdict(self.link.ask(scribe.finish(new, from, &others)).await)?;
            let _ = self.link.ask(scribe.forget(old, "rotated_to", new)).await;
        }
        // Also when the old row does not point here: it may have been finished meanwhile.
        match self.look(new).await? {
            Found::Moving(_) => Ok(Found::Nothing),
            found => Ok(found),
        }
    }
}

/// The user whose row this write makes of it, and until when the key of that row lives.
fn becomes(write: &Write) -> Option<(&UserId, SessionId, i64)> {
    match write {
        Write::Insert(record) => Some((record.user_id()?, record.id(), end(record.expires_at()))),
        Write::Rotate(Rotation { record, .. }) => {
            Some((record.user_id()?, record.id(), end(record.expires_at())))
        }
        Write::Update(Update { id, user_id: Some(Some(user)), expires_at, .. }) => {
            // How long the row lives is not known here.
            let last = match expires_at {
                Expiry::Set(to) => *to,
                Expiry::Keep | Expiry::Extend(_) => Timestamp::MAX,
            };
            Some((user, *id, end(last)))
        }
        Write::Update(_) | Write::Touch(_) | Write::Delete(_) => None,
    }
}

/// Until when the key of a row lives that this write has renewed.
fn renewal(write: &Write) -> Option<i64> {
    match write {
        Write::Touch(touch) => Some(end(touch.expires_at)),
        Write::Update(Update { expires_at: Expiry::Extend(to) | Expiry::Set(to), .. }) => Some(end(*to)),
        Write::Update(_) | Write::Insert(_) | Write::Rotate(_) | Write::Delete(_) => None,
    }
}

/// Whether the id of the write is no longer that of a row of the user who had it.
fn is_left(write: &Write) -> bool {
    match write {
        Write::Update(_) | Write::Delete(_) => true,
        Write::Rotate(rotation) => rotation.id != rotation.record.id(),
        Write::Insert(_) | Write::Touch(_) => false,
    }
}

/// A name that no other attempt has.
pub(super) fn attempt() -> Result<String, Fault> {
    let number = getrandom::u64().map_err(|error| Fault::Other(format!("no randomness: {error}")))?;
    Ok(format!("{number:016x}"))
}

fn lost(error: &JoinError) -> Fault {
    Fault::Away(format!("the runtime is shutting down; the write may be made or not: {error}"))
}
