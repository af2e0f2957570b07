//! The commands. Each has its arguments and its work in a file of its own; what several need stands here.
//!
//! None of them ever prints a token but `create --print-token`.

pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod policy;
pub(crate) mod purge;
pub(crate) mod revoke;
pub(crate) mod set;
pub(crate) mod show;
pub(crate) mod stats;
pub(crate) mod touch;
pub(crate) mod unset;
pub(crate) mod verify;

use std::time::Duration;

use sessile::record::SessionRecord;
use sessile::store::{SessionStore, StoreError, StoreUrl};
use sessile::{Policy, SessionId, Sessions};

use crate::arguments::{Command, SessionsArgs, TableArgs};
use crate::demo;
use crate::error::{Error, chain};
use crate::output::{Output, remark};

/// How long one answer of the store may take. No request waits for the tool, and ending a million sessions
/// of one user is one statement.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Demo(arguments) => Ok(demo::run(arguments).await?),
        Command::Init(command) => command.run().await,
        Command::Create(command) => command.run().await,
        Command::Show(command) => command.run().await,
        Command::Set(command) => command.run().await,
        Command::Unset(command) => command.run().await,
        Command::Touch(command) => command.run().await,
        Command::List(command) => command.run().await,
        Command::Revoke(command) => command.run().await,
        Command::Purge(command) => command.run().await,
        Command::Copy(command) => command.run().await,
        Command::Stats(command) => command.run().await,
        Command::Doctor(command) => command.run().await,
        Command::Verify(command) => command.run().await,
        Command::Policy(command) => command.run(),
    }
}

/// Waits for a store that is used without [`Sessions`], but not for ever.
async fn in_time<T>(store: &dyn SessionStore, answer: impl Future<Output = T>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, answer)
        .await
        .map_err(|_| StoreError::Timeout { store: store.name(), after: PATIENCE })
}

impl TableArgs {
    fn url(&self) -> &StoreUrl {
        &self.store.store
    }

    fn output(&self) -> Output {
        Output::new(self.output.json)
    }

    /// The sessions there, for what is the same under every policy.
    async fn open(&self) -> Result<(Sessions, Output), Error> {
        self.open_by(Policy::default()).await
    }

    /// The sessions in a store that is there already.
    async fn open_by(&self, policy: Policy) -> Result<(Sessions, Output), Error> {
        let url = self.url();
        if url.is_in_memory() {
            remark(&format!("note: {url} is empty, and gone when this command ends"));
        }
        let store = url.connect_existing().await?;
        if url.is_in_memory() {
            store.init().await?;
        }
        Ok((Sessions::builder(store).policy(policy.store_timeout(PATIENCE)).build(), self.output()))
    }
}

impl SessionsArgs {
    /// The sessions there, by the policy that was named.
    async fn open(&self) -> Result<(Sessions, Output), Error> {
        self.table.open_by(self.policy.policy.policy()).await
    }
}

/// The row with this id, which has to be a live session.
async fn live(sessions: &Sessions, id: SessionId) -> Result<SessionRecord, Error> {
    let record = sessions.get(id).await?.ok_or(Error::NoSession(id))?;
    if sessions.is_live(&record) { Ok(record) } else { Err(Error::NoLiveSession(id)) }
}

/// A live session whose data can be changed key by key. What cannot be read would be lost by a change, and
/// it may be worth a look first.
async fn changeable(sessions: &Sessions, id: SessionId) -> Result<SessionRecord, Error> {
    let record = live(sessions, id).await?;
    match record.try_data() {
        Ok(_) => Ok(record),
        Err(error) => Err(Error::Unreadable { id, problem: chain(&error) }),
    }
}
