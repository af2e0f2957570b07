//! `sessile list`: many sessions, page by page. The whole table is never in memory.

use std::cmp::Ordering;

use clap::Args;
use sessile::engine::Selection;
use sessile::record::SessionRecord;
use sessile::store::{ListPage, Liveness, MalformedRow};
use sessile::{Sessions, UserId};

use super::show::state;
use crate::arguments::{SessionsArgs, by, user_id};
use crate::error::Error;
use crate::output::table::{Column, Table};
use crate::output::time::Moment;
use crate::output::{Output, json, remark};

/// Rows read at a time.
const PAGE: usize = 500;

/// Rows in a table unless more are asked for.
const SCREENFUL: usize = 100;

/// List sessions, ordered by id
///
/// The live ones, by their expiry, unless told otherwise. A row that cannot be read is reported on standard
/// error and passed by; with --json it is an object with `id` and `error`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sessile list --user ada
  sessile list --expired --limit 0
  sessile list --json | jq -r 'select(.remembered) | .id'")]
pub(crate) struct List {
    /// Only this user's
    #[arg(long, value_name = "USER", value_parser = by(user_id))]
    user: Option<UserId>,
    /// Those that have expired and are not purged yet
    #[arg(long, conflicts_with = "all")]
    expired: bool,
    /// Live and expired ones
    #[arg(long)]
    all: bool,
    /// At most so many, 0 for all [default: 100, with --json all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    at: SessionsArgs,
}

/// A row of a page.
enum Row {
    Session(SessionRecord),
    Malformed(MalformedRow),
}

const COLUMNS: &[Column] = &[
    Column { head: "id", dispensable: 0 },
    Column { head: "expires", dispensable: 0 },
    Column { head: "exactly", dispensable: 2 },
    Column { head: "user", dispensable: 0 },
    Column { head: "updated", dispensable: 3 },
    Column { head: "data", dispensable: 4 },
];

impl List {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (sessions, output) = self.at.open().await?;
        let limit = match self.limit {
            Some(0) => usize::MAX,
            Some(limit) => limit,
            None if output.is_json() => usize::MAX,
            None => SCREENFUL,
        };
        let selection = self.selection();
        let mut table = Table::new(COLUMNS);
        let (mut seen, mut after) = (0, None);
        while seen < limit {
            let mut page = sessions.list(&selection, after, PAGE.min(limit - seen)).await?;
            after = page.next.take();
            let rows = rows(page);
            seen += rows.len();
            print(output, &sessions, &mut table, &rows)?;
            if after.is_none() {
                break;
            }
        }
        if seen == 0 && !output.is_json() {
            remark("no such sessions");
        } else if after.is_some() {
            remark(&format!("there are more than these {seen}: --limit N shows more, --limit 0 all"));
        }
        Ok(())
    }

    fn selection(&self) -> Selection {
        let liveness = match (self.expired, self.all) {
            (true, _) => Liveness::Expired,
            (_, true) => Liveness::Any,
            _ => Liveness::Live,
        };
        Selection { user: self.user.clone(), liveness }
    }
}

/// What can be read and what cannot, in one order.
fn rows(page: ListPage) -> Vec<Row> {
    let mut rows: Vec<Row> = page.records.into_iter().map(Row::Session).collect();
    if !page.malformed.is_empty() {
        rows.extend(page.malformed.into_iter().map(Row::Malformed));
        rows.sort_by(order);
    }
    rows
}

fn order(one: &Row, other: &Row) -> Ordering {
    let id = |row: &Row| match row {
        Row::Session(record) => record.id().to_string(),
        Row::Malformed(row) => row.id.clone(),
    };
    id(one).cmp(&id(other))
}

fn print(output: Output, sessions: &Sessions, table: &mut Table, rows: &[Row]) -> Result<(), Error> {
    for row in rows {
        if let Row::Malformed(row) = row {
            remark(&row.to_string());
        }
    }
    let text = if output.is_json() {
        rows.iter().map(|row| object(sessions, row) + "\n").collect()
    } else {
        let cells: Vec<_> = rows
            .iter()
            .filter_map(|row| match row {
                Row::Session(record) => Some(cells(sessions, record)),
                Row::Malformed(_) => None,
            })
            .collect();
        if cells.is_empty() { String::new() } else { table.part(output, &cells) }
    };
    Ok(output.text(&text)?)
}

fn object(sessions: &Sessions, row: &Row) -> String {
    match row {
        Row::Session(record) => json::session(sessions, record, None),
        Row::Malformed(row) => json::malformed(row),
    }
}

fn cells(sessions: &Sessions, record: &SessionRecord) -> Vec<String> {
    let now = sessions.now();
    let expires = Moment::new(record.expires_at(), now);
    let over = record.is_live(now) && !sessions.is_live(record);
    vec![
        record.id().to_string(),
        if over { state(sessions, record).to_owned() } else { expires.relative },
        expires.exact,
        record.user_id().map(ToString::to_string).unwrap_or_default(),
        record.updated_at().map(|at| Moment::new(at, now).relative).unwrap_or_default(),
        format!("{} bytes", record.stored_data().len()),
    ]
}
