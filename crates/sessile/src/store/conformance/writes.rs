//! Insert, update and delete: each on its own condition, and nothing comes back.

use super::subject::{Subject, at, end, id, rotate, row, text, touch, update};
use super::verdict::{Verdict, same, same_row};
use crate::record::{SessionRecord, StoredData};
use crate::store::{Expiry, Liveness, NewData, Outcome, StoreStats, Update, Write};

/// [F01] [F04] All six columns come back as they went in, and nobody else's row with them.
pub(super) async fn a_new_row_is_loaded_as_it_was_inserted(store: Subject) -> Verdict {
    let ada = row(1).user("ada").data(r#"{"cart": [1, 2], "seen": true}"#).updated(at(7)).build();
    let anonymous = row(2).expires(at(1)).build();
    store.insert([&ada, &anonymous]).await?;
    store.holds_row(&ada, "a user's row").await?;
    store.holds_row(&anonymous, "an anonymous row").await?;
    store.has_no_row(id(3), "an id in neither").await
}

/// [F02] [B04] [S03] Not an error, and not a reason to make a row.
pub(super) async fn an_unknown_id_is_nothing_and_makes_nothing(store: Subject) -> Verdict {
    let unknown = row(1).build();
    store.has_no_row(unknown.id(), "an unknown id").await?;
    for write in [
        Write::Update(update(&unknown, r#"{"a": 1}"#, at(1))),
        touch(&unknown, at(9_000), at(1)),
        rotate(&unknown, &row(2).build(), at(1)),
        Write::Delete(unknown.id()),
    ] {
        store.leaves_alone(write, "a write to an unknown id").await?;
    }
    store.has_no_row(id(2), "the id that a rotation of nothing would have made").await?;
    same(&store.ids(None, Liveness::Any, at(1)).await?, &vec![], "rows in the table")?;
    same(&store.stats(at(1)).await?, &StoreStats::default(), "counts")
}

/// [F11] Also while the row that has it has expired.
pub(super) async fn an_id_is_taken_once(store: Subject) -> Verdict {
    let first = row(1).user("ada").data(r#"{"first": 1}"#).build();
    let second = row(1).user("eve").data(r#"{"second": 2}"#).expires(at(9_000)).build();
    store.insert([&first]).await?;
    store.leaves_alone(Write::Insert(second.clone()), "inserting a taken id").await?;
    store.leaves_alone(Write::Insert(first.clone()), "inserting the same row again").await?;

    let dead = row(2).expires(at(0)).build();
    store.insert([&dead]).await?;
    store.leaves_alone(Write::Insert(row(2).build()), "inserting the id of an expired row").await?;

    store.applies(Write::Delete(first.id()), "deleting").await?;
    store.insert([&second]).await?;
    store.holds_row(&second, "a row under an id that was free again").await
}

/// [F05] [F08] [H05] The user and the expiry stay, `updated_at` moves, and so do no other rows.
pub(super) async fn an_update_changes_what_it_names_and_nothing_else(store: Subject) -> Verdict {
    let before = row(1).user("ada").data(r#"{"a": 1}"#).build();
    let neighbour = row(2).user("ada").data(r#"{"a": 1}"#).build();
    store.insert([&before, &neighbour]).await?;
    store.applies(Write::Update(update(&before, r#"{"a": 2}"#, at(5))), "updating the data").await?;
    let after = row(1).user("ada").data(r#"{"a": 2}"#).updated(at(5)).build();
    store.holds_row(&after, "the updated row").await?;
    store.holds_row(&neighbour, "its neighbour").await
}

/// [F05] Some databases count the rows that they changed, not those that matched.
pub(super) async fn an_update_to_what_is_there_already_applies(store: Subject) -> Verdict {
    let same = row(1).user("ada").data(r#"{"a": 1}"#).build();
    store.insert([&same]).await?;
    let again = Update {
        user_id: Some(same.user_id().cloned()),
        expires_at: Expiry::Set(end()),
        ..update(&same, r#"{"a": 1}"#, at(0))
    };
    store.applies(Write::Update(again), "an update that changes nothing").await?;
    store.holds_row(&same, "the row after it").await
}

/// [F08] An update that keeps the data still compares it: alone, in a batch, and on a row without data.
pub(super) async fn an_update_that_keeps_the_data_compares_it(store: Subject) -> Verdict {
    let later = at(9_000);
    let keeping = |row: &SessionRecord, now| Update {
        data: NewData::Keep,
        expires_at: Expiry::Extend(later),
        ..update(row, "", at(now))
    };
    for batch in [false, true] {
        let number = u64::from(batch) * 10;
        let read = row(number).user("ada").data(r#"{"a": 1}"#).expires(at(5_000)).build();
        let empty = row(number + 1).stored(StoredData::Null).expires(at(5_000)).build();
        let changed = row(number + 2).data(r#"{"a": 2}"#).expires(at(5_000)).build();
        store.insert([&read, &empty, &changed]).await?;
        let stale = Update { expected: text(r#"{"a": 1}"#), ..keeping(&changed, 1) };
        let named = Update { user_id: Some(None), expires_at: Expiry::Keep, ..keeping(&read, 2) };
        let writes = [keeping(&read, 1), keeping(&empty, 1), stale, named].map(Write::Update);
        let outcomes = if batch {
            store.apply_many(writes.to_vec()).await.into_iter().collect::<Result<Vec<_>, _>>()?
        } else {
            let mut outcomes = Vec::new();
            for write in writes {
                outcomes.push(store.apply(write).await?);
            }
            outcomes
        };
        let expected = [Outcome::Applied, Outcome::Applied, Outcome::Unmatched, Outcome::Applied];
        same(&outcomes, &expected.to_vec(), "updates that keep the data")?;
        let after = row(number).data(r#"{"a": 1}"#).expires(later).updated(at(2)).build();
        store.holds_row(&after, "the row whose data stays").await?;
        let after = row(number + 1).stored(StoredData::Null).expires(later).updated(at(1)).build();
        store.holds_row(&after, "the row without data").await?;
        store.holds_row(&changed, "the row whose data had changed").await?;
    }
    Ok(())
}

/// [G02] Law 1: whoever read older data must read again.
pub(super) async fn an_update_needs_the_data_that_was_read(store: Subject) -> Verdict {
    let read = row(1).data(r#"{"a": 1}"#).build();
    store.insert([&read]).await?;
    store.applies(Write::Update(update(&read, r#"{"a": 1, "b": 2}"#, at(1))), "the first").await?;
    let late = Update {
        user_id: Some(None),
        expires_at: Expiry::Extend(at(9_000)),
        ..update(&read, r#"{"a": 3}"#, at(2))
    };
    store.leaves_alone(Write::Update(late), "an update of older data").await?;
    store.leaves_alone(rotate(&read, &row(2).build(), at(2)), "a rotation of older data").await?;
    store.has_no_row(id(2), "the id it would have made").await?;

    let fresh = Update { expected: text(r#"{"a": 1, "b": 2}"#), ..update(&read, r#"{"b": 2}"#, at(3)) };
    store.applies(Write::Update(fresh), "the same, read again").await
}

/// [G01] [G14] [C20] Law 2: no write in flight brings a deleted session back.
pub(super) async fn the_deleted_stay_deleted(store: Subject) -> Verdict {
    let session = row(1).user("ada").build();
    store.insert([&session]).await?;
    store.applies(Write::Delete(session.id()), "deleting").await?;
    for (write, what) in [
        (Write::Update(update(&session, r#"{"a": 1}"#, at(1))), "a save after the end"),
        (touch(&session, at(9_000), at(1)), "a touch after the end"),
        (rotate(&session, &row(2).build(), at(1)), "a rotation after the end"),
    ] {
        store.leaves_alone(write, what).await?;
    }
    same(&store.ids(None, Liveness::Any, at(1)).await?, &vec![], "rows in the table")
}

/// [C29] [H02] Live or expired; the second time nothing matches.
pub(super) async fn deleting_twice_is_harmless(store: Subject) -> Verdict {
    let live = row(1).user("ada").build();
    let dead = row(2).user("ada").expires(at(0)).build();
    let neighbour = row(3).user("ada").build();
    store.insert([&live, &dead, &neighbour]).await?;
    for session in [&live, &dead] {
        store.applies(Write::Delete(session.id()), "deleting").await?;
        store.leaves_alone(Write::Delete(session.id()), "deleting again").await?;
    }
    let left = store.ids(neighbour.user_id(), Liveness::Any, at(1)).await?;
    same(&left, &vec![neighbour.id()], "the user's rows")?;
    same_row(store.load(neighbour.id()).await?.as_ref(), Some(&neighbour), "the neighbour")
}
