//! `sessile touch`: a session lives longer.

use clap::Args;
use sessile::SessionId;

use super::{live, show};
use crate::arguments::{SessionsArgs, by, session_id};
use crate::error::Error;
use crate::output::remark;

/// Move a live session's end forward, as a request would
///
/// Never back, and never past the policy's absolute lifetime.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sessile touch 0f007385-b6f9-84b7-aeb2-748605afe1a9")]
pub(crate) struct Touch {
    /// The session's id
    #[arg(value_parser = by(session_id))]
    id: SessionId,
    #[command(flatten)]
    at: SessionsArgs,
}

impl Touch {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (sessions, output) = self.at.open().await?;
        let before = live(&sessions, self.id).await?;
        let record = sessions.touch(self.id).await?.ok_or(Error::NoLiveSession(self.id))?;
        if record.expires_at() <= before.expires_at() {
            remark("note: the policy gives it no later end, nothing was changed");
        }
        show::print(output, &sessions, &record, None)
    }
}
