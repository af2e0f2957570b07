//! `sessile set`: one key of a session's data.

use clap::Args;
use sessile::engine::Changes;
use sessile::{SessionId, Sessions};

use super::{changeable, show};
use crate::arguments::{JsonText, SessionsArgs, by, json_value, session_id};
use crate::error::{Error, chain};
use crate::output::Output;

/// Set one key of a live session's data
///
/// Merged with what others change meanwhile, like a change made by a request. The key is one at the top of the
/// object.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sessile set 0f007385-b6f9-84b7-aeb2-748605afe1a9 theme '\"dark\"'
  sessile set 0f007385-b6f9-84b7-aeb2-748605afe1a9 cart '[{\"id\": 7, \"count\": 2}]'")]
pub(crate) struct Set {
    /// The session's id
    #[arg(value_parser = by(session_id))]
    id: SessionId,
    /// The key
    key: String,
    /// The value as JSON: a text needs quotes of its own
    #[arg(value_name = "JSON", allow_negative_numbers = true, value_parser = by(json_value))]
    value: JsonText,
    #[command(flatten)]
    at: SessionsArgs,
}

impl Set {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let mut changes = Changes::new();
        changes.set_raw(&self.key, &self.value.0).map_err(|error| Error::Usage(chain(&error)))?;
        let (sessions, output) = self.at.open().await?;
        changeable(&sessions, self.id).await?;
        change(output, &sessions, self.id, &changes).await
    }
}

/// Makes the changes on a live session and prints it.
pub(super) async fn change(
    output: Output,
    sessions: &Sessions,
    id: SessionId,
    changes: &Changes,
) -> Result<(), Error> {
    let record = sessions.change(id, changes).await?.ok_or(Error::NoLiveSession(id))?;
    show::print(output, sessions, &record, None)
}
