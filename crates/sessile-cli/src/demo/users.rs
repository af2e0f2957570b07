//! The two people who can sign in to the demo shop, and how a password is checked.
//!
//! Their passwords are shown on the sign-in page; everything else is done as a real shop would: only Argon2id
//! hashes are compared, an unknown name costs as much time as a wrong password, and no hash is ever computed on a
//! thread that serves requests.

use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Somebody who can sign in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// What the person types as their name, and the user id in the session.
    pub(crate) id: &'static str,
    /// In plain text only because the sign-in page of a demo tells it to everybody.
    pub(crate) password: &'static str,
    hash: &'static str,
}

/// Everybody who can sign in.
pub(crate) const USERS: [User; 2] = [
    User {
        id: "ada",
        password: "lovelace",
        hash: "$argon2id$v=19$m=19456,t=2,p=1$iDAJmQuh0otx8+j2OAPIQQ$jGiOZbKxoSCd55uhycWS32LTNYwbIOXulCB12+V9QoI",
    },
    User {
        id: "grace",
        password: "hopper",
        hash: "$argon2id$v=19$m=19456,t=2,p=1$yFDany4ZbdGweAPZ5EHDxg$7BECAz+3QgJiZwnaxBxWsY1lW7niYxlh30U7tLYuz50",
    },
];

/// The hash of a password that nobody has: what an unknown name is checked against.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cR92yQob5BRywOUCsh5cnQ$UqJe4Q66EOA/yK5wzWzyxzTy7pQEGnwcXTAzjwjoPtk";

/// The account of that name, if there is one; says nothing about a password.
pub(crate) fn find(name: &str) -> Option<&'static User> {
    USERS.iter().find(|user| user.id == name)
}

/// Why nobody could be signed in although name and password may have been right.
#[derive(Debug, thiserror::Error)]
#[error("the password check itself failed")]
pub(crate) struct CheckFailed;

/// Checks passwords, on a bounded number of threads.
///
/// Every check takes 19 MiB and a good part of a core's second: without the bound, a burst of sign-ins would
/// take the machine's memory.
#[derive(Debug, Clone)]
pub(crate) struct PasswordCheck {
    turns: Arc<Semaphore>,
}

impl PasswordCheck {
    /// As many checks at once as the machine has cores; the others wait their turn.
    pub(crate) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new(cores)) }
    }

    /// The user whose name and password these are, or `None`; which of the two was wrong is not told, not even by
    /// the time it takes.
    pub(crate) async fn check(
        &self,
        name: &str,
        password: String,
    ) -> Result<Option<&'static User>, CheckFailed> {
        let user = find(name.trim());
        let hash = user.map_or(NOBODY, |user| user.hash);
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_closed| CheckFailed)?;
        // The turn goes along: a visitor who hangs up does not make room for another check while this one runs.
        let right = spawn_blocking(move || {
            let _turn = turn;
            matches(&password, hash)
        });
        let right = right.await.map_err(|_panicked| CheckFailed)?;
        Ok(user.filter(|_| right))
    }
}

fn matches(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shown_password_is_the_one_that_was_hashed() {
        for user in &USERS {
            assert!(matches(user.password, user.hash), "{}", user.id);
            assert!(!matches("", user.hash) && !matches(&user.password.to_uppercase(), user.hash));
        }
    }

    /// An unknown name must cost what a known one costs: same algorithm, same parameters.
    #[test]
    fn the_hash_for_unknown_names_is_as_dear_as_the_others() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(nobody.algorithm.as_str(), "argon2id");
        for user in &USERS {
            let hash = PasswordHash::new(user.hash).unwrap();
            assert_eq!(hash.algorithm, nobody.algorithm);
            assert_eq!(hash.version, nobody.version);
            assert_eq!(hash.params, nobody.params);
            assert_ne!(hash.salt, nobody.salt);
        }
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_name_signs_in() {
        let check = PasswordCheck::new();
        let who = async |name: &str, password: &str| {
            check.check(name, password.to_owned()).await.unwrap().map(|user| user.id)
        };
        assert_eq!(who("ada", "lovelace").await, Some("ada"));
        assert_eq!(who(" grace ", "hopper").await, Some("grace"));
        assert_eq!(who("ada", "hopper").await, None);
        assert_eq!(who("ada", "").await, None);
        assert_eq!(who("linus", "lovelace").await, None);
        assert_eq!(who("", "").await, None);
    }
}
