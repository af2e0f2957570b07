//! `sessile verify`: the rows that are not sessions as they should be.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use sessile::engine::Selection;
use sessile::record::{SessionRecord, Timestamp};
use sessile::store::{ListPage, Liveness};

use crate::arguments::TableArgs;
use crate::error::{Error, chain};
use crate::output::{cut, json, plain, progress};

/// Rows read at a time.
const PAGE: usize = 500;

/// How far apart the clocks of two machines may be.
const CLOCK_AHEAD: Duration = Duration::from_secs(60);

/// Columns of a foreign key that are shown.
const KEY_WIDTH: usize = 80;

/// Read all rows, live and expired, and report those that are not as they should be
///
/// Data that is no JSON object, an id that is no UUID, a time that cannot be read or, for created_at, is missing
/// or in the future. Reported are the id and the problem, never data; with --json one object for each problem. Changes
/// nothing. The exit code is 0 when there is none, 1 when there are some.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sessile verify --store sqlite:sessile.db
  sessile verify --json | jq -r .id")]
pub(crate) struct Verify {
    #[command(flatten)]
    at: TableArgs,
}

/// What is wrong with a row.
#[derive(Debug, Serialize)]
struct Problem {
    id: String,
    problem: String,
}

impl Verify {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (sessions, output) = self.at.open().await?;
        let rows = async { sessions.stats().await.map(|it| it.live + it.expired) };
        let bar = progress::bar("verifying", rows).await?;
        let selection = Selection { user: None, liveness: Liveness::Any };
        let (mut read, mut unsound, mut after) = (0, 0, None);
        loop {
            let mut page = sessions.list(&selection, after, PAGE).await?;
            after = page.next.take();
            read += page.records.len() + page.malformed.len();
            let problems = problems(page, sessions.now());
            unsound += problems.len();
            let lines: String = problems
                .iter()
                .map(|it| if output.is_json() { json::text(it) } else { it.line() } + "\n")
                .collect();
            bar.suspend(|| output.text(&lines))?;
            bar.set_position(u64::try_from(read).unwrap_or(u64::MAX));
            if after.is_none() {
                break;
            }
        }
        bar.finish_and_clear();
        if unsound > 0 {
            return Err(Error::Unsound { unsound, read });
        }
        if !output.is_json() {
            output.line(&format!("all {read} rows are as they should be"))?;
        }
        Ok(())
    }
}

/// In the order of the ids, each row once.
fn problems(page: ListPage, now: Timestamp) -> Vec<Problem> {
    let mut problems: Vec<Problem> = page
        .malformed
        .into_iter()
        .map(|row| Problem { id: row.id, problem: row.problem })
        .chain(page.records.iter().filter_map(|record| judged(record, now)))
        .collect();
    problems.sort_by(|one, other| one.id.cmp(&other.id));
    problems
}

fn judged(record: &SessionRecord, now: Timestamp) -> Option<Problem> {
    let no_beginning = record
        .created_at()
        .is_none()
        .then(|| "created_at is NULL: no absolute lifetime ends the session, only its expires_at".to_owned());
    let no_object = record.try_data().err().map(|error| chain(&error));
    let future = record.created_at().filter(|began| *began > now.saturating_add(CLOCK_AHEAD)).map(|began| {
        format!(
            "created_at is {began}, in the future: a clock was wrong, and the session may not be accepted"
        )
    });
    let problems: Vec<String> = no_object.into_iter().chain(no_beginning).chain(future).collect();
    let problem = problems.join("; ");
    (!problem.is_empty()).then(|| Problem { id: record.id().to_string(), problem })
}

impl Problem {
    fn line(&self) -> String {
        format!("{}  {}", cut(&plain(&self.id), KEY_WIDTH), plain(&self.problem))
    }
}
