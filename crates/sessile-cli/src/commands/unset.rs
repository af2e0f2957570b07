//! `sessile unset`: one key of a session's data less.

use clap::Args;
use sessile::SessionId;
use sessile::engine::Changes;
use sessile::record::{DataError, RESERVED_KEY};

use super::{changeable, set, show};
use crate::arguments::{SessionsArgs, by, session_id};
use crate::error::Error;
use crate::output::remark;

/// Remove one key of a live session's data
///
/// A key that is not there is no failure: it is said, and the exit code is 0.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sessile unset 0f007385-b6f9-84b7-aeb2-748605afe1a9 theme")]
pub(crate) struct Unset {
    /// The session's id
    #[arg(value_parser = by(session_id))]
    id: SessionId,
    /// The key
    key: String,
    #[command(flatten)]
    at: SessionsArgs,
}

impl Unset {
    pub(crate) async fn run(self) -> Result<(), Error> {
        if self.key == RESERVED_KEY {
            return Err(Error::Usage(DataError::Reserved.to_string()));
        }
        let (sessions, output) = self.at.open().await?;
        let before = changeable(&sessions, self.id).await?;
        if !before.data().contains(&self.key) {
            remark(&format!("note: the session has no key {:?}, nothing was changed", self.key));
            return show::print(output, &sessions, &before, None);
        }
        let mut changes = Changes::new();
        changes.remove(&self.key);
        set::change(output, &sessions, self.id, &changes).await
    }
}
