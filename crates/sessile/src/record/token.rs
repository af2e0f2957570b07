//! The secret in the cookie. It is made here, hashed here, and shown to nobody but the browser.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroize;

use super::id::SessionId;
use super::random::{Random, RandomError};
use super::realm::Realm;

/// Random bytes in a token: 256 bits (OWASP ASVS 7.2.3).
const SECRET_BYTES: usize = 32;
/// Characters of base64url without padding that 32 bytes make.
pub(super) const TOKEN_CHARS: usize = 43;

/// The secret that names a session: 32 random bytes as 43 characters of base64url.
///
/// The store never sees it, only [`SessionToken::id`]: SHA-256 of its characters, and of its [`Realm`] if it has one,
/// as a UUID of version 8. There is no `Display` and no `Serialize`; `Debug` shows `[redacted]`; the memory is
/// wiped when it is dropped.
#[derive(Clone)]
pub struct SessionToken {
    text: [u8; TOKEN_CHARS],
    id: SessionId,
}

/// The text cannot be a token. It says nothing about the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session token: expected 43 characters of base64url")]
pub struct InvalidSessionToken;

impl SessionToken {
    /// A new token, of no realm.
    ///
    /// # Errors
    /// When the generator fails: no weaker token is made.
    pub fn generate(random: &dyn Random) -> Result<SessionToken, RandomError> {
        SessionToken::generate_in(None, random)
    }

    /// A new token of this realm, or of none.
    ///
    /// # Errors
    /// When the generator fails: no weaker token is made.
    pub fn generate_in(realm: Option<&Realm>, random: &dyn Random) -> Result<SessionToken, RandomError> {
        let mut secret = [0; SECRET_BYTES];
        let filled = random.fill(&mut secret);
        let mut text = [0; TOKEN_CHARS];
        let encoded = URL_SAFE_NO_PAD.encode_slice(secret, &mut text);
        secret.zeroize();
        filled?;
        encoded.map_err(|error| RandomError(Box::new(error)))?;
        Ok(SessionToken::of(realm, text))
    }

    /// Reads a token as it stands in a cookie: exactly 43 characters of base64url that encode 32 bytes. It is of no
    /// realm.
    ///
    /// # Errors
    /// For anything else; no store is asked.
    pub fn parse(text: &[u8]) -> Result<SessionToken, InvalidSessionToken> {
        SessionToken::parse_in(None, text)
    }

    /// Reads a token of this realm, or of none. The characters do not tell the realm: in another one they name a
    /// session that does not exist.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_in(realm: Option<&Realm>, text: &[u8]) -> Result<SessionToken, InvalidSessionToken> {
        let text: [u8; TOKEN_CHARS] = text.try_into().map_err(|_| InvalidSessionToken)?;
        let mut secret = [0; SECRET_BYTES];
        // Also refuses the three other spellings of the last character, so that one secret has one text.
        let decoded = URL_SAFE_NO_PAD.decode_slice(text, &mut secret);
        secret.zeroize();
        match decoded {
            Ok(SECRET_BYTES) => Ok(SessionToken::of(realm, text)),
            _ => Err(InvalidSessionToken),
        }
    }

    fn of(realm: Option<&Realm>, text: [u8; TOKEN_CHARS]) -> SessionToken {
        let id = match realm {
            None => SessionId::of_secret(&text),
            Some(realm) => SessionId::of_token_in(realm, &text),
        };
        SessionToken { text, id }
    }

    /// The primary key of the session this token names.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The secret itself, for the cookie. Whoever has it is the user: do not log it.
    pub fn expose(&self) -> &str {
        // base64url is ASCII: `generate` and `parse` let nothing else in.
        str::from_utf8(&self.text).unwrap_or_default()
    }
}

impl Drop for SessionToken {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SystemRandom;

    struct Broken;
    impl Random for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
            Err(RandomError("no entropy".into()))
        }
    }

    /// [S01] [D08]
    #[test]
    fn has_256_bits_and_a_failing_generator_is_an_error() {
        let token = SessionToken::generate(&SystemRandom).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(token.expose()).unwrap().len(), 32);
        assert_ne!(token.expose(), SessionToken::generate(&SystemRandom).unwrap().expose());
        assert!(SessionToken::generate(&Broken).is_err());
    }

    /// [S02] The id is SHA-256 of the cookie's characters, cut to a UUID of version 8.
    #[test]
    fn the_id_is_a_hash() {
        let token = SessionToken::parse(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        assert_eq!(token.id().to_string(), "0f007385-b6f9-84b7-aeb2-748605afe1a9");
        assert_eq!(token.id(), SessionToken::parse(token.expose().as_bytes()).unwrap().id());
        assert!(SessionToken::parse(token.id().to_string().as_bytes()).is_err());
    }

    /// [S28] One text is another session in every realm, whatever their names have in common.
    #[test]
    fn a_realm_is_a_part_of_the_id() {
        let text = b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let id = |realm: &str| SessionToken::parse_in(Some(&Realm::new(realm).unwrap()), text).unwrap().id();
        assert_eq!(id("admin").to_string(), "7c04989f-24c3-8d33-bae4-b6f173f91257");
        let mut ids: Vec<_> = ["a", "aa", "A", "aA", "A-", "admin", "site", "sessile"].map(id).into();
        ids.push(SessionToken::parse(text).unwrap().id());
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    /// [S04]
    #[test]
    fn refuses_every_other_form() {
        let token = SessionToken::generate(&SystemRandom).unwrap();
        let good = token.expose();
        for wrong in [
            String::new(),
            good[..42].to_owned(),
            format!("{good}A"),
            format!("{good}="),
            format!("+{}", &good[1..]),
            format!("\"{}\"", &good[2..]),
            format!("é{}", &good[2..]),
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB".to_owned(),
            "a".repeat(100_000),
        ] {
            assert_eq!(SessionToken::parse(wrong.as_bytes()).unwrap_err(), InvalidSessionToken);
        }
    }

    /// [S14]
    #[test]
    fn debug_is_redacted() {
        let token = SessionToken::generate(&SystemRandom).unwrap();
        assert_eq!(format!("{token:?}"), "[redacted]");
    }
}
