//! What can go wrong in the tool, how it is said, and the exit code.

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use sessile::engine::EngineError;
use sessile::record::SessionId;
use sessile::store::StoreError;

use crate::demo::DemoError;
use crate::output::plain;

/// A command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The command line asks for something that cannot be meant.
    #[error("{0}")]
    Usage(String),
    #[error("no live session {0}")]
    NoLiveSession(SessionId),
    #[error("no session {0}")]
    NoSession(SessionId),
    #[error("nothing was ended")]
    Declined,
    #[error("cannot read the answer")]
    Answer(#[source] io::Error),
    #[error("the data of session {id} cannot be read, so nothing was changed: {problem}")]
    Unreadable { id: SessionId, problem: String },
    #[error("{0} sessions could not be copied: see above, put it right and run it again")]
    NotAllCopied(u64),
    #[error("the journal {} cannot be used: name another with --journal", .path.display())]
    Journal {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// Said after all that was found.
    #[error("{wrong} {} wrong with {store}", if *.wrong == 1 { "thing is" } else { "things are" })]
    Wrong { wrong: usize, store: String },
    #[error("{unsound} of {read} rows {} not as {} should be", if *.unsound == 1 { "is" } else { "are" }, if *.unsound == 1 { "it" } else { "they" })]
    Unsound { unsound: usize, read: usize },
    #[error("the table to copy from cannot be read")]
    Foreign(#[source] Box<dyn StdError + Send + Sync>),
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    #[error("the program cannot start")]
    Start(#[source] io::Error),
}

impl Error {
    /// Says it on standard error, and gives the exit code: 1 failed, 2 usage, 3 no such session.
    pub(crate) fn report(&self) -> ExitCode {
        let code = match self {
            // Whoever read has read enough: `sessile list | head`.
            Error::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Error::Usage(_) | Error::Engine(EngineError::Data(_)) => 2,
            Error::NoLiveSession(_) | Error::NoSession(_) => 3,
            _ => 1,
        };
        report(self);
        ExitCode::from(code)
    }
}

/// One line for the error, one for each cause that adds something.
pub(crate) fn report(error: &dyn StdError) {
    let mut said = error.to_string();
    let mut text = format!("error: {}\n", plain(&said));
    for cause in causes(error) {
        if !said.contains(&cause) && !cause.contains(&said) {
            text.push_str(&format!("caused by: {}\n", plain(&cause)));
            said = cause;
        }
    }
    // Nobody listening is no further fault.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The error and its causes on one line.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text.push_str(": ");
        text.push_str(&cause);
    }
    text
}

fn causes(error: &dyn StdError) -> impl Iterator<Item = String> {
    std::iter::successors(error.source(), |&cause| cause.source()).map(|cause| cause.to_string())
}
