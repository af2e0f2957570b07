//! `sessile create`: a session without a browser.

use std::time::Duration;

use clap::Args;
use sessile::engine::{Credential, NewSession};
use sessile::{SessionData, UserId};

use super::show;
use crate::arguments::{SessionsArgs, by, json_object, user_id};
use crate::error::Error;
use crate::output::{remark, time};

/// Make a session
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sessile create --user ada --ttl 3600
  sessile create --data '{\"cart\": [7]}' --json
  sessile create --user ada --print-token
  sessile create --user root --print-token --realm admin")]
pub(crate) struct Create {
    /// Whose it is; anonymous without
    #[arg(long, value_name = "USER", value_parser = by(user_id))]
    user: Option<UserId>,
    /// How long it lives at first; as the policy says without
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    ttl: Option<u64>,
    /// What it starts with: a JSON object
    #[arg(long, value_name = "JSON", value_parser = by(json_object))]
    data: Option<SessionData>,
    /// Print the cookie's value too: whoever has it is signed in
    #[arg(long)]
    print_token: bool,
    /// The realm of the layer that is to know the token, as given to `SessionLayer::realm`
    #[arg(long, value_name = "NAME", requires = "print_token")]
    realm: Option<String>,
    #[command(flatten)]
    at: SessionsArgs,
}

impl Create {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (mut sessions, output) = self.at.open().await?;
        if let Some(realm) = &self.realm {
            sessions = sessions.in_realm(realm).map_err(|error| Error::Usage(error.to_string()))?;
        }
        let ttl = self.ttl.map(Duration::from_secs);
        if let (Some(ttl), Some(absolute)) = (ttl, sessions.policy().lifetimes().absolute)
            && ttl > absolute
        {
            let absolute = time::span(absolute.as_secs());
            remark(&format!("note: the policy ends it after {absolute} all the same"));
        }
        let new =
            NewSession { user: self.user, ttl, data: self.data.unwrap_or_default(), authenticated: false };
        let (credential, record) = sessions.create(new).await?;
        let token = match &credential {
            Credential::Token(token) => token.expose().to_owned(),
            // The only other way: the id itself stands in the cookie.
            _ => credential.id().to_string(),
        };
        show::print(output, &sessions, &record, self.print_token.then_some(&*token))
    }
}
