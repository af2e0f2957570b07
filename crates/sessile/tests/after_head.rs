//! What a handler does after its response head has left: in streamed bodies, event streams and websockets. [S27]
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use axum::body::{Body, Bytes};
use sessile::{Session, SessionError};
use support::logs::Log;
use support::{Stage, Visitor, sign_in, who};

/// Answers with a body that does this once the head has left; what it says is the body.
async fn streams<F>(
    visitor: &mut Visitor,
    then: impl FnOnce(Session) -> F + Clone + Send + Sync + 'static,
) -> String
where
    F: Future<Output = String> + Send + 'static,
{
    let handler = async move |session: Session| {
        let body = async move { Ok::<_, std::io::Error>(Bytes::from(then(session).await)) };
        Body::from_stream(futures_util::stream::once(body))
    };
    visitor.does(handler).await.body
}

fn told(saved: Result<(), SessionError>) -> String {
    match saved {
        Ok(()) => "saved".to_owned(),
        Err(SessionError::HeadLeft) => "too late".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// [S27] What needs a new name is a typed error, and nothing is written.
#[tokio::test]
async fn a_new_name_is_refused() {
    for stage in Stage::everywhere(sessile::Policy::default()).await {
        let mut nobody = stage.visitor();
        let first = async |session: Session| {
            session.insert("a", &1).unwrap();
            told(session.save().await)
        };
        assert_eq!(streams(&mut nobody, first).await, "too late");
        let login = async |session: Session| {
            session.login("ada").unwrap();
            told(session.save().await)
        };
        assert_eq!(streams(&mut nobody, login).await, "too late");
        assert!(stage.store.rows().await.is_empty());

        let mut ada = stage.visitor();
        sign_in(&mut ada, "ada").await;
        let before = stage.store.rows().await;
        assert_eq!(streams(&mut ada, login).await, "too late");
        let rotate = async |session: Session| {
            session.rotate().unwrap();
            told(session.save().await)
        };
        assert_eq!(streams(&mut ada, rotate).await, "too late");
        assert_eq!(stage.store.rows().await, before);
        assert_eq!(who(&mut ada).await, "ada");
    }
}

/// [S27] Changes of a session that the browser knows are saved.
#[tokio::test]
async fn a_named_session_is_saved() {
    for stage in Stage::everywhere(sessile::Policy::default()).await {
        let mut ada = stage.visitor();
        sign_in(&mut ada, "ada").await;
        let change = async |session: Session| {
            session.insert("seen", &1).unwrap();
            told(session.save().await)
        };
        assert_eq!(streams(&mut ada, change).await, "saved");
        let seen = async |session: Session| session.get::<u32>("seen").unwrap().unwrap_or(0).to_string();
        assert_eq!(ada.does(seen).await.body, "1");
    }
}

/// [S26] [S27] A logout is carried out without a `save`, from the moment it is called.
#[tokio::test]
async fn a_logout_is_carried_out() {
    for stage in Stage::everywhere(sessile::Policy::default()).await {
        for everywhere in [false, true] {
            let (mut here, mut there) = (stage.visitor(), stage.visitor());
            sign_in(&mut here, "ada").await;
            sign_in(&mut there, "ada").await;
            let sessions = stage.sessions.clone();
            let leave = async move |session: Session| {
                if everywhere {
                    session.logout_everywhere();
                } else {
                    session.logout();
                }
                // The body goes on, and the handle with it.
                sessions.drain().await;
                format!("{:?} {}", session.id(), sessions.stats().await.unwrap().live)
            };
            let left = if everywhere { "None 0" } else { "None 1" };
            assert_eq!(streams(&mut here, leave).await, left);
            assert_eq!(who(&mut here).await, "nobody");
            assert_eq!(who(&mut there).await, if everywhere { "nobody" } else { "ada" });
            stage.sessions.revoke_user(&sessile::UserId::new("ada").unwrap()).await.unwrap();
        }
    }
}

/// [S27] Changes that nothing saves are discarded with a warning; a request that saved leaves none.
#[tokio::test]
async fn discarded_changes_are_logged() {
    let log = Log::start();
    let stage = Stage::new();
    let mut ada = stage.visitor();
    sign_in(&mut ada, "ada").await;
    for saves in [true, false] {
        let change = async move |session: Session| {
            session.insert("seen", &saves).unwrap();
            if saves { told(session.save().await) } else { "not saved".to_owned() }
        };
        streams(&mut ada, change).await;
        let warnings = log.warnings();
        assert_eq!(warnings.iter().any(|line| line.contains("discarded")), !saves, "{warnings:?}");
    }
}
