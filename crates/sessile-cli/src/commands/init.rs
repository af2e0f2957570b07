//! `sessile init`: the table and its indexes.

use clap::Args;
use serde::Serialize;

use crate::arguments::TableArgs;
use crate::error::Error;
use crate::output::{json, plain, remark};

/// Make the table and its indexes, where they are missing
///
/// Changes nothing that is there, and says what is wrong with a table that is not the one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sessile init --store sqlite:sessile.db
  sessile init --sql > migration.sql
  sessile init --feed --store postgres://localhost/shop")]
pub(crate) struct Init {
    /// Print the SQL instead; nothing is opened or made
    #[arg(long, conflicts_with = "json")]
    sql: bool,
    /// Make also the triggers that tell services with a cache what changes (PostgreSQL)
    #[arg(long)]
    feed: bool,
    #[command(flatten)]
    at: TableArgs,
}

/// What there is now.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    store: String,
    table: &'a str,
}

impl Init {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let output = self.at.output();
        let url = self.at.url();
        if self.sql {
            let mut sql = url.schema();
            if self.feed {
                sql += &url.feed_schema();
                if url.feed_schema().is_empty() {
                    remark(&format!("note: there is nothing to make for a feed in {url}"));
                }
            }
            if sql.is_empty() {
                remark(&format!("note: {url} needs no table"));
            }
            return Ok(output.text(&sql)?);
        }
        let store = url.connect().await?;
        store.init().await?;
        if self.feed {
            store.init_feed().await?;
        }
        store.check().await?;
        let table = url.table();
        output.either(
            || json::text(&Ready { store: url.to_string(), table }),
            || plain(&format!("the table {table:?} is ready in {url}")).into_owned() + "\n",
        )?;
        Ok(())
    }
}
