//! Who the session belongs to: names, fixation, rotation (group C of the behaviour cases). Endings
//! stand in `endings.rs`.
//!
//! Cases that have no test here:
//! * C07, C10, C13: ids are no file names, tokens are not signed but random, and a generator of one's
//!   own is a `Random`, proven in the record floor.
//! * C08 stands in `cookie.rs`.
//! * C32: a rotation is one atomic step, so there is no deletion of the old row that could fail alone;
//!   when the step fails, see `outage.rs`.
//! * C35: there is no merging of two sessions.
//! * G05, G07, G08: there is no grace window; the old name is dead at once.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use std::time::Duration;

use axum::http::StatusCode;
use sessile::engine::{Credential, Event, NewSession, Rejection};
use sessile::record::{Random, SystemRandom};
use sessile::session::Login;
use sessile::{LazySession, Policy, Session, SessionError, SessionToken, UserId};
use support::{Stage, Visitor, seconds, sign_in, who};

type Done = Result<(), SessionError>;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// [C01] [C02] [S03] [B04] A name that the store does not know is never adopted: 10^5 tries leave no
/// row, each with its event, and a login after one gets a name of its own.
#[tokio::test]
async fn unknown_names_are_never_adopted() {
    let stage = Stage::new();
    let visitor = stage.visitor();
    let mut guesser = visitor.with_cookie("");
    for n in 0..100_000 {
        let token = SessionToken::generate(&SystemRandom).unwrap();
        if n % 100 != 0 {
            // As the middleware does, without the rest of it.
            let session = LazySession::new(stage.sessions.clone(), vec![Credential::Token(token)]);
            let session = session.load().await.unwrap();
            assert!(session.id().is_none() && session.is_empty() && session.user_id().is_none());
            continue;
        }
        guesser.jar.insert("__Host-session".into(), token.expose().to_owned());
        let answer = guesser
            .does(async |session: Session| {
                assert!(session.id().is_none() && session.is_empty());
            })
            .await;
        assert!(answer.status == 200 && answer.set_cookies().is_empty());
    }
    assert!(stage.store.rows().await.is_empty());
    let events = stage.events();
    assert_eq!(events.len(), 100_000);
    assert!(events.iter().all(|event| *event == Event::Rejected { reason: Rejection::Unknown }));

    let planted = guesser.cookie().unwrap();
    sign_in(&mut guesser, "ada").await;
    assert_ne!(guesser.cookie().unwrap(), planted);
    assert_eq!(who(&mut visitor.with_cookie(planted)).await, "nobody");
    assert_eq!(stage.store.rows().await.len(), 1);
}

/// [S04] [C04] [C05] [S02] [D02] What is no token is refused before any statement; so is the id.
#[tokio::test]
async fn malformed_names_cost_no_statement() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    sign_in(&mut visitor, "ada").await;
    let token = visitor.cookie().unwrap();
    let id = stage.store.rows().await[0].id().to_string();
    stage.store.statements();
    for wrong in [
        String::new(),
        "x".into(),
        token[..42].to_owned(),
        format!("{token}A"),
        format!("{token}="),
        token.replace(|c: char| c.is_ascii_alphabetic(), "+"),
        format!("\"{token}\""),
        format!("é{}", &token[2..]),
        "../../../../etc/passwd".into(),
        "a".repeat(1_240),
        "a".repeat(60_000),
        id.clone(),
        id.replace('-', ""),
    ] {
        let mut visitor = visitor.with_cookie(wrong.clone());
        let answer = visitor.does(async |session: Session| assert!(session.user_id().is_none())).await;
        assert_eq!(answer.status, 200, "{wrong}");
        assert_eq!(stage.store.statements(), 0, "{wrong}");
    }
    assert_eq!(who(&mut visitor).await, "ada");
}

/// [S05] [C14] [C17] [C22] [C23] [C31] A login gives a new token and a new id, keeps an anonymous cart,
/// and the old name is dead in the same step.
#[tokio::test]
async fn login_rotates_by_itself() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        visitor.does(async |session: Session| session.insert("cart", "pen")).await;
        let before = stage.store.rows().await.remove(0);
        let mut thief = visitor.clone();
        stage.clock.advance(seconds(600));
        stage.events();
        stage.store.statements();
        visitor
            .does(async |session: Session| -> Done {
                session.insert("more", "ink")?;
                session.login("ada")
            })
            .await;
        assert_eq!(stage.store.statements(), 2, "load, and one atomic rotation");
        let rows = stage.store.rows().await;
        assert_eq!(rows.len(), 1);
        let after = &rows[0];
        assert_ne!(after.id(), before.id());
        assert_ne!(visitor.cookie(), thief.cookie());
        assert_eq!(after.created_at(), Some(stage.sessions.now()), "a login begins a new lifetime");
        assert_eq!(after.data().keys().collect::<Vec<_>>(), ["cart", "more"]);
        let (from, to) = (before.id(), after.id());
        assert_eq!(
            stage.events(),
            [Event::Rotated { from, to }, Event::Authenticated { id: to, user: user("ada") }]
        );
        assert_eq!(who(&mut thief).await, "nobody");
        assert_eq!(who(&mut visitor).await, "ada");
    }
}

/// [S05] [C16] Logging in twice, after a logout, as somebody else, rotating twice: one row is left,
/// under a name nobody had before.
#[tokio::test]
async fn every_way_of_signing_in_leaves_one_new_name() {
    async fn twice(session: Session) -> Done {
        session.login("ada")?;
        session.login("ada")
    }
    async fn saved_between(session: Session) -> Done {
        session.login("bob")?;
        session.save().await?;
        session.login("ada")
    }
    async fn after_logout(session: Session) -> Done {
        session.logout();
        session.login("ada")
    }
    async fn somebody_else_first(session: Session) -> Done {
        session.login("bob")?;
        session.rotate()?;
        session.login("ada")?;
        session.rotate()
    }
    async fn logout_between(session: Session) -> Done {
        session.login("bob")?;
        session.save().await?;
        session.logout();
        session.save().await?;
        session.login("ada")
    }
    async fn attempt<F>(stage: &Stage, started_as: &'static str, handler: F)
    where
        F: AsyncFnOnce(&mut Visitor) -> support::Answer,
    {
        let mut visitor = stage.visitor();
        if started_as == "nobody" {
            visitor.does(async |session: Session| session.insert("x", &1)).await;
        } else {
            sign_in(&mut visitor, started_as).await;
        }
        let mut old = visitor.clone();
        let old_id = stage.store.rows().await[0].id();
        let answer = handler(&mut visitor).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
        assert_ne!(visitor.cookie(), old.cookie());
        assert_eq!((who(&mut visitor).await.as_str(), who(&mut old).await.as_str()), ("ada", "nobody"));
        let rows = stage.store.rows().await;
        assert_eq!(rows.len(), 1, "nothing is left behind");
        assert_ne!(rows[0].id(), old_id);
        stage.sessions.revoke_user(&user("ada")).await.unwrap();
    }
    for stage in Stage::everywhere(Policy::default()).await {
        for started_as in ["nobody", "ada", "eve"] {
            attempt(&stage, started_as, async |visitor| visitor.does(twice).await).await;
            attempt(&stage, started_as, async |visitor| visitor.does(saved_between).await).await;
            attempt(&stage, started_as, async |visitor| visitor.does(after_logout).await).await;
            attempt(&stage, started_as, async |visitor| visitor.does(somebody_else_first).await).await;
            attempt(&stage, started_as, async |visitor| visitor.does(logout_between).await).await;
        }
    }
}

/// [S06] [C34] What one user stored never goes to another; an anonymous cart may, by policy.
#[tokio::test]
async fn data_of_another_user_never_survives() {
    for keep in [true, false] {
        for stage in Stage::everywhere(Policy::default().keep_anonymous_data(keep)).await {
            let mut visitor = stage.visitor();
            visitor.does(async |session: Session| session.insert("cart", "pen")).await;
            visitor.does(async |session: Session| session.login("ada")).await;
            let kept = stage.store.rows().await[0].data().contains("cart");
            assert_eq!(kept, keep, "anonymous data, by policy");
            visitor
                .does(async |session: Session| -> Done {
                    session.insert("secret", "of ada")?;
                    session.remember(true);
                    session.login("ada")
                })
                .await;
            assert!(stage.store.rows().await[0].data().contains("secret"), "one's own data stays");
            let mut ada = visitor.clone();
            let answer = visitor
                .does(async |session: Session| -> Done {
                    session.insert("also", "of ada")?;
                    session.login("bob")?;
                    assert!(session.is_empty(), "seen at once");
                    session.insert("mine", "of bob")
                })
                .await;
            assert_eq!(answer.status, 200);
            let rows = stage.store.rows().await;
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0].data().keys().collect::<Vec<_>>(), ["mine"]);
            assert!(!stage.sessions.describe(&rows[0]).remembered);
            assert_eq!(who(&mut ada).await, "nobody", "the other user's session has ended");
            assert_eq!(who(&mut visitor).await, "bob");
            // There and back in one request: nothing of ada comes back either.
            let answer = visitor
                .does(async |session: Session| -> Done {
                    session.login("eve")?;
                    session.insert("of", "eve")?;
                    session.login("bob")
                })
                .await;
            assert_eq!(answer.status, 200);
            assert!(stage.store.rows().await[0].data().is_empty());
        }
    }
}

/// [S31] A login begins with the policy's own lifetimes, whoever chose others before: an anonymous visitor, the same
/// user, another one, in an earlier request, just before the login in the same one, or in one that is still in
/// flight. What is said after the login, or in it, counts.
#[tokio::test]
async fn a_login_begins_with_the_policys_own_lifetimes() {
    async fn chooses(session: Session) -> Done {
        session.insert("cart", "pen")?;
        session.remember(true);
        session.set_idle_timeout(Some(seconds(86_400)));
        session.set_device("a kiosk");
        Ok(())
    }
    async fn chooses_and_signs_in(session: Session) -> Done {
        chooses(session.clone()).await?;
        session.login("ada")
    }
    async fn signs_in(session: Session) -> Done {
        session.login("ada")
    }
    let usual = |stage: &Stage| stage.sessions.now().saturating_add(seconds(1_800));
    for stage in Stage::everywhere(Policy::default()).await {
        for before in ["nobody", "ada", "bob"] {
            for at_once in [false, true] {
                let mut visitor = stage.visitor();
                if before != "nobody" {
                    sign_in(&mut visitor, before).await;
                }
                let answer = if at_once {
                    visitor.does(chooses_and_signs_in).await
                } else {
                    visitor.does(chooses).await;
                    visitor.does(signs_in).await
                };
                assert!(!answer.set_cookies()[0].contains("Max-Age"), "{before} {at_once}");
                let row = stage.store.rows().await.remove(0);
                let described = stage.sessions.describe(&row);
                assert!(!described.remembered && described.device.is_none(), "{before} {at_once}");
                assert_eq!(row.expires_at(), usual(&stage), "{before} {at_once}");
                stage.sessions.revoke(row.id()).await.unwrap();
            }
        }
        // An anonymous visitor's choice that reaches the row just before the login.
        let mut visitor = stage.visitor();
        visitor.does(async |session: Session| session.insert("cart", "pen")).await;
        let mut tab = visitor.clone();
        stage.store.before_next_write(async move { assert_eq!(tab.does(chooses).await.status, 200) });
        assert_eq!(visitor.does(signs_in).await.status, 200);
        let row = stage.store.rows().await.remove(0);
        assert!(!stage.sessions.describe(&row).remembered && row.data().contains("cart"));
        assert_eq!(row.expires_at(), usual(&stage));
        stage.sessions.revoke(row.id()).await.unwrap();

        for in_one_call in [false, true] {
            let mut visitor = stage.visitor();
            visitor.does(chooses).await;
            let answer = visitor
                .does(async move |session: Session| -> Done {
                    if in_one_call {
                        let login = Login::new("ada").remember(true).device("a phone");
                        return session.login_with(login.idle_timeout(seconds(7_200)));
                    }
                    session.login("ada")?;
                    session.remember(true);
                    session.set_device("a phone");
                    session.set_idle_timeout(Some(seconds(7_200)));
                    Ok(())
                })
                .await;
            assert!(answer.set_cookies()[0].contains("Max-Age"), "{in_one_call}");
            let row = stage.store.rows().await.remove(0);
            let described = stage.sessions.describe(&row);
            assert!(described.remembered && described.device.as_deref() == Some("a phone"));
            assert_eq!(row.expires_at(), stage.sessions.now().saturating_add(seconds(7_200)));
            stage.sessions.revoke(row.id()).await.unwrap();
        }
    }
}

/// [S08] A part of a second is a whole one, and a session whose own idle timeout is shorter than the policy's step of
/// renewal is renewed all the same.
#[tokio::test]
async fn a_short_idle_timeout_is_kept_and_renewed() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let login = async |session: Session| {
        session.login_with(Login::new("ada").idle_timeout(Duration::from_millis(500)))
    };
    visitor.does(login).await;
    assert_eq!(stage.store.rows().await[0].expires_at(), stage.sessions.now().saturating_add(seconds(1)));
    let login = async |session: Session| session.login_with(Login::new("ada").idle_timeout(seconds(60)));
    visitor.does(login).await;
    for _ in 0..10 {
        stage.clock.advance(seconds(45));
        assert_eq!(who(&mut visitor).await, "ada");
    }
    stage.clock.advance(seconds(61));
    assert_eq!(who(&mut visitor).await, "nobody");
}

/// [S22] [S05] A session that is full can be signed in, rotated, remembered and given a CSRF token.
#[tokio::test]
async fn a_full_session_can_be_signed_in() {
    for policy in [Policy::default(), Policy::lback()] {
        for stage in Stage::everywhere(policy.clone()).await {
            let mut visitor = stage.visitor();
            let answer = visitor
                .does(async |session: Session| -> Done {
                    session.insert("cart", &"x".repeat(65_535 - 12))?;
                    session.save().await?;
                    assert!(session.insert("more", &1).is_err());
                    Ok(())
                })
                .await;
            assert_eq!(
                (answer.status, stage.store.rows().await[0].stored_data().len()),
                (StatusCode::OK, 65_535)
            );
            assert_eq!(visitor.does(async |session: Session| session.csrf_token()).await.body.len(), 32);
            let answer = visitor
                .does(async |session: Session| -> Done {
                    let user = "é".repeat(255);
                    let login = Login::new(user).remember(true).device("\u{1f600}".repeat(100));
                    session.login_with(login)?;
                    session.csrf_token()?;
                    session.save().await?;
                    session.rotate()?;
                    session.save().await?;
                    session.forget_csrf_token();
                    Ok(())
                })
                .await;
            assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1), "{answer:?}");
            assert_eq!(who(&mut visitor).await, "é".repeat(255));
        }
    }
}

/// [S05] [S06] Two logins in flight from one anonymous session: each gets a session of its own, and
/// neither the other's data.
#[tokio::test]
async fn two_logins_from_one_anonymous_session_do_not_mix() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("cart", "pen")).await;
    let mut other = visitor.clone();
    stage.store.before_next_write(async move {
        let handler = async |session: Session| -> Done {
            session.insert("secret", "of bob")?;
            session.login("bob")
        };
        assert_eq!(other.does(handler).await.status, 200);
    });
    let answer = visitor
        .does(async |session: Session| -> Done {
            session.insert("mine", "of ada")?;
            session.login("ada")
        })
        .await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
    let rows = stage.store.rows().await;
    assert_eq!(rows.len(), 2);
    let ada = rows.iter().find(|row| row.user_id().is_some_and(|user| *user == "ada")).unwrap();
    assert_eq!(ada.data().keys().collect::<Vec<_>>(), ["mine"]);
    assert_eq!(who(&mut visitor).await, "ada");
}

/// [C14] [C16] [C19] [C22] Rotation alone keeps the data, the user and the absolute lifetime.
#[tokio::test]
async fn rotation_changes_the_name_and_nothing_else() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        visitor
            .does(async |session: Session| -> Done {
                session.login("ada")?;
                session.insert("a", &1)
            })
            .await;
        let before = stage.store.rows().await.remove(0);
        let mut old = visitor.clone();
        stage.clock.advance(seconds(700));
        let answer = visitor
            .does(async |session: Session| -> Done {
                session.rotate()?;
                session.rotate()?;
                session.save().await?;
                session.save().await?;
                session.rotate()
            })
            .await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
        let rows = stage.store.rows().await;
        assert_eq!(rows.len(), 1);
        assert_ne!(rows[0].id(), before.id());
        assert_eq!(rows[0].created_at(), before.created_at());
        let mut data = [&rows[0], &before].map(|row| -> serde_json::Value {
            serde_json::from_str(row.stored_data().as_text().unwrap()).unwrap()
        });
        // What it was called before, the last name first, for a logout that is on its way.
        let previous = data[0]["_sessile"].as_object_mut().unwrap().remove("previous").unwrap();
        assert_eq!(previous.as_array().unwrap().last().unwrap(), &before.id().to_string());
        assert_eq!(data[0], data[1]);
        assert_eq!((who(&mut visitor).await.as_str(), who(&mut old).await.as_str()), ("ada", "nobody"));
    }
}

/// [C20] [C25] [G01] A rotation needs a session, and one that has ended is not brought back by it.
#[tokio::test]
async fn a_rotation_brings_nothing_back() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let answer = visitor
        .does(async |session: Session| {
            assert!(matches!(session.rotate(), Err(SessionError::NoSession)));
            session.logout();
            assert!(matches!(session.rotate(), Err(SessionError::NoSession)));
        })
        .await;
    assert_eq!((answer.status, stage.store.statements()), (StatusCode::OK, 0));
    sign_in(&mut visitor, "ada").await;
    let sessions = stage.sessions.clone();
    stage.store.before_next_write(async move {
        assert_eq!(sessions.revoke_user(&user("ada")).await.unwrap(), 1);
    });
    let answer = visitor.does(async |session: Session| session.rotate()).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.set_cookies().is_empty() && stage.store.rows().await.is_empty());
}

/// [S01] [S05] No name can be made: an error, no cookie, nothing changed, but a logout is carried out.
#[tokio::test]
async fn without_randomness_nobody_gets_a_name() {
    struct Empty;
    impl Random for Empty {
        fn fill(&self, _: &mut [u8]) -> Result<(), sessile::record::RandomError> {
            Err(sessile::record::RandomError("no entropy".into()))
        }
    }
    let stage = Stage::new();
    let mut ada = stage.visitor();
    sign_in(&mut ada, "ada").await;
    let broken =
        sessile::Sessions::builder(stage.store.clone()).clock(stage.clock.clone()).random(Empty).build();
    let mut visitor = Visitor::new(sessile::SessionLayer::new(broken));
    visitor.jar = ada.jar.clone();
    let before = stage.store.rows().await;
    for jar in [ada.jar.clone(), Default::default()] {
        visitor.jar = jar;
        let answer = visitor.does(async |session: Session| session.login("bob")).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::INTERNAL_SERVER_ERROR, 0));
        assert_eq!(stage.store.rows().await, before);
    }
    visitor.jar = ada.jar.clone();
    let answer = visitor
        .does(async |session: Session| -> Done {
            session.logout();
            session.insert("x", &1)
        })
        .await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(stage.store.rows().await.is_empty());
}

/// [C11] [F11] A session made from outside is one that a request can use, and its name is given once.
#[tokio::test]
async fn a_session_made_from_outside_works_in_a_request() {
    let stage = Stage::new();
    let new = NewSession {
        user: Some(user("ada")),
        ttl: Some(Duration::from_secs(60)),
        data: r#"{"a": 1}"#.parse().unwrap(),
        authenticated: false,
    };
    let (credential, record) = stage.sessions.create(new).await.unwrap();
    assert_eq!(credential.id(), record.id());
    assert_eq!(record.stored_data().as_text(), Some(r#"{"a": 1}"#), "nobody signed in: nothing is added");
    let Credential::Token(token) = credential else { panic!("a token is the default") };
    assert_eq!(record.expires_at(), stage.sessions.now().saturating_add(seconds(60)));
    let mut visitor = stage.visitor().with_cookie(token.expose());
    assert_eq!(who(&mut visitor).await, "ada");
}

/// [G17] [S25] First requests without a cookie, all at once: as many sessions, none with another's data.
/// Then a million requests of ten thousand sessions in parallel, and none sees what is another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_session_ever_sees_anothers_data() {
    const SESSIONS: u32 = 10_000;
    const ROUNDS: u32 = 100;
    let stage = Stage::new();
    let tasks = (0..SESSIONS).map(|me| {
        let mut visitor = stage.visitor();
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let handler = async move |session: Session| -> Done {
                    let (owner, count) = (session.get::<u32>("owner")?, session.get::<u32>("count")?);
                    if round == 0 {
                        assert_eq!((owner, count, session.user_id()), (None, None, None));
                        session.insert("owner", &me)?;
                        session.login(me)?;
                    } else {
                        assert_eq!((owner, count), (Some(me), Some(round)));
                        assert_eq!(session.user_id().unwrap().as_str(), me.to_string());
                    }
                    tokio::task::yield_now().await;
                    session.update("count", |n: &mut u32| *n += 1)?;
                    if round % 16 == 15 {
                        session.rotate()?;
                    }
                    Ok(())
                };
                assert_eq!(visitor.does(handler).await.status, 200);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let rows = stage.store.rows().await;
    assert_eq!(rows.len(), SESSIONS as usize);
    for row in rows {
        let data = row.data();
        assert_eq!(data.get::<u32>("owner").unwrap().unwrap().to_string(), row.user_id().unwrap().as_str());
        assert_eq!(data.get::<u32>("count").unwrap(), Some(ROUNDS));
    }
}
