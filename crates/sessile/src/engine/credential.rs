//! What a request shows to name a session.

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::record::{SessionId, SessionToken};

/// What one request shows: nothing or one thing, but for planted cookies.
pub(crate) type Credentials = SmallVec<[Credential; 1]>;

/// What a request shows, or is given, to name a session.
///
/// `Debug` shows the id, which is public, and never the token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// The secret: see [`Naming::Token`](super::Naming::Token).
    Token(SessionToken),
    /// The id: see [`Naming::Id`](super::Naming::Id).
    Id(SessionId),
    /// The value of another framework's cookie, of which only the id is kept: see
    /// [`SessionId::of_secret`]. The first change gives the session a credential of ours.
    Old(SessionId),
}

impl Credential {
    /// The session it names.
    pub fn id(&self) -> SessionId {
        match self {
            Credential::Token(token) => token.id(),
            Credential::Id(id) | Credential::Old(id) => *id,
        }
    }

    /// A secret derived from this one, which whoever holds the derived one cannot turn back: another one for each
    /// purpose and number. `None` where the secret is not kept.
    pub(crate) fn derive(&self, purpose: &str, number: u64) -> Option<[u8; 32]> {
        let id;
        let secret = match self {
            Credential::Token(token) => token.expose(),
            Credential::Id(own) => {
                id = own.to_string();
                &id
            }
            Credential::Old(_) => return None,
        };
        let mut hash = Sha256::new();
        // The lengths are fixed, or stand before what they belong to: no two inputs hash the same bytes.
        hash.update(purpose.len().to_be_bytes());
        hash.update(purpose);
        hash.update(number.to_be_bytes());
        hash.update(secret);
        Some(hash.finalize().into())
    }
}
