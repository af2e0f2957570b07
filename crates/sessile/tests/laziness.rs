//! What is not stored, not loaded and not written (group B of the behaviour cases); the statements of
//! each kind of request stand in `statements.rs`.
//!
//! Cases that have no test here:
//! * B10: loading a row is one statement whether or not its data is wanted.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use axum::http::Request;
use sessile::engine::Event;
use sessile::{LazySession, Policy, Session, SessionError};
use support::{Stage, seconds};

type Done = Result<(), SessionError>;

/// [B01] [B08] What leaves nothing to store leaves no row and no cookie, and costs no statement.
#[tokio::test]
async fn nothing_to_store_costs_nothing() {
    async fn emptied(session: Session) -> Done {
        session.insert("a", &1)?;
        session.remove("a");
        session.push("b", &1)?;
        session.clear();
        session.flash("info", "said at once")?;
        assert_eq!(session.flashes()?.len(), 1);
        Ok(())
    }
    async fn signed_in_and_out(session: Session) -> Done {
        session.login("ada")?;
        session.logout();
        Ok(())
    }
    async fn told_how_to_keep_nothing(session: Session) -> Done {
        session.remember(true);
        session.set_device("Firefox");
        session.set_idle_timeout(Some(seconds(60)));
        session.forget_csrf_token();
        Ok(())
    }
    async fn saved(session: Session) -> Done {
        session.save().await?;
        session.save().await
    }
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    for round in 0..5 {
        let answer = match round {
            0 => visitor.does(emptied).await,
            1 => visitor.does(signed_in_and_out).await,
            2 => visitor.does(told_how_to_keep_nothing).await,
            3 => visitor.does(saved).await,
            _ => visitor.does(async |session: Session| session.logout()).await,
        };
        assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (200, 0), "{round}");
        assert_eq!(stage.store.statements(), 0, "{round}");
    }
    assert!(stage.store.rows().await.is_empty() && stage.events().is_empty());
}

/// [B02] [B04] A cookie costs nothing until the session is asked for, dead or alive.
#[tokio::test]
async fn a_cookie_alone_is_not_looked_up() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("a", &1)).await;
    stage.store.statements();
    let answer = visitor.does(async |lazy: LazySession| assert!(lazy.is_named())).await;
    assert_eq!((answer.status.as_u16(), stage.store.statements()), (200, 0));
}

/// [B04] What is taken back in the same request has changed nothing, and is not written.
#[tokio::test]
async fn a_wish_that_is_taken_back_is_none() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    let signs_in = async |session: Session| -> Done {
        session.login("ada")?;
        session.remember(true);
        Ok(())
    };
    visitor.does(signs_in).await;
    let (rows, _) = (stage.store.rows().await, stage.store.statements());
    let wavers = async |session: Session| {
        session.remember(false);
        session.remember(true);
    };
    assert_eq!(visitor.does(wavers).await.status.as_u16(), 200);
    assert_eq!(stage.store.statements(), 1, "it was loaded");
    assert_eq!(stage.store.rows().await, rows);
}

/// [B05] [B16] [B17] An early save leaves nothing for the end of the request, and the handle keeps what
/// it shows.
#[tokio::test]
async fn an_early_save_prevents_a_second_one() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        let (store, outer) = (stage.store.clone(), stage.store.clone());
        let answer = visitor
            .does(async move |session: Session| -> Done {
                session.insert("a", &1)?;
                session.save().await?;
                assert_eq!(store.statements(), 1);
                assert_eq!(session.get::<u8>("a")?, Some(1));
                assert!(session.id().is_some());
                session.save().await
            })
            .await;
        assert_eq!((answer.set_cookies().len(), outer.statements()), (1, 0));
        // Changed again after the save: one more statement, on the row that the save left.
        visitor
            .does(async |session: Session| -> Done {
                session.insert("b", &1)?;
                session.save().await?;
                session.insert("c", &1)
            })
            .await;
        assert_eq!(outer.statements(), 3);
        assert_eq!(stage.store.rows().await[0].data().len(), 3);
        // What is set to what it is, or changed back, is no change.
        visitor
            .does(async |session: Session| -> Done {
                session.insert("a", &1)?;
                session.insert("b", &2)?;
                session.insert("b", &1)
            })
            .await;
        assert_eq!(outer.statements(), 1, "the load alone");
    }
}

/// [B11] Values are decoded one by one: one that cannot be read hurts nobody who does not ask for it, and
/// goes back as it is.
#[tokio::test]
async fn values_are_decoded_when_they_are_asked_for() {
    let stage = Stage::new();
    let text = r#"{"odd":"\ud800","big":1E400 , "good":1}"#;
    let new = sessile::engine::NewSession { data: text.parse().unwrap(), ..Default::default() };
    let (credential, _) = stage.sessions.create(new).await.unwrap();
    let sessile::engine::Credential::Token(token) = credential else { panic!("a token is the default") };
    let mut visitor = stage.visitor().with_cookie(token.expose());
    let answer = visitor
        .does(async |session: Session| -> Done {
            assert_eq!(session.get::<u8>("good")?, Some(1));
            assert!(session.get::<String>("odd").is_err());
            session.insert("good", &2)
        })
        .await;
    assert_eq!(answer.status, 200);
    let text = stage.store.rows().await[0].data().to_text();
    assert!(text.contains(r#""\ud800""#) && text.contains("1E400") && text.contains(r#""good": 2"#));
}

/// [B13] [E20] A renewal moves the expiry alone, under the eyes of a writer, and only when enough has
/// passed.
#[tokio::test]
async fn a_renewal_rolls_nothing_back() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        visitor.does(async |session: Session| session.insert("n", &1)).await;
        let looks = async |session: Session| session.get::<u8>("n").map(drop);
        stage.clock.advance(seconds(179));
        stage.store.statements();
        visitor.does(looks).await;
        assert_eq!(stage.store.statements(), 1, "too early: the load alone");
        stage.clock.advance(seconds(1));
        let mut other = visitor.clone();
        stage.store.before_next_write(async move {
            other.does(async |session: Session| session.insert("n", &2)).await;
        });
        visitor.does(looks).await;
        let row = stage.store.rows().await.remove(0);
        assert_eq!(row.data().get::<u8>("n").unwrap(), Some(2));
        assert_eq!(row.expires_at(), stage.sessions.now().saturating_add(seconds(1_800)));
        stage.clock.advance(seconds(900));
        visitor.does(looks).await;
        let row = stage.store.rows().await.remove(0);
        assert_eq!(row.expires_at(), stage.sessions.now().saturating_add(seconds(1_800)));
        assert!(matches!(stage.events().last(), Some(Event::Renewed { .. })));
    }
}

/// [B14] Without renewal an access moves nothing, and neither does a change.
#[tokio::test]
async fn renewal_can_be_switched_off() {
    let stage = Stage::with_policy(Policy::default().renew_after(None));
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("n", &1)).await;
    let end = stage.store.rows().await[0].expires_at();
    stage.clock.advance(seconds(1_700));
    stage.store.statements();
    visitor.sends(Request::get("/"), async |session: Session| session.get::<u8>("n").map(drop)).await;
    assert_eq!(stage.store.statements(), 1);
    assert_eq!(stage.store.rows().await[0].expires_at(), end);
}

/// [B05] A session asked for twice, also at once, is loaded once.
#[tokio::test]
async fn a_session_is_loaded_once() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("n", &1)).await;
    stage.store.statements();
    let answer = visitor
        .does(async |lazy: LazySession, session: Session| -> Done {
            let (one, two) = tokio::join!(lazy.load(), lazy.load());
            one?.insert("n", &2)?;
            assert_eq!(two?.get::<u8>("n")?, Some(2), "one session, several handles");
            assert_eq!(session.get::<u8>("n")?, Some(2));
            Ok(())
        })
        .await;
    assert_eq!((answer.status.as_u16(), stage.store.statements()), (200, 2));
}
