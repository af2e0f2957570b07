//! "Your sessions": the list, and ending what is on it.

use axum::Form;
use axum::response::{Redirect, Response};
use serde::Deserialize;
use sessile::{SessionId, SessionRecord, Sessions};

use super::signed_in::SignedIn;
use super::visit::Visit;
use crate::demo::device;
use crate::demo::error::ShopError;
use crate::demo::pages;
use crate::demo::pages::sessions::Row;
use crate::output::time::Moment;

/// `GET /sessions`
pub(crate) async fn show(SignedIn { session, user }: SignedIn) -> Result<Response, ShopError> {
    let sessions = session.sessions();
    let records = sessions.sessions_of(&user).await?;
    let mut rows: Vec<Row> = records.iter().map(|record| row(sessions, record, session.id())).collect();
    // The list is newest first; the sort is stable, so that it stays so below this one.
    rows.sort_by_key(|row| !row.current);
    let visit = Visit::of(&session)?;
    Ok(visit.answer(pages::sessions::page(&visit.page(), user.as_str(), &rows)))
}

fn row(sessions: &Sessions, record: &SessionRecord, current: Option<SessionId>) -> Row {
    let now = sessions.now();
    let description = sessions.describe(record);
    let (label, device) = device::of_session(description.device);
    Row {
        id: record.id().to_string(),
        device,
        label,
        current: current == Some(record.id()),
        remembered: description.remembered,
        signed_in: description.authenticated_at.map(|at| Moment::new(at, now)),
        last_seen: record.updated_at().map(|at| Moment::new(at, now)),
        expires: Moment::new(record.expires_at(), now),
    }
}

/// Which session to end.
#[derive(Debug, Deserialize)]
pub(crate) struct Ending {
    id: String,
}

/// `POST /sessions/end`
pub(crate) async fn end(
    SignedIn { session, user }: SignedIn,
    Form(ending): Form<Ending>,
) -> Result<Redirect, ShopError> {
    let id: Option<SessionId> = ending.id.parse().ok();
    if id.is_some() && id == session.id() {
        session.logout();
        session.flash("info", "You ended this session, so you are signed out.")?;
        return Ok(Redirect::to("/"));
    }
    // Only one's own: somebody else's answers like one that never was.
    let ended = match id {
        Some(id) => session.sessions().revoke_of(&user, id).await?,
        None => false,
    };
    match ended {
        true => session.flash("success", "That session has ended.")?,
        false => session.flash("warning", "You have no such session. It may have ended already.")?,
    }
    Ok(Redirect::to("/sessions"))
}

/// `POST /sessions/end-others`
pub(crate) async fn end_others(SignedIn { session, user }: SignedIn) -> Result<Redirect, ShopError> {
    let ended = match session.id() {
        Some(this) => session.sessions().revoke_others(&user, this).await?,
        None => 0,
    };
    let message = match ended {
        0 => "You were signed in nowhere else.".to_owned(),
        1 => "The other session has ended.".to_owned(),
        many => format!("All {many} other sessions have ended."),
    };
    session.flash("success", message)?;
    Ok(Redirect::to("/sessions"))
}
