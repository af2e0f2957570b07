//! Rotation: the old id is dead in the same instant in which the new one is born.

use super::subject::{Subject, at, id, rotate, row, touch, update};
use super::verdict::{Verdict, holds, same};
use crate::store::{Liveness, Outcome, Write};

/// [C14] [C17] [C23] [S05] The new row is what was given: other data, another user, another lifetime.
pub(super) async fn a_rotation_kills_the_old_id_and_brings_the_new_row(store: Subject) -> Verdict {
    let old = row(1).data(r#"{"cart": [1]}"#).build();
    let new = row(2).user("ada").data(r#"{"cart": [1], "theme": "dark"}"#);
    let new = new.expires(at(9_000)).updated(at(5)).build();
    let neighbour = row(3).build();
    store.insert([&old, &neighbour]).await?;
    store.applies(rotate(&old, &new, at(5)), "rotating").await?;
    store.has_no_row(old.id(), "the old id").await?;
    store.holds_row(&new, "the new id").await?;
    store.holds_row(&neighbour, "a neighbour").await
}

/// [C16] [C19] Of a chain of rotations only the last id is left, and none can be made twice.
pub(super) async fn of_a_chain_only_the_last_id_is_left(store: Subject) -> Verdict {
    let chain: Vec<_> = (1..=20).map(|number| row(number).user("ada").build()).collect();
    store.insert(&chain[..1]).await?;
    for pair in chain.windows(2) {
        store.applies(rotate(&pair[0], &pair[1], at(1)), "rotating").await?;
        store.leaves_alone(rotate(&pair[0], &pair[1], at(1)), "the same rotation again").await?;
    }
    let last = chain[chain.len() - 1].id();
    same(&store.ids(None, Liveness::Any, at(1)).await?, &vec![last], "rows in the table")
}

/// [G01] [G05] Whoever still uses the old id is refused.
pub(super) async fn the_old_id_takes_no_write(store: Subject) -> Verdict {
    let old = row(1).build();
    let new = row(2).build();
    store.insert([&old]).await?;
    store.applies(rotate(&old, &new, at(1)), "rotating").await?;
    for (write, what) in [
        (Write::Update(update(&old, r#"{"a": 1}"#, at(2))), "an update of the old id"),
        (touch(&old, at(9_000), at(2)), "a touch of the old id"),
        (rotate(&old, &row(3).build(), at(2)), "another rotation of the old id"),
        (Write::Delete(old.id()), "deleting the old id"),
    ] {
        store.leaves_alone(write, what).await?;
    }
    store.has_no_row(id(3), "the id that the second rotation would have made").await?;
    store.holds_row(&new, "the new id").await
}

/// [C32] [F11] Two sessions never become one: a rotation onto somebody else's id is refused.
pub(super) async fn a_rotation_onto_a_taken_id_changes_nothing(store: Subject) -> Verdict {
    let old = row(1).user("ada").build();
    let taken = row(2).user("bob").data(r#"{"mine": 1}"#).build();
    let expired = row(3).expires(at(0)).build();
    store.insert([&old, &taken, &expired]).await?;
    for number in [2, 3] {
        let new = row(number).user("ada").data(r#"{"new": 1}"#).build();
        // A database may call it an error; only "applied" would be a lie.
        let outcome = store.apply(rotate(&old, &new, at(1))).await;
        holds(!matches!(outcome, Ok(Outcome::Applied)), "a rotation onto a taken id was applied")?;
    }
    store.holds_row(&old, "the row that was to be rotated").await?;
    store.holds_row(&taken, "the row that has the id").await?;
    store.holds_row(&expired, "the expired row that has the id").await
}

/// [C19] A row rotated onto its own id is replaced.
pub(super) async fn a_rotation_onto_the_same_id_replaces_the_row(store: Subject) -> Verdict {
    let old = row(1).user("ada").build();
    let new = row(1).user("bob").data(r#"{"new": 1}"#).expires(at(9_000)).updated(at(1)).build();
    store.insert([&old]).await?;
    store.applies(rotate(&old, &new, at(1)), "rotating").await?;
    store.holds_row(&new, "the row").await
}

/// [H02] [H05] [H07] [H10] The user's sessions are found under their new ids, and only there.
pub(super) async fn a_rotation_moves_the_index(store: Subject) -> Verdict {
    let (anonymous, ada) = (row(1).build(), row(2).user("ada").build());
    let (bob, logged_out) = (row(3).user("bob").build(), row(4).build());
    store.insert([&anonymous]).await?;
    for (from, to, adas, bobs) in [
        (&anonymous, &ada, vec![ada.id()], vec![]),
        (&ada, &bob, vec![], vec![bob.id()]),
        (&bob, &logged_out, vec![], vec![]),
    ] {
        store.applies(rotate(from, to, at(1)), "rotating").await?;
        same(&store.ids(ada.user_id(), Liveness::Any, at(1)).await?, &adas, "the sessions of ada")?;
        same(&store.ids(bob.user_id(), Liveness::Any, at(1)).await?, &bobs, "the sessions of bob")?;
    }
    Ok(())
}
