//! `sessile purge`: removes what has expired.

use clap::Args;
use serde::Serialize;

use crate::arguments::TableArgs;
use crate::error::Error;
use crate::output::{json, progress};

/// Remove expired sessions, in small batches beside a running service
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sessile purge --store sqlite:sessile.db")]
pub(crate) struct Purge {
    #[command(flatten)]
    at: TableArgs,
}

#[derive(Debug, Serialize)]
struct Purged {
    removed: u64,
    batches: u64,
}

impl Purge {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (sessions, output) = self.at.open().await?;
        let bar = progress::bar("purging", async { sessions.stats().await.map(|it| it.expired) }).await?;
        let report = sessions.purge(|report| bar.set_position(report.removed)).await;
        bar.finish_and_clear();
        let report = report?;
        let purged = Purged { removed: report.removed, batches: report.batches };
        let sessions = if report.removed == 1 { "session" } else { "sessions" };
        Ok(output
            .either(|| json::text(&purged), || format!("removed {} expired {sessions}\n", report.removed))?)
    }
}
