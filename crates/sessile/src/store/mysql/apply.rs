//! [`Write`]s in the database: one alone by a statement of its own, several in one transaction, which is
//! one commit for all of them.
//!
//! What one write does never depends on its neighbours: when the batch fails each is done again apart. A write whose
//! row another transaction has locked (lback locks it while its view runs) waits in its row's queue
//! ([`blocked_writes`](crate::store::blocked_writes)).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::batch::{self, Lines};
use super::call::{foregone, outcome, statement};
use super::fault::{Fault, NAME, Place, unavailable};
use super::pool::{Dialler, Duty, Pool, Turn};
use super::session::{Session, in_time};
use super::sql::{Kept, Sql};
use super::{row, schema};
use crate::record::{SessionId, SessionRecord};
use crate::store::answer::{Answer, Applied, Maker};
use crate::store::backoff::short_pause;
use crate::store::blocked_writes::{self, Attempt, BlockedWrites, Held, Retries};
use crate::store::{Outcome, StoreError, Write};

/// How often a write is made, at most.
const ATTEMPTS: usize = 8;

/// Batches on their way at once: while one is committed the next one is made.
pub(super) const BATCHES: usize = 2;

pub(super) type Made = Result<Outcome, Fault>;

/// Where writes are made.
pub(super) struct Writer {
    grouped: Arc<Pool>,
    /// One connection, for the task that retries blocked writes.
    retries: Arc<Pool>,
    blocked: BlockedWrites,
    place: Arc<Place>,
    sql: Arc<Sql>,
}

impl Writer {
    pub(super) fn new(dialler: &Arc<Dialler>) -> Writer {
        Writer {
            grouped: Pool::new(dialler, Duty::Writes, BATCHES),
            retries: Pool::new(dialler, Duty::Retries, 1),
            blocked: BlockedWrites::new(dialler.place.lock_wait),
            place: Arc::clone(&dialler.place),
            sql: Arc::clone(&dialler.sql),
        }
    }

    /// The answer to a write that waits for its row, if it has to; it then takes no connection and no place in a
    /// batch.
    pub(super) fn queued(self: &Arc<Writer>, write: &Write) -> Option<Answer> {
        let goes_on = self.place.user.is_due([write]) || foregone(write, &self.place).is_some();
        if !self.blocked.concern(write) || goes_on {
            return None;
        }
        Some(self.queue(write.clone()))
    }

    fn queue(self: &Arc<Writer>, write: Write) -> Answer {
        let lost = || Answer::Now(Err(unavailable("a write was lost in its queue")));
        blocked_writes::queue(self, [write]).pop().unwrap_or_else(lost)
    }

    /// A turn for one write that need not wait for others.
    pub(super) fn free(&self) -> Option<Turn> {
        self.grouped.free()
    }

    /// Makes one write.
    pub(super) async fn make_one(self: &Arc<Writer>, turn: Turn, write: Write) -> Answer {
        let mut seat = match turn.seat().await {
            Ok(seat) => seat,
            Err(fault) => return Answer::Now(self.told(Err(fault))),
        };
        if let Err(fault) = self.see_column(&mut seat, [&write]).await {
            return Answer::Now(self.told(Err(fault)));
        }
        if let Some(made) = foregone(&write, &self.place) {
            return Answer::Now(self.told(made));
        }
        // It would wait a second for a locked row, and rows are being locked.
        if seat.waits_for_locks && seat.skips && self.blocked.has_seen_locks() {
            return self.queue(write);
        }
        match self.alone(&mut seat, &write).await {
            Err(fault) if fault.is_locked() || fault.is_collision() => self.queue(write),
            made => Answer::Now(self.told(made)),
        }
    }

    /// Looks at the table, if one of these writes names a user and there was no table before.
    async fn see_column<'a>(
        &self,
        session: &mut Session,
        writes: impl IntoIterator<Item = &'a Write>,
    ) -> Result<(), Fault> {
        if !self.place.user.is_due(writes) {
            return Ok(());
        }
        in_time(&self.place.limit, schema::look(session, &self.sql, &self.place)).await.map(drop)
    }

    async fn made(self: &Arc<Writer>, writes: &[Write]) -> Vec<Answer> {
        if self.place.user.is_due(writes) {
            let looked = async { self.see_column(&mut *self.grouped.seat().await?, writes).await };
            if let Err(fault) = looked.await {
                return writes.iter().map(|_| Answer::Now(Err(self.error(fault.clone())))).collect();
            }
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
        self.make_open(writes, &open, &mut made, &mut held).await;
        held.answers(self, writes, made, |made| self.told(made))
    }

    /// Those that have to wait for a lock are held, and so are the later ones that come after them.
    async fn make_open(&self, writes: &[Write], open: &[usize], made: &mut [Option<Made>], held: &mut Held) {
        if open.is_empty() {
            return;
        }
        let mut seat = match self.grouped.seat().await {
            Ok(seat) => seat,
            Err(fault) => return all_failed(open, &fault, made),
        };
        if open.len() > 1 {
            match in_time(&self.place.limit, self.together(&mut seat, writes, open)).await {
                Ok((outcomes, locked)) => {
                    note(outcomes, made);
                    return locked.into_iter().for_each(|at| held.add(at, &writes[at]));
                }
                Err(fault) if fault.is_outage() => return all_failed(open, &fault, made),
                Err(_) => {}
            }
        }
        self.apart(&mut seat, writes, open, made, held).await;
    }

    /// Makes those whose rows no other transaction has locked. Returns an error if nothing was written.
    async fn past_locks(&self, writes: &[Write], made: &mut [Option<Made>]) -> Result<(), Fault> {
        let mut seat = self.retries.seat().await?;
        let all: Vec<usize> = (0..writes.len()).collect();
        if seat.skips {
            match in_time(&self.place.limit, self.skipping(&mut seat, writes, &all, made)).await {
                Err(fault) if fault.is_outage() => return Err(fault),
                Ok(()) => return Ok(()),
                Err(_) => {}
            }
        }
        self.apart(&mut seat, writes, &all, made, &mut Held::default()).await;
        Ok(())
    }

    /// Makes those whose rows no other transaction has locked, in one transaction. An error means that nothing was
    /// written.
    async fn skipping(
        &self,
        session: &mut Session,
        writes: &[Write],
        all: &[usize],
        made: &mut [Option<Made>],
    ) -> Result<(), Fault> {
        session.begin().await?;
        let (outcomes, _) = match self.each(session, writes, all).await {
            Ok(judged) => judged,
            Err(fault) => return session.end(Err(fault)).await,
        };
        let writes_any = outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Applied);
        let ended = if writes_any { session.end(Ok(())).await } else { session.undo().await };
        match ended {
            Err(fault) if fault.is_outage() => {
                // Whether it was committed is unknown.
                for (at, outcome) in outcomes {
                    let is_certain = outcome == Outcome::Unmatched;
                    made[at] = Some(if is_certain { Ok(outcome) } else { Err(fault.clone()) });
                }
            }
            ended => {
                ended?;
                note(outcomes, made);
            }
        }
        Ok(())
    }

    /// All of them, but for those whose rows others have locked, in one transaction.
    async fn together(
        &self,
        session: &mut Session,
        writes: &[Write],
        open: &[usize],
    ) -> Result<Judged, Fault> {
        session.begin().await?;
        let done = self.each(session, writes, open).await;
        session.end(done).await
    }

    async fn each(&self, session: &mut Session, writes: &[Write], open: &[usize]) -> Result<Judged, Fault> {
        let mut rows = Rows::lock(session, open.iter().map(|&at| &writes[at])).await?;
        let mut lines = rows.lines(open.iter().map(|&at| &writes[at]), &self.place);
        let mut outcomes = Vec::with_capacity(open.len());
        let mut held = Held::default();
        let (births, others) = open.iter().partition::<Vec<usize>, _>(|&&at| rows.only_makes(&writes[at]));
        for at in others {
            let write = &writes[at];
            if held.concern(write) || rows.are_locked_by_others(write) {
                held.add(at, write);
                continue;
            }
            let done = match lines.judge(write) {
                Some(judged) => judged,
                None if rows.are_missing(write) => Outcome::Unmatched,
                None => self.bare(session, write).await?,
            };
            if done == Outcome::Applied {
                rows.made(write);
            }
            outcomes.push((at, done));
        }
        lines.write(session).await?;
        let records: Vec<&SessionRecord> = births.iter().filter_map(|&at| record(&writes[at])).collect();
        let made = batch::insert(session, &records, &self.place).await?;
        outcomes.extend(births.into_iter().zip(made));
        Ok((outcomes, held.into_places()))
    }

    /// Each in a transaction of its own.
    async fn apart(
        &self,
        session: &mut Session,
        writes: &[Write],
        open: &[usize],
        made: &mut [Option<Made>],
        held: &mut Held,
    ) {
        for (done, &at) in open.iter().enumerate() {
            let write = &writes[at];
            if held.concern(write) {
                held.add(at, write);
                continue;
            }
            let mut attempts = Attempts::default();
            let answer = loop {
                let answer = self.alone(session, write).await;
                if !attempts.has_another(&answer).await {
                    break answer;
                }
            };
            match answer {
                Err(fault) if fault.is_locked() => held.add(at, write),
                Err(fault) if fault.is_outage() => return all_failed(&open[done..], &fault, made),
                answer => made[at] = Some(answer),
            }
        }
    }

    /// One write in a transaction of its own.
    async fn alone(&self, session: &mut Session, write: &Write) -> Made {
        let made = async {
            match self.bare(session, write).await {
                // Whether it was the user id: the table was altered after it was looked at, so it is looked at again.
                Err(fault) if fault.is_too_long() => {
                    schema::look(session, &self.sql, &self.place).await?;
                    self.place.user.check(write).map_err(Fault::UserId)?;
                    Err(fault)
                }
                made => made,
            }
        };
        in_time(&self.place.limit, made).await
    }

    async fn bare(&self, session: &mut Session, write: &Write) -> Made {
        let (kept, values) = statement(write, &self.place);
        outcome(write, session.run(kept, values).await)
    }

    fn told(&self, made: Made) -> Applied {
        made.map_err(|fault| self.error(fault))
    }

    fn error(&self, fault: Fault) -> StoreError {
        self.place.error("apply a write", fault)
    }
}

impl Retries for Writer {
    fn blocked(&self) -> &BlockedWrites {
        &self.blocked
    }

    async fn attempt(&self, writes: &[Write]) -> Vec<Attempt> {
        let mut made: Vec<Option<Made>> = writes.iter().map(|_| None).collect();
        if let Err(fault) = self.past_locks(writes, &mut made).await {
            let attempt = |_: &Write| match &fault {
                Fault::Cut(_) => Attempt::Undone(self.error(fault.clone())),
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

/// What became of the writes of a batch, and which of them have to wait.
type Judged = (Vec<(usize, Outcome)>, Vec<usize>);

fn note(outcomes: Vec<(usize, Outcome)>, made: &mut [Option<Made>]) {
    for (at, outcome) in outcomes {
        made[at] = Some(Ok(outcome));
    }
}

impl Maker for Writer {
    async fn make(self: &Arc<Writer>, writes: &[Write]) -> Vec<Answer> {
        self.made(writes).await
    }
}

/// How often something is done again that the database undid for the sake of others.
pub(super) struct Attempts(usize);

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts(ATTEMPTS)
    }
}

impl Attempts {
    /// Whether to do it again, after a pause.
    pub(super) async fn has_another<T>(&mut self, done: &Result<T, Fault>) -> bool {
        self.0 = self.0.saturating_sub(1);
        let again = self.0 > 0 && done.as_ref().is_err_and(Fault::is_collision);
        if again {
            tokio::time::sleep(short_pause()).await;
        }
        again
    }
}

fn all_failed(open: &[usize], fault: &Fault, made: &mut [Option<Made>]) {
    for &at in open {
        made[at].get_or_insert_with(|| Err(fault.clone()));
    }
}

/// What is known of the rows that a batch is about.
struct Rows {
    /// Locked by us, or made by us; with what is in them, where that can be read. `None` where locks are
    /// taken one by one.
    ours: Option<HashMap<SessionId, Option<SessionRecord>>>,
    /// There, and locked by somebody else.
    others: HashSet<SessionId>,
    /// Ids that the batch meets more than once.
    met_again: HashSet<SessionId>,
}

impl Rows {
    /// Locks those that nobody else has locked, where the server can say which.
    async fn lock<'a>(
        session: &mut Session,
        writes: impl Iterator<Item = &'a Write> + Clone,
    ) -> Result<Rows, Fault> {
        if !session.skips {
            return Ok(Rows { ours: None, others: HashSet::new(), met_again: HashSet::new() });
        }
        let (mut met, mut met_again) = (HashSet::new(), HashSet::new());
        met_again.extend(writes.clone().flat_map(Write::ids).filter(|&id| !met.insert(id)));
        let wanted: HashSet<SessionId> =
            writes.filter(|write| !matches!(write, Write::Insert(_))).map(Write::id).collect();
        let mut wanted: Vec<SessionId> = wanted.into_iter().collect();
        // Whoever locks many rows locks them in the same order.
        wanted.sort();
        let rows = session.rows_of(Kept::Lock, &wanted).await?;
        let ours: HashMap<SessionId, Option<SessionRecord>> =
            rows.iter().filter_map(|row| Some((row::id(row)?, row::record(row).ok()))).collect();
        wanted.retain(|id| !ours.contains_key(id));
        let others = session.ids(Kept::Seen, &wanted).await?;
        Ok(Rows { ours: Some(ours), others, met_again })
    }

    fn lines<'a>(&self, writes: impl Iterator<Item = &'a Write>, place: &Place) -> Lines {
        match &self.ours {
            Some(ours) => Lines::of(ours, &self.met_again, writes, place),
            None => Lines::of(&HashMap::new(), &self.met_again, writes, place),
        }
    }

    /// Whether the write makes a row that nothing else in the batch is about.
    fn only_makes(&self, write: &Write) -> bool {
        self.ours.is_some() && record(write).is_some() && !self.met_again.contains(&write.id())
    }

    fn are_locked_by_others(&self, write: &Write) -> bool {
        self.others.contains(&write.id())
    }

    fn are_missing(&self, write: &Write) -> bool {
        let missing = |ours: &HashMap<SessionId, _>| !ours.contains_key(&write.id());
        !matches!(write, Write::Insert(_)) && self.ours.as_ref().is_some_and(missing)
    }

    fn made(&mut self, write: &Write) {
        let made = match write {
            Write::Insert(record) => record.id(),
            Write::Rotate(rotation) => rotation.record.id(),
            Write::Update(_) | Write::Touch(_) | Write::Delete(_) => return,
        };
        if let Some(ours) = &mut self.ours {
            ours.insert(made, None);
        }
    }
}

/// The row that a write makes out of nothing.
fn record(write: &Write) -> Option<&SessionRecord> {
    match write {
        Write::Insert(record) => Some(record),
        Write::Update(_) | Write::Touch(_) | Write::Rotate(_) | Write::Delete(_) => None,
    }
}
