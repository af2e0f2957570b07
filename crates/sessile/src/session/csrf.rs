//! The CSRF token: bound to the session, changed at login, compared in constant time.

use subtle::ConstantTimeEq as _;

use super::{Session, SessionError};
use crate::engine::EngineError;

/// The key in the data: lback's.
pub(super) const CSRF_TOKEN: &str = "_csrf_token";
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
        let mut bytes = [0; TOKEN_BYTES];
        self.sessions().fill_random(&mut bytes).map_err(EngineError::from)?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.insert(CSRF_TOKEN, token.as_str())?;
        Ok(token)
    }

    /// Whether this is the session's token. A session without one accepts none.
    pub fn verify_csrf(&self, token: &str) -> bool {
        let expected = self.stored_csrf_token();
        expected.is_some_and(|expected| bool::from(expected.as_bytes().ct_eq(token.as_bytes())))
    }

    /// An empty one, which only another program can have stored, would let every form without a token in.
    fn stored_csrf_token(&self) -> Option<String> {
        self.get::<String>(CSRF_TOKEN).ok().flatten().filter(|token| !token.is_empty())
    }

    /// A new token at the next need: the old one is void.
    pub fn forget_csrf_token(&self) {
        self.remove(CSRF_TOKEN);
    }
}
