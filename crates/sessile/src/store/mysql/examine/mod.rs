//! Looks at a database as a person on call would. It reads, and it tries a row out in a transaction that is
//! undone: nothing is left behind.

mod server;
mod table;

use mysql_async::Value;

use super::fault::Fault;
use super::row::text_at;
use super::sql::{self, Kept};
use super::{MySqlStore, schema};
use crate::record::Clock;
use crate::store::{Finding, StoreError, Verdict, finding};

use server::Server;
use table::Column;

/// The server first, then the table, then what a commit is worth.
pub(super) async fn examine(store: &MySqlStore, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
    let settings = store.survey(sql::SEEN_SETTINGS, Vec::new()).await.map_err(store.error("examine"))?;
    let status = store.survey(sql::SEEN_STATUS, Vec::new()).await.map_err(store.error("examine"))?;
    let server = Server::of(settings.iter().chain(&status));

    let mut findings = server::reached(&server, &store.0.place);
    findings.extend(finding::clocks(store, clock).await);
    match of_table(store).await {
        Ok(found) => {
            let usable = !found.iter().any(|it| it.verdict == Verdict::Wrong);
            findings.extend(found);
            if usable && !server.is_read_only() {
                findings.push(writing(store).await);
            }
        }
        Err(error) => findings.push(Finding::failed("table", &error)),
    }
    findings.extend(server::durability(&server));
    Ok(findings)
}

async fn of_table(store: &MySqlStore) -> Result<Vec<Finding>, StoreError> {
    let (sql, place) = (&store.0.sql, &store.0.place);
    let error = store.error("examine");
    let mut seat = store.0.surveys.seat().await.map_err(&error)?;
    let shape = schema::look(&mut seat, sql, place).await.map_err(&error)?;
    schema::judge(&shape, place)?;

    let mut missing = Vec::new();
    for (right, statement) in [
        ("SELECT", Kept::Load(0)),
        ("INSERT", Kept::Insert(0)),
        ("UPDATE", Kept::Update(0)),
        ("DELETE", Kept::Delete),
    ] {
        match seat.prepare(statement).await {
            Err(fault) if fault.is_forbidden() => missing.push(right),
            done => done.map_err(&error)?,
        }
    }
    let name = || vec![Value::from(&*sql.name)];
    let columns = seat.survey(sql::SEEN_COLUMNS, name()).await.map_err(&error)?;
    let columns: Vec<Column> = columns.iter().filter_map(Column::of).collect();
    let indexed = seat.survey(sql::INDEXED, name()).await.map_err(&error)?;
    let has = |wanted: &str| {
        indexed.iter().any(|row| text_at(row, 0).is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
    };
    let grant = |missing: &str| {
        format!("as an administrator: GRANT {missing} ON {} TO the user of the URL", place.table)
    };
    let mut findings = vec![table::columns(&columns, place)];
    findings.extend(table::user(&columns, place));
    findings.push(finding::indexes(has, &place.init()));
    findings.push(finding::rights(&missing, grant));
    Ok(findings)
}

async fn writing(store: &MySqlStore) -> Finding {
    match tried_out(store).await {
        Ok(()) => finding::wrote(),
        Err(fault) => Finding::failed("writing", &store.error("try a row out")(fault)),
    }
}

/// A connection that is left in the transaction is closed, which undoes it as well.
async fn tried_out(store: &MySqlStore) -> Result<(), Fault> {
    let mut seat = store.0.surveys.seat().await?;
    seat.begin().await?;
    let mut done = Ok(());
    for statement in &store.0.sql.try_out {
        done = seat.bare(statement).await;
        if done.is_err() {
            break;
        }
    }
    let undone = seat.undo().await;
    done.and(undone)
}
