//! Users: whose a session is, and ending all that somebody has.

use super::subject::{Subject, at, id, rotate, row, touch, update, user};
use super::verdict::{Verdict, same};
use crate::record::{SessionId, SessionRecord, UserId};
use crate::store::{Expiry, Liveness, Update, Write};

fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<SessionId> {
    let mut ids: Vec<SessionId> = numbers.into_iter().map(id).collect();
    ids.sort();
    ids
}

impl Subject {
    async fn deletes(&self, owner: &UserId, keep: Option<u64>, numbers: Vec<u64>, what: &str) -> Verdict {
        let mut deleted = self.delete_user(owner, keep.map(id)).await?;
        deleted.sort();
        same(&deleted, &ids(numbers), what)
    }
}

/// [F19] [H02] [H05] [H07] The listing follows the user; an update that does not name one leaves them.
pub(super) async fn the_user_is_set_changed_and_cleared(store: Subject) -> Verdict {
    let session = row(1).build();
    store.insert([&session]).await?;
    for (second, change, now_of) in [
        (1, Some(Some("ada")), Some("ada")),
        (2, None, Some("ada")),
        (3, Some(Some("bob")), Some("bob")),
        (4, Some(None), None),
        (5, None, None),
    ] {
        let write = Update {
            user_id: change.map(|name| name.map(user)),
            expires_at: Expiry::Keep,
            ..update(&session, "{}", at(second))
        };
        store.applies(Write::Update(write), "an update").await?;
        let wanted = now_of.into_iter().fold(row(1).updated(at(second)), |row, name| row.user(name));
        store.holds_row(&wanted.build(), "the row after it").await?;
        for name in ["ada", "bob"] {
            let listed = store.ids(Some(&user(name)), Liveness::Live, at(second)).await?;
            let wanted = if now_of == Some(name) { ids([1]) } else { vec![] };
            same(&listed, &wanted, format!("the sessions of {name}"))?;
        }
    }
    Ok(())
}

/// [H11] [S10] Live and expired ones, and nobody else's; their ids come back.
pub(super) async fn delete_user_ends_all_of_a_users_sessions(store: Subject) -> Verdict {
    let adas: Vec<_> = (0..150).map(|number| row(number).user("ada").build()).collect();
    let dead = row(200).user("ada").expires(at(0)).build();
    let others = [row(300).user("bob").build(), row(301).build(), row(302).user("Ada").build()];
    store.insert(adas.iter().chain([&dead]).chain(&others)).await?;
    store.deletes(&user("ada"), None, (0..150).chain([200]).collect(), "the ids deleted").await?;
    store.deletes(&user("ada"), None, vec![], "the ids deleted the second time").await?;
    for session in &adas {
        store.has_no_row(session.id(), "an ended session").await?;
    }
    for session in &others {
        store.holds_row(session, "somebody else's session").await?;
    }
    same(&store.ids(None, Liveness::Any, at(1)).await?, &ids([300, 301, 302]), "rows left")
}

/// [H20] [S10] The current session stays, if it is the user's at all.
pub(super) async fn delete_user_keeps_the_session_it_is_told_to_keep(store: Subject) -> Verdict {
    let rows = [1, 2, 3].map(|number| row(number).user("ada").data(r#"{"a": 1}"#).build());
    let bob = row(4).user("bob").build();
    store.insert(rows.iter().chain([&bob])).await?;
    store.deletes(&user("ada"), Some(2), vec![1, 3], "the others of ada").await?;
    store.holds_row(&rows[1], "the kept session").await?;
    store.deletes(&user("ada"), Some(4), vec![2], "all of ada, when the kept one is bob's").await?;
    store.deletes(&user("bob"), Some(99), vec![4], "all of bob, when the kept one is not there").await
}

/// [G01] [G14] Law 2, for everybody whose sessions were ended together.
pub(super) async fn sessions_ended_with_their_user_stay_ended(store: Subject) -> Verdict {
    let rows: Vec<SessionRecord> = (1..=3).map(|number| row(number).user("ada").build()).collect();
    store.insert(&rows).await?;
    store.delete_user(&user("ada"), None).await?;
    for session in &rows {
        store.leaves_alone(Write::Update(update(session, r#"{"a": 1}"#, at(1))), "a save").await?;
        store.leaves_alone(touch(session, at(9_000), at(1)), "a touch").await?;
        store.leaves_alone(rotate(session, &row(9).user("ada").build(), at(1)), "a rotation").await?;
    }
    same(&store.ids(None, Liveness::Any, at(1)).await?, &vec![], "rows in the table")
}
