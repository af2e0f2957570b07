//! `sessile policy`: what a preset means, in plain words.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use sessile::Policy;
use sessile::engine::{Lifetimes, Naming};

use crate::arguments::{OutputArgs, PolicyArgs, Preset};
use crate::error::Error;
use crate::output::{Output, json, table, time};

/// Show the lifetimes and limits of a policy
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sessile policy
  sessile policy --lback --json")]
pub(crate) struct Show {
    /// Short for --policy lback
    #[arg(long, conflicts_with = "policy")]
    lback: bool,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Times in seconds; null means no limit, or for the renewal never.
#[derive(Debug, Serialize)]
struct Described {
    policy: &'static str,
    naming: &'static str,
    idle_timeout: u64,
    absolute_lifetime: Option<u64>,
    remembered_idle_timeout: u64,
    remembered_absolute_lifetime: Option<u64>,
    renew_after: Option<u64>,
    max_data_bytes: usize,
    store_timeout: u64,
    keep_anonymous_data: bool,
}

impl Show {
    pub(crate) fn run(self) -> Result<(), Error> {
        let output = Output::new(self.output.json);
        let preset = if self.lback { Preset::Lback } else { self.policy.policy };
        let policy = preset.policy();
        Ok(output.either(
            || json::text(&described(preset, &policy)),
            || table::facts(output, &facts(preset, &policy)),
        )?)
    }
}

fn name(preset: Preset) -> &'static str {
    match preset {
        Preset::Default => "default",
        Preset::Lback => "lback",
    }
}

fn described(preset: Preset, policy: &Policy) -> Described {
    let (usual, remembered) = (policy.lifetimes(), policy.remembered_lifetimes());
    let seconds = |duration: Duration| duration.as_secs();
    Described {
        policy: name(preset),
        naming: if policy.naming() == Naming::Id { "id" } else { "token" },
        idle_timeout: seconds(usual.idle),
        absolute_lifetime: usual.absolute.map(seconds),
        remembered_idle_timeout: seconds(remembered.idle),
        remembered_absolute_lifetime: remembered.absolute.map(seconds),
        renew_after: policy.renews_after().map(seconds),
        max_data_bytes: policy.data_limit(),
        store_timeout: seconds(policy.store_deadline()),
        keep_anonymous_data: policy.keeps_anonymous_data(),
    }
}

fn facts(preset: Preset, policy: &Policy) -> [(&'static str, String); 8] {
    let span = |duration: Duration| time::span(duration.as_secs());
    let lifetimes = |lifetimes: Lifetimes| {
        let absolute = match lifetimes.absolute {
            Some(absolute) => format!("and {} after the sign-in, whatever happens", span(absolute)),
            None => "and never while it is in use".to_owned(),
        };
        format!("ends {} after the last request, {absolute}", span(lifetimes.idle))
    };
    let renewal = match policy.renews_after() {
        None => "only by requests that change something".to_owned(),
        Some(Duration::ZERO) => "by every request".to_owned(),
        Some(gained) => format!("by every change, otherwise when it gains at least {}", span(gained)),
    };
    let naming = match policy.naming() {
        Naming::Id => "holds the id itself: whoever reads the table can sign in as anybody",
        _ => "holds a secret of which the table has only a hash",
    };
    let carried =
        if policy.keeps_anonymous_data() { "goes along to the sign-in" } else { "ends with the sign-in" };
    [
        ("policy", name(preset).to_owned()),
        ("a session", lifetimes(policy.lifetimes())),
        ("if remembered", lifetimes(policy.remembered_lifetimes())),
        ("is renewed", renewal),
        ("the cookie", naming.to_owned()),
        ("anonymous data", carried.to_owned()),
        ("data", format!("at most {} bytes", policy.data_limit())),
        (
            "the store",
            format!("answers within {}, otherwise the request fails with 503", span(policy.store_deadline())),
        ),
    ]
}
