//! [`Write`]s as statements: the writes of one kind in one statement, the kinds in one transaction, all
//! of it in one round trip.
//!
//! What one write does never depends on its neighbours: when the batch fails each is done again apart,
//! and one that has to wait for a row which somebody else has locked (lback locks it while its view
//! runs) goes on waiting on another connection, so that nobody waits with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::call::{Call, Value, calls, foregone, parameters};
use super::fault::{Fault, Place, unavailable};
use super::link::{Dialler, Duty, Link, Parameter};
use super::row::{Bound, Key};
use crate::record::UserId;
use crate::store::answer::{Answer, Applied, Maker};
use crate::store::backoff::short_pause;
use crate::store::chain::Chains;
use crate::store::wave::waves;
use crate::store::{Outcome, Write};

/// How often a write is made again that the database undid for the sake of others.
const ATTEMPTS: usize = 8;

/// How long a grouped write waits for a lock: about the time of somebody else's commit.
const GROUP_WAIT: Duration = Duration::from_millis(100);

/// Batches under way: while one waits for the disk at its commit, the other is made.
pub(super) const BATCHES: usize = 2;

/// Writes that have to wait before the second batch leaves: many small ones cost the database more than a wait.
pub(super) const CROWD: usize = 48;

/// Rows that others hold locked, waited for at the same time.
const PATIENT: usize = 4;

pub(super) type Made = Result<Outcome, Fault>;

/// Where writes are made.
pub(super) struct Writer {
    grouped: [Grouped; BATCHES],
    patience: Patience,
    place: Arc<Place>,
}

/// A connection for batches.
struct Grouped {
    link: Link,
    /// Batches on it.
    busy: AtomicUsize,
}

/// Connections for what may have to wait for a lock.
struct Patience {
    links: [Link; PATIENT],
    /// Those that nobody uses.
    free: Mutex<Vec<usize>>,
    room: Semaphore,
    wait: Duration,
}

impl Writer {
    pub(super) fn start(dialler: &Arc<Dialler>) -> Writer {
        let wait = dialler.place.lock_wait;
        let links = std::array::from_fn(|_| Link::start(dialler, Duty::Patience(wait)));
        Writer {
            grouped: std::array::from_fn(|_| Grouped {
                link: Link::start(dialler, Duty::Writes(GROUP_WAIT.min(wait))),
                busy: AtomicUsize::new(0),
            }),
            patience: Patience {
                links,
                free: Mutex::new((0..PATIENT).rev().collect()),
                room: Semaphore::new(PATIENT),
                wait,
            },
            place: Arc::clone(&dialler.place),
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

    async fn made(self: &Arc<Writer>, writes: &[Write]) -> Vec<Answer> {
        let grouped = self.grouped();
        let link = grouped.link();
        let mut made: Vec<Option<Made>> = writes.iter().map(foregone).collect();
        let open: Vec<usize> = (0..writes.len()).filter(|&at| made[at].is_none()).collect();
        let mut waiting = HashMap::new();
        match self.together(link, writes, &open).await {
            Ok(applied) => {
                for at in open {
                    let done = applied.contains(&at);
                    made[at] = Some(Ok(if done { Outcome::Applied } else { Outcome::Unmatched }));
                }
            }
            Err(fault) if fault.is_outage() => {
                for at in open {
                    made[at] = Some(Err(fault.clone()));
                }
            }
            Err(fault) => {
                let chains = self.apart(link, writes, &open, fault, &mut made).await;
                waiting = self.wait_for(writes, chains);
            }
        }
        let answer = |(at, made): (usize, Option<Made>)| match made {
            Some(made) => Answer::Now(self.told(made)),
            None => match waiting.remove(&at) {
                Some(later) => Answer::Later(later),
                None => Answer::Now(Err(unavailable("a write was lost in its batch"))),
            },
        };
        made.into_iter().enumerate().map(answer).collect()
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
        Ok(calls.iter().zip(&rows).flat_map(|(call, rows)| call.applied(writes, rows)).collect())
    }

    /// Each on its own; `fault` is what failed them together. Returns those that have to wait for a
    /// lock, each with the later ones that have to come after it.
    async fn apart(
        &self,
        link: &Link,
        writes: &[Write],
        open: &[usize],
        fault: Fault,
        made: &mut [Option<Made>],
    ) -> Vec<Vec<usize>> {
        let mut chains = Chains::default();
        if let [only] = open {
            return self.settle(link, writes, *only, Err(fault), made, chains).await.into_chains();
        }
        for wave in waves(open.iter().map(|&at| (at, &writes[at]))) {
            let (after, free): (Vec<usize>, Vec<usize>) =
                wave.into_iter().partition(|&at| chains.concern(&writes[at]));
            for at in after {
                chains.add(at, &writes[at]);
            }
            for (at, answer) in free.iter().zip(self.each(link, writes, &free).await) {
                chains = self.settle(link, writes, *at, answer, made, chains).await;
            }
        }
        chains.into_chains()
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
        mut chains: Chains,
    ) -> Chains {
        let answer = match answer {
            Err(fault) if fault.is_collision() || fault.is_stale() => again(|| alone(link, writes, at)).await,
            answer => answer,
        };
        match answer {
            Err(fault) if fault.is_locked() => chains.add(at, &writes[at]),
            answer => made[at] = Some(unless_taken(&writes[at], answer)),
        }
        chains
    }

    /// Lets each chain wait in a task of its own: a caller that has gone changes nothing.
    fn wait_for(
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
            let writer = Arc::clone(self);
            tokio::spawn(async move {
                for (write, tell) in jobs {
                    let made = writer.patience.make(write).await;
                    // Nobody waits any more: it is done all the same.
                    let _ = tell.send(writer.told(made));
                }
            });
        }
        waiting
    }

    /// Deletes all rows of the user, again and again while the database undoes it for the sake of others.
    pub(super) async fn delete_user(
        &self,
        statement: &str,
        user: &UserId,
        keep: Option<Key>,
    ) -> Result<Vec<Row>, Fault> {
        let turn = self.patience.link().await?;
        let parameters: [(Parameter<'_>, Type); 2] =
            [(&Bound(user.as_str()), Type::TEXT), (&keep, Type::TEXT)];
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match turn.link().survey(statement, &parameters).await {
                Err(fault) if fault.is_collision() && left > 0 => tokio::time::sleep(short_pause()).await,
                answer => return answer,
            }
        }
    }

    fn told(&self, made: Made) -> Applied {
        made.map_err(|fault| self.place.error("apply a write", fault))
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

impl Patience {
    /// A connection on which nobody waits behind one who waits for a lock.
    async fn link(&self) -> Result<Turn<'_>, Fault> {
        let Ok(Ok(permit)) = tokio::time::timeout(self.wait, self.room.acquire()).await else {
            return Err(Fault::Away(format!(
                "{PATIENT} writes already wait for rows that others have locked"
            )));
        };
        // The one that was used last is connected.
        let at = self.free.lock().pop().unwrap_or(0);
        Ok(Turn { patience: self, at, _permit: permit })
    }

    async fn make(&self, write: Write) -> Made {
        let turn = self.link().await?;
        let writes = [write];
        unless_taken(&writes[0], again(|| locked(turn.link(), &writes, 0)).await)
    }
}

/// A connection of [`Patience`], given back when dropped.
struct Turn<'a> {
    patience: &'a Patience,
    at: usize,
    _permit: SemaphorePermit<'a>,
}

impl Turn<'_> {
    fn link(&self) -> &Link {
        &self.patience.links[self.at]
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.patience.free.lock().push(self.at);
    }
}

/// Makes a write alone.
async fn alone(link: &Link, writes: &[Write], at: usize) -> Made {
    let call = Call::one(writes, at);
    let session = link.session().await?;
    session.run(call.kind, &parameters(&call.values(writes))).await.map(outcome)
}

/// Makes a write alone, once its row is free, and judges it by the time that it is then.
async fn locked(link: &Link, writes: &[Write], at: usize) -> Made {
    let call = Call::one(writes, at);
    let Some(lock) = call.lock() else { return alone(link, writes, at).await };
    let session = link.session().await?;
    let values = [lock.values(writes), call.values(writes)];
    let statements = [(lock.kind, parameters(&values[0])), (call.kind, parameters(&values[1]))];
    let rows = session.transaction(&statements).await;
    if rows.as_ref().is_err_and(Fault::is_stale) {
        session.forget().await;
    }
    Ok(outcome(rows?.pop().unwrap_or_default()))
}

/// Makes a write again and again while the database undoes it for the sake of others. [R15]
async fn again<F: Future<Output = Made>>(make: impl Fn() -> F) -> Made {
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
