//! A [`Write`] as its statement.

use rusqlite::{CachedStatement, Connection};

use super::fault;
use super::row::{Data, Time};
use super::sql::{self, Sql};
use crate::record::{SessionRecord, UserId};
use crate::store::{Expiry, Outcome, Rotation, StoreError, Touch, Update, Write};

pub(super) type Applied = Result<Outcome, StoreError>;

/// Makes the write, if its condition holds, in one statement.
pub(super) fn write(connection: &Connection, sql: &Sql, write: &Write) -> rusqlite::Result<Outcome> {
    let changed =
        match write {
            Write::Insert(record) => {
                let mut statement = sql::prepare(connection, &sql.insert)?;
                bind_record(&mut statement, 1, record)?;
                statement.raw_execute()?
            }
            Write::Update(it) => update(connection, sql, it)?,
            Write::Touch(Touch { id, expires_at, now }) => sql::prepare(connection, &sql.touch)?
                .execute((id.to_text().as_str(), Time::from(*expires_at), Time::from(now.get())))?,
            Write::Rotate(rotation) => rotate(connection, sql, rotation)?,
            Write::Delete(id) => sql::prepare(connection, &sql.delete)?.execute([id.to_text().as_str()])?,
        };
    Ok(if changed == 0 { Outcome::Unmatched } else { Outcome::Applied })
}

fn update(connection: &Connection, sql: &Sql, update: &Update) -> rusqlite::Result<usize> {
    let mut statement = sql::prepare(connection, sql.update(update.expires_at, update.user_id.is_some()))?;
    statement.raw_bind_parameter(1, update.id.to_text().as_str())?;
    statement.raw_bind_parameter(2, Data(&update.expected))?;
    statement.raw_bind_parameter(3, Time::from(update.now.get()))?;
    statement.raw_bind_parameter(4, update.data.text())?;
    if let Expiry::Extend(to) | Expiry::Set(to) = update.expires_at {
        statement.raw_bind_parameter(5, Time::from(to))?;
    }
    if let Some(user) = &update.user_id {
        statement.raw_bind_parameter(6, user.as_ref().map(UserId::as_str))?;
    }
    statement.raw_execute()
}

/// A new id that is taken fails the statement, which then has changed nothing.
fn rotate(connection: &Connection, sql: &Sql, rotation: &Rotation) -> rusqlite::Result<usize> {
    let mut statement = sql::prepare(connection, &sql.rotate)?;
    statement.raw_bind_parameter(1, rotation.id.to_text().as_str())?;
    statement.raw_bind_parameter(2, Data(&rotation.expected))?;
    statement.raw_bind_parameter(3, Time::from(rotation.now.get()))?;
    bind_record(&mut statement, 4, &rotation.record)?;
    match statement.raw_execute() {
        Err(error) if fault::is_taken(&error) => Ok(0),
        done => done,
    }
}

/// The six columns, from this parameter on.
fn bind_record(
    statement: &mut CachedStatement<'_>,
    at: usize,
    record: &SessionRecord,
) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(at, record.id().to_text().as_str())?;
    statement.raw_bind_parameter(at + 1, record.user_id().map(UserId::as_str))?;
    statement.raw_bind_parameter(at + 2, Data(record.stored_data()))?;
    statement.raw_bind_parameter(at + 3, record.created_at().map(Time::from))?;
    statement.raw_bind_parameter(at + 4, Time::from(record.expires_at()))?;
    statement.raw_bind_parameter(at + 5, record.updated_at().map(Time::from))
}
