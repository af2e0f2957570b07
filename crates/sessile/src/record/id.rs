//! The public name of a session: the row's primary key. Never a credential.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::random::{Random, RandomError};
use super::realm::Realm;
use super::token::TOKEN_CHARS;

/// The row's primary key: a UUID, written as 36 lower-case characters.
///
/// It may be shown, logged and typed into the tool. In the default cookie mode it is made from the
/// [`SessionToken`](super::SessionToken) by a one-way function, so knowing it signs nobody in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

/// The text is not 36 lower-case characters of a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a session id: expected a UUID of 36 lower-case characters, such as 6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11"
)]
pub struct InvalidSessionId;

/// Sets the ids of a realm apart. Its zero byte stands in no cookie, so neither a token nor another framework's cookie
/// begins with it.
const REALM_LABEL: &[u8] = b"sessile realm\0";
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl SessionId {
    /// A new random UUID (version 4), as Python's `uuid.uuid4()`.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn random(random: &dyn Random) -> Result<SessionId, RandomError> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes)?;
        Ok(SessionId::with_version(bytes, 4))
    }

    /// The id of the session that a secret names: the first half of the secret's SHA-256 as a UUID of
    /// version 8. For a [`SessionToken`](super::SessionToken) the secret is its text. Sessions of
    /// another framework that keep their cookie get their id in the same way.
    pub fn of_secret(secret: &[u8]) -> SessionId {
        SessionId::of_hash(Sha256::new_with_prefix(secret))
    }

    /// The same in a realm: no two realms make one id of one token, and none makes the id that
    /// [`of_secret`](Self::of_secret) makes.
    ///
    /// The hash takes a label, the length of the realm's name in one byte, the name and the token.
    pub(super) fn of_token_in(realm: &Realm, token: &[u8; TOKEN_CHARS]) -> SessionId {
        let name = realm.name().as_bytes();
        let mut hash = Sha256::new_with_prefix(REALM_LABEL);
        // At most 64: see `Realm::new`.
        hash.update([name.len() as u8]);
        hash.update(name);
        hash.update(token);
        SessionId::of_hash(hash)
    }

    fn of_hash(hash: Sha256) -> SessionId {
        let digest: [u8; 32] = hash.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        SessionId::with_version(bytes, 8)
    }

    /// A UUID of the given version in RFC 9562's variant, made of these bytes.
    pub(crate) fn with_version(mut bytes: [u8; 16], version: u8) -> SessionId {
        bytes[6] = (bytes[6] & 0x0f) | (version << 4);
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        SessionId(bytes)
    }

    /// The id from its sixteen bytes, in the order they are written.
    pub const fn from_bytes(bytes: [u8; 16]) -> SessionId {
        SessionId(bytes)
    }

    /// The sixteen bytes, in the order they are written.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The 36 characters, on the stack.
    pub fn to_text(&self) -> IdText {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for byte in self.0 {
            if HYPHENS.contains(&at) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 0x0f)];
            at += 2;
        }
        IdText(text)
    }

    /// Reads exactly 36 bytes, lower case, hyphens in their places.
    pub(crate) fn parse_bytes(text: &[u8]) -> Result<SessionId, InvalidSessionId> {
        let text: &[u8; 36] = text.try_into().map_err(|_| InvalidSessionId)?;
        let mut bytes = [0; 16];
        let mut at = 0;
        for byte in &mut bytes {
            if HYPHENS.contains(&at) {
                if text[at] != b'-' {
                    return Err(InvalidSessionId);
                }
                at += 1;
            }
            *byte = (hex_value(text[at])? << 4) | hex_value(text[at + 1])?;
            at += 2;
        }
        Ok(SessionId(bytes))
    }
}

fn hex_value(digit: u8) -> Result<u8, InvalidSessionId> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(InvalidSessionId),
    }
}

/// The 36 characters of a [`SessionId`], on the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdText([u8; 36]);

impl IdText {
    /// The text.
    pub fn as_str(&self) -> &str {
        // Only hexadecimal digits and hyphens are ever written.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<SessionId, InvalidSessionId> {
        SessionId::parse_bytes(text.as_bytes())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_text().as_str())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SystemRandom;

    /// [C04] [C05]
    #[test]
    fn reads_only_the_canonical_form() {
        let text = "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11";
        assert_eq!(text.parse::<SessionId>().unwrap().to_string(), text);
        for wrong in [
            "",
            "6f1c4b1e",
            "6F1C4B1E-8A0F-4C57-9D0A-3F6C2B7E5D11",
            "6f1c4b1e8a0f4c579d0a3f6c2b7e5d11",
            "{6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11}",
            "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d1é",
            "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11 ",
            "6f1c4b1e08a0f-4c57-9d0a-3f6c2b7e5d11",
        ] {
            assert_eq!(wrong.parse::<SessionId>(), Err(InvalidSessionId), "{wrong}");
        }
    }

    #[test]
    fn random_ids_are_version_4() {
        let id = SessionId::random(&SystemRandom).unwrap().to_string();
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]));
    }
}
