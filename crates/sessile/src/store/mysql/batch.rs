//! What a batch comes to: its writes are judged here, in their order, on rows that are locked and read, and
//! what becomes of the rows is written with as few statements as it takes.
//!
//! The judgement is the one that the statements of single writes make: the data byte for byte, the expiry
//! by the clock, after every wait. Whoever holds the rows' locks can make it as well as the server.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mysql_async::Value;

use super::call::{BESIDE, columns};
use super::fault::{Fault, Place};
use super::row::{bound_id, cut};
use super::session::Session;
use super::sql::{self, Change, Kept};
use crate::record::{SessionId, SessionRecord, StoredData, Timestamp};
use crate::store::{Expiry, NewData, Outcome, Rotation, Write};

/// Rows in one statement, at most: each is found by looking through the ids before it.
const WIDEST: usize = 128;

/// The rows of a batch that are locked, and what is to become of them.
pub(super) struct Lines {
    lines: BTreeMap<SessionId, Line>,
    digits: u32,
    packet: usize,
}

/// A locked row, as it is after the writes that were judged so far.
struct Line {
    data: StoredData,
    expires_at: Timestamp,
    updated_at: Timestamp,
    becomes: Becomes,
}

#[derive(PartialEq)]
enum Becomes {
    Unchanged,
    Changed(Change),
    /// Another row, in its place.
    Renamed(Box<SessionRecord>),
    Deleted,
}

impl Lines {
    /// Those of the locked rows that can be judged here: the batch only changes or deletes them, or gives one
    /// another name and is about neither name otherwise. `met_again`: ids that it meets more than once.
    pub(super) fn of<'a>(
        locked: &HashMap<SessionId, Option<SessionRecord>>,
        met_again: &HashSet<SessionId>,
        writes: impl Iterator<Item = &'a Write>,
        place: &Place,
    ) -> Lines {
        let is_simple = |write: &Write| match write {
            Write::Update(update) => update.user_id.is_none(),
            Write::Touch(_) | Write::Delete(_) => true,
            Write::Rotate(_) => write.ids().all(|id| !met_again.contains(&id)),
            Write::Insert(_) => false,
        };
        let left: HashSet<SessionId> =
            writes.filter(|write| !is_simple(write)).flat_map(Write::ids).collect();
        let lines = locked
            .iter()
            .filter(|(id, _)| !left.contains(id))
            .filter_map(|(&id, record)| Some((id, Line::of(record.as_ref()?))));
        Lines {
            lines: lines.collect(),
            digits: place.digits.load(Ordering::Relaxed),
            packet: usize::try_from(place.packet.load(Ordering::Relaxed)).unwrap_or(usize::MAX),
        }
    }

    /// What becomes of this write; `None` where only the server can tell.
    pub(super) fn judge(&mut self, write: &Write) -> Option<Outcome> {
        let digits = self.digits;
        let line = self.lines.get_mut(&write.id())?;
        let done = match write {
            Write::Insert(_) => return None,
            _ if line.becomes == Becomes::Deleted => false,
            Write::Delete(_) => {
                line.becomes = Becomes::Deleted;
                true
            }
            Write::Update(update) => {
                line.takes(&update.expected, update.now.get()) && {
                    match &update.data {
                        // `updated_at` moves with every change, here beside the expiry.
                        NewData::Keep => line.change(Change::Expiry),
                        NewData::Text(text) => {
                            line.data = StoredData::Text(Arc::clone(text));
                            line.change(Change::Data);
                        }
                    }
                    match update.expires_at {
                        Expiry::Keep => {}
                        Expiry::Extend(to) => line.expire(cut(to, digits).max(line.expires_at)),
                        Expiry::Set(to) => line.expire(cut(to, digits)),
                    }
                    line.updated_at = update.now.get();
                    true
                }
            }
            Write::Touch(touch) => {
                let (to, now) = (cut(touch.expires_at, digits), touch.now.get());
                line.expires_at > now && line.expires_at < to && {
                    line.expire(to);
                    line.updated_at = now;
                    true
                }
            }
            Write::Rotate(Rotation { expected, record, now, .. }) => {
                line.takes(expected, now.get()) && {
                    line.becomes = Becomes::Renamed(Box::new(record.clone()));
                    true
                }
            }
        };
        Some(if done { Outcome::Applied } else { Outcome::Unmatched })
    }

    /// Writes it all down. A new name that is taken fails it as a whole.
    pub(super) async fn write(self, session: &mut Session) -> Result<(), Fault> {
        let Lines { lines, digits, packet } = self;
        let mut changed: BTreeMap<Change, Vec<(SessionId, Line)>> = BTreeMap::new();
        let mut deleted = Vec::new();
        for (id, line) in lines {
            match line.becomes {
                Becomes::Unchanged => {}
                Becomes::Changed(change) => changed.entry(change).or_default().push((id, line)),
                Becomes::Renamed(_) => changed.entry(Change::Rename).or_default().push((id, line)),
                Becomes::Deleted => deleted.push(id),
            }
        }
        for (change, lines) in changed {
            for lines in chunks(&lines, packet) {
                let (at, width) = sql::width(lines.len());
                let ids: Vec<Value> = lines.iter().map(|(id, _)| bound_id(*id)).collect();
                let mut values = Vec::with_capacity(width * 13);
                for column in 0..change.columns() {
                    fill(&mut values, &ids, width);
                    let those = lines.iter().map(|(_, line)| line.column(change, column, digits));
                    values.extend(those);
                    values.resize(values.len() + width - lines.len(), Value::NULL);
                }
                fill(&mut values, &ids, width);
                expect(session.run(Kept::Change(change, at), values).await?.matched, lines.len())?;
            }
        }
        for ids in deleted.chunks(WIDEST) {
            let (at, width) = sql::width(ids.len());
            let ids: Vec<Value> = ids.iter().map(|&id| bound_id(id)).collect();
            let mut values = Vec::with_capacity(width);
            fill(&mut values, &ids, width);
            expect(session.run(Kept::Remove(at), values).await?.matched, ids.len())?;
        }
        Ok(())
    }
}

impl Line {
    fn of(record: &SessionRecord) -> Line {
        Line {
            data: record.stored_data().clone(),
            expires_at: record.expires_at(),
            updated_at: record.updated_at().unwrap_or(Timestamp::MIN),
            becomes: Becomes::Unchanged,
        }
    }

    fn takes(&self, expected: &StoredData, now: Timestamp) -> bool {
        self.expires_at > now && self.data == *expected
    }

    fn expire(&mut self, at: Timestamp) {
        if at != self.expires_at {
            self.expires_at = at;
            self.change(Change::Expiry);
        }
    }

    fn change(&mut self, change: Change) {
        let all = match self.becomes {
            Becomes::Changed(before) if before != change => Change::DataAndExpiry,
            _ => change,
        };
        self.becomes = Becomes::Changed(all);
    }

    /// What this column of the statement gets.
    fn column(&self, change: Change, column: usize, digits: u32) -> Value {
        if let Becomes::Renamed(record) = &self.becomes {
            return match columns(record, digits).into_iter().nth(column) {
                Some(value) => picked(value),
                None => bound_id(record.id()),
            };
        }
        match (change, column) {
            (_, 0) => text(self.updated_at),
            (Change::Data | Change::DataAndExpiry, 1) => self.data.as_text().map_or(Value::NULL, Value::from),
            _ => text(self.expires_at),
        }
    }

    /// Bytes in a statement, at most.
    fn size(&self) -> usize {
        let data = match &self.becomes {
            Becomes::Renamed(record) => record.stored_data().len(),
            _ => self.data.len(),
        };
        data + BESIDE_A_ROW
    }
}

/// Ids, times and user of a row in a statement.
const BESIDE_A_ROW: usize = 2_048;

/// What the server picks by an id is text, whatever it is to become.
fn picked(value: Value) -> Value {
    match value {
        Value::Date(..) => Value::from(value.as_sql(false).trim_matches('\'')),
        value => value,
    }
}

fn text(time: Timestamp) -> Value {
    Value::from(time.to_sql_text().as_str())
}

/// So many that the server takes the statement.
fn chunks(mut lines: &[(SessionId, Line)], packet: usize) -> impl Iterator<Item = &[(SessionId, Line)]> {
    let room = packet.saturating_sub(BESIDE as usize);
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = lines.iter().take(WIDEST).take_while(|(_, line)| {
            bytes += line.size();
            bytes <= room
        });
        let (chunk, rest) = lines.split_at(fitting.count().max(1).min(lines.len()));
        lines = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// The values, the last of them again and again up to the width of a statement.
fn fill(values: &mut Vec<Value>, with: &[Value], width: usize) {
    values.extend_from_slice(with);
    if let Some(last) = with.last() {
        values.resize(values.len() + width - with.len(), last.clone());
    }
}

/// Rows that are locked do not go away.
fn expect(matched: u64, rows: usize) -> Result<(), Fault> {
    if matched == rows as u64 {
        return Ok(());
    }
    Err(Fault::Other(format!("the server changed {matched} of {rows} locked rows")))
}

/// Makes these rows, of which no two have one id; which of them were made.
pub(super) async fn insert(
    session: &mut Session,
    records: &[&SessionRecord],
    place: &Place,
) -> Result<Vec<Outcome>, Fault> {
    let digits = place.digits.load(Ordering::Relaxed);
    let packet = place.packet.load(Ordering::Relaxed);
    let values =
        |record: &SessionRecord| std::iter::once(bound_id(record.id())).chain(columns(record, digits));
    let mut outcomes = Vec::with_capacity(records.len());
    let mut rest = records;
    let mut narrow = 0;
    while !rest.is_empty() {
        let (at, width) = sql::births(if narrow > 0 { 1 } else { rest.len() });
        let (some, others) = rest.split_at(width);
        let bytes: usize = some.iter().map(|record| record.stored_data().len() + BESIDE_A_ROW).sum();
        if width > 1 && bytes as u64 > packet.saturating_sub(BESIDE) {
            narrow = width;
            continue;
        }
        match session.run(Kept::Insert(at), some.iter().flat_map(|record| values(record)).collect()).await {
            Ok(_) => outcomes.extend(some.iter().map(|_| Outcome::Applied)),
            // One of them is there already: the statement has changed nothing.
            Err(fault) if fault.is_taken() && width > 1 => {
                narrow = width;
                continue;
            }
            Err(fault) if fault.is_taken() => outcomes.push(Outcome::Unmatched),
            Err(fault) => return Err(fault),
        }
        narrow = narrow.saturating_sub(width);
        rest = others;
    }
    Ok(outcomes)
}
