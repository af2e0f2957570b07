//! `sessile purge`: removes what has expired.

use std::io::{self, IsTerminal as _};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sessile::Sessions;

use crate::arguments::TableArgs;
use crate::error::Error;
use crate::output::json;

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
        let bar = bar(&sessions).await?;
        let report = sessions.purge(|report| bar.set_position(report.removed)).await;
        bar.finish_and_clear();
        let report = report?;
        let purged = Purged { removed: report.removed, batches: report.batches };
        let sessions = if report.removed == 1 { "session" } else { "sessions" };
        Ok(output
            .either(|| json::text(&purged), || format!("removed {} expired {sessions}\n", report.removed))?)
    }
}

/// On a terminal only: counting what is to go reads the whole table.
async fn bar(sessions: &Sessions) -> Result<ProgressBar, Error> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(sessions.stats().await?.expired);
    // The template is a constant; were it wrong, the bar would look as indicatif's own.
    if let Ok(style) = ProgressStyle::with_template("purging {bar:30} {human_pos}/{human_len}, {eta} left") {
        bar.set_style(style);
    }
    Ok(bar)
}
