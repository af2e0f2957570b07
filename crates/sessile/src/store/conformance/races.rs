//! Races: two tasks start at the same moment, many times over, and the laws hold in every order.

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
        same(&purged?.removed.contains(&session.id()), &!renewed, "removed by the purge")?;
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
        same(&purged?.removed.contains(&session.id()), &!saved, "removed by the purge")?;
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
        removed.extend(batch.removed);
        if !batch.more {
            return Ok(removed);
        }
        tokio::task::yield_now().await;
    }
    Err(Failure("the purge has no end".to_owned()))
}
