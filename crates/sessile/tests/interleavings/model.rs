//! What must be there after each store step, told by what the actors mean and in which order their
//! steps happened: never by what they read or wrote.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sessile::record::{SessionId, SessionRecord};
use sessile::store::{NewData, Outcome, Touch, Update, Write};

use crate::actors::{Deed, Part};
use crate::gate::Did;

/// Minutes after noon. All requests run at this one.
pub(crate) const NOW: u64 = 10;
/// The clock of whoever purges is ahead: a session that was not renewed is over for it.
pub(crate) const PURGE: u64 = 35;
const IDLE: u64 = 30;
const REMEMBERED: u64 = 14 * 24 * 60;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) data: BTreeMap<String, Value>,
    pub(crate) user: Option<String>,
    pub(crate) remember: bool,
    /// In minutes after noon.
    pub(crate) expires: u64,
    /// The names it had while it was this user's.
    pub(crate) previous: Vec<SessionId>,
}

impl Row {
    /// The row as a store has it.
    pub(crate) fn of(record: &SessionRecord, noon: sessile::record::Timestamp) -> Row {
        let text = record.stored_data().as_text().unwrap();
        let expires = record.expires_at().saturating_since(noon).as_secs() / 60;
        Row { user: record.user_id().map(ToString::to_string), expires, ..Row::parse(text) }
    }

    pub(crate) fn parse(text: &str) -> Row {
        let mut data: BTreeMap<String, Value> = serde_json::from_str(text).unwrap();
        let meta = data.remove("_sessile").unwrap_or_default();
        let previous = meta["previous"].as_array().into_iter().flatten();
        let previous = previous.map(|id| id.as_str().unwrap().parse().unwrap()).collect();
        Row { data, remember: meta["remember"] == json!(true), previous, ..Row::default() }
    }

    fn lifetime(&self) -> u64 {
        NOW + if self.remember { REMEMBERED } else { IDLE }
    }

    /// What the deed means for this session.
    fn act(&mut self, deed: Deed, actor: usize) {
        let own = format!("own{actor}");
        match deed {
            Deed::Read | Deed::Rotate | Deed::Logout | Deed::Leave => {}
            Deed::InsertOwn | Deed::RotateInsert | Deed::LogoutInsert | Deed::LeaveInsert => {
                self.data.insert(own, json!(actor));
            }
            Deed::InsertShared => drop(self.data.insert("shared".into(), json!(actor))),
            Deed::Update => {
                let n = self.data.get("n").map_or(0, |n| n.as_u64().unwrap());
                self.data.insert("n".into(), json!(n + 1));
            }
            Deed::Push => {
                let list = self.data.entry("list".into()).or_insert_with(|| json!([]));
                list.as_array_mut().unwrap().push(json!(actor));
            }
            Deed::Remove => drop(self.data.remove("seed")),
            Deed::Clear => self.data.clear(),
            Deed::Login(user) | Deed::LoginInsert(user) => {
                if self.user.as_ref().is_some_and(|before| before != user) {
                    *self = Row { expires: self.expires, ..Row::default() };
                }
                self.user = Some(user.to_owned());
                // A login begins with the policy's own lifetimes. [S31]
                self.remember = false;
                if matches!(deed, Deed::LoginInsert(_)) {
                    self.data.insert(own, json!(actor));
                }
            }
            Deed::Remember(remember) => self.remember = remember,
        }
        let resets = matches!(deed, Deed::Login(_) | Deed::LoginInsert(_) | Deed::Remember(_));
        self.expires = if resets { self.lifetime() } else { self.expires.max(self.lifetime()) };
    }
}

/// What one actor has seen and done.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// The session as of its last load; `None` when there was none.
    seen: Option<Row>,
    /// Whether there ever was one for it.
    began: bool,
    commits: usize,
}

/// Ids that a store told in an order of its own.
fn each_once(told: Vec<SessionId>) -> BTreeSet<SessionId> {
    let number = told.len();
    let ids: BTreeSet<SessionId> = told.into_iter().collect();
    assert_eq!(ids.len(), number, "an id was told twice");
    ids
}

pub(crate) struct Model {
    parts: Vec<Part>,
    pub(crate) rows: BTreeMap<SessionId, Row>,
    /// Every id that anybody ever had.
    pub(crate) known: BTreeSet<SessionId>,
    first: SessionId,
    progress: Vec<Progress>,
}

impl Model {
    pub(crate) fn new(parts: &[Part], first: SessionId, row: Row) -> Model {
        let progress = vec![Progress::default(); parts.len()];
        let (rows, known) = ([(first, row)].into(), [first].into());
        Model { parts: parts.to_vec(), rows, known, first, progress }
    }

    fn deed(&self, actor: usize) -> Deed {
        match self.parts[actor] {
            Part::Request(deed) => deed,
            Part::Change => Deed::InsertOwn,
            _ => Deed::Read,
        }
    }

    /// The step has happened: what it must have done.
    pub(crate) fn observe(&mut self, actor: usize, did: Did) {
        match did {
            Did::Load(id, found) => {
                assert_eq!(found, self.rows.contains_key(&id), "the row {id}");
                self.progress[actor].seen = self.rows.get(&id).cloned();
                self.progress[actor].began |= found;
            }
            Did::Write(_, Outcome::Unmatched) => {}
            Did::Write(write, Outcome::Applied) => self.write(actor, write),
            Did::DeleteUser(ids) => {
                let keep = (self.parts[actor] == Part::RevokeOthers).then_some(self.first);
                let gone =
                    |id: &SessionId, row: &mut Row| row.user.as_deref() == Some("ada") && Some(*id) != keep;
                let gone: BTreeSet<SessionId> = self.rows.extract_if(.., gone).map(|(id, _)| id).collect();
                assert_eq!(gone, each_once(ids), "all of the user's sessions");
            }
            Did::Purge(ids) => {
                let gone = self.rows.extract_if(.., |_, row| row.expires <= PURGE);
                let gone: BTreeSet<SessionId> = gone.map(|(id, _)| id).collect();
                assert_eq!(gone, each_once(ids), "what was purged");
            }
            Did::Read(text) => {
                let row = self.rows.get(&self.first);
                assert_eq!(text.map(|text| Row::parse(&text).data), row.map(|row| row.data.clone()));
            }
            Did::Overwrite(text, found) => {
                assert_eq!(found, self.rows.contains_key(&self.first));
                if let Some(row) = self.rows.get_mut(&self.first) {
                    *row = Row { user: row.user.clone(), expires: NOW + IDLE, ..Row::parse(&text) };
                }
            }
        }
    }

    fn write(&mut self, actor: usize, write: Write) {
        let deed = self.deed(actor);
        let renews = match &write {
            Write::Touch(_) => true,
            Write::Update(update) => update.data == NewData::Keep,
            _ => false,
        };
        if !renews && !matches!(self.parts[actor], Part::Revoke | Part::RevokeOf) {
            self.progress[actor].commits += 1;
        }
        match write {
            Write::Insert(record) => {
                if deed.replaces() {
                    // The ending, where it has come too late for one step, belongs to the beginning.
                    self.progress[actor].commits = 1;
                }
                let mut row = Row::default();
                row.act(deed, actor);
                self.known.insert(record.id());
                assert!(self.rows.insert(record.id(), row).is_none());
            }
            Write::Update(Update { id, .. }) | Write::Touch(Touch { id, .. }) => {
                let row = self.rows.get_mut(&id).expect("no write brings the dead back");
                if renews {
                    row.expires = row.expires.max(row.lifetime());
                } else {
                    row.act(deed, actor);
                }
            }
            Write::Rotate(rotation) => {
                let mut row = self.rows.remove(&rotation.id).expect("the dead do not get a new name");
                if deed.replaces() {
                    row = Row::default();
                }
                let before = row.user.clone();
                row.act(deed, actor);
                if before.is_some() && before == row.user {
                    row.previous.insert(0, rotation.id);
                }
                self.known.insert(rotation.record.id());
                assert!(self.rows.insert(rotation.record.id(), row).is_none());
            }
            Write::Delete(id) => drop(self.rows.remove(&id)),
        }
    }

    /// A request was told that it succeeded: it is in the state, or was before somebody else's write,
    /// or there was nothing to do.
    pub(crate) fn succeeded(&self, actor: usize) {
        let (deed, progress) = (self.deed(actor), &self.progress[actor]);
        let needed = match &progress.seen {
            Some(seen) => {
                let mut row = seen.clone();
                row.act(deed, actor);
                row.expires = seen.expires;
                row != *seen || deed.renames()
            }
            None => {
                assert!(!progress.began || deed.outlives(), "{deed:?} was not told that its session ended");
                let mut row = Row::default();
                row.act(deed, actor);
                !row.data.is_empty() || row.user.is_some()
            }
        };
        match deed {
            _ if deed.ends() => {
                self.assert_ended(progress.seen.as_ref());
                assert!(!deed.replaces() || progress.commits == 1);
            }
            _ => assert_eq!(progress.commits, usize::from(needed), "{deed:?} saw {:?}", progress.seen),
        }
    }

    /// Gone under its name, and under any that it got while it was the same user's.
    fn assert_ended(&self, seen: Option<&Row>) {
        assert!(!self.rows.contains_key(&self.first), "signed out and still there");
        if seen.is_some_and(|seen| seen.user.is_some()) {
            let alive = self.rows.values().any(|row| row.previous.contains(&self.first));
            assert!(!alive, "signed out and still there under another name");
        }
    }

    /// Ada has ended the session from her list.
    pub(crate) fn revoked_by_ada(&self) {
        let is_it = |(id, row): (&SessionId, &Row)| *id == self.first || row.previous.contains(&self.first);
        let of_ada = |row: &Row| row.user.as_deref() == Some("ada");
        assert!(!self.rows.iter().any(|it| of_ada(it.1) && is_it(it)), "revoked and still there");
    }

    /// A request was told that its session has ended.
    pub(crate) fn refused(&self, actor: usize) {
        assert_eq!(self.progress[actor].commits, 0, "a request that failed left something");
        assert!(!self.rows.contains_key(&self.first), "it was told that the session ended");
        let deed = self.deed(actor);
        assert!(deed != Deed::Read && !deed.outlives(), "{deed:?} never fails");
    }
}
