//! Listing: every row once, in a stable order, page by page, whatever happens between the pages.

use super::subject::{Subject, at, id, ids_of, row, user};
use super::verdict::{Failure, Verdict, holds, same};
use crate::record::{SessionId, SessionRecord, SystemClock, Timestamp, UserId};
use crate::store::{Cursor, Finding, ListQuery, Liveness, Outcome, StoreStats, Verdict as Judgement, Write};

fn query(limit: usize) -> ListQuery {
    ListQuery { user: None, liveness: Liveness::Any, now: at(0), after: None, limit }
}

fn sorted(mut ids: Vec<SessionId>) -> Vec<SessionId> {
    ids.sort();
    ids
}

impl Subject {
    /// All pages, one after the other; none larger than asked for.
    async fn all_pages(&self, mut query: ListQuery) -> Result<Vec<SessionId>, Failure> {
        let mut ids = Vec::new();
        // Bounded, for a store whose cursor stands still.
        for _ in 0..1_000 {
            let page = self.list(&query).await?;
            holds(page.records.len() <= query.limit, "a page larger than its limit")?;
            ids.extend(ids_of(&page));
            query.after = page.next;
            if query.after.is_none() {
                return Ok(ids);
            }
        }
        Err(Failure("the listing has no end".to_owned()))
    }
}

/// [F17] Nothing is an empty page, not an error.
pub(super) async fn an_empty_store_lists_nothing(store: Subject) -> Verdict {
    let page = store.list(&query(10)).await?;
    same(&(page.records.len(), page.malformed.len(), page.next), &(0, 0, None), "the only page")?;
    same(&store.ids(Some(&user("ada")), Liveness::Any, at(0)).await?, &vec![], "sessions of nobody")?;
    same(&store.delete_user(&user("ada"), None).await?, &vec![], "deleted")?;
    same(&store.stats(at(0)).await?, &StoreStats::default(), "counts")
}

/// [H25] [F16] In the order of their ids, whatever the size of a page; whole rows, not only ids.
pub(super) async fn pages_hold_every_row_once_in_order(store: Subject) -> Verdict {
    let rows: Vec<_> =
        (0..60).map(|number| row(number).data(&format!("{{\"n\": {number}}}")).build()).collect();
    store.insert(&rows).await?;
    let wanted = sorted(rows.iter().map(SessionRecord::id).collect());
    for limit in [1, 7, 20, 30, 59, 60, 61, 1_000] {
        same(&store.all_pages(query(limit)).await?, &wanted, format!("rows in pages of {limit}"))?;
    }
    for listed in store.list(&query(100)).await?.records {
        let known = rows.iter().find(|row| row.id() == listed.id());
        holds(known == Some(&listed), "a listed row differs from the one inserted")?;
    }
    Ok(())
}

/// [H26] Also when the row that the cursor stands on is gone, and when rows came before it.
pub(super) async fn paging_survives_deletions_between_pages(store: Subject) -> Verdict {
    let rows: Vec<_> = (0..60).map(|number| row(number).user("ada").build()).collect();
    for by_user in [None, Some(user("ada"))] {
        store.insert(&rows).await?;
        let order = sorted(rows.iter().map(SessionRecord::id).collect());
        let first_page = ListQuery { user: by_user.clone(), ..query(20) };
        let first = store.list(&first_page).await?;
        same(&ids_of(&first), &order[..20].to_vec(), "the first page")?;
        // The last row seen, the next one, and the very first.
        for gone in [19, 20, 0] {
            store.applies(Write::Delete(order[gone]), "deleting").await?;
        }
        let rest = store.all_pages(ListQuery { after: first.next, ..first_page }).await?;
        same(&rest, &order[21..].to_vec(), "the pages after it")?;
        store.delete_user(&user("ada"), None).await?;
    }
    Ok(())
}

/// [H26] A cursor that means nothing here is the first page, never an error.
pub(super) async fn a_meaningless_cursor_is_the_first_page(store: Subject) -> Verdict {
    let rows: Vec<_> = (0..5).map(|number| row(number).build()).collect();
    store.insert(&rows).await?;
    let wanted = sorted(rows.iter().map(SessionRecord::id).collect());
    let query = ListQuery { after: Some(Cursor::new("\u{1f36a}'; --")), ..query(3) };
    same(&store.all_pages(query).await?, &wanted, "all rows")
}

/// [H01] [H04] [H07] Exactly the user's rows, live or expired as asked; nobody's are nobody's.
pub(super) async fn a_users_sessions_are_found_by_liveness(store: Subject) -> Verdict {
    let rows: Vec<_> = (0..40)
        .map(|number| {
            let row = row(number).expires(if number % 4 < 2 { at(9_000) } else { at(10) });
            match number % 5 {
                0 => row.build(),
                1 => row.user("bob").build(),
                _ => row.user("ada").build(),
            }
        })
        .collect();
    store.insert(&rows).await?;
    let now = at(10);
    for owner in [None, Some(user("ada")), Some(user("bob")), Some(user("eve"))] {
        for liveness in [Liveness::Live, Liveness::Expired, Liveness::Any] {
            let wanted = matching(&rows, owner.as_ref(), liveness, now);
            let query = ListQuery { user: owner.clone(), liveness, now, after: None, limit: 3 };
            let what = format!("{liveness:?} sessions of {owner:?}");
            same(&store.all_pages(query).await?, &wanted, what)?;
        }
    }
    Ok(())
}

fn matching(
    rows: &[SessionRecord],
    owner: Option<&UserId>,
    liveness: Liveness,
    now: Timestamp,
) -> Vec<SessionId> {
    let of_owner = rows.iter().filter(|row| owner.is_none() || row.user_id() == owner);
    let wanted = of_owner.filter(|row| liveness.includes(row.expires_at(), now));
    sorted(wanted.map(SessionRecord::id).collect())
}

/// [D05] What a listing shows can be ended by what it shows.
pub(super) async fn a_listed_session_can_be_deleted(store: Subject) -> Verdict {
    let rows: Vec<_> = (0..5).map(|number| row(number).user("ada").build()).collect();
    store.insert(&rows).await?;
    for listed in store.list(&ListQuery { user: Some(user("ada")), ..query(100) }).await?.records {
        same(&store.apply(Write::Delete(listed.id())).await?, &Outcome::Applied, "deleting a listed row")?;
        store.has_no_row(listed.id(), "a deleted row").await?;
    }
    same(&store.ids(None, Liveness::Any, at(0)).await?, &vec![], "rows left")
}

/// [R10] Live, expired, anonymous, users, bytes, and how long the oldest expired row has waited.
pub(super) async fn stats_count_what_is_there(store: Subject) -> Verdict {
    let rows = [
        row(1).user("ada").data(r#"{"a": "é"}"#).build(),
        row(2).user("ada").build(),
        row(3).user("bob").expires(at(11)).build(),
        row(4).build(),
        row(5).user("eve").expires(at(10)).data(r#"{"not": "counted"}"#).build(),
        row(6).expires(at(3)).build(),
    ];
    store.insert(&rows).await?;
    let wanted = StoreStats {
        live: 4,
        expired: 2,
        anonymous: 1,
        users: 2,
        data_bytes: r#"{"a": "é"}"#.len() as u64 + 3 * "{}".len() as u64,
        oldest_expired: Some(at(3)),
    };
    same(&store.stats(at(10)).await?, &wanted, "counts")?;
    let early = store.stats(Timestamp::MIN).await?;
    same(&(early.live, early.expired, early.oldest_expired), &(6, 0, None), "counts before all expiries")
}

/// [F14] What is there stays, however often the store is prepared.
pub(super) async fn init_changes_nothing_that_is_there(store: Subject) -> Verdict {
    let session = row(1).user("ada").data(r#"{"a": 1}"#).build();
    store.insert([&session]).await?;
    for _ in 0..3 {
        store.init().await?;
        store.check().await?;
    }
    store.holds_row(&session, "a row from before").await?;
    let owner: Option<UserId> = session.user_id().cloned();
    same(&store.ids(owner.as_ref(), Liveness::Live, at(0)).await?, &vec![id(1)], "sessions of the user")
}

/// [R07] Whatever the server's settings are, the table and the rights are good where the other cases pass; and an
/// examination leaves no trace.
pub(super) async fn an_examination_leaves_all_as_it_is(store: Subject) -> Verdict {
    let session = row(1).user("ada").data(r#"{"a": 1}"#).build();
    store.insert([&session]).await?;
    for _ in 0..3 {
        let findings = store.examine(&SystemClock).await?;
        holds(!findings.is_empty(), "an examination without a finding")?;
        let usable = ["server", "cluster", "table", "privileges", "writing"];
        let wrong = |it: &&Finding| it.verdict == Judgement::Wrong && usable.contains(&&*it.subject);
        same(&findings.iter().find(wrong), &None, "what is wrong")?;
    }
    store.holds_row(&session, "a row from before").await?;
    same(&store.ids(None, Liveness::Any, at(0)).await?, &vec![id(1)], "all sessions")
}
