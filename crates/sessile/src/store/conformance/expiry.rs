//! Expiry: a row is over at that instant, takes no write afterwards, and lives longer only if asked.

use super::subject::{Row, Subject, at, end, id, microsecond_before, rotate, row, touch, update};
use super::verdict::{Verdict, same};
use crate::record::Timestamp;
use crate::store::{Expiry, Liveness, Update, Write};

/// [E13] [E04] Whether it is over, the caller judges: the row is loaded as it is, and listed as expired.
pub(super) async fn an_expired_row_is_loaded_and_told_apart(store: Subject) -> Verdict {
    let dead = row(1).expires(at(10)).build();
    let live = row(2).expires(at(11)).build();
    store.insert([&dead, &live]).await?;
    store.holds_row(&dead, "an expired row").await?;
    let now = at(10);
    same(&store.ids(None, Liveness::Live, now).await?, &vec![live.id()], "live rows")?;
    same(&store.ids(None, Liveness::Expired, now).await?, &vec![dead.id()], "expired rows")
}

/// [E14] [S09] Whatever the write would set.
pub(super) async fn an_expired_row_takes_no_write_but_delete(store: Subject) -> Verdict {
    let dead = row(1).user("ada").build();
    store.insert([&dead]).await?;
    let later = at(9_000);
    for now in [end(), at(3_601), at(8_000), Timestamp::MAX] {
        for expires_at in [Expiry::Keep, Expiry::Extend(later), Expiry::Set(later)] {
            let write = Update { expires_at, ..update(&dead, r#"{"a": 1}"#, now) };
            store.leaves_alone(Write::Update(write), "an update of an expired row").await?;
        }
        store.leaves_alone(touch(&dead, later, now), "a touch of an expired row").await?;
        store.leaves_alone(rotate(&dead, &row(2).build(), now), "a rotation of an expired row").await?;
        store.has_no_row(id(2), "the id it would have made").await?;
    }
    store.applies(Write::Delete(dead.id()), "deleting an expired row").await
}

/// [E05] [S08] Alive a microsecond before its expiry, over at it.
pub(super) async fn a_row_is_over_at_its_expiry(store: Subject) -> Verdict {
    let writes: [fn(&Row, Timestamp) -> Write; 3] = [
        |row, now| Write::Update(update(&row.clone().build(), r#"{"a": 1}"#, now)),
        |row, now| touch(&row.clone().build(), at(9_000), now),
        |old, now| rotate(&old.clone().build(), &row(100).build(), now),
    ];
    for (number, write) in (1..).zip(writes) {
        let session = row(number);
        store.insert([&session.clone().build()]).await?;
        store.leaves_alone(write(&session, end()), "a write at the expiry").await?;
        let before = microsecond_before(end());
        store.applies(write(&session, before), "a write a microsecond before the expiry").await?;
    }
    Ok(())
}

/// [E19] `Extend` and `Touch` never shorten; `Set` does, when the lifetime itself was changed.
pub(super) async fn expiry_moves_back_only_when_it_is_set(store: Subject) -> Verdict {
    let mut session = row(1);
    store.insert([&session.clone().build()]).await?;
    for (second, change, expected) in [
        (1, Expiry::Keep, end()),
        (2, Expiry::Extend(at(100)), end()),
        (3, Expiry::Extend(at(5_000)), at(5_000)),
        (4, Expiry::Set(at(4_000)), at(4_000)),
        (5, Expiry::Set(at(6_000)), at(6_000)),
    ] {
        let write = Update { expires_at: change, ..update(&session.clone().build(), "{}", at(second)) };
        store.applies(Write::Update(write), "an update").await?;
        session = session.expires(expected).updated(at(second));
        store.holds_row(&session.clone().build(), "the row after it").await?;
    }
    let row = session.build();
    for expires_at in [at(100), microsecond_before(at(6_000)), at(6_000)] {
        store.leaves_alone(touch(&row, expires_at, at(6)), "a touch that moves nothing forward").await?;
    }
    store.applies(touch(&row, Timestamp::MAX, at(7)), "a touch to the end of time").await
}

/// [E02] [G01] Setting the expiry to now, or before, ends the session.
pub(super) async fn an_expiry_set_to_the_past_ends_the_row(store: Subject) -> Verdict {
    let session = row(1).build();
    store.insert([&session]).await?;
    let ending = Update { expires_at: Expiry::Set(at(1)), ..update(&session, "{}", at(1)) };
    store.applies(Write::Update(ending), "setting the expiry to now").await?;
    store.leaves_alone(touch(&session, at(9_000), at(1)), "a touch afterwards").await?;
    same(&store.ids(None, Liveness::Live, at(1)).await?, &vec![], "live rows")
}

/// [G04] [B13] [E22] A touch moves `expires_at` and `updated_at`, nothing else, and conflicts with nobody.
pub(super) async fn a_touch_leaves_the_data_alone(store: Subject) -> Verdict {
    let read = row(1).user("ada").data(r#"{"a": 1}"#).build();
    store.insert([&read]).await?;
    store.applies(Write::Update(update(&read, r#"{"a": 2}"#, at(1))), "an update").await?;
    store.applies(touch(&read, at(4_000), at(2)), "a touch by somebody who read older data").await?;
    let both = row(1).user("ada").data(r#"{"a": 2}"#).expires(at(4_000)).updated(at(2)).build();
    store.holds_row(&both, "the row after both").await?;
    let next = update(&row(1).data(r#"{"a": 2}"#).build(), r#"{"a": 3}"#, at(3));
    store.applies(Write::Update(next), "an update by somebody who read before the touch").await
}
