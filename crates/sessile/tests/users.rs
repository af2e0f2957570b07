//! A user's sessions: listing them, ending one, ending all; and what of group G is not an interleaving.
//!
//! Do not fit: H08, there is one index and it has a type. H14: no call takes neither a user nor a session.
//! H16: tenants are tables. H17 and H19 wait for `max_sessions` (S13). H20, H22 and H28 are the
//! application's, with the calls proven here. H23: no audit row is ever served.
//! H25 and H26: the conformance suite. H29: identity is no key of the data. For group G: see
//! `interleavings`.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use sessile::engine::Event;
use sessile::{Policy, SessionId, UserId};
use support::caller::{Caller, Row, token};
use support::{Stage, noon, seconds};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

async fn signed_in(stage: &Stage, name: &str) -> Caller {
    let mut caller = Caller::new(&stage.sessions);
    caller.does(|session| session.login(name).unwrap()).await;
    caller
}

async fn ids_of(stage: &Stage, name: &str) -> Vec<SessionId> {
    let records = stage.sessions.sessions_of(&user(name)).await.unwrap();
    records.iter().map(|record| record.id()).collect()
}

/// [H01] [H02] [H05] [H07] [H10] [G13] The newest first, all of them, nobody else's, and none that is
/// gone.
#[tokio::test]
async fn sessions_of_lists_exactly_the_live_ones() {
    for stage in Stage::everywhere(Policy::default()).await {
        assert!(ids_of(&stage, "ada").await.is_empty());
        let mut first = signed_in(&stage, "ada").await;
        stage.clock.advance(seconds(1));
        let (mut second, mut third) = (Caller::new(&stage.sessions), Caller::new(&stage.sessions));
        tokio::join!(
            second.does(|session| session.login("ada").unwrap()),
            third.does(|session| session.login("ada").unwrap()),
        );
        let bob = signed_in(&stage, "bob").await;
        let mut anonymous = Caller::new(&stage.sessions);
        anonymous.does(|session| session.insert("k", &1).unwrap()).await;

        let mut newest = [second.id().unwrap(), third.id().unwrap()];
        newest.sort_by(|one, other| other.cmp(one));
        assert_eq!(ids_of(&stage, "ada").await, [newest[0], newest[1], first.id().unwrap()]);
        assert_eq!(ids_of(&stage, "bob").await, [bob.id().unwrap()]);

        first.does(|session| session.insert("k", &1).unwrap()).await;
        assert_eq!(ids_of(&stage, "ada").await.len(), 3, "other changes leave the index alone");
        second.does(|session| session.rotate().unwrap()).await;
        let listed = ids_of(&stage, "ada").await;
        assert!(listed.len() == 3 && listed.contains(&second.id().unwrap()), "under its new id only");
        third.does(|session| session.logout()).await;
        first.does(|session| session.login("bob").unwrap()).await;
        assert_eq!(ids_of(&stage, "ada").await, [second.id().unwrap()]);
        assert_eq!(ids_of(&stage, "bob").await.len(), 2);
    }
}

/// [H04] Neither what expired and is still there, nor what is older than the absolute lifetime allows.
#[tokio::test]
async fn sessions_of_leaves_out_the_dead() {
    for stage in Stage::everywhere(Policy::default()).await {
        for (number, created, expires) in [(1, 0, 1), (2, 0, 0), (3, 90_000, 1), (4, 86_399, 1)] {
            let row = Row {
                user: Some("ada"),
                created_at: Some(noon().saturating_sub(seconds(created))),
                expires_at: noon().saturating_add(seconds(expires)),
                ..Row::new(token(number).1, "{}", noon())
            };
            row.put_into(&stage.store).await;
        }
        assert_eq!(ids_of(&stage, "ada").await, [token(1).1, token(4).1]);
    }
}

/// [S09] [S10] [H11] All of a user's sessions end at once, in every process, and nobody else's.
#[tokio::test]
async fn revoke_user_ends_all_of_them() {
    for stage in Stage::everywhere(Policy::default()).await {
        let callers = [signed_in(&stage, "ada").await, signed_in(&stage, "ada").await];
        let bob = signed_in(&stage, "bob").await;
        let elsewhere = stage.another_process();
        stage.events();
        assert_eq!(elsewhere.sessions.revoke_user(&user("ada")).await.unwrap(), 2);
        let revoked: Vec<Event> = elsewhere.events();
        assert_eq!(revoked.len(), 2, "each told once");
        assert!(revoked.iter().all(|event| matches!(event, Event::Revoked { .. })));
        for caller in &callers {
            assert!(!caller.is_known().await);
        }
        assert!(bob.is_known().await);
        assert_eq!(stage.sessions.revoke_user(&user("ada")).await.unwrap(), 0);
        assert_eq!(stage.sessions.revoke_user(&user("nobody")).await.unwrap(), 0);
    }
}

/// [S10] [H20] "Sign out everywhere else": this one goes on.
#[tokio::test]
async fn revoke_others_keeps_this_one() {
    for stage in Stage::everywhere(Policy::default()).await {
        let other = signed_in(&stage, "ada").await;
        let mut this = signed_in(&stage, "ada").await;
        let bob = signed_in(&stage, "bob").await;
        let mut keep = None;
        // With the change of password comes a new id; it is this session all the same.
        this.does(|session| {
            session.rotate().unwrap();
            keep = session.id();
        })
        .await;
        assert_ne!(keep, this.id());
        let ended = stage.sessions.revoke_others(&user("ada"), this.id().unwrap()).await.unwrap();
        assert_eq!(ended, 1);
        assert!(this.is_known().await && bob.is_known().await && !other.is_known().await);
    }
}

/// [S11] [H13] Somebody else's session answers like one that never was, and lives on.
#[tokio::test]
async fn a_foreign_session_answers_like_an_unknown_one() {
    for stage in Stage::everywhere(Policy::default()).await {
        let (ada, bob) = (signed_in(&stage, "ada").await, signed_in(&stage, "bob").await);
        let mut anonymous = Caller::new(&stage.sessions);
        anonymous.does(|session| session.insert("k", &1).unwrap()).await;
        stage.events();
        for id in [bob.id().unwrap(), anonymous.id().unwrap(), token(9).1] {
            stage.store.statements();
            assert!(!stage.sessions.revoke_of(&user("ada"), id).await.unwrap());
            assert_eq!(stage.store.statements(), 2, "and costs the same");
        }
        assert_eq!(stage.events(), []);
        assert!(bob.is_known().await && anonymous.is_known().await);
        assert!(stage.sessions.revoke_of(&user("ada"), ada.id().unwrap()).await.unwrap());
        assert!(!ada.is_known().await);
        assert!(
            !stage.sessions.revoke_of(&user("ada"), ada.id().unwrap()).await.unwrap(),
            "twice is harmless"
        );
    }
}

/// [G17] First requests at the same time get sessions of their own.
#[tokio::test]
async fn parallel_first_requests_do_not_mix() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut callers: Vec<Caller> = (0..20).map(|_| Caller::new(&stage.sessions)).collect();
        let visits = callers.iter_mut().enumerate().map(|(number, caller)| {
            caller.does(move |session| {
                assert!(session.is_empty());
                session.insert("whose", &number).unwrap();
            })
        });
        futures_util::future::join_all(visits).await;
        for (number, caller) in callers.iter().enumerate() {
            assert_eq!(caller.peek(|session| session.require::<usize>("whose").unwrap()).await, number);
        }
        assert_eq!(stage.store.rows().await.len(), 20);
    }
}
