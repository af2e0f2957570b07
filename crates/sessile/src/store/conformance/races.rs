//! Races: two tasks start at the same moment, many times over, and the laws hold in every order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::subject::{Subject, at, id, race, rotate, row, text, touch, update, user};
use super::verdict::{Failure, Verdict, holds, same, same_row};
use crate::record::{SessionId, SessionRecord};
use crate::store::{Expiry, Liveness, Outcome, PurgeLimits, Update, Write};

/// How often each race is run, every time with rows of its own.
const ROUNDS: u64 = 300;
/// Rows that one round may use.
const STEP: u64 = 10;

fn rounds() -> impl Iterator<Item = u64> {
    (0..ROUNDS).map(|round| round * STEP)
}

/// Exactly one of both was applied; whether it was the left one.
fn one_winner((left, right): (Outcome, Outcome), what: &str) -> Result<bool, Failure> {
    holds(left != right, format!("{what}: both {left:?}"))?;
    Ok(left == Outcome::Applied)
}

impl Subject {
    /// These rows are all there is, as they are.
    async fn holds_only(&self, ids: &[SessionId], wanted: &[&SessionRecord], what: &str) -> Verdict {
        for &id in ids {
            let wanted = wanted.iter().copied().find(|row| row.id() == id);
            same_row(self.load(id).await?.as_ref(), wanted, what)?;
        }
        Ok(())
    }
}

/// [R12] [G10] [F11] One row, no error.
pub(super) async fn insert_against_insert(store: Subject) -> Verdict {
    for n in rounds() {
        let (left, right) = (row(n).data(r#"{"l": 1}"#).build(), row(n).data(r#"{"r": 1}"#).build());
        let outcomes = store.race(Write::Insert(left.clone()), Write::Insert(right.clone())).await?;
        let left_won = one_winner(outcomes, "two inserts of one id")?;
        store.holds_row(if left_won { &left } else { &right }, "the winner's row").await?;
    }
    Ok(())
}

/// [R12] [G02] Of two changes to the same data one is told to try again.
pub(super) async fn update_against_update(store: Subject) -> Verdict {
    for n in rounds() {
        let read = row(n).build();
        store.insert([&read]).await?;
        let (left, right) = (update(&read, r#"{"l": 1}"#, at(1)), update(&read, r#"{"r": 1}"#, at(1)));
        let outcomes = store.race(Write::Update(left), Write::Update(right)).await?;
        let data = if one_winner(outcomes, "two updates")? { r#"{"l": 1}"# } else { r#"{"r": 1}"# };
        store.holds_row(&row(n).data(data).updated(at(1)).build(), "the winner's row").await?;
    }
    Ok(())
}

/// [R12] [G02] Law 1: who reads, changes and tries again until it is applied loses nothing.
pub(super) async fn changes_that_try_again_are_all_kept(store: Subject) -> Verdict {
    const TASKS: u64 = 4;
    const CHANGES: u64 = 75;
    store.insert([&row(0).data("0").build()]).await?;
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..CHANGES {
                count_one_more(&store).await?;
            }
            Ok::<(), Failure>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let row = row(0).data(&(TASKS * CHANGES).to_string()).updated(at(1)).build();
    store.holds_row(&row, "the sum of all changes").await
}

async fn count_one_more(store: &Subject) -> Verdict {
    loop {
        let Some(read) = store.load(id(0)).await? else {
            return Err(Failure("the row is gone".to_owned()));
        };
        let count = read.stored_data().as_text().and_then(|text| text.parse::<u64>().ok());
        let count = count.ok_or_else(|| Failure("the data is no number any more".to_owned()))?;
        // In between the others get their turn, however fast the store is.
        tokio::task::yield_now().await;
        let write = update(&read, &(count + 1).to_string(), at(1));
        if store.apply(Write::Update(write)).await? == Outcome::Applied {
            return Ok(());
        }
    }
}

/// [R12] [G01] [G14] Law 2: whoever was first, the session is over.
pub(super) async fn save_against_revoke(store: Subject) -> Verdict {
    for n in rounds() {
        let session = row(n).user("ada").build();
        store.insert([&session]).await?;
        let save =
            Update { expires_at: Expiry::Extend(at(9_000)), ..update(&session, r#"{"saved": 1}"#, at(1)) };
        let (_, deletion) = store.race(Write::Update(save), Write::Delete(session.id())).await?;
        same(&deletion, &Outcome::Applied, "the deletion")?;
        store.has_no_row(session.id(), "a revoked session").await?;
    }
    same(&store.ids(Some(&user("ada")), Liveness::Any, at(1)).await?, &vec![], "the user's sessions")
}

/// [R12] [G14] Law 2, for a renewal in flight.
pub(super) async fn touch_against_delete(store: Subject) -> Verdict {
    for n in rounds() {
        let session = row(n).build();
        store.insert([&session]).await?;
        let renewal = touch(&session, at(9_000), at(1));
        let (_, deletion) = store.race(renewal, Write::Delete(session.id())).await?;
        same(&deletion, &Outcome::Applied, "the deletion")?;
        store.has_no_row(session.id(), "a deleted session").await?;
    }
    Ok(())
}

/// [R12] [C29] One of both ended it.
pub(super) async fn delete_against_delete(store: Subject) -> Verdict {
    for n in rounds() {
        store.insert([&row(n).build()]).await?;
        one_winner(store.race(Write::Delete(id(n)), Write::Delete(id(n))).await?, "two deletions")?;
        store.has_no_row(id(n), "a deleted session").await?;
    }
    Ok(())
}

/// [R12] [S05] One new id, never two.
pub(super) async fn rotate_against_rotate(store: Subject) -> Verdict {
    for n in rounds() {
        let session = row(n).user("ada").build();
        let (left, right) = (row(n + 1).user("ada").build(), row(n + 2).user("ada").build());
        store.insert([&session]).await?;
        let outcomes = store.race(rotate(&session, &left, at(1)), rotate(&session, &right, at(1))).await?;
        let winner = if one_winner(outcomes, "two rotations")? { &left } else { &right };
        let ids = [session.id(), left.id(), right.id()];
        store.holds_only(&ids, &[winner], "after two rotations").await?;
    }
    Ok(())
}

/// [R12] [G01] Either the change came first and the rotation must read again, or the other way round.
pub(super) async fn rotate_against_update(store: Subject) -> Verdict {
    for n in rounds() {
        let (session, moved) = (row(n).build(), row(n + 1).build());
        store.insert([&session]).await?;
        let change = Write::Update(update(&session, r#"{"a": 1}"#, at(1)));
        let rotated = one_winner(
            store.race(rotate(&session, &moved, at(1)), change).await?,
            "a rotation and an update",
        )?;
        let changed = row(n).data(r#"{"a": 1}"#).updated(at(1)).build();
        let winner = if rotated { &moved } else { &changed };
        store.holds_only(&[session.id(), moved.id()], &[winner], "after both").await?;
    }
    Ok(())
}

/// [R12] [G01] [C20] A logout of the old id either ends the session or is told that it missed.
pub(super) async fn rotate_against_delete(store: Subject) -> Verdict {
    for n in rounds() {
        let (session, moved) = (row(n).build(), row(n + 1).build());
        store.insert([&session]).await?;
        let race = store.race(rotate(&session, &moved, at(1)), Write::Delete(session.id()));
        let rotated = one_winner(race.await?, "a rotation and a deletion")?;
        let left: &[&SessionRecord] = if rotated { &[&moved] } else { &[] };
        store.holds_only(&[session.id(), moved.id()], left, "after both").await?;
    }
    Ok(())
}

/// [R12] [S05] Two sessions that both want one new id: one of them gets it.
pub(super) async fn two_rotations_onto_one_id(store: Subject) -> Verdict {
    for n in rounds() {
        let (ada, bob) = (row(n).user("ada").build(), row(n + 1).user("bob").build());
        let (as_ada, as_bob) = (row(n + 2).user("ada").build(), row(n + 2).user("bob").build());
        store.insert([&ada, &bob]).await?;
        let (one, other) = (store.clone(), store.clone());
        let (left, right) = (rotate(&ada, &as_ada, at(1)), rotate(&bob, &as_bob, at(1)));
        let (left, right) =
            race(async move { one.apply(left).await }, async move { other.apply(right).await }).await?;
        // The database may call the second an error.
        let applied = |outcome| matches!(outcome, Ok(Outcome::Applied));
        let (left, right) = (applied(left), applied(right));
        holds(left != right, format!("both rotations alike: applied {left}"))?;
        let wanted = if left { [&as_ada, &bob] } else { [&as_bob, &ada] };
        store.holds_only(&[ada.id(), bob.id(), as_ada.id()], &wanted, "after both").await?;
    }
    Ok(())
}

/// [R12] [S10] Nobody gets away under a new id, not even one who rotates again and again.
pub(super) async fn rotate_against_delete_user(store: Subject) -> Verdict {
    for n in rounds() {
        let chain: Vec<_> = (0..STEP).map(|link| row(n + link).user("ada").build()).collect();
        let other = row(n + 1_000_000).user("ada").build();
        store.insert([&chain[0], &other]).await?;
        let (one, two) = (store.clone(), store.clone());
        let rotating = async move {
            for pair in chain.windows(2) {
                if one.apply(rotate(&pair[0], &pair[1], at(1))).await? == Outcome::Unmatched {
                    break;
                }
            }
            Ok::<(), Failure>(())
        };
        let (rotated, deleted) =
            race(rotating, async move { two.delete_user(&user("ada"), None).await }).await?;
        rotated?;
        same(&deleted?.len(), &2, "sessions ended")?;
        let left = store.ids(None, Liveness::Any, at(1)).await?;
        same(&left, &vec![], "sessions that got away")?;
    }
    Ok(())
}

/// [R12] [G14] A renewal and a save in flight while all of the user's sessions are ended.
pub(super) async fn touch_and_save_against_delete_user(store: Subject) -> Verdict {
    for n in rounds() {
        let (touched, saved) = (row(n).user("ada").build(), row(n + 1).user("ada").build());
        store.insert([&touched, &saved]).await?;
        let writes =
            vec![touch(&touched, at(9_000), at(1)), Write::Update(update(&saved, r#"{"a": 1}"#, at(1)))];
        let (one, two) = (store.clone(), store.clone());
        let (outcomes, deleted) = race(async move { one.apply_many(writes).await }, async move {
            two.delete_user(&user("ada"), None).await
        })
        .await?;
        outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        same(&deleted?.len(), &2, "sessions ended")?;
        store.holds_only(&[touched.id(), saved.id()], &[], "ended sessions").await?;
    }
    Ok(())
}

/// [R12] [L01] [E14] A row renewed in its last moment is not purged; a purged one is not renewed.
pub(super) async fn purge_against_touch(store: Subject) -> Verdict {
    for n in rounds() {
        let session = row(n).expires(at(10)).build();
        store.insert([&session]).await?;
        let (one, two) = (store.clone(), store.clone());
        let renewal = touch(&session, at(100), at(9));
        let (renewed, purged) = race(async move { one.apply(renewal).await }, async move {
            two.purge(at(10), PurgeLimits::default()).await
        })
        .await?;
        let renewed = renewed? == Outcome::Applied;
        same(&purged?.ids().any(|id| id == session.id()), &!renewed, "removed by the purge")?;
        let kept = row(n).expires(at(100)).updated(at(9)).build();
        same_row(store.load(session.id()).await?.as_ref(), Some(&kept).filter(|_| renewed), "the row")?;
        store.apply(Write::Delete(session.id())).await?;
    }
    Ok(())
}

/// [R12] [L01] The same for a save that extends the expiry, which must not lose its data either.
pub(super) async fn purge_against_save(store: Subject) -> Verdict {
    for n in rounds() {
        let session = row(n).expires(at(10)).build();
        store.insert([&session]).await?;
        let (one, two) = (store.clone(), store.clone());
        let save = Update { expires_at: Expiry::Extend(at(100)), ..update(&session, r#"{"a": 1}"#, at(9)) };
        let (saved, purged) = race(async move { one.apply(Write::Update(save)).await }, async move {
            two.purge(at(10), PurgeLimits::default()).await
        })
        .await?;
        let saved = saved? == Outcome::Applied;
        same(&purged?.ids().any(|id| id == session.id()), &!saved, "removed by the purge")?;
        let kept = row(n).stored(text(r#"{"a": 1}"#)).expires(at(100)).updated(at(9)).build();
        same_row(store.load(session.id()).await?.as_ref(), Some(&kept).filter(|_| saved), "the row")?;
        store.apply(Write::Delete(session.id())).await?;
    }
    Ok(())
}

/// [R12] [L05] [L07] Two purges at once: every row is removed, and told by exactly one of them.
pub(super) async fn purge_against_purge(store: Subject) -> Verdict {
    let dead: Vec<_> = (0..ROUNDS).map(|number| row(number).expires(at(1)).build()).collect();
    store.insert(&dead).await?;
    let (one, two) = (store.clone(), store.clone());
    let (left, right) = race(purge_in_steps(one), purge_in_steps(two)).await?;
    let mut removed = left?;
    removed.extend(right?);
    removed.sort();
    let mut wanted: Vec<SessionId> = dead.iter().map(SessionRecord::id).collect();
    wanted.sort();
    same(&removed, &wanted, "rows told to be removed")?;
    same(&store.ids(None, Liveness::Any, at(10)).await?, &vec![], "rows left")
}

async fn purge_in_steps(store: Subject) -> Result<Vec<SessionId>, Failure> {
    let limits = PurgeLimits { max_rows: 3, max_time: Duration::from_millis(10) };
    let mut removed = Vec::new();
    // Each may find only rows that the other has locked, so it goes on until nothing is left.
    for _ in 0..10_000 {
        let batch = store.purge(at(10), limits).await?;
        removed.extend(batch.ids());
        if !batch.more {
            return Ok(removed);
        }
        tokio::task::yield_now().await;
    }
    Err(Failure("the purge has no end".to_owned()))
}

/// Tasks that make writes which succeed.
const WRITERS: u64 = 24;
/// Rows of each. Two acknowledged writes for each row: more than 30,000 in all.
const ROWS: u64 = 630;
/// Tasks that make batches of which one write fails.
const FAILING: u64 = 6;

/// [R17] What was acknowledged is there, and no error reaches the caller of a neighbouring write, beside
/// batches that fail and are undone: lone writes and renewals, 24 tasks against 6.
pub(super) async fn lone_writes_beside_failing_batches(store: Subject) -> Verdict {
    let taken = row(u64::MAX).build();
    store.insert([&taken]).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut failing = Vec::new();
    for task in 0..FAILING {
        let (store, taken, is_over) = (store.clone(), taken.clone(), Arc::clone(&is_over));
        failing.push(tokio::spawn(async move {
            let mut batches = (0..).map(|batch| (1 << 40) + (task << 32) + batch * 10);
            while !is_over.load(Ordering::Relaxed) {
                a_batch_fails(&store, batches.next().unwrap_or_default(), &taken).await?;
                // A store in memory never waits by itself.
                tokio::task::yield_now().await;
            }
            Ok::<(), Failure>(())
        }));
    }
    let mut writing = Vec::new();
    for task in 0..WRITERS {
        let store = store.clone();
        writing.push(tokio::spawn(async move {
            for number in (task * ROWS..).take(ROWS as usize) {
                let session = row(number).build();
                // A batch of one, which no other write joins.
                let made = store.apply_many(vec![Write::Insert(session.clone())]).await;
                let made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
                same(&made, &vec![Outcome::Applied], "a lone insert")?;
                store
                    .applies(touch(&session, at(9_000), at(1)), "the renewal of an acknowledged row")
                    .await?;
                tokio::task::yield_now().await;
            }
            Ok::<(), Failure>(())
        }));
    }
    let mut ended = Vec::new();
    for task in writing {
        ended.push(task.await);
    }
    is_over.store(true, Ordering::Relaxed);
    for task in failing.into_iter() {
        ended.push(task.await);
    }
    for verdict in ended {
        verdict??;
    }
    all_are_renewed(&store, WRITERS * ROWS).await
}

/// Writes of every kind, and at their end a rotation onto a taken id, which some databases refuse together
/// with the whole transaction.
async fn a_batch_fails(store: &Subject, n: u64, taken: &SessionRecord) -> Verdict {
    let data = format!("{{\"pad\": \"{}\"}}", "y".repeat(20_000));
    let rows: Vec<_> = (n..n + 3).map(|number| row(number).data(&data).build()).collect();
    let unknown = |number: u64| row(number + 5).build();
    let mut writes: Vec<Write> = rows.iter().cloned().map(Write::Insert).collect();
    writes.extend((n..n + 3).map(|number| Write::Delete(unknown(number).id())));
    writes.extend((n..n + 3).map(|number| touch(&unknown(number), at(9_000), at(1))));
    writes.push(rotate(&rows[0], taken, at(1)));
    let mut outcomes = store.apply_many(writes).await;
    let rotated = outcomes.pop();
    holds(!matches!(rotated, Some(Ok(Outcome::Applied))), "a rotation onto a taken id was applied")?;
    let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let wanted = [[Outcome::Applied; 3], [Outcome::Unmatched; 3], [Outcome::Unmatched; 3]].concat();
    same(&outcomes, &wanted, "the neighbours of a refused write")?;
    let deletions = rows.iter().map(|row| Write::Delete(row.id())).collect();
    let outcomes = store.apply_many(deletions).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    same(&outcomes, &vec![Outcome::Applied; 3], "deleting acknowledged rows")
}

/// All rows up to this number are there, with the expiry of their renewal.
async fn all_are_renewed(store: &Subject, rows: u64) -> Verdict {
    let numbers: Vec<u64> = (0..rows).collect();
    for numbers in numbers.chunks(500) {
        let ids: Vec<SessionId> = numbers.iter().map(|&number| id(number)).collect();
        for (&number, loaded) in numbers.iter().zip(store.load_many(&ids).await) {
            let wanted = row(number).expires(at(9_000)).updated(at(1)).build();
            same_row(loaded?.as_ref(), Some(&wanted), "an acknowledged row")?;
        }
    }
    Ok(())
}
