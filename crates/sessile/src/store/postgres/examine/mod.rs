//! Looks at a database as a person on call would. It reads, and it tries a row out in a transaction that is
//! undone: nothing is left behind but a dead row's place, which vacuum takes.

mod server;
mod table;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::Fault;
use super::link::{Duty, Link};
use super::{PostgresStore, no_row, schema, sql};
use crate::record::Clock;
use crate::store::{Finding, StoreError, Verdict, finding};

use server::{Server, Settings};
use table::{Column, Table};

/// The server first, then the table, then what a commit is worth.
pub(super) async fn examine(store: &PostgresStore, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
    let place = &store.0.place;
    let settings = store.survey(sql::SEEN_SETTINGS, &[]).await.map_err(store.error("examine"))?;
    let settings = Settings::of(&settings);
    let server = store.survey(sql::SEEN_SERVER, &[]).await;
    let server = server.and_then(|rows| Ok(Server::of(rows.first().ok_or_else(no_row)?)?));
    let server = server.map_err(store.error("examine"))?;

    let mut findings = server::reached(&settings, &server, place);
    findings.push(pooler(store).await);
    findings.extend(finding::clocks(store, clock).await);
    let checked = store.survey(sql::CHECK, &[(&store.0.sql.table(), Type::TEXT)]).await;
    let checked = checked.map_err(store.error("check")).and_then(|rows| {
        schema::note(&rows, place);
        schema::shape(&rows, place)
    });
    let readable = checked.is_ok();
    if let Err(error) = checked {
        findings.push(Finding::failed("table", &error));
    }
    if readable {
        match of_table(store).await {
            Ok(found) => findings.extend(found),
            Err(fault) => findings.push(Finding::failed("table", &store.error("examine")(fault))),
        }
        let writable = !server.follows;
        let hopeless = |it: &Finding| it.verdict == Verdict::Wrong && it.subject == "privileges";
        if writable && !findings.iter().any(hopeless) {
            findings.push(writing(store).await);
        }
    }
    findings.extend(server::durability(&settings, &server));
    Ok(findings)
}

/// Which pooler is in between, and whether the store is told of it. Makes two connections for a moment.
async fn pooler(store: &PostgresStore) -> Finding {
    let dialler = &store.0.dialler;
    match dialler.target(Duty::Surveys).pooler(store.0.place.limit.length()).await {
        Ok(found) => server::pooler(found, dialler.pooled, dialler.can_listen()),
        Err(fault) => Finding::failed("pooler", &store.error("look for a pooler")(fault)),
    }
}

async fn of_table(store: &PostgresStore) -> Result<Vec<Finding>, Fault> {
    let place = &store.0.place;
    let name = store.0.sql.table();
    let ask = async |statement: &str| store.survey(statement, &[(&name, Type::TEXT)]).await;
    let columns = ask(sql::SEEN_COLUMNS).await?.iter().map(Column::of).collect::<Result<Vec<_>, _>>()?;
    let indexed = ask(sql::SEEN_INDEXES).await?;
    let indexed: Vec<&str> = indexed.iter().filter_map(|row| row.try_get(0).ok()).collect();
    let rows = ask(sql::SEEN_TABLE).await?;
    let table = Table::of(rows.first().ok_or_else(no_row)?)?;

    let mut findings = vec![table::columns(&columns, place)];
    findings.extend(table::user(&columns, place));
    findings.push(finding::indexes(|wanted| indexed.contains(&wanted), &place.init()));
    findings.extend(table::rights(&table, place));
    findings.extend(table::keeping(&table, place));
    Ok(findings)
}

/// On a connection of its own: nobody else's statement comes into the transaction, and whatever fails ends
/// with the connection.
async fn writing(store: &PostgresStore) -> Finding {
    let link = Link::start(&store.0.dialler, Duty::Surveys);
    match link.batch(&store.0.sql.try_out).await {
        Ok(()) => finding::wrote(),
        Err(fault) => Finding::failed("writing", &store.error("try a row out")(fault)),
    }
}

/// A value that a column must have.
fn text(row: &Row, at: usize) -> Result<String, Fault> {
    Ok(row.try_get(at)?)
}
