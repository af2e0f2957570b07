//! `sessile show`: one session, all of it but its token.

use clap::Args;
use sessile::record::{SessionRecord, StoredData};
use sessile::{SessionId, Sessions};

use crate::arguments::{SessionsArgs, by, session_id};
use crate::error::{Error, chain};
use crate::output::time::Moment;
use crate::output::{Output, json, table};

/// Show one session, live or not
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sessile show 0f007385-b6f9-84b7-aeb2-748605afe1a9
  sessile show 0f007385-b6f9-84b7-aeb2-748605afe1a9 --json | jq .data")]
pub(crate) struct Show {
    /// The session's id
    #[arg(value_parser = by(session_id))]
    id: SessionId,
    #[command(flatten)]
    at: SessionsArgs,
}

impl Show {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (sessions, output) = self.at.open().await?;
        let record = sessions.get(self.id).await?.ok_or(Error::NoSession(self.id))?;
        print(output, &sessions, &record, None)
    }
}

/// Prints a session; `token` only when it was asked for.
pub(super) fn print(
    output: Output,
    sessions: &Sessions,
    record: &SessionRecord,
    token: Option<&str>,
) -> Result<(), Error> {
    output.either(
        || json::session(sessions, record, token),
        || table::facts(output, &facts(sessions, record, token)),
    )?;
    Ok(())
}

fn facts(sessions: &Sessions, record: &SessionRecord, token: Option<&str>) -> Vec<(&'static str, String)> {
    let now = sessions.now();
    let moment = |at| Moment::new(at, now).both();
    let optional = |at: Option<_>| at.map_or_else(|| "NULL".to_owned(), moment);
    let described = sessions.describe(record);
    let mut facts = vec![
        ("id", record.id().to_string()),
        ("user", record.user_id().map_or_else(|| "nobody".to_owned(), ToString::to_string)),
        ("state", state(sessions, record).to_owned()),
        ("created", optional(record.created_at())),
        ("expires", moment(record.expires_at())),
        ("updated", optional(record.updated_at())),
        ("signed in", described.authenticated_at.map_or_else(|| "not known".to_owned(), moment)),
        ("remembered", if described.remembered { "yes" } else { "no" }.to_owned()),
    ];
    if let Some(device) = described.device {
        facts.push(("device", device));
    }
    if let Some(token) = token {
        facts.push(("token", token.to_owned()));
    }
    facts.push(("data", data(record.stored_data())));
    if let Err(error) = record.try_data() {
        facts.push(("data error", chain(&error)));
    }
    facts
}

fn data(stored: &StoredData) -> String {
    match (stored, stored.as_text()) {
        (StoredData::Null, _) => "NULL".to_owned(),
        (_, Some(text)) => text.to_owned(),
        (_, None) => format!("{} bytes that are no text", stored.len()),
    }
}

/// Whether it is alive, and if not, what ended it.
pub(super) fn state(sessions: &Sessions, record: &SessionRecord) -> &'static str {
    if sessions.is_live(record) {
        "live"
    } else if record.is_live(sessions.now()) {
        "over: past the policy's absolute lifetime"
    } else {
        "expired"
    }
}
