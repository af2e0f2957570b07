//! Sessions in this process's memory: for tests, examples and small tools. Gone when it ends.
//!
//! Rows leave by a write, by [`delete_user`](SessionStore::delete_user) or by
//! [`purge`](SessionStore::purge), never to make room: a store that is full says so.
//!
//! Where several shards are locked at once, always in the order of their index: else two calls wait
//! for each other for ever. No lock is ever held across an `await`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use parking_lot::{RwLock, RwLockWriteGuard};

use super::{
    Cursor, Expiry, Finding, ListPage, ListQuery, Loaded, NewData, Outcome, PurgeBatch, PurgeLimits, Purged,
    Rotation, SessionStore, StoreError, StoreStats, Touch, Update, Write,
};
use crate::record::{Clock, Columns, SessionId, SessionRecord, StoredData, Timestamp, UserId};

/// A row belongs to the shard that the first six bits of its id name, so the shards one after the
/// other are all rows in the order of their ids.
const SHARDS: usize = 64;
const SHARD_SHIFT: u32 = u8::BITS - SHARDS.ilog2();

/// Rows that a purge removes from a shard before it lets others in and looks at the time.
const PURGE_STEP: usize = 64;

/// Keeps sessions in memory, in one process, at most as many as it was made for.
///
/// Clones share the same sessions. Loads and writes lock one shard of 64 (a rotation two) for well
/// under a microsecond; only [`delete_user`](SessionStore::delete_user) locks all of them.
#[derive(Clone)]
pub struct MemoryStore(Arc<Shared>);

struct Shared {
    shards: [RwLock<Shard>; SHARDS],
    rows: AtomicUsize,
    capacity: usize,
}

impl MemoryStore {
    /// Sessions that [`MemoryStore::new`] holds at most.
    pub const DEFAULT_CAPACITY: usize = 1_000_000;

    /// An empty store for at most [`DEFAULT_CAPACITY`](Self::DEFAULT_CAPACITY) sessions.
    pub fn new() -> MemoryStore {
        MemoryStore::with_capacity(MemoryStore::DEFAULT_CAPACITY)
    }

    /// An empty store for at most `capacity` sessions, expired ones included. One more is
    /// [`StoreError::Full`]. Nothing is allocated in advance.
    pub fn with_capacity(capacity: usize) -> MemoryStore {
        MemoryStore(Arc::new(Shared {
            shards: std::array::from_fn(|_| RwLock::default()),
            rows: AtomicUsize::new(0),
            capacity,
        }))
    }

    fn shard(&self, id: SessionId) -> &RwLock<Shard> {
        &self.0.shards[shard_index(id)]
    }

    fn get(&self, id: SessionId) -> Option<SessionRecord> {
        self.shard(id).read().rows.get(&id).cloned()
    }

    fn write(&self, write: Write) -> Result<Outcome, StoreError> {
        match write {
            Write::Insert(record) => self.insert(record),
            Write::Update(update) => Ok(self.shard(update.id).write().update(update)),
            Write::Touch(touch) => Ok(self.shard(touch.id).write().touch(&touch)),
            Write::Rotate(rotation) => Ok(self.rotate(rotation)),
            Write::Delete(id) => Ok(self.delete(id)),
        }
    }

    fn insert(&self, record: SessionRecord) -> Result<Outcome, StoreError> {
        let mut shard = self.shard(record.id()).write();
        if shard.rows.contains_key(&record.id()) {
            return Ok(Outcome::Unmatched);
        }
        let capacity = self.0.capacity;
        self.0
            .rows
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |rows| (rows < capacity).then_some(rows + 1))
            .map_err(|_| StoreError::Full {
                store: "memory",
                reason: format!("it holds {capacity} sessions: purge, or make it with a larger capacity"),
                source: None,
            })?;
        shard.put(record);
        Ok(Outcome::Applied)
    }

    fn rotate(&self, rotation: Rotation) -> Outcome {
        let Rotation { id: old, expected, record, now } = rotation;
        let new = record.id();
        let mut shards = self.lock_two(old, new);
        let now = now.get();
        let taken = new != old && shards.of(new).rows.contains_key(&new);
        if taken || shards.of(old).matching(old, &expected, now).is_none() {
            return Outcome::Unmatched;
        }
        shards.of(old).take(old);
        shards.of(new).put(record);
        Outcome::Applied
    }

    fn delete(&self, id: SessionId) -> Outcome {
        if self.shard(id).write().take(id).is_none() {
            return Outcome::Unmatched;
        }
        self.forget(1);
        Outcome::Applied
    }

    fn forget(&self, rows: usize) {
        self.0.rows.fetch_sub(rows, Ordering::Relaxed);
    }

    /// The shards of both ids, which may be the same one.
    fn lock_two(&self, one: SessionId, other: SessionId) -> TwoShards<'_> {
        let (low, high) = {
            let (one, other) = (shard_index(one), shard_index(other));
            (one.min(other), one.max(other))
        };
        TwoShards {
            low_index: low,
            low: self.0.shards[low].write(),
            high: (high != low).then(|| self.0.shards[high].write()),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

/// How full it is: sessions are private.
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("rows", &self.0.rows.load(Ordering::Relaxed))
            .field("capacity", &self.0.capacity)
            .finish()
    }
}

fn shard_index(id: SessionId) -> usize {
    usize::from(id.as_bytes()[0] >> SHARD_SHIFT)
}

struct TwoShards<'a> {
    low_index: usize,
    low: RwLockWriteGuard<'a, Shard>,
    high: Option<RwLockWriteGuard<'a, Shard>>,
}

impl TwoShards<'_> {
    fn of(&mut self, id: SessionId) -> &mut Shard {
        match &mut self.high {
            Some(high) if shard_index(id) != self.low_index => high,
            _ => &mut self.low,
        }
    }
}

/// Rows and their indexes. Only [`put`](Shard::put) and [`take`](Shard::take) change them, so that
/// they always agree.
#[derive(Default)]
struct Shard {
    rows: BTreeMap<SessionId, SessionRecord>,
    by_user: BTreeSet<(UserId, SessionId)>,
    by_expiry: BTreeSet<(Timestamp, SessionId)>,
}

impl Shard {
    fn put(&mut self, record: SessionRecord) {
        self.take(record.id());
        self.by_expiry.insert((record.expires_at(), record.id()));
        if let Some(user) = record.user_id() {
            self.by_user.insert((user.clone(), record.id()));
        }
        self.rows.insert(record.id(), record);
    }

    fn take(&mut self, id: SessionId) -> Option<SessionRecord> {
        let record = self.rows.remove(&id)?;
        self.by_expiry.remove(&(record.expires_at(), id));
        if let Some(user) = record.user_id() {
            self.by_user.remove(&(user.clone(), id));
        }
        Some(record)
    }

    /// The live row whose data is still what was read.
    fn matching(&self, id: SessionId, expected: &StoredData, now: Timestamp) -> Option<&SessionRecord> {
        self.rows.get(&id).filter(|row| row.is_live(now) && row.stored_data() == expected)
    }

    fn update(&mut self, update: Update) -> Outcome {
        let Update { id, expected, data, user_id, expires_at, now } = update;
        let now = now.get();
        let Some(row) = self.matching(id, &expected, now) else {
            return Outcome::Unmatched;
        };
        let changed = SessionRecord::from_columns(Columns {
            id,
            user_id: user_id.unwrap_or_else(|| row.user_id().cloned()),
            data: match data {
                NewData::Keep => expected,
                NewData::Text(text) => StoredData::Text(text),
            },
            created_at: row.created_at(),
            expires_at: match expires_at {
                Expiry::Keep => row.expires_at(),
                Expiry::Extend(to) => row.expires_at().max(to),
                Expiry::Set(to) => to,
            },
            updated_at: Some(now),
        });
        self.put(changed);
        Outcome::Applied
    }

    fn touch(&mut self, touch: &Touch) -> Outcome {
        let now = touch.now.get();
        let row = self.rows.get(&touch.id);
        let Some(row) = row.filter(|row| row.is_live(now) && row.expires_at() < touch.expires_at) else {
            return Outcome::Unmatched;
        };
        let changed = SessionRecord::from_columns(Columns {
            id: touch.id,
            user_id: row.user_id().cloned(),
            data: row.stored_data().clone(),
            created_at: row.created_at(),
            expires_at: touch.expires_at,
            updated_at: Some(now),
        });
        self.put(changed);
        Outcome::Applied
    }

    /// Removes at most `limit` rows, those that expired first.
    fn take_expired(&mut self, now: Timestamp, limit: usize) -> Vec<Purged> {
        let expired = self.by_expiry.iter().take_while(|(expires_at, _)| *expires_at <= now);
        let ids: Vec<SessionId> = expired.take(limit).map(|&(_, id)| id).collect();
        let purged = |id| Purged { id, user_id: self.take(id).and_then(|record| record.user_id().cloned()) };
        ids.into_iter().map(purged).collect()
    }

    fn take_user(&mut self, user: &UserId, keep: Option<SessionId>) -> Vec<SessionId> {
        let ids: Vec<SessionId> = self.ids_of(user, None).filter(|&id| Some(id) != keep).collect();
        for &id in &ids {
            self.take(id);
        }
        ids
    }

    /// The ids of this user's rows after this id, in their order.
    fn ids_of<'a>(
        &'a self,
        user: &'a UserId,
        after: Option<SessionId>,
    ) -> impl Iterator<Item = SessionId> + 'a {
        let from = match after {
            Some(id) => Bound::Excluded((user.clone(), id)),
            None => Bound::Included((user.clone(), SessionId::from_bytes([0; 16]))),
        };
        self.by_user.range((from, Bound::Unbounded)).take_while(move |(of, _)| of == user).map(|&(_, id)| id)
    }

    /// The rows of the query after this id, in the order of their ids.
    fn select<'a>(
        &'a self,
        query: &'a ListQuery,
        after: Option<SessionId>,
    ) -> impl Iterator<Item = &'a SessionRecord> {
        let of_user = query.user.as_ref().map(|user| self.ids_of(user, after));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let of_anybody = of_user.is_none().then(|| self.rows.range((from, Bound::Unbounded)));
        let of_user = of_user.into_iter().flatten().filter_map(|id| self.rows.get(&id));
        let of_anybody = of_anybody.into_iter().flatten().map(|(_, row)| row);
        of_user.chain(of_anybody).filter(|row| query.liveness.includes(row.expires_at(), query.now))
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn load(&self, id: SessionId) -> Loaded {
        Ok(self.get(id))
    }

    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.write(write)
    }

    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        ids.iter().map(|&id| Ok(self.get(id))).collect()
    }

    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        writes.into_iter().map(|write| self.write(write)).collect()
    }

    /// A user's sessions come from an index; without a user, rows are passed over one by one until
    /// the page is full. A cursor of another store means the first page.
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        let after = query.after.as_ref().and_then(|cursor| cursor.as_str().parse::<SessionId>().ok());
        let mut page = ListPage::default();
        for shard in &self.0.shards[after.map_or(0, shard_index)..] {
            let shard = shard.read();
            for row in shard.select(query, after) {
                if page.records.len() == query.limit {
                    page.next = page.records.last().map(|last| Cursor::new(last.id().to_string()));
                    return Ok(page);
                }
                page.records.push(row.clone());
            }
        }
        Ok(page)
    }

    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        // All of them, or a session that moves to a shard which was passed already would get away.
        let mut shards: Vec<_> = self.0.shards.iter().map(RwLock::write).collect();
        let ids: Vec<SessionId> = shards.iter_mut().flat_map(|shard| shard.take_user(user, keep)).collect();
        self.forget(ids.len());
        Ok(ids)
    }

    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        limits.validate()?;
        let started = Instant::now();
        let mut batch = PurgeBatch::default();
        for shard in &self.0.shards {
            loop {
                let wanted = PURGE_STEP.min(limits.max_rows - batch.removed.len());
                let removed = shard.write().take_expired(now, wanted);
                self.forget(removed.len());
                let found = removed.len();
                batch.removed.extend(removed);
                if found < wanted {
                    break;
                }
                if batch.removed.len() >= limits.max_rows || started.elapsed() >= limits.max_time {
                    batch.more = true;
                    return Ok(batch);
                }
            }
        }
        Ok(batch)
    }

    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        let mut stats = StoreStats::default();
        let mut users = HashSet::new();
        for shard in &self.0.shards {
            let shard = shard.read();
            for row in shard.rows.values() {
                if !row.is_live(now) {
                    stats.expired += 1;
                    stats.oldest_expired = stats.oldest_expired.into_iter().chain([row.expires_at()]).min();
                    continue;
                }
                stats.live += 1;
                stats.data_bytes += row.stored_data().len() as u64;
                match row.user_id() {
                    Some(user) => drop(users.insert(user.clone())),
                    None => stats.anonymous += 1,
                }
            }
        }
        stats.users = users.len() as u64;
        Ok(stats)
    }

    /// Nothing to make.
    async fn init(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn examine(&self, _: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
        let (rows, capacity) = (self.0.rows.load(Ordering::Relaxed), self.0.capacity);
        let seen = format!("{rows} of at most {capacity} sessions");
        let room = if rows < capacity {
            Finding::good("room", seen, "New sessions find a place.")
        } else {
            Finding::wrong("room", seen, "Nobody new can sign in.")
                .with_remedy("purge the expired sessions, or make the store with a larger capacity")
        };
        let meaning = "When it ends everybody is signed out, and no other process knows these sessions.";
        let kept = Finding::note("durability", "sessions are kept in this process's memory", meaning)
            .with_remedy("keep them in a database, unless this is a test");
        Ok(vec![room, kept])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u8) -> SessionRecord {
        let now = Timestamp::parse("2030-01-01 00:00:00").unwrap();
        SessionRecord::new(
            SessionId::from_bytes([number; 16]),
            now.saturating_add(std::time::Duration::from_secs(60)),
            now,
        )
    }

    #[tokio::test]
    async fn full_is_an_error_and_a_deletion_makes_room() {
        let store = MemoryStore::with_capacity(2);
        for number in [1, 255] {
            assert_eq!(store.apply(Write::Insert(record(number))).await.unwrap(), Outcome::Applied);
        }
        let full = store.apply(Write::Insert(record(3))).await.unwrap_err();
        assert!(matches!(full, StoreError::Full { .. }), "{full}");
        assert!(full.to_string().contains("2 sessions"), "{full}");
        assert_eq!(store.apply(Write::Insert(record(1))).await.unwrap(), Outcome::Unmatched, "a taken id");
        let rotation = Rotation {
            id: record(1).id(),
            expected: StoredData::empty(),
            record: record(4),
            now: record(1).created_at().unwrap().into(),
        };
        assert_eq!(store.apply(Write::Rotate(rotation)).await.unwrap(), Outcome::Applied, "takes no room");
        store.apply(Write::Delete(record(255).id())).await.unwrap();
        assert_eq!(store.apply(Write::Insert(record(3))).await.unwrap(), Outcome::Applied);

        let purged = store.purge(Timestamp::MAX, PurgeLimits::default()).await.unwrap();
        assert_eq!(purged.removed.len(), 2);
        for number in [5, 6] {
            assert_eq!(store.apply(Write::Insert(record(number))).await.unwrap(), Outcome::Applied);
        }
    }

    #[tokio::test]
    async fn clones_share_their_sessions() {
        let store = MemoryStore::new();
        store.clone().apply(Write::Insert(record(1))).await.unwrap();
        assert_eq!(store.load(record(1).id()).await.unwrap(), Some(record(1)));
        assert_eq!(format!("{store:?}"), "MemoryStore { rows: 1, capacity: 1000000 }");
    }

    /// [R10] A purge without time still gets on: one step, and says that there is more.
    #[tokio::test]
    async fn a_purge_out_of_time_makes_one_step() {
        let store = MemoryStore::new();
        for number in 0..=255u8 {
            store.apply(Write::Insert(record(number))).await.unwrap();
            let mut bytes = [0; 16];
            bytes[15] = number;
            let now = record(0).created_at().unwrap();
            let crowded = SessionRecord::new(SessionId::from_bytes(bytes), now, now);
            store.apply(Write::Insert(crowded)).await.unwrap();
        }
        let limits = PurgeLimits { max_rows: 1_000, max_time: std::time::Duration::ZERO };
        let batch = store.purge(Timestamp::MAX, limits).await.unwrap();
        assert_eq!((batch.removed.len(), batch.more), (PURGE_STEP, true));
    }
}
