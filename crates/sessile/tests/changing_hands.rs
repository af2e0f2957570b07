//! A session that another program gives to another user under the same id, as lback's views do, and requests of the
//! user before that are still in flight.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use axum::http::StatusCode;
use sessile::engine::{Changes, EngineError};
use sessile::record::StoredData;
use sessile::store::{Expiry, NewData, Outcome, SessionStore as _, Update, Write};
use sessile::{Policy, Session, SessionError, SessionId, UserId};
use support::{Stage, Visitor, Watched};

type Done = Result<(), SessionError>;

const OF_B: &str = r#"{"user_id": 2, "user_type": "user", "secret": "of B"}"#;

/// Writes the whole data and perhaps the column, as Python does.
async fn python_writes(store: &Watched, id: SessionId, data: &str, user: Option<&str>) {
    let row = store.load(id).await.unwrap().unwrap();
    let update = Update {
        id,
        expected: row.stored_data().clone(),
        data: NewData::Text(data.into()),
        user_id: user.map(|user| Some(UserId::new(user).unwrap())),
        expires_at: Expiry::Keep,
        now: row.updated_at().unwrap().into(),
    };
    assert_eq!(store.apply(Write::Update(update)).await.unwrap(), Outcome::Applied);
}

async fn signed_in(stage: &Stage) -> (Visitor, SessionId) {
    let mut visitor = stage.visitor();
    visitor
        .does(async |session: Session| -> Done {
            session.login_as(1, "user")?;
            session.insert("nonce", "of A")
        })
        .await;
    (visitor, stage.store.rows().await[0].id())
}

/// Everything that a request may do to a session and is no login and no ending.
async fn every_way(session: &Session, way: usize) -> Result<bool, SessionError> {
    match way {
        0 => session.insert("address", "of A")?,
        1 => drop(session.update("visits", |n: &mut u32| *n += 1)?),
        2 => session.push("list", "of A")?,
        3 => session.flash("info", "of A")?,
        4 => drop(session.remove("nonce")),
        5 => session.clear(),
        6 => session.rotate()?,
        7 => session.remember(true),
        8 => session.set_device("of A"),
        9 => drop(session.csrf_token()?),
        10 => drop(session.take::<String>("nonce")?),
        11 => drop(session.take_once::<String>("nonce").await?),
        12 => session.keep_only(&[]),
        _ => return Ok(false),
    }
    Ok(true)
}

/// [S06] A change of A's that is in flight when Python has signed B in under the same id is refused with 409, and B's
/// row stays as it is, whatever the change is, and whether B is another user, an administrator with the same number,
/// or A has only signed out.
#[tokio::test]
async fn a_change_in_flight_never_lands_in_another_users_session() {
    let admin = r#"{"user_id": 1, "user_type": "admin", "secret": "of B"}"#;
    for of_another in [OF_B, admin, "{}", r#"{"secret": "of nobody"}"#] {
        let mut way = 0;
        loop {
            let stage = Stage::with_policy(Policy::lback());
            let (mut visitor, id) = signed_in(&stage).await;
            let rows = stage.store.clone();
            let answer = visitor
                .does(async move |session: Session| -> Result<&'static str, SessionError> {
                    python_writes(&rows, id, of_another, None).await;
                    Ok(if every_way(&session, way).await? { "done" } else { "no more" })
                })
                .await;
            if answer.body == "no more" {
                break;
            }
            assert_eq!(answer.status, StatusCode::CONFLICT, "{way}: {answer:?}");
            let rows = stage.store.rows().await;
            assert_eq!(rows.len(), 1, "{way}");
            assert_eq!(*rows[0].stored_data(), StoredData::Text(of_another.into()), "{way}");
            way += 1;
        }
        assert!(way > 10);
    }
}

/// [S06] The same under the usual policy, where another program writes the column.
#[tokio::test]
async fn the_column_counts_where_the_data_does_not() {
    for stage in Stage::everywhere(Policy::default()).await {
        let (mut visitor, id) = signed_in(&stage).await;
        let rows = stage.store.clone();
        let answer = visitor
            .does(async move |session: Session| -> Done {
                python_writes(&rows, id, r#"{"secret": "of B"}"#, Some("2")).await;
                session.insert("address", "of A")?;
                let error = session.save().await.unwrap_err();
                assert!(
                    matches!(error, SessionError::Engine(EngineError::UserChanged)) && !error.is_transient()
                );
                Err(error)
            })
            .await;
        assert_eq!(answer.status, StatusCode::CONFLICT);
        assert_eq!(stage.store.rows().await[0].stored_data().as_text(), Some(r#"{"secret": "of B"}"#));
    }
}

/// [S06] A login may go on: it begins a session of its own, without what B stored. So may a change from outside that
/// was planned on B's row, and a change of A's that Python's change of other keys meets.
#[tokio::test]
async fn logins_and_changes_of_the_same_user_go_on() {
    let stage = Stage::with_policy(Policy::lback());
    let (mut visitor, id) = signed_in(&stage).await;
    let rows = stage.store.clone();
    let answer = visitor
        .does(async move |session: Session| -> Done {
            python_writes(&rows, id, r#"{"user_id": 1, "user_type": "user", "by": "python"}"#, None).await;
            session.insert("by_rust", &1)
        })
        .await;
    assert_eq!(answer.status, 200);
    let keys: Vec<String> = stage.store.rows().await[0].data().keys().map(Into::into).collect();
    assert_eq!(keys, ["user_id", "user_type", "by", "by_rust"]);

    let rows = stage.store.clone();
    let answer = visitor
        .does(async move |session: Session| -> Done {
            python_writes(&rows, id, OF_B, None).await;
            session.login_as(3, "user")
        })
        .await;
    assert_eq!(answer.status, 200);
    let row = stage.store.rows().await.remove(0);
    assert_ne!(row.id(), id);
    assert!(!row.data().contains("secret"));

    python_writes(&stage.store, row.id(), OF_B, None).await;
    let mut changes = Changes::new();
    changes.set_raw("note", "1").unwrap();
    stage.sessions.change(row.id(), &changes).await.unwrap().unwrap();
    let sessions = stage.another_process();
    changes.set_raw("note", "2").unwrap();
    let (python, of_b) = (stage.store.clone(), row.id());
    stage.store.before_next_write(async move { python_writes(&python, of_b, "{}", None).await });
    let error = sessions.sessions.change(of_b, &changes).await.unwrap_err();
    assert!(matches!(error, EngineError::UserChanged), "{error}");
}
