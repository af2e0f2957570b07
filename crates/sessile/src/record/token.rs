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

    /// Answers with bytes that count on from one call to the next, and fails after so many.
    struct Counting {
        given: std::sync::Mutex<Vec<u8>>,
        most: usize,
    }

    impl Counting {
        fn up_to(most: usize) -> Counting {
            Counting { given: Vec::new().into(), most }
        }
    }

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
            let mut given = self.given.lock().unwrap();
            for byte in bytes {
                if given.len() == self.most {
                    return Err(RandomError("no entropy".into()));
                }
                *byte = given.len() as u8 + 1;
                given.push(*byte);
            }
            Ok(())
        }
    }

    fn secret_of(token: &SessionToken) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(token.expose()).unwrap()
    }

    /// [S01] [D08] A token is 32 bytes of the generator, each of them as it was given.
    #[test]
    fn a_token_is_256_bits_of_the_generator() {
        let random = Counting::up_to(usize::MAX);
        let token = SessionToken::generate(&random).unwrap();
        assert_eq!(secret_of(&token), (1..=32).collect::<Vec<u8>>());
        assert_eq!(*random.given.lock().unwrap(), secret_of(&token), "nothing is asked for and left out");
        assert_eq!(secret_of(&SessionToken::generate(&random).unwrap()), (33..=64).collect::<Vec<u8>>());
    }

    /// [S01] The system's generator decides on each of the 256 bits. That one of them is the same in 128 tokens by
    /// chance has a probability of 1 in 2^119.
    #[test]
    fn each_bit_of_a_token_varies() {
        let (mut ones, mut zeros) = ([0u8; 32], [0u8; 32]);
        for _ in 0..128 {
            let secret = secret_of(&SessionToken::generate(&SystemRandom).unwrap());
            assert_ne!(secret[..16], secret[16..], "one half is no copy of the other");
            for (at, byte) in secret.into_iter().enumerate() {
                ones[at] |= byte;
                zeros[at] |= !byte;
            }
        }
        assert_eq!((ones, zeros), ([0xff; 32], [0xff; 32]));
    }

    /// [S01] Wherever the generator fails, there is no token.
    #[test]
    fn a_failing_generator_is_an_error() {
        for given in 0..32 {
            assert!(SessionToken::generate(&Counting::up_to(given)).is_err(), "{given} bytes");
        }
        assert!(SessionToken::generate(&Counting::up_to(32)).is_ok());
    }

    /// [S02] The id is SHA-256 of the cookie's characters, cut to a UUID of version 8.
    #[test]
    fn the_id_is_a_hash() {
        let token = SessionToken::parse(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        assert_eq!(token.id().to_string(), "0f007385-b6f9-84b7-aeb2-748605afe1a9");
        assert_eq!(token.id(), SessionToken::parse(token.expose().as_bytes()).unwrap().id());
        assert!(SessionToken::parse(token.id().to_string().as_bytes()).is_err());
    }

    /// [S02] The id depends on each character, and is no piece of the token: no six bytes of it are six bytes of the
    /// secret or of its text.
    #[test]
    fn the_id_tells_nothing_of_the_token() {
        for _ in 0..64 {
            let token = SessionToken::generate(&SystemRandom).unwrap();
            for taken_from in [secret_of(&token), token.expose().as_bytes().to_vec()] {
                let pieces: Vec<&[u8]> = taken_from.windows(6).collect();
                assert!(!token.id().as_bytes().windows(6).any(|piece| pieces.contains(&piece)));
            }
            for at in 0..32 {
                let mut other = secret_of(&token);
                other[at] ^= 1;
                let other = SessionToken::parse(URL_SAFE_NO_PAD.encode(other).as_bytes()).unwrap();
                assert_ne!(other.id(), token.id(), "byte {at}");
            }
        }
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
