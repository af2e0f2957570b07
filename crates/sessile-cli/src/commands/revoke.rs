//! `sessile revoke`: ends one session, or all of a user's. Never all of everybody's.

use std::io::{self, IsTerminal as _, Write as _};

use clap::{ArgGroup, Args};
use serde::Serialize;
use sessile::engine::Selection;
use sessile::store::Liveness;
use sessile::{SessionId, Sessions, UserId};

use crate::arguments::{TableArgs, by, session_id, user_id};
use crate::error::Error;
use crate::output::{Output, json, plain, remark};

/// Rows read at a time while they are counted.
const PAGE: usize = 500;

/// End a session, or all sessions of a user
///
/// At once: the next request with that cookie is nobody's. Ending all of a user's asks first; without a
/// terminal it needs --yes.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("which").args(["id", "user"]).required(true),
    after_help = "Examples:
  sessile revoke 0f007385-b6f9-84b7-aeb2-748605afe1a9
  sessile revoke --user ada
  sessile revoke --user ada --yes --json"
)]
pub(crate) struct Revoke {
    /// The session's id
    #[arg(value_parser = by(session_id))]
    id: Option<SessionId>,
    /// All of this user's
    #[arg(long, value_name = "USER", value_parser = by(user_id))]
    user: Option<UserId>,
    /// Do not ask
    #[arg(long, requires = "user")]
    yes: bool,
    #[command(flatten)]
    at: TableArgs,
}

/// What was ended.
#[derive(Debug, Serialize)]
struct Ended<'a> {
    revoked: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

impl Revoke {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (sessions, output) = self.at.open().await?;
        match (self.id, &self.user) {
            (Some(id), _) => one(output, &sessions, id).await,
            (None, Some(user)) => all_of(output, &sessions, user, self.yes).await,
            // The command line is not read without either.
            (None, None) => Err(Error::Usage("name a session or a user: ID or --user USER".to_owned())),
        }
    }
}

async fn one(output: Output, sessions: &Sessions, id: SessionId) -> Result<(), Error> {
    if !sessions.revoke(id).await? {
        return Err(Error::NoSession(id));
    }
    let ended = Ended { revoked: 1, id: Some(id.to_string()), user_id: None };
    Ok(output.either(|| json::text(&ended), || format!("ended session {id}\n"))?)
}

async fn all_of(output: Output, sessions: &Sessions, user: &UserId, yes: bool) -> Result<(), Error> {
    if !yes {
        let count = Count::of(sessions, user).await?;
        if !count.is_zero() {
            confirm(&count.question(user))?;
        }
    }
    let revoked = sessions.revoke_user(user).await?;
    let ended = Ended { revoked, id: None, user_id: Some(user.as_str()) };
    Ok(output.either(
        || json::text(&ended),
        || format!("ended {} of {}\n", sessions_in_words(revoked), plain(user.as_str())),
    )?)
}

/// A user's rows.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    live: usize,
    expired: usize,
}

impl Count {
    async fn of(sessions: &Sessions, user: &UserId) -> Result<Count, Error> {
        let selection = Selection { user: Some(user.clone()), liveness: Liveness::Any };
        let (mut count, mut after, now) = (Count::default(), None, sessions.now());
        loop {
            let page = sessions.list(&selection, after, PAGE).await?;
            let live = page.records.iter().filter(|record| record.is_live(now)).count();
            count.live += live + page.malformed.len();
            count.expired += page.records.len() - live;
            after = page.next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    fn is_zero(self) -> bool {
        self.live + self.expired == 0
    }

    fn question(self, user: &UserId) -> String {
        let live = sessions_in_words(self.live);
        match self.expired {
            0 => format!("end {live} of {user}?"),
            expired => format!("end {live} of {user}, and remove {expired} expired?"),
        }
    }
}

fn sessions_in_words(count: usize) -> String {
    format!("{count} session{}", if count == 1 { "" } else { "s" })
}

/// Asks on the terminal. Anything but yes is no.
fn confirm(question: &str) -> Result<(), Error> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let needs = "there is no terminal to ask on: add --yes to do it";
        return Err(Error::Usage(format!("{question} {needs}")));
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{} [y/N] ", plain(question)).and_then(|()| stderr.flush()).map_err(Error::Answer)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Error::Answer)?;
    if !answer.ends_with('\n') {
        remark("");
    }
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Declined),
    }
}
