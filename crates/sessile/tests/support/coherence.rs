//! What a coherent cache owes, whatever the store that tells it: what is written by whomever counts in every
//! process, and while nobody can know, nobody believes what was kept.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]

use std::time::Duration;

use sessile::engine::{CacheOptions, Credential, NewSession};
use sessile::store::SessionStore;
use sessile::{LazySession, SessionData, SessionId, Sessions, UserId};
use sessile_test_network::Proxy;

use crate::support::until;

/// Another program, which speaks to the server in its own language.
pub trait Others {
    async fn delete(&self, id: SessionId);
    /// Sets `n`.
    async fn set(&self, id: SessionId, n: u32);
    /// All rows at once.
    async fn empty(&self);
    /// Ends the connections of the services, as an administrator does.
    async fn kill(&self);
}

/// A service with a cache, as in a process of its own.
pub async fn service(store: impl SessionStore, bound: Duration) -> Sessions {
    let options = CacheOptions::default().bound(bound);
    Sessions::builder(store).cache(options).await.unwrap().build()
}

pub async fn session(sessions: &Sessions) -> Credential {
    let data = SessionData::parse(r#"{"n": 1}"#.into()).unwrap();
    let user = Some(UserId::new("ada").unwrap());
    sessions.create(NewSession { data, user, ..NewSession::default() }).await.unwrap().0
}

pub async fn read(sessions: &Sessions, credential: &Credential) -> Option<u32> {
    let lazy = LazySession::new(sessions.clone(), vec![credential.clone()]);
    lazy.load().await.ok()?.get("n").unwrap()
}

pub fn kept(sessions: &Sessions) -> u64 {
    sessions.cache_stats().unwrap().sessions
}

pub fn is_up(sessions: &Sessions) -> bool {
    sessions.cache_stats().unwrap().is_up
}

/// Reads until it is kept.
pub async fn warm(sessions: &Sessions, credential: &Credential, n: u32) {
    until(async || read(sessions, credential).await == Some(n) && kept(sessions) > 0).await;
}

/// Ends and changes from everywhere: another process, and another program in its own language.
pub async fn what_anybody_does_counts(here: &Sessions, elsewhere: &Sessions, others: &impl Others) {
    for way in 0..6 {
        let credential = session(elsewhere).await;
        warm(here, &credential, 1).await;
        let (id, user) = (credential.id(), UserId::new("ada").unwrap());
        match way {
            0 => assert!(elsewhere.revoke(id).await.unwrap()),
            1 => assert!(elsewhere.revoke_user(&user).await.unwrap() > 0),
            2 => others.delete(id).await,
            3 => others.empty().await,
            4 => {
                let session = LazySession::new(elsewhere.clone(), vec![credential.clone()]);
                let session = session.load().await.unwrap();
                session.rotate().unwrap();
                session.save().await.unwrap();
            }
            _ => {
                others.set(id, 2).await;
                until(async || read(here, &credential).await == Some(2)).await;
                continue;
            }
        }
        until(async || read(here, &credential).await.is_none()).await;
    }
}

/// The connection that listens is ended again and again, by the server and on the way. While it is known to be
/// down no read is stale, and in the end all are right.
pub async fn a_feed_that_is_killed_is_never_believed(here: &Sessions, proxy: &Proxy, others: &impl Others) {
    let credential = session(here).await;
    for round in 2..12 {
        warm(here, &credential, round - 1).await;
        until(async || is_up(here)).await;
        if round % 2 == 0 {
            others.kill().await;
        } else {
            proxy.cut();
        }
        others.set(credential.id(), round).await;
        until(async || {
            let was_down = !is_up(here);
            let n = read(here, &credential).await;
            assert!(!was_down || n.is_none_or(|n| n == round), "{n:?} while the feed was down");
            n == Some(round)
        })
        .await;
    }
    until(async || is_up(here)).await;
}

/// Nothing comes through and nothing breaks: what is kept is believed no longer than the bound, which is short
/// here.
pub async fn a_feed_that_hangs_is_given_up(here: &Sessions, proxy: &Proxy, others: &impl Others) {
    let credential = session(here).await;
    warm(here, &credential, 1).await;
    proxy.stall();
    others.delete(credential.id()).await;
    until(async || !is_up(here)).await;
    assert_eq!(read(here, &credential).await, None, "an error, or gone: never what was kept");
    proxy.open();
    until(async || is_up(here)).await;
    assert_eq!(read(here, &credential).await, None);
}
