//! Whose sessions they are: lback's sign-ins leave the column `user_id` as it was, and are listed and ended all the
//! same.

use rusqlite::types::Value as Cell;
use serde_json::json;
use sessile::engine::{NewSession, Selection};
use sessile::{SessionId, UserId};

use crate::scene::{Scene, USER, noon, seconds};

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

impl Scene {
    /// A session in which lback signed this user in.
    fn signed_in(&mut self, user: u32) -> SessionId {
        let id = self.python.create(r#"{"cart": [1]}"#);
        assert_eq!(self.python.request(id, &[json!(["login", user, "user"])])["results"], json!([true]));
        id
    }

    async fn ids_of(&self, user: &UserId) -> Vec<SessionId> {
        let mut ids: Vec<_> =
            self.sessions.sessions_of(user).await.unwrap().iter().map(|record| record.id()).collect();
        ids.sort();
        ids
    }
}

fn sorted<const N: usize>(mut ids: [SessionId; N]) -> [SessionId; N] {
    ids.sort();
    ids
}

/// [S10] [H01] [H11] Signed in by lback, by its login views or by sessile: all of a user's sessions are listed and
/// ended, nobody else's.
#[tokio::test]
async fn sign_ins_of_python_are_listed_and_ended() {
    let mut scene = Scene::new().await;
    let by_python = scene.signed_in(42);
    let by_view: SessionId = scene
        .python
        .ask(json!(["create", r#"{"user_id": 42, "user_type": "user"}"#, 1800, 42]))
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let new = NewSession { user: Some(user("42")), ..NewSession::default() };
    let by_rust = scene.sessions.create(new).await.unwrap().1.id();
    let of_another = scene.signed_in(421);
    let of_nobody = scene.python.create("{}");
    assert_eq!(scene.cells(by_python).unwrap()[USER], Cell::Null);

    assert_eq!(scene.ids_of(&user("42")).await, sorted([by_python, by_view, by_rust]));
    assert_eq!(scene.cells(by_python).unwrap()[USER], Cell::Text("42".into()));
    assert_eq!(scene.cells(of_another).unwrap()[USER], Cell::Null, "only what was asked for");
    let selection = Selection { user: Some(user("421")), ..Selection::default() };
    let page = scene.sessions.list(&selection, None, 10).await.unwrap();
    assert_eq!(page.records.iter().map(|record| record.id()).collect::<Vec<_>>(), [of_another]);

    let late = scene.signed_in(42);
    assert_eq!(scene.sessions.revoke_user(&user("42")).await.unwrap(), 4);
    for ended in [by_python, by_view, by_rust, late] {
        assert_eq!(scene.cells(ended), None);
    }
    for other in [of_another, of_nobody] {
        assert!(scene.cells(other).is_some());
    }
}

/// [S11] [H11] lback changes hands under one id, and its logout view only clears: what the column still says of that
/// lists and ends nothing.
#[tokio::test]
async fn a_column_that_is_out_of_date_ends_nobody() {
    let mut scene = Scene::new().await;
    let handed_on = scene.signed_in(42);
    let cleared = scene.signed_in(42);
    assert_eq!(scene.ids_of(&user("42")).await, sorted([handed_on, cleared]));
    scene.python.request(handed_on, &[json!(["login", 43, "user"])]);
    scene.python.request(cleared, &[json!(["remove", "user_id"]), json!(["remove", "user_type"])]);
    for id in [handed_on, cleared] {
        assert_eq!(scene.cells(id).unwrap()[USER], Cell::Text("42".into()));
    }

    assert_eq!(scene.ids_of(&user("42")).await, []);
    assert_eq!(scene.sessions.revoke_user(&user("42")).await.unwrap(), 0);
    assert_eq!(scene.ids_of(&user("43")).await, [handed_on]);
    assert!(!scene.sessions.revoke_of(&user("42"), handed_on).await.unwrap());
    assert!(scene.sessions.revoke_of(&user("43"), handed_on).await.unwrap());
    assert_eq!(scene.cells(cleared).unwrap()[USER], Cell::Null);
}

/// [H20] All others but this one, also when it is Python's.
#[tokio::test]
async fn the_session_that_asks_stays() {
    let mut scene = Scene::new().await;
    let sessions: Vec<SessionId> = (0..5).map(|_| scene.signed_in(42)).collect();
    assert_eq!(scene.sessions.revoke_others(&user("42"), sessions[2]).await.unwrap(), 4);
    for id in &sessions {
        assert_eq!(scene.cells(*id).is_some(), *id == sessions[2]);
    }
}

/// A request to sessile fills the column in passing, with the statement that renews anyway; Python's next request
/// leaves it, and the data are what they were.
#[tokio::test]
async fn a_request_fills_the_column_in_passing() {
    let mut scene = Scene::new().await;
    let id = scene.signed_in(42);
    let text = scene.text(id);
    scene.set_clocks(noon().saturating_add(seconds(60)));
    scene.visit(Some(id), |_| String::new()).await;
    let cells = scene.cells(id).unwrap();
    assert_eq!(cells[USER], Cell::Text("42".into()));
    assert_eq!(crate::scene::shown(&cells[crate::scene::EXPIRES]), "2030-01-02 12:31:00.000000");
    assert_eq!(scene.text(id), text);
    scene.python.request(id, &[json!(["set", "a", "1"])]);
    assert_eq!(scene.cells(id).unwrap()[USER], Cell::Text("42".into()));
    // Signed out by Python's logout view: in passing, too.
    scene.python.request(id, &[json!(["remove", "user_id"])]);
    scene.set_clocks(noon().saturating_add(seconds(120)));
    scene.visit(Some(id), |_| String::new()).await;
    assert_eq!(scene.cells(id).unwrap()[USER], Cell::Null);
}

/// Data that nobody can read say nothing: then the column does.
#[tokio::test]
async fn of_unreadable_data_the_column_tells() {
    let mut scene = Scene::new().await;
    let id = scene.python.create("{}");
    scene.write("UPDATE sessions SET data = 'not JSON', user_id = '42' WHERE id = ?", [id.to_string()]);
    scene.set_clocks(noon().saturating_add(seconds(60)));
    scene.visit(Some(id), |_| String::new()).await;
    assert_eq!(scene.text(id), "not JSON");
    assert_eq!(scene.cells(id).unwrap()[USER], Cell::Text("42".into()));
    assert_eq!(scene.sessions.revoke_user(&user("42")).await.unwrap(), 1);
    assert_eq!(scene.cells(id), None);
}

/// More sessions than a page holds, with what cannot be read among them.
#[tokio::test]
async fn a_large_table_is_read_to_its_end() {
    let scene = Scene::new().await;
    let row = "INSERT INTO sessions (id, data, expires_at) SELECT printf('%08x-0000-4000-8000-%012x', i, i), \
               iif(i % 100 = 7, '{\"user_id\": 42}', iif(i % 100 = 8, 'nonsense', '{}')), '2030-01-02 13:00:00.000000' \
               FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) SELECT i FROM n)";
    scene.write(row, ());
    scene.write("UPDATE sessions SET expires_at = 5 WHERE id LIKE '00000010-%'", ());
    assert_eq!(scene.ids_of(&user("42")).await.len(), 12);
    assert_eq!(scene.sessions.revoke_user(&user("42")).await.unwrap(), 12);
    assert_eq!(scene.ids_of(&user("42")).await.len(), 0);
}
