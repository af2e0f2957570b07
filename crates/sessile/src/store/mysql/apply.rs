//! [`Write`]s in the database: one alone by a statement of its own, several in one transaction, which is
//! one commit for all of them.
//!
//! What one write does never depends on its neighbours: when the batch fails each is done again apart,
//! and one that has to wait for a row which somebody else has locked (lback locks it while its view
//! runs) goes on waiting on another connection, so that nobody waits with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mysql_async::Value;
use tokio::sync::oneshot;

use super::batch::{self, Lines};
use super::call::{bound_user, foregone, judges_a_time, outcome, statement};
use super::fault::{Fault, Place, unavailable};
use super::pool::{Dialler, Duty, Pool, Turn};
use super::row;
use super::session::{Session, in_time};
use super::sql::{Kept, Sql};
use crate::record::{SessionId, SessionRecord, UserId};
use crate::store::answer::{Answer, Applied, Maker};
use crate::store::backoff::short_pause;
use crate::store::chain::Chains;
use crate::store::{Outcome, Write};

/// How often a write is made, at most.
const ATTEMPTS: usize = 8;

/// Batches on their way at once: while one is committed the next one is made.
pub(super) const BATCHES: usize = 2;

/// Rows that others hold locked, waited for at the same time.
const PATIENT: usize = 4;

/// How often the sessions of a user are looked for again because some were rotated meanwhile.
const ROUNDS: usize = 100;

pub(super) type Made = Result<Outcome, Fault>;
/// Where writes are made.
pub(super) struct Writer {
    grouped: Arc<Pool>,
    patient: Arc<Pool>,
    place: Arc<Place>,
    sql: Arc<Sql>,
}

impl Writer {
    pub(super) fn new(dialler: &Arc<Dialler>) -> Writer {
        Writer {
            grouped: Pool::new(dialler, Duty::Writes, BATCHES),
            patient: Pool::new(dialler, Duty::Patience, PATIENT),
            place: Arc::clone(&dialler.place),
            sql: Arc::clone(&dialler.sql),
        }
    }

    /// A turn for one write that need not wait for others.
    pub(super) fn free(&self) -> Option<Turn> {
        self.grouped.free()
    }

    /// Makes one write.
    pub(super) async fn make_one(self: &Arc<Writer>, turn: Turn, write: Write) -> Answer {
        if let Some(made) = foregone(&write, &self.place) {
            return Answer::Now(self.told(made));
        }
        let made = match turn.seat().await {
            Ok(mut seat) => self.alone(&mut seat, &write).await,
            Err(fault) => Err(fault),
        };
        match made {
            Err(fault) if fault.is_locked() || fault.is_collision() => Answer::Later(self.wait_for(write)),
            made => Answer::Now(self.told(made)),
        }
    }

    async fn made(self: &Arc<Writer>, writes: &[Write]) -> Vec<Answer> {
        let mut made: Vec<Option<Made>> = writes.iter().map(|write| foregone(write, &self.place)).collect();
        let open: Vec<usize> = (0..writes.len()).filter(|&at| made[at].is_none()).collect();
        let chains = self.make_open(writes, &open, &mut made).await;
        let mut waiting = self.wait_for_chains(writes, chains);
        let answer = |(at, made): (usize, Option<Made>)| match made {
            Some(made) => Answer::Now(self.told(made)),
            None => match waiting.remove(&at) {
                Some(later) => Answer::Later(later),
                None => Answer::Now(Err(unavailable("a write was lost in its batch"))),
            },
        };
        made.into_iter().enumerate().map(answer).collect()
    }

    /// Returns those that have to wait for a lock, each with the later ones that have to come after it.
    async fn make_open(
        &self,
        writes: &[Write],
        open: &[usize],
        made: &mut [Option<Made>],
    ) -> Vec<Vec<usize>> {
        if open.is_empty() {
            return Vec::new();
        }
        let mut seat = match self.grouped.seat().await {
            Ok(seat) => seat,
            Err(fault) => return all_failed(open, &fault, made),
        };
        if open.len() > 1 {
            match in_time(&self.place.limit, self.together(&mut seat, writes, open)).await {
                Ok((outcomes, chains)) => {
                    for (at, outcome) in outcomes {
                        made[at] = Some(Ok(outcome));
                    }
                    return chains.into_chains();
                }
                Err(fault) if fault.is_outage() => return all_failed(open, &fault, made),
                Err(_) => {}
            }
        }
        self.apart(&mut seat, writes, open, made).await
    }

    /// All of them, but for those whose rows others have locked, in one transaction.
    async fn together(
        &self,
        session: &mut Session,
        writes: &[Write],
        open: &[usize],
    ) -> Result<(Vec<(usize, Outcome)>, Chains), Fault> {
        session.begin().await?;
        let done = self.each(session, writes, open).await;
        session.end(done).await
    }

    async fn each(
        &self,
        session: &mut Session,
        writes: &[Write],
        open: &[usize],
    ) -> Result<(Vec<(usize, Outcome)>, Chains), Fault> {
        let mut rows = Rows::lock(session, open.iter().map(|&at| &writes[at])).await?;
        let mut lines = rows.lines(open.iter().map(|&at| &writes[at]), &self.place);
        let mut outcomes = Vec::with_capacity(open.len());
        let mut chains = Chains::default();
        let (births, others) = open.iter().partition::<Vec<usize>, _>(|&&at| rows.only_makes(&writes[at]));
        for at in others {
            let write = &writes[at];
            if chains.concern(write) || rows.are_locked_by_others(write) {
                chains.add(at, write);
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
        Ok((outcomes, chains))
    }

    /// Each in a transaction of its own.
    async fn apart(
        &self,
        session: &mut Session,
        writes: &[Write],
        open: &[usize],
        made: &mut [Option<Made>],
    ) -> Vec<Vec<usize>> {
        let mut chains = Chains::default();
        for (done, &at) in open.iter().enumerate() {
            let write = &writes[at];
            if chains.concern(write) {
                chains.add(at, write);
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
                Err(fault) if fault.is_locked() => chains.add(at, write),
                Err(fault) if fault.is_outage() => {
                    all_failed(&open[done..], &fault, made);
                    break;
                }
                answer => made[at] = Some(answer),
            }
        }
        chains.into_chains()
    }

    /// One write in a transaction of its own.
    async fn alone(&self, session: &mut Session, write: &Write) -> Made {
        in_time(&self.place.limit, self.bare(session, write)).await
    }

    async fn bare(&self, session: &mut Session, write: &Write) -> Made {
        let (kept, values) = statement(write, &self.place);
        outcome(write, session.run(kept, values).await)
    }

    /// Lets a write wait for a lock in a task of its own.
    fn wait_for(self: &Arc<Writer>, write: Write) -> oneshot::Receiver<Applied> {
        let (tell, told) = oneshot::channel();
        self.wait_in_turn(vec![(write, tell)]);
        told
    }

    /// Lets each chain wait in a task of its own: a caller that has gone changes nothing.
    fn wait_for_chains(
        self: &Arc<Writer>,
        writes: &[Write],
        chains: Vec<Vec<usize>>,
    ) -> HashMap<usize, oneshot::Receiver<Applied>> {
        let mut waiting = HashMap::new();
        for chain in chains {
            let mut jobs = Vec::with_capacity(chain.len());
            for at in chain {
                let (tell, told) = oneshot::channel();
                waiting.insert(at, told);
                jobs.push((writes[at].clone(), tell));
            }
            self.wait_in_turn(jobs);
        }
        waiting
    }

    fn wait_in_turn(self: &Arc<Writer>, jobs: Vec<(Write, oneshot::Sender<Applied>)>) {
        let writer = Arc::clone(self);
        tokio::spawn(async move {
            for (write, tell) in jobs {
                let made = writer.patiently(&write).await;
                // Nobody waits any more: it is done all the same.
                let _ = tell.send(writer.told(made));
            }
        });
    }

    /// Makes a write that has to wait, on a connection of those that do. [R15]
    async fn patiently(&self, write: &Write) -> Made {
        let mut seat = self.patient.seat().await?;
        let mut attempts = Attempts::default();
        loop {
            let made = in_time(&self.place.limit, self.after_lock(&mut seat, write)).await;
            if !attempts.has_another(&made).await {
                return made;
            }
        }
    }

    /// Makes a write once its row is free, and judges it by the time that it is then.
    async fn after_lock(&self, session: &mut Session, write: &Write) -> Made {
        if !judges_a_time(write) {
            return self.bare(session, write).await;
        }
        session.begin().await?;
        let made = match session.run(Kept::Wait, vec![row::bound_id(write.id())]).await {
            Ok(_) => self.bare(session, write).await,
            Err(fault) => Err(fault),
        };
        session.end(made).await
    }

    /// Deletes all rows of the user but `keep`. [R15]
    pub(super) async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, Fault> {
        let mut seat = self.patient.seat().await?;
        let mut attempts = Attempts::default();
        loop {
            seat.begin().await?;
            let deleted = self.deleted_of(&mut seat, user, keep).await;
            let deleted = seat.end(deleted).await;
            if !attempts.has_another(&deleted).await {
                return deleted;
            }
        }
    }

    /// A locking read may run past the place to which a row is being rotated. So it is over only when a
    /// look at one committed state, in which every row stands in one place, finds none.
    async fn deleted_of(
        &self,
        session: &mut Session,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, Fault> {
        let user = bound_user(Some(user));
        let values = vec![user.clone(), user, keep.map_or(Value::NULL, row::bound_id)];
        let mut deleted = Vec::new();
        for _ in 0..ROUNDS {
            let rows = session.survey_and_remove(&self.sql.lock_user, values.clone()).await?;
            deleted.extend(row::ids(&rows).0);
            if session.survey(&self.sql.see_user, values.clone()).await?.is_empty() {
                return Ok(deleted);
            }
        }
        Err(Fault::Away("the sessions of that user are rotated faster than they can be deleted".to_owned()))
    }

    fn told(&self, made: Made) -> Applied {
        made.map_err(|fault| self.place.error("apply a write", fault))
    }
}

impl Maker for Writer {
    async fn make(self: &Arc<Writer>, writes: &[Write]) -> Vec<Answer> {
        self.made(writes).await
    }
}

/// How often something is done again that the database undid for the sake of others.
struct Attempts(usize);

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts(ATTEMPTS)
    }
}

impl Attempts {
    /// Whether to do it again, after a pause.
    async fn has_another<T>(&mut self, done: &Result<T, Fault>) -> bool {
        self.0 = self.0.saturating_sub(1);
        let again = self.0 > 0 && done.as_ref().is_err_and(Fault::is_collision);
        if again {
            tokio::time::sleep(short_pause()).await;
        }
        again
    }
}

fn all_failed(open: &[usize], fault: &Fault, made: &mut [Option<Made>]) -> Vec<Vec<usize>> {
    for &at in open {
        made[at].get_or_insert_with(|| Err(fault.clone()));
    }
    Vec::new()
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
