//! Removing what has expired: a few rows at a time, around all buckets.
//!
//! Redis does one command after the other, and all that one connection has sent before it looks at the next.
//! So everybody waits for whatever is asked of it at once; a connection of the purge's own would not change
//! that. What a purge sends at once is therefore small, and it sends more when that is answered: what has come
//! in meanwhile goes before.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::Value;

use super::Inner;
use super::call::{self, Request, lent, made};
use super::fault::{Fault, NAME, strange};
use super::keys::BUCKETS;
use super::row::{self, bytes};
use crate::record::{SessionId, Timestamp, UserId};
use crate::store::{PurgeBatch, PurgeLimits, Purged};

/// Rows removed at once, at most: a third of a millisecond, and more where each is in another bucket.
const ROWS: usize = 16;
/// Buckets asked at once how many of their rows have expired: some 30 microseconds.
const WIDTH: usize = 32;
/// When a row is looked at again that stays though its index says that it has expired: by then Redis has
/// removed it itself, unless somebody has renewed it.
const LATER: Duration = Duration::from_secs(24 * 60 * 60);

/// A purge on its way around the buckets.
struct Round<'a> {
    inner: &'a Inner,
    now: Timestamp,
    /// The next bucket to be asked.
    next: usize,
    /// How many have not been asked.
    unasked: usize,
    /// Buckets with expired rows, and how many those are.
    expired: VecDeque<(usize, usize)>,
    /// Why some buckets of a Cluster were passed by.
    fault: Option<Fault>,
}

impl Inner {
    /// Ends when all buckets have been seen without expired rows, or with more to do.
    pub(super) async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, Fault> {
        // Where the one before stopped: what it has emptied is not asked again and again.
        let next = self.turn.load(Ordering::Relaxed);
        let mut round =
            Round { inner: self, now, next, unasked: BUCKETS, expired: VecDeque::new(), fault: None };
        let mut batch = PurgeBatch::default();
        let mut ended = round.run(limits, &mut batch).await;
        if let Some(fault) = round.fault.take() {
            ended = Err(fault);
        }
        let stopped = round.expired.front().map_or(round.next, |&(bucket, _)| bucket);
        // Where it failed, others get their turn next time.
        self.turn.store(if ended.is_ok() { stopped } else { round.next }, Ordering::Relaxed);
        match ended {
            // What is gone has to be told; the next call meets the error again.
            Err(fault) if !batch.removed.is_empty() => {
                tracing::warn!(store = NAME, ?fault, "a purge ended early");
                batch.more = true;
            }
            ended => ended?,
        }
        Ok(batch)
    }

    fn purge_bucket(&self, bucket: usize, now: Timestamp, rows: usize) -> Request<'_> {
        Request::Script {
            script: &call::PURGE,
            keys: vec![self.keys.ids(bucket), self.keys.expiries(bucket)],
            arguments: vec![
                row::text(now),
                row::micros(now),
                row::micros(now.saturating_add(LATER)),
                made(rows),
                made(self.keys.bucket(bucket)),
                lent(&self.users),
            ],
        }
    }

    /// Ids and users, one after the other; in a Cluster the users' entries are still to go.
    fn told(&self, gone: Vec<Value>, removed: &mut Vec<Purged>, entries: &mut Vec<Request<'static>>) {
        let mut gone = gone.into_iter().filter_map(bytes);
        while let (Some(id), Some(user)) = (gone.next(), gone.next()) {
            let Ok(id) = SessionId::parse_bytes(&id) else { continue };
            let user = String::from_utf8(user).ok().filter(|user| !user.is_empty());
            let user_id = user.as_deref().map(UserId::stored);
            if let (true, Some(user)) = (self.users.is_empty(), &user_id) {
                entries.push(self.scribe("").leave(user, id));
            }
            removed.push(Purged { id, user_id });
        }
    }
}

impl Round<'_> {
    async fn run(&mut self, limits: PurgeLimits, batch: &mut PurgeBatch) -> Result<(), Fault> {
        let (mut left, mut held) = (limits.max_rows, Duration::ZERO);
        loop {
            // Also when nothing more may be removed: whether there is more is told exactly.
            while self.expired.is_empty() {
                if self.unasked == 0 {
                    return Ok(());
                }
                self.ask().await?;
            }
            if left == 0 || held >= limits.max_time.max(Duration::from_nanos(1)) {
                batch.more = true;
                return Ok(());
            }
            let begun = Instant::now();
            left -= self.remove(left.min(ROWS), &mut batch.removed).await?;
            held += begun.elapsed();
        }
    }

    /// Asks the next buckets how many of their rows have expired.
    async fn ask(&mut self) -> Result<(), Fault> {
        let buckets = (self.next..self.next + self.unasked.min(WIDTH)).map(|bucket| bucket % BUCKETS);
        let until = self.now.as_micros().to_string();
        let count = |bucket| call::plain(&["ZCOUNT", &self.inner.keys.expiries(bucket), "-inf", &until]);
        let requests: Vec<_> = buckets.clone().map(count).collect();
        self.unasked -= requests.len();
        self.next = (self.next + requests.len()) % BUCKETS;
        for (bucket, answer) in buckets.zip(self.inner.link.try_read(&requests).await) {
            let count = match answer {
                Ok(Value::Int(count)) => count,
                Ok(_) => return Err(strange()),
                Err(fault) => {
                    self.pass_by(fault)?;
                    continue;
                }
            };
            if let Some(rows) = usize::try_from(count).ok().filter(|&rows| rows > 0) {
                self.expired.push_back((bucket, rows));
            }
        }
        Ok(())
    }

    /// In a Cluster the other buckets may be on servers that answer.
    fn pass_by(&mut self, fault: Fault) -> Result<(), Fault> {
        if !self.inner.link.is_cluster() {
            return Err(fault);
        }
        self.fault = Some(fault);
        Ok(())
    }

    /// Removes so many rows at most, of one bucket or of several; returns how many it looked at.
    async fn remove(&mut self, rows: usize, removed: &mut Vec<Purged>) -> Result<usize, Fault> {
        let (mut left, mut requests) = (rows, Vec::new());
        while left > 0
            && let Some((bucket, expired)) = self.expired.front_mut()
        {
            let share = left.min(*expired);
            requests.push(self.inner.purge_bucket(*bucket, self.now, share));
            left -= share;
            *expired -= share;
            if *expired == 0 {
                self.expired.pop_front();
            }
        }
        let (mut entries, mut failed) = (Vec::new(), None);
        for answer in self.inner.link.try_send(&requests).await {
            match answer {
                Ok(Value::Array(gone)) => self.inner.told(gone, removed, &mut entries),
                Ok(_) => failed = Some(strange()),
                Err(fault) => failed = self.pass_by(fault).err().or(failed),
            }
        }
        if !entries.is_empty() {
            // At worst they stay until their time is over.
            let _ = self.inner.link.try_send(&entries).await;
        }
        failed.map_or(Ok(rows - left), Err)
    }
}
