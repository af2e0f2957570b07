//! Rows that another program has locked, on any store of a database: what becomes of the writes to them, of the
//! writes to other rows, and of endings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sessile::SessionId;
use sessile::record::{StoredData, UserId};
use sessile::store::{Outcome, SessionStore, StoreError, Write};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{NOW, answered, change, id, record, rotate, touch, until, update, user};

/// Longer than any of these tests takes: what still waits then was not answered before.
pub(crate) const PATIENT: Duration = Duration::from_secs(60);
/// A store whose writes wait for a lock no longer than this gives up soon.
pub(crate) const IMPATIENT: Duration = Duration::from_secs(4);

const LOCKED: u32 = 60;
const BYSTANDERS: u32 = 16;
const ROUNDS: u32 = 30;

/// Another program's connection.
pub(crate) trait Locker {
    /// Begins a transaction that changes these rows, as a view of lback does.
    async fn lock(&mut self, rows: &[u32]);

    /// Ends it.
    async fn unlock(&mut self);

    /// Ends the connection on which the store retries writes to locked rows.
    async fn kill_retries(&mut self);
}

fn row_of(number: u32, owner: &str) -> Write {
    Write::Insert(record(number, Some(owner), "{}"))
}

async fn insert_all(store: &impl SessionStore, rows: impl IntoIterator<Item = Write>) {
    for outcome in store.apply_many(rows.into_iter().collect()).await {
        assert_eq!(outcome.unwrap(), Outcome::Applied);
    }
}

/// Requests that write to the locked rows again and again, until it is dropped.
struct Requests {
    stop: Arc<AtomicBool>,
    /// The first write to each row.
    first: Vec<JoinHandle<Result<Outcome, StoreError>>>,
}

impl Requests {
    fn to<S: SessionStore + Clone>(store: &S, rows: impl Iterator<Item = u32> + Clone) -> Requests {
        let stop = Arc::new(AtomicBool::new(false));
        let first = rows.clone().map(|number| {
            let (store, write) = (store.clone(), update(number, "{}", "{\"first\": 1}"));
            tokio::spawn(async move { store.apply(write).await })
        });
        let first = first.collect();
        let (store, stopped, rows) = (store.clone(), Arc::clone(&stop), rows.collect::<Vec<_>>());
        tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                for &number in &rows {
                    let store = store.clone();
                    // Its caller gives up at once.
                    let write = touch(number, "2031-01-01 00:00:00", NOW);
                    let gives_up = Duration::from_millis(5);
                    tokio::spawn(async move { tokio::time::timeout(gives_up, store.apply(write)).await });
                }
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        });
        Requests { stop, first }
    }

    /// Whether all of the first writes still wait.
    fn all_wait(&self) -> bool {
        self.first.iter().all(|write| !write.is_finished())
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Writes of others, renewals of others and the endings of other users are made while many rows are locked and requests
/// write to them. `store` is [`PATIENT`].
pub(crate) async fn bystanders_go_on<S: SessionStore + Clone>(store: S, mut locker: impl Locker) {
    let locked = 1_000..1_000 + LOCKED;
    insert_all(&store, locked.clone().map(|number| row_of(number, "locked"))).await;
    insert_all(&store, (0..BYSTANDERS).map(|number| row_of(number, "bystander"))).await;
    insert_all(&store, (100..103).map(|number| row_of(number, "leaver"))).await;
    locker.lock(&locked.clone().collect::<Vec<_>>()).await;
    let requests = Requests::to(&store, locked.clone());

    let mut bystanders = JoinSet::new();
    for number in 0..BYSTANDERS {
        let store = store.clone();
        bystanders.spawn(async move {
            let mut data = "{}".to_owned();
            for round in 0..ROUNDS {
                let next = format!("{{\"round\": {round}}}");
                assert_eq!(store.apply(update(number, &data, &next)).await.unwrap(), Outcome::Applied);
                data = next;
            }
        });
    }
    bystanders.join_all().await;
    assert!(requests.all_wait(), "writes to other rows took longer than a write to a locked row waits");

    let mut gone = store.delete_user(&user("leaver"), None).await.unwrap();
    gone.sort();
    assert_eq!(gone, [id(100), id(101), id(102)]);
    assert_eq!(store.apply(Write::Delete(id(0))).await.unwrap(), Outcome::Applied);
    assert!(requests.all_wait(), "endings took longer than a write to a locked row waits");

    locker.unlock().await;
    let mut requests = requests;
    for first in std::mem::take(&mut requests.first) {
        assert_eq!(first.await.unwrap().unwrap(), Outcome::Applied);
    }
}

/// Of a user's rows those that are free are deleted at once, the locked one when it becomes free. `store` is [`PATIENT`].
pub(crate) async fn the_free_rows_of_a_user_end_at_once<S: SessionStore + Clone>(
    store: S,
    mut locker: impl Locker,
) {
    insert_all(&store, (1..=4).map(|number| row_of(number, "ada"))).await;
    locker.lock(&[2]).await;
    let ending = ending_of(&store, "ada", Some(id(4)));
    for number in [1, 3] {
        until(async || store.load(id(number)).await.unwrap().is_none()).await;
    }
    assert!(!ending.is_finished() && store.load(id(2)).await.unwrap().is_some());
    // The user is not the only one who waits, and nobody waits for them.
    insert_all(&store, [row_of(9, "eve")]).await;
    assert_eq!(store.delete_user(&user("eve"), None).await.unwrap(), [id(9)]);
    assert!(!ending.is_finished());
    locker.unlock().await;
    let mut gone = ending.await.unwrap().unwrap();
    gone.sort();
    assert_eq!(gone, [id(1), id(2), id(3)]);
    assert!(store.load(id(4)).await.unwrap().is_some());
}

/// A row that stays locked is reported with what was deleted, and deleted by a later call. `store` is [`IMPATIENT`].
pub(crate) async fn what_stays_locked_is_reported<S: SessionStore + Clone>(
    store: S,
    mut locker: impl Locker,
) {
    insert_all(&store, (1..=3).map(|number| row_of(number, "ada"))).await;
    locker.lock(&[2]).await;
    match store.delete_user(&user("ada"), None).await {
        Err(StoreError::PartlyDeleted { mut deleted, pending, .. }) => {
            deleted.sort();
            assert_eq!((deleted, pending), (vec![id(1), id(3)], 1));
        }
        other => panic!("{other:?}"),
    }
    let again = store.delete_user(&user("ada"), None).await;
    assert!(
        matches!(&again, Err(StoreError::PartlyDeleted { deleted, pending: 1, .. }) if deleted.is_empty()),
        "{again:?}"
    );
    locker.unlock().await;
    assert_eq!(store.delete_user(&user("ada"), None).await.unwrap(), [id(2)]);
    assert!(store.delete_user(&user("ada"), None).await.unwrap().is_empty());
}

/// Sixty users whose rows stay locked are being ended: the sixty-first is ended beside them. `store` is [`PATIENT`].
pub(crate) async fn endings_that_wait_hold_up_no_other<S: SessionStore + Clone>(
    store: S,
    mut locker: impl Locker,
) {
    let stuck = 1..=LOCKED;
    insert_all(&store, stuck.clone().map(|number| row_of(number, &format!("user{number}")))).await;
    insert_all(&store, [row_of(500, "ada"), row_of(501, "ada")]).await;
    locker.lock(&stuck.clone().collect::<Vec<_>>()).await;
    let endings: Vec<_> = stuck.map(|number| ending_of(&store, &format!("user{number}"), None)).collect();
    let deletes: Vec<_> = (1..=LOCKED).map(|number| delete(&store, number)).collect();
    let mut gone = store.delete_user(&user("ada"), None).await.unwrap();
    gone.sort();
    assert_eq!(gone, [id(500), id(501)]);
    assert!(endings.iter().all(|ending| !ending.is_finished()));
    locker.unlock().await;
    for (ending, delete) in endings.into_iter().zip(deletes) {
        // One of the two was first.
        let ended = ending.await.unwrap().unwrap().len();
        let deleted = usize::from(delete.await.unwrap().unwrap() == Outcome::Applied);
        assert_eq!(ended + deleted, 1);
    }
}

/// Writes whose callers have gone are made in their order when the lock is gone, and so are those of callers that stay.
/// `store` is [`PATIENT`].
pub(crate) async fn callers_that_go_away_harm_nothing<S: SessionStore + Clone>(
    store: S,
    mut locker: impl Locker,
) {
    insert_all(&store, [row_of(1, "ada"), row_of(2, "bob")]).await;
    locker.lock(&[1, 2]).await;
    let gone = tokio::spawn({
        let (store, all) = (store.clone(), vec![update(1, "{}", "[1]"), update(2, "{}", "[1]")]);
        async move { store.apply_many(all).await }
    });
    // Queued: whatever comes now comes after it.
    let behind = |expected: &str, data: &str| {
        let (store, write) = (store.clone(), update(1, expected, data));
        tokio::spawn(async move { store.apply(write).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stays = behind("[1]", "[2]");
    tokio::time::sleep(Duration::from_millis(100)).await;
    gone.abort();
    let _ = gone.await;
    assert!(!stays.is_finished());
    locker.unlock().await;
    assert_eq!(answered(stays).await.unwrap().unwrap(), Outcome::Applied);
    for (number, data) in [(1, "[2]"), (2, "[1]")] {
        until(async || data_of(&store, number).await.as_deref() == Some(data)).await;
    }
}

/// The connection that retries is lost: nothing was written on it, so the writes are made on the next one. `store` is
/// [`PATIENT`].
pub(crate) async fn a_lost_connection_loses_no_blocked_write<S: SessionStore + Clone>(
    store: S,
    mut locker: impl Locker,
) {
    let rows = 1..=20;
    insert_all(&store, rows.clone().map(|number| row_of(number, "ada"))).await;
    locker.lock(&rows.clone().collect::<Vec<_>>()).await;
    let mut writes: JoinSet<_> = rows
        .map(|number| {
            let store = store.clone();
            async move { store.apply(update(number, "{}", "[1]")).await.unwrap() }
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        locker.kill_retries().await;
    }
    assert!(writes.try_join_next().is_none());
    locker.unlock().await;
    while let Some(outcome) = writes.join_next().await {
        assert_eq!(outcome.unwrap(), Outcome::Applied);
    }
    for number in 1..=20 {
        assert_eq!(data_of(&store, number).await.as_deref(), Some("[1]"));
    }
}

/// A row that stays locked takes so many writes and no more; the next is refused with a word about it, a logout is not.
/// `store` is [`PATIENT`].
pub(crate) async fn the_writes_that_wait_are_bounded<S: SessionStore + Clone>(
    store: S,
    mut locker: impl Locker,
) {
    insert_all(&store, [row_of(1, "ada"), row_of(2, "ada")]).await;
    locker.lock(&[1]).await;
    let write = || {
        let store = store.clone();
        tokio::spawn(async move { store.apply(touch(1, "2031-01-01 00:00:00", NOW)).await })
    };
    let mut writes: Vec<_> = (0..64).map(|_| write()).collect();
    let is_refused = |write: &JoinHandle<_>| write.is_finished();
    until(async || {
        writes.push(write());
        tokio::time::sleep(Duration::from_millis(20)).await;
        writes.last().is_some_and(is_refused)
    })
    .await;
    let error = writes.pop().unwrap().await.unwrap().unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("writes already wait for a row"), "{error}");
    let logout = delete(&store, 1);
    assert_eq!(store.apply(update(2, "{}", "[1]")).await.unwrap(), Outcome::Applied);
    locker.unlock().await;
    assert_eq!(logout.await.unwrap().unwrap(), Outcome::Applied);
    let mut made = 0;
    for write in writes {
        made += usize::from(matches!(write.await.unwrap(), Ok(Outcome::Applied)));
    }
    // The first renews it, for those behind it there is nothing to do.
    assert_eq!(made, 1);
}

/// A rotation that waits is followed by what is done to its new id, and a login onto a name that another transaction is
/// making waits for that one. `store` is [`PATIENT`].
pub(crate) async fn a_rotation_of_a_locked_row_is_followed<S: SessionStore + Clone>(
    store: S,
    mut locker: impl Locker,
) {
    insert_all(&store, [row_of(1, "ada")]).await;
    locker.lock(&[1]).await;
    let batch = tokio::spawn({
        let store = store.clone();
        let writes = vec![
            row_of(7, "eve"),
            rotate(1, "{}", record(2, Some("ada"), "[1]")),
            update(2, "[1]", "[2]"),
            Write::Update(change(1, StoredData::empty(), "[9]")),
            rotate(2, "[2]", record(3, Some("ada"), "[3]")),
        ];
        async move { store.apply_many(writes).await }
    });
    until(async || store.load(id(7)).await.unwrap().is_some()).await;
    assert!(!batch.is_finished());
    locker.unlock().await;
    use Outcome::{Applied, Unmatched};
    let outcomes: Vec<Outcome> = batch.await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes, [Applied, Applied, Applied, Unmatched, Applied]);
    assert_eq!(data_of(&store, 3).await.as_deref(), Some("[3]"));
}

fn ending_of<S: SessionStore + Clone>(
    store: &S,
    owner: &str,
    keep: Option<SessionId>,
) -> JoinHandle<Result<Vec<SessionId>, StoreError>> {
    let (store, owner) = (store.clone(), UserId::new(owner).unwrap());
    tokio::spawn(async move { store.delete_user(&owner, keep).await })
}

fn delete<S: SessionStore + Clone>(store: &S, number: u32) -> JoinHandle<Result<Outcome, StoreError>> {
    let store = store.clone();
    tokio::spawn(async move { store.apply(Write::Delete(id(number))).await })
}

async fn data_of(store: &impl SessionStore, number: u32) -> Option<String> {
    let row = store.load(id(number)).await.unwrap();
    row.and_then(|row| row.stored_data().as_text().map(str::to_owned))
}
