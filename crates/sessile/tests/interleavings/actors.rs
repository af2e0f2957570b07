//! Who acts on the session, and how.

use http::StatusCode;
use sessile::engine::Changes;
use sessile::{LazySession, Session, SessionId, Sessions, UserId};

use crate::gate::Actor;
use crate::support::caller::Caller;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Deed {
    Read,
    InsertOwn,
    InsertShared,
    Update,
    Push,
    Remove,
    Clear,
    Rotate,
    RotateInsert,
    Login(&'static str),
    LoginInsert(&'static str),
    Logout,
    LogoutInsert,
    /// A logout that does not read the session.
    Leave,
    LeaveInsert,
    Remember(bool),
}

impl Deed {
    pub(crate) fn renames(self) -> bool {
        matches!(self, Deed::Rotate | Deed::RotateInsert | Deed::Login(_) | Deed::LoginInsert(_))
    }

    /// Whether it succeeds although its session ends meanwhile.
    pub(crate) fn outlives(self) -> bool {
        matches!(self, Deed::Login(_) | Deed::LoginInsert(_)) || self.ends()
    }

    pub(crate) fn ends(self) -> bool {
        matches!(self, Deed::Logout | Deed::LogoutInsert | Deed::Leave | Deed::LeaveInsert)
    }

    /// Whether it begins a session after it has ended another.
    pub(crate) fn replaces(self) -> bool {
        matches!(self, Deed::LogoutInsert | Deed::LeaveInsert)
    }

    fn perform(self, session: &Session, actor: usize) {
        let own = format!("own{actor}");
        match self {
            Deed::Read => {}
            Deed::InsertOwn => session.insert(&own, &actor).unwrap(),
            Deed::InsertShared => session.insert("shared", &actor).unwrap(),
            Deed::Update => drop(session.update("n", |n: &mut u64| *n += 1).unwrap()),
            Deed::Push => session.push("list", &actor).unwrap(),
            Deed::Remove => drop(session.remove("seed")),
            Deed::Clear => session.clear(),
            // Where the session is gone already there is nothing to rotate.
            Deed::Rotate => drop(session.rotate()),
            Deed::RotateInsert => {
                drop(session.rotate());
                session.insert(&own, &actor).unwrap();
            }
            Deed::Login(user) => session.login(user).unwrap(),
            Deed::LoginInsert(user) => {
                session.login(user).unwrap();
                session.insert(&own, &actor).unwrap();
            }
            // Those who leave have no session that was read, and may say so twice.
            Deed::Logout | Deed::Leave => session.logout(),
            Deed::LogoutInsert | Deed::LeaveInsert => {
                session.logout();
                session.insert(&own, &actor).unwrap();
            }
            Deed::Remember(remember) => session.remember(remember),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Part {
    Request(Deed),
    Revoke,
    RevokeOf,
    RevokeUser,
    RevokeOthers,
    Purge,
    Touch,
    Change,
    /// Reads all, adds a key, writes all and renews, as lback does: whatever happened meanwhile.
    Python,
}

pub(crate) const DEEDS: [Deed; 19] = [
    Deed::Read,
    Deed::InsertOwn,
    Deed::InsertShared,
    Deed::Update,
    Deed::Push,
    Deed::Remove,
    Deed::Clear,
    Deed::Rotate,
    Deed::RotateInsert,
    Deed::Login("ada"),
    Deed::Login("bob"),
    Deed::LoginInsert("ada"),
    Deed::LoginInsert("bob"),
    Deed::Logout,
    Deed::LogoutInsert,
    Deed::Leave,
    Deed::LeaveInsert,
    Deed::Remember(true),
    Deed::Remember(false),
];

pub(crate) const OTHERS: [Part; 7] = [
    Part::Revoke,
    Part::RevokeOf,
    Part::RevokeUser,
    Part::RevokeOthers,
    Part::Purge,
    Part::Touch,
    Part::Change,
];

/// Everybody but Python, who needs a table to write to.
pub(crate) fn everybody() -> Vec<Part> {
    DEEDS.map(Part::Request).into_iter().chain(OTHERS).collect()
}

/// The part as a future: what a request was told, nothing for the others.
pub(crate) fn play<'a>(
    part: Part,
    actor: usize,
    sessions: &'a Sessions,
    purger: &'a Sessions,
    cookie: &'a str,
    id: SessionId,
) -> Actor<'a, Option<StatusCode>> {
    let ada = UserId::new("ada").unwrap();
    Box::pin(async move {
        match part {
            Part::Request(deed @ (Deed::Leave | Deed::LeaveInsert)) => {
                let mut visitor = Caller::with_cookie(sessions, cookie);
                let leaves = async |lazy: LazySession| {
                    deed.perform(&lazy.logout(), actor);
                    StatusCode::OK
                };
                return Some(visitor.visit(leaves).await.unwrap().status);
            }
            Part::Request(deed) => {
                let mut visitor = Caller::with_cookie(sessions, cookie);
                return Some(visitor.tries(|session| deed.perform(session, actor)).await.status);
            }
            Part::Revoke => drop(sessions.revoke(id).await.unwrap()),
            Part::RevokeOf => drop(sessions.revoke_of(&ada, id).await.unwrap()),
            Part::RevokeUser => drop(sessions.revoke_user(&ada).await.unwrap()),
            Part::RevokeOthers => drop(sessions.revoke_others(&ada, id).await.unwrap()),
            Part::Purge => drop(purger.purge(|_| {}).await.unwrap()),
            Part::Touch => drop(sessions.touch(id).await.unwrap()),
            Part::Change => {
                let mut changes = Changes::new();
                changes.set_raw(&format!("own{actor}"), &actor.to_string()).unwrap();
                drop(sessions.change(id, &changes).await.unwrap());
            }
            Part::Python => unreachable!("plays elsewhere"),
        }
        None
    })
}
