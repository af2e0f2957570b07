//! Flash messages: said once, to whoever asks next (group J of the behaviour cases).
//!
//! Messages stay until they are read (J04: the pull model), so there is no "keep" and no "now": a message
//! that is said and read in one request is never stored. The CSRF lines stand in `forgery.rs`.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use axum::response::Redirect;
use sessile::engine::{Credential, NewSession};
use sessile::session::Flash;
use sessile::{Policy, Session, SessionError};
use support::{Stage, Visitor};

type Done = Result<(), SessionError>;

async fn reads(session: Session) -> Result<String, SessionError> {
    let said: Vec<String> = session
        .flashes()?
        .into_iter()
        .map(|Flash { message, category, .. }| format!("{category}: {message}"))
        .collect();
    Ok(said.join(", "))
}

async fn visitor_with(stage: &Stage, data: &str) -> Visitor {
    let new = NewSession { data: data.parse().unwrap(), ..NewSession::default() };
    let (credential, _) = stage.sessions.create(new).await.unwrap();
    let Credential::Token(token) = credential else { panic!("a token is the default") };
    stage.visitor().with_cookie(token.expose())
}

async fn stored(stage: &Stage) -> String {
    stage.store.rows().await[0].data().to_text().to_string()
}

/// [J01] [J04] Read in the next request that asks, gone in the one after; reading none costs nothing.
#[tokio::test]
async fn a_message_is_read_once() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        visitor
            .does(async |session: Session| -> Done {
                session.flash("info", "one")?;
                session.flash("danger", String::from("two"))
            })
            .await;
        visitor.does(async |session: Session| session.get::<u8>("other").map(drop)).await;
        let peeks = async |session: Session| session.peek_flashes().len().to_string();
        assert_eq!(visitor.does(peeks).await.body, "2", "unread ones stay, also when peeked at");
        assert_eq!(visitor.does(reads).await.body, "info: one, danger: two");
        assert_eq!(stored(&stage).await, "{}");
        stage.store.statements();
        assert_eq!(visitor.does(reads).await.body, "");
        assert_eq!(stage.store.statements(), 1, "nothing to take, nothing to write");
    }
}

/// [J02] Said and read in one request: nothing is stored.
#[tokio::test]
async fn a_message_for_this_request_is_never_stored() {
    let stage = Stage::new();
    let answer = stage
        .visitor()
        .does(async |session: Session| {
            session.flash("info", "now")?;
            reads(session).await
        })
        .await;
    assert_eq!((answer.body.as_str(), answer.set_cookies().len()), ("info: now", 0));
    assert_eq!(stage.store.statements(), 0);
}

/// [J05] A message survives redirects, a rotation and a login.
#[tokio::test]
async fn a_message_survives_redirects_and_new_names() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor
        .does(async |session: Session| -> Result<_, SessionError> {
            session.flash("info", "kept")?;
            Ok(Redirect::to("/"))
        })
        .await;
    visitor.does(async |_: Session| Redirect::to("/")).await;
    visitor.does(async |session: Session| session.rotate()).await;
    visitor
        .does(async |session: Session| -> Done {
            session.login("ada")?;
            session.flash("success", "welcome")
        })
        .await;
    assert_eq!(visitor.does(reads).await.body, "info: kept, success: welcome");
}

/// [J05] A 5xx neither loses what was read nor keeps what was said.
#[tokio::test]
async fn a_server_error_gives_messages_back() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.flash("info", "kept")).await;
    visitor
        .does(async |session: Session| -> Result<_, SessionError> {
            assert_eq!(session.flashes()?.len(), 1);
            session.flash("info", "dropped")?;
            Ok(axum::http::StatusCode::BAD_GATEWAY)
        })
        .await;
    assert_eq!(visitor.does(reads).await.body, "info: kept");
}

/// [J01] Stored in the shape of lback, to the byte that Python's `json.dumps` writes.
#[tokio::test]
async fn the_shape_is_that_of_lback() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor
        .does(async |session: Session| -> Done {
            session.flash("info", "Grüße \u{1f600} \"x\" </script>")?;
            session.flash("danger", "")
        })
        .await;
    assert_eq!(
        stored(&stage).await,
        r#"{"flash_messages": [{"message": "Gr\u00fc\u00dfe \ud83d\ude00 \"x\" </script>", "category": "info"}, {"message": "", "category": "danger"}]}"#
    );
}

/// [J01] [J04] What Python wrote is read: a missing category, other fields, malformed entries. Entries of
/// another category go back byte for byte.
#[tokio::test]
async fn what_python_said_is_read() {
    let stage = Stage::new();
    let data = r#"{"flash_messages": [{"message":"plain"}, 7, {"category": "x"}, {"message": "b", "category": "danger",  "extra": [1]}, null]}"#;
    let mut visitor = visitor_with(&stage, data).await;
    let of = async |session: Session| -> Result<String, SessionError> {
        assert!(session.flashes_of("nothing")?.is_empty());
        Ok(session.flashes_of("info")?.into_iter().map(|flash| flash.message).collect())
    };
    assert_eq!(visitor.does(of).await.body, "plain");
    assert_eq!(
        stored(&stage).await,
        r#"{"flash_messages": [{"message": "b", "category": "danger",  "extra": [1]}]}"#
    );
    assert_eq!(visitor.does(reads).await.body, "danger: b");
    assert_eq!(stored(&stage).await, "{}");
    // Anything but a list is no message, and the next one starts afresh.
    for odd in ["null", "\"text\"", "{\"message\": \"x\"}", "7"] {
        let stage = Stage::new();
        let mut visitor = visitor_with(&stage, &format!("{{\"flash_messages\": {odd}}}")).await;
        assert_eq!(visitor.does(reads).await.body, "");
        visitor.does(async |session: Session| session.flash("info", "new")).await;
        assert_eq!(visitor.does(reads).await.body, "info: new");
    }
}

/// [J01] [G02] Messages said at once are all kept, and one that is said while another tab reads waits for
/// its reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_said_at_once_are_all_kept() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut visitor = stage.visitor();
        visitor.does(async |session: Session| session.flash("info", "first")).await;
        let mut other = visitor.clone();
        stage.store.before_next_write(async move {
            let twice = async |session: Session| -> Done {
                session.flash("info", "late")?;
                session.flash("info", "first")
            };
            assert_eq!(other.does(twice).await.status, 200);
        });
        assert_eq!(visitor.does(reads).await.body, "info: first");
        assert_eq!(visitor.does(reads).await.body, "info: late, info: first");

        let said = (0..30).map(|n| {
            let mut tab = visitor.clone();
            tokio::spawn(async move {
                let says = async move |session: Session| session.flash("info", format!("message {n}"));
                assert_eq!(tab.does(says).await.status, 200);
            })
        });
        for task in said.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(visitor.does(reads).await.body.split(", ").count(), 30);
    }
}

/// [J10] A path to return to is stored once and taken once.
#[tokio::test]
async fn a_path_to_return_to_is_used_once() {
    let stage = Stage::new();
    let mut visitor = stage.visitor();
    visitor.does(async |session: Session| session.insert("return_to", "/cart")).await;
    let returns = async |session: Session| -> Result<Redirect, SessionError> {
        session.login("ada")?;
        let path: Option<String> = session.take("return_to")?;
        Ok(Redirect::to(path.as_deref().unwrap_or("/")))
    };
    assert_eq!(visitor.does(returns).await.headers["location"], "/cart");
    assert_eq!(visitor.does(returns).await.headers["location"], "/");
}
