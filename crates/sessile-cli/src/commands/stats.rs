//! `sessile stats`: counts of the table.

use clap::Args;
use serde::Serialize;
use sessile::record::Timestamp;

use crate::arguments::TableArgs;
use crate::error::Error;
use crate::output::time::Moment;
use crate::output::{json, table};

/// Count sessions and users
///
/// Reads the whole table once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sessile stats
  sessile stats --json | jq .live")]
pub(crate) struct Stats {
    #[command(flatten)]
    at: TableArgs,
}

#[derive(Debug, Serialize)]
struct Counts {
    live: u64,
    anonymous: u64,
    users: u64,
    data_bytes: u64,
    expired: u64,
    oldest_expired: Option<String>,
}

impl Stats {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (sessions, output) = self.at.open().await?;
        let stats = sessions.stats().await?;
        let counts = Counts {
            live: stats.live,
            anonymous: stats.anonymous,
            users: stats.users,
            data_bytes: stats.data_bytes,
            expired: stats.expired,
            oldest_expired: stats.oldest_expired.map(Timestamp::to_rfc3339),
        };
        let expired = match stats.oldest_expired {
            None => stats.expired.to_string(),
            Some(at) => {
                format!(
                    "{}, the oldest {}: purge removes them",
                    stats.expired,
                    Moment::new(at, sessions.now()).both()
                )
            }
        };
        let facts = [
            ("live", stats.live.to_string()),
            ("anonymous", format!("{} of them", stats.anonymous)),
            ("users", format!("{} signed in", stats.users)),
            ("data", format!("{} bytes in live sessions", stats.data_bytes)),
            ("expired", expired),
        ];
        Ok(output.either(|| json::text(&counts), || table::facts(output, &facts))?)
    }
}
