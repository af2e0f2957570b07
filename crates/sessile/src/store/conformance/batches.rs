//! Batches: answers in order, every write on its own condition, with the store's own batch calls and
//! with none ([`SingleCalls`](super::SingleCalls)).

use std::sync::Arc;

use futures_util::FutureExt;

use super::SingleCalls;
use super::subject::{Subject, at, id, rotate, row, text, touch, update};
use super::verdict::{Failure, Verdict, holds, same, same_row};
use crate::record::SessionRecord;
use crate::store::{Liveness, Outcome, PurgeLimits, Update, Write};

/// More than some databases take parameters in one statement.
const MANY: u64 = 1_500;

impl Subject {
    fn single_calls(self) -> Subject {
        Subject(Arc::new(SingleCalls(self.0)))
    }

    async fn outcomes(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Failure> {
        let count = writes.len();
        let outcomes = self.apply_many(writes).await;
        same(&outcomes.len(), &count, "answers to the writes")?;
        Ok(outcomes.into_iter().collect::<Result<_, _>>()?)
    }
}

/// [F01] [F02] Duplicates and unknown ids included.
pub(super) async fn loads_are_answered_in_order(store: Subject) -> Verdict {
    let rows: Vec<_> = (1..=3).map(|number| row(number).user("ada").build()).collect();
    store.insert(&rows).await?;
    let asked = [id(2), id(9), id(1), id(2), id(9), id(3), id(2)];
    let wanted = [Some(1), None, Some(0), Some(1), None, Some(2), Some(1)];
    let loaded = store.load_many(&asked).await;
    same(&loaded.len(), &asked.len(), "answers")?;
    for (loaded, wanted) in loaded.into_iter().zip(wanted) {
        same_row(loaded?.as_ref(), wanted.map(|index: usize| &rows[index]), "a row of the batch")?;
    }
    same(&store.load_many(&[]).await.len(), &0, "answers to nothing")?;
    same(&store.apply_many(Vec::new()).await.len(), &0, "answers to no writes")
}

/// [F01] The same without batch calls.
pub(super) async fn single_loads_are_answered_in_order(store: Subject) -> Verdict {
    loads_are_answered_in_order(store.single_calls()).await
}

/// [G16] One that does not match leaves those before it and after it alone.
pub(super) async fn an_unmatched_write_leaves_its_neighbours_alone(store: Subject) -> Verdict {
    use Outcome::{Applied, Unmatched};
    let rows: Vec<_> = (1..=4).map(|number| row(number).build()).collect();
    store.insert(&rows).await?;
    let stale = Update { expected: text(r#"{"old": 1}"#), ..update(&rows[1], r#"{"lost": 1}"#, at(1)) };
    let writes = vec![
        Write::Update(update(&rows[0], r#"{"a": 1}"#, at(1))),
        Write::Update(stale),
        touch(&rows[2], at(9_000), at(1)),
        Write::Insert(row(1).data(r#"{"taken": 1}"#).build()),
        Write::Delete(id(9)),
        Write::Delete(rows[3].id()),
        Write::Insert(row(5).build()),
    ];
    let wanted = vec![Applied, Unmatched, Applied, Unmatched, Unmatched, Applied, Applied];
    same(&store.outcomes(writes).await?, &wanted, "outcomes")?;
    store.holds_row(&row(1).data(r#"{"a": 1}"#).updated(at(1)).build(), "the first, updated").await?;
    store.holds_row(&rows[1], "the second, in conflict").await?;
    store.holds_row(&row(3).expires(at(9_000)).updated(at(1)).build(), "the third, touched").await?;
    store.has_no_row(rows[3].id(), "the fourth, deleted").await?;
    store.holds_row(&row(5).build(), "the fifth, new").await
}

/// [G16] The same without batch calls.
pub(super) async fn an_unmatched_single_write_leaves_its_neighbours_alone(store: Subject) -> Verdict {
    an_unmatched_write_leaves_its_neighbours_alone(store.single_calls()).await
}

/// [G16] [F11] Nor does one that the database itself refuses: here a rotation onto a taken id.
pub(super) async fn a_refused_write_leaves_its_neighbours_alone(store: Subject) -> Verdict {
    let rows: Vec<_> = (1..=4).map(|number| row(number).build()).collect();
    store.insert(&rows).await?;
    let outcomes = store
        .apply_many(vec![
            Write::Update(update(&rows[0], r#"{"a": 1}"#, at(1))),
            rotate(&rows[1], &rows[2], at(1)),
            Write::Update(update(&rows[3], r#"{"b": 1}"#, at(1))),
            Write::Insert(row(5).build()),
        ])
        .await;
    same(&outcomes.len(), &4, "answers")?;
    for (index, outcome) in outcomes.into_iter().enumerate() {
        if index == 1 {
            holds(!matches!(outcome, Ok(Outcome::Applied)), "a rotation onto a taken id was applied")?;
        } else {
            same(&outcome?, &Outcome::Applied, "a neighbour of the refused write")?;
        }
    }
    store.holds_row(&row(1).data(r#"{"a": 1}"#).updated(at(1)).build(), "the row before").await?;
    store.holds_row(&rows[1], "the row that was to be rotated").await?;
    store.holds_row(&rows[2], "the row that has the id").await?;
    store.holds_row(&row(4).data(r#"{"b": 1}"#).updated(at(1)).build(), "the row after").await?;
    store.holds_row(&row(5).build(), "the new row after").await
}

/// [G02] A write sees what those before it in the batch have done.
pub(super) async fn a_batch_is_made_in_its_order(store: Subject) -> Verdict {
    use Outcome::{Applied, Unmatched};
    let first = row(1).build();
    let second = row(1).data(r#"{"n": 1}"#).build();
    let third = row(1).data(r#"{"n": 2}"#).build();
    let moved = row(2).data(r#"{"n": 2}"#).build();
    let writes = vec![
        Write::Update(update(&first, r#"{"n": 0}"#, at(1))),
        Write::Insert(first.clone()),
        Write::Update(update(&first, r#"{"n": 1}"#, at(1))),
        Write::Update(update(&first, r#"{"n": 1}"#, at(1))),
        Write::Update(update(&second, r#"{"n": 2}"#, at(2))),
        touch(&third, at(9_000), at(2)),
        touch(&third, at(9_000), at(2)),
        rotate(&third, &moved, at(3)),
        Write::Update(update(&third, r#"{"n": 3}"#, at(3))),
        Write::Update(update(&moved, r#"{"n": 3}"#, at(3))),
        Write::Insert(row(1).user("ada").build()),
        Write::Delete(id(2)),
        Write::Delete(id(2)),
    ];
    let wanted = vec![
        Unmatched, Applied, Applied, Unmatched, Applied, Applied, Unmatched, Applied, Unmatched, Applied,
        Applied, Applied, Unmatched,
    ];
    same(&store.outcomes(writes).await?, &wanted, "outcomes")?;
    store.holds_row(&row(1).user("ada").build(), "the row made last").await?;
    same(&store.ids(None, Liveness::Any, at(3)).await?, &vec![id(1)], "rows in the table")
}

/// [G02] The same without batch calls.
pub(super) async fn single_writes_are_made_in_their_order(store: Subject) -> Verdict {
    a_batch_is_made_in_its_order(store.single_calls()).await
}

/// [F01] Fifteen hundred rows inserted, changed, loaded and deleted, each in one call.
pub(super) async fn a_batch_may_be_large(store: Subject) -> Verdict {
    let rows: Vec<SessionRecord> = (0..MANY).map(|number| row(number).user("ada").build()).collect();
    let applied = vec![Outcome::Applied; rows.len()];
    let inserts = rows.iter().cloned().map(Write::Insert).collect();
    same(&store.outcomes(inserts).await?, &applied, "outcomes of the inserts")?;
    let data = |number: u64| format!("{{\"n\": {number}}}");
    let mut updates = Vec::new();
    for (number, row) in (0..MANY).zip(&rows) {
        updates.push(Write::Update(update(row, &data(number), at(1))));
    }
    same(&store.outcomes(updates).await?, &applied, "outcomes of the updates")?;
    let ids: Vec<_> = (0..MANY + 10).rev().map(id).collect();
    let loaded = store.load_many(&ids).await;
    same(&loaded.len(), &ids.len(), "answers")?;
    for (number, loaded) in (0..MANY + 10).rev().zip(loaded) {
        let wanted = row(number).user("ada").data(&data(number)).updated(at(1)).build();
        same_row(loaded?.as_ref(), Some(&wanted).filter(|_| number < MANY), "a row of a large batch")?;
    }
    let deletes = rows.iter().map(|row| Write::Delete(row.id())).collect();
    same(&store.outcomes(deletes).await?, &applied, "outcomes of the deletions")
}

/// [R03] The client went away at the first await: every write is wholly done or not at all, and the
/// next caller gets an answer of their own.
pub(super) async fn a_dropped_call_harms_nobody(store: Subject) -> Verdict {
    let ada = row(0).user("ada").build();
    for number in (10..1_000).step_by(10) {
        let session = row(number).data(r#"{"a": 1}"#).build();
        let moved = row(number + 1).data(r#"{"a": 1}"#).build();
        let other = row(number + 2).user("ada").build();
        store.insert([&session, &other]).await?;
        // Polled once and dropped, as `now_or_never` does.
        drop(store.load(session.id()).now_or_never());
        drop(store.load_many(&[session.id(), other.id()]).now_or_never());
        drop(store.apply(rotate(&session, &moved, at(1))).now_or_never());
        drop(store.apply_many(vec![Write::Delete(id(1)), Write::Insert(row(5).build())]).now_or_never());
        drop(store.purge(at(0), PurgeLimits::default()).now_or_never());
        drop(store.stats(at(0)).now_or_never());
        if let Some(user) = ada.user_id() {
            drop(store.delete_user(user, None).now_or_never());
        }

        // The store may still be at it, so this asks for one of both in one batch until it settles.
        let loaded = store.load_many(&[session.id(), moved.id()]).await;
        same(&loaded.len(), &2, "answers")?;
        let new = row(number + 3).build();
        store.insert([&new]).await?;
        store.holds_row(&new, "a row inserted after dropped calls").await?;
        let old_is_there = store.load(session.id()).await?.is_some();
        let new_is_there = store.load(moved.id()).await?.is_some();
        // Asked in this order, a rotation between both questions shows the row twice, never not at all.
        holds(old_is_there || new_is_there, "a dropped rotation lost the session")?;
    }
    let ids = store.ids(None, Liveness::Any, at(1)).await?;
    for number in (10..1_000).step_by(10) {
        let both = ids.contains(&id(number)) && ids.contains(&id(number + 1));
        holds(!both, "a dropped rotation left both ids alive")?;
    }
    Ok(())
}
