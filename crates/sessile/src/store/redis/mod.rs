//! Sessions in Redis 6.2 or later or in Valkey, for many processes: on a single server, on one that sentinels name, or
//! in a Cluster. [`RedisOptions::connect`] lists the URLs and their options.
//!
//! Commands: `load` 1 HMGET; `load_many` 1 for each id; `apply` 1 EVALSHA; `apply_many` 1 for each write;
//! `delete_user` 1 EVALSHA for 256 rows; `list` 1 HMGET for each row, ZRANGEBYLEX for the ids of all and ZRANGE for those of
//! a user; `stats` 2 for each row; `purge` 256 ZCOUNT, and 1 EVALSHA for 16 rows of one bucket; `check` 256
//! ZCARD; `init` and `clock` 1.
//!
//! When the store is opened: 1 to learn what the server is, 5 more for its commands, the rights of the user and the
//! settings that matter. In a Cluster also `CLUSTER SLOTS`: to the nodes of the URL then, and later to three nodes
//! whenever one sends a request elsewhere or does not answer, at most four times a second.
//!
//! Round trips on a single server: 1 for each of these, also for a batch (single loads that meet are one),
//! unless it names a row twice; `list` and `stats` 2 or 3 for each 256 rows, `purge` 8 and 1 for each 16 rows.
//! One more when the server has forgotten a script, as it does when it restarts. In a Cluster the same, but: a
//! write that makes a row some user's takes 1 more, before it, for the user's index, and one that renews such a
//! row 1 after it; a rotation takes 4; `delete_user` 3 or more; and a minute after a row has gone, its id
//! leaves the user's index with 2. There, each command goes to the node that has its slot.
//!
//! # What is stored
//!
//! A session is a hash with the columns of a row, times as text that Lua compares. Beside it stand indexes:
//!
//! * `sessile:{6f}:6f1c4b1e-…`: the row;
//! * `sessile:{6f}:ids` and `sessile:{6f}:expiries`: the ids that begin with `6f`, in their order and by expiry;
//! * `sessile:user:{ada}`: the ids of a user.
//!
//! Every write is a script: it compares the stored data byte for byte with what was read, judges the expiry by
//! the `now` of the write, and changes the row and its indexes, or nothing.
//!
//! Keys expire by themselves a day after their session, so that clocks that differ do no harm. It is a net for
//! those who never purge: [`purge`](SessionStore::purge) at least daily, or ids stay in their users' indexes.
//!
//! # In a Cluster
//!
//! A row and the indexes of its ids are in one slot; a user's index, and the two rows of a rotation, are not. So
//! an id is entered into its user's index before its row is made, and a rotation is prepared on the new row,
//! decided on the old one and finished on the new one. Who meets a rotation that was cut short resolves it to
//! exactly one of both sessions; `cluster.rs` says how.
//!
//! # What an acknowledged write is worth
//!
//! Redis acknowledges before a write is on the disk or on a replica. With `appendonly no` a restart forgets
//! everything since the last snapshot; with `appendfsync everysec`, its default, a crash forgets a second; with
//! `always`, nothing. A failover forgets what the replica had not received, whatever the disk says: a session
//! that was logged out in these moments is live again until it expires. `min-replicas-to-write 1` keeps a
//! primary that has lost its replicas from acknowledging more of it; nothing in Redis excludes it. Where a
//! logout has to be final, use PostgreSQL.
//!
//! Measured on six nodes of one machine, with 16 callers signing in, changing, rotating and logging out, and a
//! primary killed under that: all slots were served again after 4 to 6 s, and until then writes to it were
//! [`Timeout`](StoreError::Timeout) or [`Unavailable`](StoreError::Unavailable). Of 7,127 sessions (18,969
//! acknowledged writes) none was lost, for the replica had everything.
//!
//! When the primary had been cut off from its replica for half a second before, 176 of 12,664 sessions were not
//! as acknowledged. Of 174 a sign-in or a change was lost; one logout was forgotten; of one rotation the old
//! session was alive beside the new one. (These sessions live for milliseconds, so most of them were made in that
//! half second.) 97 live sessions were missing from the index of their user, which that primary had held:
//! `delete_user` and `list` do not find such a one until it is renewed, which enters it again. No session was
//! anything that nobody wrote.
//!
//! # Sentinels
//!
//! All sentinels of the URL are asked for the primary at once, and the one that knows the latest failover counts. The
//! connection ends as soon as one of them names another primary, by `+switch-master` or when it is asked once a second.
//! What the old one answers after that is an error that leaves open whether the write was applied. A replica is
//! never connected to. An acknowledged write is worth what the section before says of failovers.
//!
//! # The feed of changes
//!
//! [`feed`](SessionStore::feed) listens with `CLIENT TRACKING` to all keys that begin as rows' keys do, on a
//! connection of its own, in a Cluster on one to each primary. Nothing has to be set up. The server tells whatever
//! changes a row: this store, redis-cli, scripts, the end of a key, eviction, `FLUSHALL`. It does not tell of
//! `SWAPDB`. Each process that listens is sent some 60 bytes for each changed row, and as much for each of two
//! indexes where a row is made, ended or renewed.
//!
//! Three times within the bound a sign of life goes to every server that is listened to: `PING`, then `INFO` or
//! `CLUSTER SLOTS`, 4 commands on a single server, 2 for each primary of a Cluster. The feed is down as soon as a
//! connection breaks, the server is no longer a primary or not the one that the sessions go to, or a Cluster has a
//! primary that is not listened to. After a failover it is down until the new primary is listened to.
//!
//! # Other programs' settings
//!
//! When the store is opened, it refuses a server that is a replica, does not speak RESP3, has renamed a command, or has a user
//! who may run the scripts and not all that is in them: with such a one a write could stop half-way. It logs a warning
//! where `maxmemory-policy` is not `noeviction`, for then Redis signs people out to make room, and where
//! `appendonly` or `appendfsync` let a restart forget acknowledged writes. `list` and `stats` have a connection of
//! their own, so that no request waits for their answers.

mod address;
mod call;
mod cluster;
mod connect;
mod examine;
mod fault;
mod feed;
mod keys;
mod leavers;
mod link;
mod nodes;
mod options;
mod purge;
mod row;
mod script;
mod sentinel;
mod server;
mod settings;
mod single;
mod slots;
mod survey;
#[cfg(test)]
mod tests;
mod users;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::Value;
use tokio::sync::OnceCell;

use super::wave::waves;
use super::{
    Feed, Finding, Grouping, Hearer, ListPage, ListQuery, Loaded, Outcome, PurgeBatch, PurgeLimits,
    SessionStore, StoreError, StoreStats, Write,
};
use crate::record::{Clock, SessionId, StoredData, Timestamp, UserId};

pub(super) use address::Address;
pub use options::RedisOptions;

use cluster::Made;
use fault::{Fault, NAME, Place, strange};
use keys::{BUCKETS, Keys};
use leavers::{Leavers, leavers, sweep};
use link::{Dialler, Link};
use row::{Found, bytes};
use script::{Scribe, Verdict, verdict};

/// Batches of single loads on their way at once.
const BATCHES: usize = 2;

/// Keeps sessions in Redis, version 6.2 or later, or in Valkey, with sentinels or in a Cluster.
///
/// Clones share the connection, which lives in the runtime that it was made in.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    place: Arc<Place>,
    keys: Keys,
    /// For requests.
    link: Link,
    /// For what reads many rows: made when it is first needed.
    walks: OnceCell<Link>,
    dialler: Dialler,
    /// How users' keys begin, where a script can reach them: not in a Cluster.
    users: String,
    /// The bucket that the next purge begins with.
    turn: AtomicUsize,
    leavers: Leavers,
}

impl RedisStore {
    /// Connects with the defaults: see [`RedisOptions::connect`].
    ///
    /// # Errors
    /// As [`RedisOptions::connect`].
    pub async fn connect(url: &str) -> Result<RedisStore, StoreError> {
        RedisStore::options().connect(url).await
    }

    /// How to connect otherwise.
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    async fn start(dialler: Dialler, place: Arc<Place>, keys: Keys) -> Result<RedisStore, StoreError> {
        let link = Link::start(&dialler).await.map_err(|fault| place.opening_error(fault))?;
        let users = if link.is_cluster() { String::new() } else { keys.users() };
        let turn = AtomicUsize::new(getrandom::u32().map_or(0, |number| number as usize % BUCKETS));
        let (leavers, leaving) = leavers();
        let walks = OnceCell::new();
        let inner = Arc::new(Inner { place, keys, link, walks, dialler, users, turn, leavers });
        if inner.link.is_cluster() {
            tokio::spawn(sweep(Arc::downgrade(&inner), leaving));
        }
        inner.check_server().await.map_err(|fault| inner.place.opening_error(fault))?;
        inner.warn_of_settings().await;
        Ok(RedisStore(inner))
    }

    fn error(&self, action: &'static str) -> impl Fn(Fault) -> StoreError {
        move |fault| self.0.place.error(action, fault)
    }

    async fn one(&self, write: Write) -> Made {
        let inner = &self.0;
        if inner.link.is_cluster() {
            return inner.make(write).await;
        }
        inner.link.ready().await?;
        verdict(inner.link.ask(inner.scribe("").write(&write)).await).map(outcome)
    }

    /// Makes writes of different rows.
    async fn wave(&self, writes: Vec<Write>) -> Vec<Made> {
        let inner = &self.0;
        if inner.link.is_cluster() {
            return join_all(writes.into_iter().map(|write| inner.make(write))).await;
        }
        let count = writes.len();
        if let Err(fault) = inner.link.ready().await {
            return vec![Err(fault); count];
        }
        let requests: Vec<_> = writes.iter().map(|write| inner.scribe("").write(write)).collect();
        let answers = inner.link.send(&requests).await;
        answers.into_iter().map(|answer| verdict(answer).map(outcome)).collect()
    }
}

impl Inner {
    /// The connection of those who read many rows: no request waits for their answers.
    async fn walks(&self) -> Result<&Link, Fault> {
        let walks = self.walks.get_or_try_init(|| Link::start(&self.dialler));
        // Also for those that wait until others have tried.
        let in_time = self.place.limit.keep(walks).await.unwrap_or(Err(Fault::Slow));
        in_time.map_err(Fault::unreachable)
    }

    fn scribe<'a>(&'a self, attempt: &'a str) -> Scribe<'a> {
        Scribe { keys: &self.keys, users: &self.users, attempt }
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Applied { .. } => Outcome::Applied,
        Verdict::Unmatched | Verdict::Unresolved => Outcome::Unmatched,
    }
}

/// What needs no server: data that no field can equal, or hold.
fn foregone(write: &Write) -> Option<Made> {
    let is_bytes = |data: &StoredData| matches!(data, StoredData::Bytes(_));
    let (expected, record) = match write {
        Write::Insert(record) => (None, Some(record)),
        Write::Update(update) => (Some(&update.expected), None),
        Write::Rotate(rotation) => (Some(&rotation.expected), Some(&rotation.record)),
        Write::Touch(_) | Write::Delete(_) => return None,
    };
    if expected.is_some_and(is_bytes) {
        return Some(Ok(Outcome::Unmatched));
    }
    let told = || Err(Fault::Other("Redis tells text from bytes nowhere: give text".to_owned()));
    record.is_some_and(|record| is_bytes(record.stored_data())).then(told)
}

#[async_trait]
impl SessionStore for RedisStore {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Reads that meet leave in one go: many at once cost the client less than each on its own. A Cluster takes
    /// each to its node, and none waits for another's.
    fn grouping(&self) -> Grouping {
        let loads = if self.0.link.is_cluster() { 0 } else { BATCHES };
        Grouping { loads, writes: 0 }
    }

    async fn load(&self, id: SessionId) -> Loaded {
        match self.0.load(id).await.map_err(self.error("load"))? {
            Found::Row(row) => Ok(Some(row?)),
            Found::Nothing | Found::Moving(_) => Ok(None),
        }
    }

    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        let rows = self.0.rows(&self.0.link, ids).await.into_iter();
        rows.map(|found| match found.map_err(self.error("load"))? {
            Found::Row(row) => Ok(Some(row?)),
            Found::Nothing | Found::Moving(_) => Ok(None),
        })
        .collect()
    }

    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        let made = match foregone(&write) {
            Some(made) => made,
            None => self.one(write).await,
        };
        made.map_err(self.error("apply a write"))
    }

    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        let mut outcomes: Vec<Option<Made>> = writes.iter().map(foregone).collect();
        let open = (0..writes.len()).filter(|&at| outcomes[at].is_none()).map(|at| (at, &writes[at]));
        for wave in waves(open) {
            let of_wave = wave.iter().map(|&at| writes[at].clone()).collect();
            for (at, made) in wave.into_iter().zip(self.wave(of_wave).await) {
                outcomes[at] = Some(made);
            }
        }
        let told =
            |made: Option<Made>| made.unwrap_or_else(|| Err(strange())).map_err(self.error("apply a write"));
        outcomes.into_iter().map(told).collect()
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.0.list(query).await.map_err(self.error("list"))
    }

    /// One script for each 256 sessions on a single server, which does nothing else meanwhile: about two
    /// milliseconds each. In a Cluster row by row, until no row is left that the user's index names. Both go on when
    /// the caller has gone.
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let (inner, user) = (Arc::clone(&self.0), user.clone());
        let deleting = tokio::spawn(async move {
            match inner.link.is_cluster() {
                true => inner.delete_user_by_row(&user, keep).await,
                false => inner.delete_user_by_script(&user, keep).await,
            }
        });
        match deleting.await {
            Ok(deletion) => deletion.result(&self.0.place),
            Err(error) => Err(self.error("delete a user's sessions")(Fault::Away(error.to_string()))),
        }
    }

    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.0.purge(now, limits).await.map_err(self.error("purge"))
    }

    /// Users are counted by a hash of their name.
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.0.stats(now).await.map_err(self.error("count"))
    }

    /// Nothing to make.
    async fn init(&self) -> Result<(), StoreError> {
        self.0.link.ask(call::plain(&["PING"])).await.map(drop).map_err(self.error("reach the server"))
    }

    /// Looks at the index of each bucket: in a Cluster that takes every node that has some of them.
    async fn check(&self) -> Result<(), StoreError> {
        let count = |bucket| call::plain(&["ZCARD", &self.0.keys.ids(bucket)]);
        let requests: Vec<_> = (0..BUCKETS).map(count).collect();
        for answer in self.0.link.read(&requests).await {
            answer.map_err(self.error("check"))?;
        }
        Ok(())
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        let time = match self.0.link.ask(call::plain(&["TIME"])).await {
            Ok(Value::Array(parts)) => time(parts).ok_or_else(strange),
            Ok(_) => Err(strange()),
            Err(fault) => Err(fault),
        };
        time.map(Some).map_err(self.error("ask for the time"))
    }

    /// A connection of its own; in a Cluster one to each primary. Where the server restricts users, theirs needs
    /// `INFO` and `CLIENT TRACKING` for it.
    async fn feed(&self, hearer: Hearer, bound: Duration) -> Result<Option<Feed>, StoreError> {
        feed::subscribe(&self.0, hearer, bound).await.map(Some)
    }

    /// Nothing to make: the server tells whoever asks.
    async fn init_feed(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes a row and deletes it again: for some milliseconds it can be seen.
    async fn examine(&self, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
        examine::examine(self, clock).await
    }
}

/// Seconds, and the microseconds after them.
fn time(parts: Vec<Value>) -> Option<Timestamp> {
    let mut parts = parts.into_iter().filter_map(bytes);
    let mut number = || String::from_utf8(parts.next()?).ok()?.parse::<i64>().ok();
    let (seconds, micros) = (number()?, number()?);
    Timestamp::from_micros(seconds.checked_mul(1_000_000)?.checked_add(micros)?)
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("server", &self.0.place.server)
            .field("prefix", &self.0.keys.prefix())
            .finish_non_exhaustive()
    }
}
