//! How sessions end: logout, revocation, expiry, and what was in flight then (groups C and G of the behaviour
//! cases).
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use axum::http::StatusCode;
use sessile::engine::Event;
use sessile::record::SystemRandom;
use sessile::{LazySession, Policy, Session, SessionError, SessionId, UserId};
use support::{Stage, seconds, sign_in, who};

type Done = Result<(), SessionError>;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// [G01] [E14] [G14] A session that ends while a request changes it stays ended, however it ended: 409,
/// no cookie, no row that lives.
#[tokio::test]
async fn what_ended_meanwhile_stays_ended() {
    for stage in Stage::everywhere(Policy::default()).await {
        for way in ["revoked", "logged out", "rotated", "expired", "purged"] {
            let mut visitor = stage.visitor();
            sign_in(&mut visitor, "ada").await;
            let id = stage.store.rows().await[0].id();
            let (sessions, mut other) = (stage.sessions.clone(), visitor.clone());
            stage.store.before_next_write(async move {
                match way {
                    "revoked" => assert!(sessions.revoke(id).await.unwrap()),
                    "logged out" => drop(other.does(async |session: Session| session.logout()).await),
                    "rotated" => drop(other.does(async |session: Session| session.rotate()).await),
                    "purged" => assert_eq!(sessions.purge(|_| {}).await.unwrap().removed, 1),
                    _ => {}
                }
            });
            let clock = stage.clock.clone();
            let answer = visitor
                .does(async move |session: Session| -> Done {
                    if ["expired", "purged"].contains(&way) {
                        clock.advance(seconds(1800));
                    }
                    session.insert("late", &1)?;
                    session.flash("info", "late")
                })
                .await;
            assert_eq!(answer.status, StatusCode::CONFLICT, "{way}");
            assert!(answer.set_cookies().is_empty(), "{way}");
            let live = stage.sessions.sessions_of(&user("ada")).await.unwrap();
            assert!(live.iter().all(|row| row.id() != id && !row.data().contains("late")), "{way}");
            assert_eq!(live.len(), usize::from(way == "rotated"), "{way}");
            stage.sessions.revoke_user(&user("ada")).await.unwrap();
            assert!(stage.store.rows().await.is_empty(), "{way}");
        }
    }
}

/// [G14] A renewal that was in flight brings nothing back either, and is no error to a request that only
/// looked.
#[tokio::test]
async fn a_renewal_in_flight_brings_nothing_back() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        sign_in(&mut visitor, "ada").await;
        stage.clock.advance(seconds(900));
        let sessions = stage.sessions.clone();
        stage.store.before_next_write(async move {
            assert_eq!(sessions.revoke_user(&user("ada")).await.unwrap(), 1);
        });
        let answer = visitor.does(async |session: Session| assert!(session.user_id().is_some())).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 0));
        assert!(stage.store.rows().await.is_empty());
    }
}

/// [S05] [S06] [G01] A login that races the end of the anonymous session below it gives a fresh signed-in
/// session, without the old data.
#[tokio::test]
async fn a_login_survives_the_end_of_the_anonymous_session() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        visitor.does(async |session: Session| session.insert("cart", "pen")).await;
        let old = stage.store.rows().await[0].id();
        let sessions = stage.sessions.clone();
        stage.store.before_next_write(async move { assert!(sessions.revoke(old).await.unwrap()) });
        let answer = visitor
            .does(async |session: Session| -> Done {
                session.login("ada")?;
                session.insert("fresh", &1)
            })
            .await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
        let rows = stage.store.rows().await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].data().keys().collect::<Vec<_>>(), ["fresh"]);
        assert_ne!(rows[0].id(), old);
        assert_eq!(who(&mut visitor).await, "ada");
    }
}

/// [S09] [C26] [C28] [C29] [C31] [E13] [B08] After logout, revocation or expiry the cookie is dead at
/// once, whether or not the row is purged.
#[tokio::test]
async fn the_cookie_is_dead_at_once() {
    for stage in Stage::everywhere(Policy::default()).await {
        for way in ["logout", "revoke", "revoke_user", "revoke_others", "expire"] {
            let mut visitor = stage.visitor();
            visitor
                .does(async |session: Session| -> Done {
                    session.login("ada")?;
                    session.insert("private", &1)
                })
                .await;
            let id = stage.store.rows().await[0].id();
            let mut replay = visitor.clone();
            match way {
                "logout" => {
                    let answer = visitor
                        .does(async |session: Session| {
                            session.logout();
                            assert!(session.is_empty() && session.user_id().is_none());
                            assert!(session.id().is_none() && session.expires_at().is_none());
                            session.logout();
                        })
                        .await;
                    assert_eq!(answer.set_cookies().len(), 1);
                    assert!(visitor.jar.is_empty());
                }
                "revoke" => {
                    assert!(stage.sessions.revoke(id).await.unwrap());
                    assert!(!stage.sessions.revoke(id).await.unwrap());
                }
                "revoke_user" => assert_eq!(stage.sessions.revoke_user(&user("ada")).await.unwrap(), 1),
                "revoke_others" => {
                    let keep = SessionId::random(&SystemRandom).unwrap();
                    assert_eq!(stage.sessions.revoke_others(&user("ada"), keep).await.unwrap(), 1);
                }
                _ => stage.clock.advance(seconds(1800)),
            }
            let left = usize::from(way == "expire");
            assert_eq!(stage.store.rows().await.len(), left, "{way}: nothing but an expired row stays");
            for _ in 0..2 {
                let answer = replay
                    .does(async |session: Session| {
                        assert!(session.id().is_none() && session.is_empty() && session.user_id().is_none());
                    })
                    .await;
                assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 0), "{way}");
            }
            // And a write with it begins something new.
            replay.does(async |session: Session| session.insert("new", &1)).await;
            let rows = stage.store.rows().await;
            assert!(rows.iter().all(|row| row.id() != id || row.data().contains("private")), "{way}");
            let new = rows.iter().find(|row| row.data().contains("new")).unwrap();
            assert!(new.user_id().is_none() && !new.data().contains("private"), "{way}");
            stage.sessions.revoke(new.id()).await.unwrap();
        }
    }
}

/// [S05] [C26] What is set after a logout belongs to a fresh session under a new name.
#[tokio::test]
async fn what_follows_a_logout_is_a_fresh_session() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        sign_in(&mut visitor, "ada").await;
        let mut old = visitor.clone();
        let answer = visitor
            .does(async |session: Session| -> Done {
                session.insert("before", &1)?;
                session.logout();
                session.flash("info", "signed out")
            })
            .await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
        assert!(!answer.set_cookies()[0].contains("Max-Age"));
        let rows = stage.store.rows().await;
        assert_eq!(rows.len(), 1);
        assert!(rows[0].user_id().is_none());
        assert_eq!(rows[0].data().keys().collect::<Vec<_>>(), ["flash_messages"]);
        assert_eq!(who(&mut old).await, "nobody");
        assert_ne!(visitor.cookie(), old.cookie());
    }
}

/// [S09] A logout is carried out even when what follows it in the same request cannot be stored.
#[tokio::test]
async fn a_logout_does_not_depend_on_what_follows_it() {
    for stage in Stage::everywhere(Policy::default().max_data_bytes(1_000)).await {
        let mut visitor = stage.visitor();
        sign_in(&mut visitor, "ada").await;
        let answer = visitor
            .does(async |session: Session| -> Done {
                session.logout();
                session.insert("large", &"x".repeat(2_000))
            })
            .await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(stage.store.rows().await.is_empty(), "signed out all the same");
        assert_eq!(who(&mut visitor).await, "nobody");
    }
}

/// [S09] [S24] A logout that does not read the session: dead at once, told once, whatever else the handler does.
#[tokio::test]
async fn a_session_can_be_ended_unread() {
    for stage in Stage::everywhere(Policy::default()).await {
        for way in ["plain", "twice", "flash", "looked for", "fails", "read before"] {
            let mut visitor = stage.visitor();
            sign_in(&mut visitor, "ada").await;
            let id = stage.store.rows().await[0].id();
            let mut replay = visitor.clone();
            stage.events();
            stage.store.statements();
            let leaves = async move |lazy: LazySession| -> Result<StatusCode, SessionError> {
                if way == "read before" {
                    assert!(lazy.load().await?.user_id().is_some());
                }
                let fresh = lazy.logout();
                assert!(fresh.id().is_none() && fresh.user_id().is_none() && fresh.is_empty(), "{way}");
                match way {
                    "twice" => {
                        lazy.logout();
                        fresh.logout();
                    }
                    "flash" => fresh.flash("info", "signed out")?,
                    "looked for" => assert!(lazy.load().await?.id().is_none()),
                    "fails" => return Ok(StatusCode::BAD_GATEWAY),
                    _ => {}
                }
                Ok(StatusCode::OK)
            };
            let answer = visitor.does(leaves).await;
            let statements = if ["flash", "read before"].contains(&way) { 2 } else { 1 };
            assert_eq!((stage.store.statements(), answer.set_cookies().len()), (statements, 1), "{way}");
            assert_eq!(answer.headers["vary"], "Cookie", "{way}");
            let told = stage.events();
            assert_eq!(told[0], Event::LoggedOut { id }, "{way}");
            assert_eq!(told.len(), 1 + usize::from(way == "flash"), "{way}: {told:?}");
            assert_eq!(who(&mut replay).await, "nobody", "{way}");
            let rows = stage.store.rows().await;
            assert_eq!(rows.len(), usize::from(way == "flash"), "{way}");
            assert_eq!(visitor.cookie().is_some(), way == "flash", "{way}");
            if let Some(row) = rows.first() {
                assert!(row.user_id().is_none() && row.id() != id);
                stage.sessions.revoke(row.id()).await.unwrap();
            }
        }
    }
}

/// [S09] Whoever is loading the session when it is ended unread gets the fresh one, and the old one ends.
#[tokio::test]
async fn a_session_can_be_ended_while_it_is_loaded() {
    for looks_again in [false, true] {
        ended_while_it_is_loaded(looks_again).await;
    }
}

async fn ended_while_it_is_loaded(looks_again: bool) {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    sign_in(&mut visitor, "ada").await;
    stage.store.set_silent(true);
    let store = stage.store.clone();
    let answer = visitor
        .does(async move |lazy: LazySession| -> Done {
            let mut loading = Box::pin(lazy.load());
            let soon = futures_util::poll!(&mut loading);
            assert!(soon.is_pending(), "the store takes its time");
            lazy.logout();
            store.set_silent(false);
            drop(loading);
            if looks_again {
                assert!(lazy.load().await?.user_id().is_none());
            }
            Ok(())
        })
        .await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
    assert!(stage.store.rows().await.is_empty());
}

/// [S09] [S15] Where a request shows several cookies of our name, an unread logout ends them all: the planted one
/// cannot keep the other alive.
#[tokio::test]
async fn an_unread_logout_ends_all_that_is_named() {
    let stage = Stage::new();
    let (mut ada, mut planted) = (stage.visitor(), stage.visitor());
    sign_in(&mut ada, "ada").await;
    sign_in(&mut planted, "mallory").await;
    let cookies = format!("{}; __Host-session={}", ada.cookie().unwrap(), planted.cookie().unwrap());
    let answer = ada.with_cookie(cookies).does(async |lazy: LazySession| drop(lazy.logout())).await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
    assert!(stage.store.rows().await.is_empty());
}
