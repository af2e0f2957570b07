//! `sessile copy`: live sessions from one store to another, so that a switch logs nobody out.
//!
//! Reads a page, looks up the same ids at the target, writes what is wanted there, reads it back. What was
//! seen at both stores is noted in a journal: only so can a later run tell a session that has ended at one of
//! them from one that has never been there.

mod foreign;
mod journal;
mod judge;
mod source;
mod summary;
mod transfer;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use sessile::record::{Clock as _, SystemClock, Timestamp};
use sessile::store::{SessionStore, StoreError, StoreUrl};

use super::in_time;
use crate::arguments::{OutputArgs, by};
use crate::error::Error;
use crate::output::{Output, progress, remark};
use foreign::{Foreign, Format, FullUrl, Reading, Secret};
use journal::Journal;
use source::{Own, Source};
use summary::Summary;
use transfer::Transfer;

/// Copy live sessions to another store
///
/// Ids, users, data and times stay as they are, so every cookie goes on working. Expired sessions are left.
/// Every batch is read back and compared. A run that was cut short is simply run again.
///
/// To switch a running service: run it once (the bulk), switch all servers at once, run it again at once (what
/// has changed meanwhile). Of a session that is at both stores the one with the newer `updated_at` stays.
///
/// Other frameworks' sessions come with --from-format. Their ids here are made of their old cookies' values, and
/// a service that accepts the old cookie finds them by it.
///
/// The journal holds the ids that were seen at both stores. By it the second run knows what has ended since
/// the first: a session that ended at the target is not brought back, and one that ended at the source
/// (signed out, revoked, given a new id) is ended at the target too. Keep it between the runs. Without it, or
/// for a session that no run has seen, a session that is missing at the target is taken as new.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sessile copy --from sqlite:sessile.db --to postgres://web@db.example/shop --dry-run
  sessile copy --from sqlite:sessile.db --to postgres://web@db.example/shop
  sessile copy --from-format django --from postgres://db.example/site --to sqlite:sessile.db --remember
  sessile copy --from-format tower-sessions --from sqlite:old.db --to sqlite:new.db --user-key user_id
  sessile copy --from sqlite:old.db --to 'sqlite:new.db?table=web_sessions' --json")]
pub(crate) struct Copy {
    /// The store to read
    #[arg(long, value_name = "URL", env = "SESSILE_FROM", hide_env_values = true, value_parser = by(full_url))]
    from: FullUrl,
    /// Whose table that is
    #[arg(long, value_name = "FORMAT", default_value = "sessile")]
    from_format: Format,
    /// With tower-sessions: the key of the data that holds the user's id, or a path to it such as
    /// /axum-login.data/user_id
    #[arg(long, value_name = "KEY")]
    user_key: Option<String>,
    /// With Django: its SECRET_KEY, to verify signatures with; may be given several times. Better in the
    /// environment, where other users of the machine do not see it
    #[arg(long, value_name = "KEY", env = "SESSILE_DJANGO_SECRET_KEY", hide_env_values = true,
        value_parser = by(|text: &str| Ok(Secret(text.to_owned()))))]
    secret_key: Vec<Secret>,
    /// With another framework's sessions: let them outlive the browser, by the policy's longer lifetimes
    #[arg(long)]
    remember: bool,
    /// The store to write; its table is made where it is missing
    #[arg(long, value_name = "URL", env = "SESSILE_TO", hide_env_values = true, value_parser = by(store_url))]
    to: StoreUrl,
    /// Which of two different rows with one id stays
    #[arg(long, value_name = "WHICH", default_value = "newer")]
    prefer: Prefer,
    /// Where to note what was seen at both stores; one for each pair of stores
    #[arg(long, value_name = "FILE", default_value = "sessile-copy.journal")]
    journal: PathBuf,
    /// Say what would be done; write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which of two different rows with one id stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Prefer {
    /// The one that was changed last
    Newer,
    /// The one at the source
    From,
    /// The one at the target
    To,
}

fn store_url(text: &str) -> Result<StoreUrl, String> {
    let url: StoreUrl = text.parse().map_err(|error: sessile::store::StoreUrlError| error.to_string())?;
    if url.is_in_memory() {
        return Err(format!("{url} is empty, and gone when this command ends"));
    }
    Ok(url)
}

/// A store URL with its password, for sources that are not stores.
fn full_url(text: &str) -> Result<FullUrl, String> {
    Ok(FullUrl::new(store_url(text)?, text))
}

impl Copy {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (from, to) = (self.source_in_words(), self.to.to_string());
        if from == to {
            return Err(Error::Usage(format!("--from and --to are both {from}")));
        }
        let output = Output::new(self.output.json);
        let (source, now) = self.source().await?;
        let journal = Journal::open(&self.journal, &from, &to, self.dry_run)?;
        let target = if self.dry_run { self.as_it_is().await? } else { Some(self.made().await?) };
        let bar = progress::bar("copying", source.count()).await?;
        let transfer = Transfer::new(target, journal, self.prefer, self.dry_run, now, bar);
        let summary = transfer.run(source).await?;
        summary.print(output, &Summary::place(&from, &to, self.dry_run))?;
        match summary.failed {
            0 => Ok(()),
            failed => Err(Error::NotAllCopied(failed)),
        }
    }

    fn source_in_words(&self) -> String {
        match self.from_format {
            Format::Sessile => self.from.url.to_string(),
            format => format!("{} in {}", format.name(), self.from.url),
        }
    }

    /// Where to read, and the time by which a session counts as live.
    async fn source(&self) -> Result<(Source, Timestamp), Error> {
        let foreign = self.from_format != Format::Sessile;
        for (given, option) in [
            (self.user_key.is_some() && self.from_format != Format::TowerSessions, "--user-key"),
            (self.remember && !foreign, "--remember"),
        ] {
            if given {
                let format = self.from_format.name();
                return Err(Error::Usage(format!("{option} means nothing with --from-format {format}")));
            }
        }
        if !foreign {
            let store = self.from.url.connect_existing().await?;
            in_time(&*store, store.check()).await??;
            let now = earlier_clock(&*store).await?;
            return Ok((Source::Own(Own::new(store, now)), now));
        }
        if self.from_format == Format::Django && self.secret_key.is_empty() {
            remark("note: without --secret-key Django's signatures are not verified: the table is trusted");
        }
        let reading = Reading {
            format: self.from_format,
            user_key: self.user_key.clone(),
            secret_keys: self.secret_key.clone(),
            remember: self.remember,
        };
        let now = SystemClock.now();
        Ok((Source::Foreign(Box::new(Foreign::open(&self.from, reading, now).await?)), now))
    }

    /// The target, with a table. One that is there is left as it is: who may write rows need not have the
    /// right to make tables.
    async fn made(&self) -> Result<Arc<dyn SessionStore>, Error> {
        let target = self.to.connect().await?;
        if let Err(StoreError::Schema { .. }) = in_time(&*target, target.check()).await? {
            in_time(&*target, target.init()).await??;
        }
        in_time(&*target, target.check()).await??;
        Ok(target)
    }

    /// The target if it is there: a dry run makes nothing.
    async fn as_it_is(&self) -> Result<Option<Arc<dyn SessionStore>>, Error> {
        let found = match self.to.connect_existing().await {
            Ok(target) => in_time(&*target, target.check()).await?.map(|()| target),
            Err(error) => Err(error),
        };
        match found {
            Ok(target) => Ok(Some(target)),
            Err(error @ StoreError::Schema { .. }) => {
                remark(&format!("note: the target is taken as empty: {error}"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What either this machine's clock or the source's own holds for live is copied: an expired row more does no
/// harm, a live one less does.
async fn earlier_clock(source: &dyn SessionStore) -> Result<Timestamp, Error> {
    let ours = SystemClock.now();
    Ok(in_time(source, source.clock()).await??.map_or(ours, |theirs| ours.min(theirs)))
}
