//! The table itself: SQLAlchemy's works for us, and ours for SQLAlchemy.

use serde_json::{Value, json};
use sessile::UserId;
use sessile::engine::NewSession;
use sessile::store::SessionStore;

use crate::scene::Scene;

/// Each side makes a row, changes the other's, and removes its own.
async fn live_together(scene: &mut Scene) {
    let theirs = scene.python.create(r#"{"a": 1}"#);
    let new = NewSession { user: Some(UserId::new("ada").unwrap()), ..NewSession::default() };
    let (_, ours) = scene.sessions.create(new).await.unwrap();
    scene.python.ask(json!(["change", ours.id().to_string(), "p", "1"]));
    let session = scene.session(theirs).await;
    session.insert("r", &1).unwrap();
    session.save().await.unwrap();
    assert_eq!(scene.python.data_of(theirs), r#"{"a": 1, "r": 1}"#);
    assert_eq!(scene.session(ours.id()).await.get::<u8>("p").unwrap(), Some(1));
    assert_eq!(scene.sessions.revoke_user(&UserId::new("ada").unwrap()).await.unwrap(), 1);
    scene.python.ask(json!(["delete", theirs.to_string()]));
    assert_eq!(scene.sessions.stats().await.unwrap().live, 0);
}

/// SQLAlchemy's table works as it is, and with the indexes that `init` adds; nothing else of it changes.
#[tokio::test]
async fn a_table_made_by_sqlalchemy_works_with_and_without_our_indexes() {
    let mut scene = Scene::new().await;
    scene.store.check().await.unwrap();
    let made = scene.python.ask(json!(["columns"]));
    assert_eq!(made["indexes"], json!([]));
    live_together(&mut scene).await;

    scene.store.init().await.unwrap();
    let now = scene.python.ask(json!(["columns"]));
    assert_eq!(now["indexes"], json!(["ix_sessions_expires_at", "ix_sessions_user_id"]));
    assert_eq!(now["reflected"], made["reflected"]);
    live_together(&mut scene).await;
}

/// What SQLAlchemy tells of its columns, with the one difference of a table that `init` makes: a user id has up to 255
/// characters there.
fn with_long_user_ids(mut columns: Value) -> Value {
    let column = columns.as_array_mut().unwrap().iter_mut().find(|column| {
        let parts = column.as_array().unwrap();
        parts.contains(&json!("user_id"))
    });
    let parts = column.unwrap().as_array_mut().unwrap();
    let declared = parts.iter_mut().find(|part| **part == json!("VARCHAR(36)"));
    *declared.unwrap() = json!("VARCHAR(255)");
    columns
}

/// The table that `init` makes is to SQLAlchemy the one that its model declares, but for longer user ids.
#[tokio::test]
async fn a_table_made_by_init_is_the_one_that_the_model_declares() {
    let mut scene = Scene::without_table().await;
    assert!(scene.store.check().await.is_err());
    scene.store.init().await.unwrap();
    scene.store.check().await.unwrap();
    let made = scene.python.ask(json!(["columns"]));
    assert_eq!(made["reflected"], with_long_user_ids(made["declared"].clone()));
    assert_eq!(made["primary_key"], json!(["id"]));
    // create_all finds it and lets it be.
    scene.python.ask(json!(["create_table"]));
    assert_eq!(scene.python.ask(json!(["columns"])), made);
    live_together(&mut scene).await;
}

/// Column for column the same as what SQLAlchemy itself makes, but for longer user ids.
#[tokio::test]
async fn both_make_the_same_table() {
    let (mut ours, mut theirs) = (Scene::without_table().await, Scene::new().await);
    ours.store.init().await.unwrap();
    let info = json!([
        "sql",
        "SELECT cid, name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('sessions')"
    ]);
    assert_eq!(ours.python.ask(info.clone()), with_long_user_ids(theirs.python.ask(info)));
}
