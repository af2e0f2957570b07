//! The CSRF token: bound to the session, changed at login, compared in constant time.
//!
//! The token is derived from the session's secret, so two pages that are opened at once get the same one. It is
//! stored in the data as well, where lback reads it, and a session accepts a token only once one is stored there.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use super::{Session, SessionError};
use crate::engine::{CSRF_TOKEN, EngineError, Meta};
use crate::record::{ValueText, json};

/// Random bytes in a token; lback's has 16, as 32 hexadecimal digits.
const TOKEN_BYTES: usize = 16;

/// Cross-site request forgery.
impl Session {
    /// The token for a form; made when there is none, which stores something for this visitor.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn csrf_token(&self) -> Result<String, SessionError> {
        if let Some(token) = self.stored_csrf_token() {
            return Ok(token);
        }
        let token = self.derived_csrf_token().map_or_else(|| self.random_csrf_token(), Ok)?;
        let made = ValueText::of(CSRF_TOKEN, token.as_str())?;
        // The first one stays: another page, or Python's, may be showing it.
        let keep_or_set = move |stored: Option<&str>| match stored.filter(|text| is_token(text)) {
            Some(text) => ValueText::checked(CSRF_TOKEN, text).map(Some),
            None => Ok(Some(made.clone())),
        };
        self.update_text(CSRF_TOKEN, Arc::new(keep_or_set))?;
        Ok(token)
    }

    /// Whether this is the session's token. A session without one accepts none.
    pub fn verify_csrf(&self, token: &str) -> bool {
        let Some(stored) = self.stored_csrf_token() else { return false };
        // A page that was made while Python stored another one shows the derived one.
        let derived = self.derived_csrf_token().unwrap_or_else(|| stored.clone());
        let is = |expected: String| expected.as_bytes().ct_eq(token.as_bytes());
        bool::from(is(stored) | is(derived))
    }

    /// An empty one, which only another program can have stored, would let every form without a token in.
    fn stored_csrf_token(&self) -> Option<String> {
        self.get::<String>(CSRF_TOKEN).ok().flatten().filter(|token| !token.is_empty())
    }

    /// The token that the session's secret leads to. `None` where the session has no secret yet, or gets another one
    /// with the commit: whoever planted the old one must not know the token.
    fn derived_csrf_token(&self) -> Option<String> {
        let state = self.state();
        if state.base.is_none() || state.changes.renames() || state.changes.ends() {
            return None;
        }
        let voided = Meta::of(&state.data).csrf_voided();
        state.credential.as_ref()?.derive("sessile csrf token", voided).map(|secret| hexadecimal(&secret))
    }

    fn random_csrf_token(&self) -> Result<String, SessionError> {
        let mut bytes = [0; TOKEN_BYTES];
        self.sessions().fill_random(&mut bytes).map_err(EngineError::from)?;
        Ok(hexadecimal(&bytes))
    }

    /// A new token at the next need: the old one is void.
    pub fn forget_csrf_token(&self) {
        if self.remove(CSRF_TOKEN) {
            let mut state = self.state();
            state.changes.void_csrf();
            let mut meta = Meta::of(&state.data);
            meta.void_csrf(1);
            meta.store_in(&mut state.data);
        }
    }
}

/// Whether a stored text is a token and not something that would accept every form.
fn is_token(text: &str) -> bool {
    json::from_text::<String>(text).is_ok_and(|token| !token.is_empty())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().take(TOKEN_BYTES).map(|byte| format!("{byte:02x}")).collect()
}
