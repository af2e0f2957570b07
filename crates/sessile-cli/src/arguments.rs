//! The command line: what can be asked for, and what several commands take.
//!
//! An argument that is refused is never repeated in the message: it may be somebody's data, or a token typed
//! in the place of an id.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use sessile::record::json;
use sessile::store::StoreUrl;
use sessile::{Policy, SessionData, SessionId, SessionToken, UserId};

use crate::commands::{
    copy, create, doctor, init, list, policy, purge, revoke, set, show, stats, touch, unset, verify,
};
use crate::demo::DemoArgs;
use crate::error::{self, chain};

/// Look after a table of sessions.
///
/// Every command prints a table for people, or JSON for programs with --json. The store is named with
/// --store or SESSILE_STORE.
#[derive(Debug, Parser)]
#[command(name = "sessile", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  export SESSILE_STORE=sqlite:sessile.db
  sessile init
  sessile create --user ada --data '{\"theme\": \"dark\"}'
  sessile list --user ada
  sessile revoke --user ada

Exit codes: 0 done, 1 failed, 2 usage, 3 no such session.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open a small shop in your browser, to see sessions at work
    Demo(DemoArgs),
    Init(init::Init),
    Create(create::Create),
    Show(show::Show),
    Set(set::Set),
    Unset(unset::Unset),
    Touch(touch::Touch),
    List(list::List),
    Revoke(revoke::Revoke),
    Purge(purge::Purge),
    Copy(copy::Copy),
    Stats(stats::Stats),
    Doctor(doctor::Doctor),
    Verify(verify::Verify),
    Policy(policy::Show),
}

/// Where the sessions are.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The store: sqlite:PATH, postgres://HOST/DATABASE, mysql://HOST/DATABASE, redis://HOST,
    /// redis-sentinel://HOST,HOST/NAME, redis-cluster://HOST,HOST
    #[arg(
        long,
        value_name = "URL",
        env = "SESSILE_STORE",
        hide_env_values = true,
        default_value = "sqlite:sessile.db",
        value_parser = by(|text: &str| text.parse::<StoreUrl>().map_err(|error| error.to_string()))
    )]
    pub(crate) store: StoreUrl,
}

/// How to print.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// By which policy to judge and to renew.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PolicyArgs {
    /// The policy of the service that uses the table
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) policy: Preset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    Default,
    Lback,
}

impl Preset {
    pub(crate) fn policy(self) -> Policy {
        match self {
            Preset::Default => Policy::new(),
            Preset::Lback => Policy::lback(),
        }
    }
}

/// What every command on a table takes: where it is, and how to print.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What every command takes that judges or renews sessions: by which policy, too.
#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) table: TableArgs,
}

/// One value of JSON text, checked.
#[derive(Debug, Clone)]
pub(crate) struct JsonText(pub(crate) String);

/// A parser made of a function whose error is a message.
pub(crate) fn by<T: Clone + Send + Sync + 'static>(
    parse: impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static,
) -> impl TypedValueParser<Value = T> {
    StringValueParser::new().try_map(move |text| parse(&text))
}

pub(crate) fn session_id(text: &str) -> Result<SessionId, String> {
    text.parse::<SessionId>().map_err(|error| error.to_string())
}

pub(crate) fn user_id(text: &str) -> Result<UserId, String> {
    UserId::new(text).map_err(|error| error.to_string())
}

pub(crate) fn json_value(text: &str) -> Result<JsonText, String> {
    match json::check(text) {
        Ok(()) => Ok(JsonText(text.to_owned())),
        Err(error) => Err(format!("{error} (a JSON value is needed, for example 3, '\"dark\"' or '[1, 2]')")),
    }
}

pub(crate) fn json_object(text: &str) -> Result<SessionData, String> {
    let parsed = if text.is_empty() { Err("the text is empty".to_owned()) } else { Ok(text) };
    parsed.and_then(|text| SessionData::parse(text.into()).map_err(|error| chain(&error))).map_err(
        |problem| format!("{problem} (a JSON object is needed, for example '{{\"theme\": \"dark\"}}')"),
    )
}

/// Reads the command line; on failure, or for `--help`, everything is said and the exit code is left.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let tokens = arguments.iter().any(|it| SessionToken::parse(it.as_encoded_bytes()).is_ok());
    Arguments::try_parse_from(arguments).map_err(|refused| {
        if tokens {
            let instead = "name the session by its id";
            error::report(&error::Error::Usage(format!(
                "a token is a secret and never an argument: {instead}"
            )));
            return ExitCode::from(2);
        }
        let cause = std::error::Error::source(&refused);
        if let (ErrorKind::ValueValidation, Some(cause)) = (refused.kind(), cause) {
            let argument = match refused.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(argument)) => argument,
                _ => "an argument",
            };
            error::report(&error::Error::Usage(format!("{argument}: {cause}")));
            return ExitCode::from(2);
        }
        // Nobody listening is no further fault.
        let _ = refused.print();
        if refused.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }
}
