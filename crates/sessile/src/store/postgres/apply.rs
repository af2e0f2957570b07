//! [`Write`]s as statements: the writes of one kind in one statement, the kinds in one transaction, all
//! of it in one round trip.
//!
//! What one write does never depends on its neighbours: when the batch fails each is done again apart. A batch that
//! finds a row locked by another transaction (lback locks it while its view runs) waits [`GROUP_WAIT`], once; then
//! all of its writes are made on another connection, where what is locked is skipped and waits in its row's queue
//! ([`blocked_writes`](crate::store::blocked_writes)).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_postgres::Row;

use super::call::{Call, Value, calls, foregone, lookups, parameters};
use super::fault::{Fault, NAME, Place};
use super::link::{Dialler, Duty, Link, Transaction};
use super::sql::{Kept, Sql};
use super::{row, schema};
use crate::record::SessionId;
use crate::store::answer::{Answer, Applied, Maker};
use crate::store::backoff::short_pause;
use crate::store::blocked_writes::{self, Attempt, BlockedWrites, Held, Retries};
use crate::store::wave::waves;
use crate::store::{Outcome, StoreError, Write};

/// How often a write is made again that the database undid for the sake of others.
const ATTEMPTS: usize = 8;

/// How long a batch waits for a lock: about the time of another transaction's commit.
const GROUP_WAIT: Duration = Duration::from_millis(10);

/// Batches under way: while one waits for the disk at its commit, the other is made.
pub(super) const BATCHES: usize = 2;

/// Writes that have to wait before the second batch leaves: many small ones cost the database more than a wait.
pub(super) const CROWD: usize = 48;

pub(super) type Made = Result<Outcome, Fault>;

/// Where writes are made.
pub(super) struct Writer {
    grouped: [Grouped; BATCHES],
    /// Used by the task that retries blocked writes, alone.
    retries: Link,
    blocked: BlockedWrites,
    place: Arc<Place>,
    sql: Arc<Sql>,
}

/// A connection for batches.
struct Grouped {
    link: Link,
    /// Batches on it.
    busy: AtomicUsize,
}

impl Writer {
    pub(super) fn start(dialler: &Arc<Dialler>) -> Writer {
        let wait = GROUP_WAIT.min(dialler.place.lock_wait);
        Writer {
            grouped: std::array::from_fn(|_| Grouped {
                link: Link::start(dialler, Duty::Writes(wait)),
                busy: AtomicUsize::new(0),
            }),
            retries: Link::start(dialler, Duty::Retries(wait)),
            blocked: BlockedWrites::new(dialler.place.lock_wait),
            place: Arc::clone(&dialler.place),
            sql: Arc::clone(&dialler.sql),
        }
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) -> Result<(), Fault> {
        for grouped in &self.grouped {
            grouped.link.session().await?;
        }
        Ok(())
    }

    /// The connections for batches.
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.grouped.iter().map(|grouped| &grouped.link)
    }

    /// A connection that stands, and on which the fewest batches are; among equals the first, which is the warmest.
    fn grouped(&self) -> Busy<'_> {
        let busy =
            |grouped: &&Grouped| (grouped.link.standing().is_none(), grouped.busy.load(Ordering::Relaxed));
        let grouped = self.grouped.iter().min_by_key(busy).unwrap_or(&self.grouped[0]);
        grouped.busy.fetch_add(1, Ordering::Relaxed);
        Busy(grouped)
    }

    /// The answer to a write that waits for its row, if it has to; it then takes no place in a batch.
    pub(super) fn queued(self: &Arc<Writer>, write: &Write) -> Option<Answer> {
        let goes_on = self.place.user.is_due([write]) || foregone(write, &self.place).is_some();
        if !self.blocked.concern(write) || goes_on {
            return None;
        }
        blocked_writes::queue(self, [write.clone()]).pop()
    }

    async fn made(self: &Arc<Writer>, writes: &[Write]) -> Vec<Answer> {
        let grouped = self.grouped();
        if self.place.user.is_due(writes)
            && let Err(fault) = schema::look(grouped.link(), &self.sql, &self.place).await
        {
            return writes.iter().map(|_| Answer::Now(Err(self.error(fault.clone())))).collect();
        }
        let mut made: Vec<Option<Made>> = writes.iter().map(|write| foregone(write, &self.place)).collect();
        let mut held = Held::default();
        let mut open = Vec::with_capacity(writes.len());
        for (at, write) in writes.iter().enumerate().filter(|(at, _)| made[*at].is_none()) {
            if held.concern(write) || self.blocked.concern(write) {
                held.add(at, write);
            } else {
                open.push(at);
            }
        }
        match self.together(grouped.link(), writes, &open).await {
            Err(fault) if fault.is_locked() => open.iter().for_each(|&at| held.add(at, &writes[at])),
            Err(fault) if !fault.is_outage() => {
                self.apart(grouped.link(), writes, &open, fault, &mut made, &mut held).await;
            }
            applied => note(applied, &open, &mut made),
        }
        drop(grouped);
        held.answers(self, writes, made, |made| self.told(made))
    }

    /// Makes those whose rows no other transaction has locked, judged by the time when the locks are held. The
    /// others are held.
    async fn past_locks(&self, writes: &[Write], made: &mut [Option<Made>]) -> Result<Held, Fault> {
        let session = self.retries.session().await?;
        let call = lookups(writes);
        let (transaction, free) = match &call {
            Some(call) => {
                let values = call.values(writes);
                let both = [Kept::LockFree, Kept::Seen].map(|kind| (kind, parameters(&values)));
                let opened = session.open(&both).await;
                if opened.as_ref().is_err_and(Fault::is_stale) {
                    session.forget().await;
                }
                let (transaction, rows) = opened?;
                (transaction, Free::of(&rows))
            }
            None => (session.open(&[]).await?.0, Free::default()),
        };
        let mut held = Held::default();
        let mut open = Vec::new();
        for (at, write) in writes.iter().enumerate() {
            if held.concern(write) || free.is_locked(write) {
                held.add(at, write);
            } else {
                open.push(at);
            }
        }
        if open.is_empty() {
            transaction.roll_back().await?;
            return Ok(held);
        }
        match self.commit(transaction, writes, &open).await {
            Err(fault) if !fault.is_outage() => {
                if fault.is_stale() {
                    session.forget().await;
                }
                self.apart(&self.retries, writes, &open, fault, made, &mut held).await;
            }
            applied => note(applied, &open, made),
        }
        Ok(held)
    }

    async fn commit(
        &self,
        transaction: Transaction<'_>,
        writes: &[Write],
        open: &[usize],
    ) -> Result<HashSet<usize>, Fault> {
        let calls = calls(writes, open);
        let values: Vec<Vec<Value<'_>>> = calls.iter().map(|call| call.values(writes)).collect();
        let statements: Vec<_> =
            calls.iter().zip(&values).map(|(call, values)| (call.kind, parameters(values))).collect();
        let rows = transaction.commit(&statements).await?;
        Ok(applied(&calls, writes, &rows))
    }

    /// All of them or none; the places of those that were applied.
    async fn together(&self, link: &Link, writes: &[Write], open: &[usize]) -> Result<HashSet<usize>, Fault> {
        let calls = calls(writes, open);
        if calls.is_empty() {
            return Ok(HashSet::new());
        }
        let session = link.session().await?;
        let values: Vec<Vec<Value<'_>>> = calls.iter().map(|call| call.values(writes)).collect();
        let rows = match (&calls[..], &values[..]) {
            ([call], [values]) => vec![session.run(call.kind, &parameters(values)).await?],
            _ => {
                let statements: Vec<_> =
                    calls.iter().zip(&values).map(|(call, values)| (call.kind, parameters(values))).collect();
                session.transaction(&statements).await?
            }
        };
        Ok(applied(&calls, writes, &rows))
    }

    /// Each on its own; `fault` is what failed them together. Those that have to wait for a lock are held.
    async fn apart(
        &self,
        link: &Link,
        writes: &[Write],
        open: &[usize],
        fault: Fault,
        made: &mut [Option<Made>],
        held: &mut Held,
    ) {
        if let [only] = open {
            return self.settle(link, writes, *only, Err(fault), made, held).await;
        }
        for wave in waves(open.iter().map(|&at| (at, &writes[at]))) {
            let (after, free): (Vec<usize>, Vec<usize>) =
                wave.into_iter().partition(|&at| held.concern(&writes[at]));
            for at in after {
                held.add(at, &writes[at]);
            }
            for (at, answer) in free.iter().zip(self.each(link, writes, &free).await) {
                self.settle(link, writes, *at, answer, made, held).await;
            }
        }
    }

    /// Writes of different rows, each in a transaction of its own.
    async fn each(&self, link: &Link, writes: &[Write], places: &[usize]) -> Vec<Made> {
        let session = match link.session().await {
            Ok(session) => session,
            Err(fault) => return places.iter().map(|_| Err(fault.clone())).collect(),
        };
        let calls: Vec<Call> = places.iter().map(|&at| Call::one(writes, at)).collect();
        let values: Vec<Vec<Value<'_>>> = calls.iter().map(|call| call.values(writes)).collect();
        let statements: Vec<_> =
            calls.iter().zip(&values).map(|(call, values)| (call.kind, parameters(values))).collect();
        let answers = session.each(&statements).await;
        if answers.iter().any(|answer| answer.as_ref().is_err_and(Fault::is_stale)) {
            session.forget().await;
        }
        answers.into_iter().map(|answer| answer.map(outcome)).collect()
    }

    /// What the answer to a write that is alone means, after as many attempts as it takes.
    async fn settle(
        &self,
        link: &Link,
        writes: &[Write],
        at: usize,
        answer: Made,
        made: &mut [Option<Made>],
        held: &mut Held,
    ) {
        let answer = match answer {
            Err(fault) if fault.is_collision() || fault.is_stale() => again(|| alone(link, writes, at)).await,
            answer => answer,
        };
        match answer {
            Err(fault) if fault.is_locked() => held.add(at, &writes[at]),
            answer => {
                let answer = self.explained(link, &writes[at], answer).await;
                made[at] = Some(unless_taken(&writes[at], answer));
            }
        }
    }

    /// Tells whether it was the user id, where the server refused a text as too long: the table was altered after it
    /// was looked at, so it is looked at again.
    async fn explained(&self, link: &Link, write: &Write, made: Made) -> Made {
        match made {
            Err(fault) if fault.is_too_long() => {
                schema::look(link, &self.sql, &self.place).await?;
                self.place.user.check(write).map_err(Fault::UserId)?;
                Err(fault)
            }
            made => made,
        }
    }

    fn told(&self, made: Made) -> Applied {
        made.map_err(|fault| self.error(fault))
    }

    fn error(&self, fault: Fault) -> StoreError {
        self.place.error("apply a write", fault)
    }
}

/// A connection for batches, while one is on it.
struct Busy<'a>(&'a Grouped);

impl Busy<'_> {
    fn link(&self) -> &Link {
        &self.0.link
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Maker for Writer {
    async fn make(self: &Arc<Writer>, writes: &[Write]) -> Vec<Answer> {
        self.made(writes).await
    }
}

impl Retries for Writer {
    fn blocked(&self) -> &BlockedWrites {
        &self.blocked
    }

    async fn attempt(&self, writes: &[Write]) -> Vec<Attempt> {
        let mut made: Vec<Option<Made>> = writes.iter().map(|_| None).collect();
        if let Err(fault) = self.past_locks(writes, &mut made).await {
            // Nothing was written.
            let attempt = |_: &Write| match &fault {
                fault if fault.is_locked() => Attempt::Locked,
                Fault::Cut(_) => Attempt::Undone(self.error(fault.clone())),
                fault if fault.is_collision() || fault.is_stale() => {
                    Attempt::Undone(self.error(fault.clone()))
                }
                fault => Attempt::Made(Err(self.error(fault.clone()))),
            };
            return writes.iter().map(attempt).collect();
        }
        let attempt =
            |made: Option<Made>| made.map_or(Attempt::Locked, |made| Attempt::Made(self.told(made)));
        made.into_iter().map(attempt).collect()
    }

    fn still_locked(&self) -> StoreError {
        self.place.locked()
    }

    fn too_many(&self, waiting: usize) -> StoreError {
        blocked_writes::too_many(NAME, waiting)
    }
}

/// Which rows of an attempt can be written.
#[derive(Default)]
struct Free {
    ours: HashSet<SessionId>,
    seen: HashSet<SessionId>,
}

impl Free {
    /// Of the answers to [`Kept::LockFree`] and [`Kept::Seen`].
    fn of(rows: &[Vec<Row>]) -> Free {
        let ids = |rows: Option<&Vec<Row>>| rows.into_iter().flatten().filter_map(row::id).collect();
        Free { ours: ids(rows.first()), seen: ids(rows.get(1)) }
    }

    /// Whether another transaction has the write's row. One that is not there takes no write.
    fn is_locked(&self, write: &Write) -> bool {
        let id = write.id();
        self.seen.contains(&id) && !self.ours.contains(&id) && !matches!(write, Write::Insert(_))
    }
}

/// Makes a write alone.
async fn alone(link: &Link, writes: &[Write], at: usize) -> Made {
    let call = Call::one(writes, at);
    let session = link.session().await?;
    session.run(call.kind, &parameters(&call.values(writes))).await.map(outcome)
}

/// Does something again and again while the database undoes it for the sake of others. [R15]
pub(super) async fn again<T, F: Future<Output = Result<T, Fault>>>(make: impl Fn() -> F) -> Result<T, Fault> {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match make().await {
            Err(fault) if (fault.is_collision() || fault.is_stale()) && left > 0 => {
                tokio::time::sleep(short_pause()).await;
            }
            answer => return answer,
        }
    }
}

/// The places whose writes were applied.
fn applied(calls: &[Call], writes: &[Write], rows: &[Vec<Row>]) -> HashSet<usize> {
    calls.iter().zip(rows).flat_map(|(call, rows)| call.applied(writes, rows)).collect()
}

/// Notes what became of writes that were made together.
fn note(applied: Result<HashSet<usize>, Fault>, open: &[usize], made: &mut [Option<Made>]) {
    for &at in open {
        made[at] = Some(match &applied {
            Ok(applied) if applied.contains(&at) => Ok(Outcome::Applied),
            Ok(_) => Ok(Outcome::Unmatched),
            Err(fault) => Err(fault.clone()),
        });
    }
}

fn outcome(rows: Vec<Row>) -> Outcome {
    if rows.is_empty() { Outcome::Unmatched } else { Outcome::Applied }
}

/// A rotation onto an id that is taken fails the statement, which then has changed nothing.
fn unless_taken(write: &Write, made: Made) -> Made {
    match made {
        Err(fault) if fault.is_taken() && matches!(write, Write::Rotate(_)) => Ok(Outcome::Unmatched),
        made => made,
    }
}
