//! What this program does in its other processes.

use sessile::engine::Changes;
use sessile::{SessionId, Sessions};

use crate::stage;

/// How another process may end a session in this store.
pub(crate) fn ways(url: &str) -> &'static [&'static str] {
    if stage::is_postgres(url) { &["sessile", "SQL", "Python"] } else { &["sessile"] }
}

/// Ends the sessions whose ids come in, one after the other, and says when it was answered.
pub(crate) async fn end(way: &str, url: &str) {
    let sessions = Sessions::new(stage::store(url).await);
    let client = if way == "SQL" { Some(stage::client(url).await) } else { None };
    println!("ready");
    for id in std::io::stdin().lines() {
        let id: SessionId = id.unwrap().parse().unwrap();
        match &client {
            Some(client) => {
                let delete = format!("DELETE FROM {} WHERE id = '{id}'", stage::TABLE);
                client.batch_execute(&delete).await.unwrap();
            }
            None => assert!(sessions.revoke(id).await.unwrap()),
        }
        println!("{}", stage::now());
    }
}

/// So many clients that change sessions of their own until this is ended.
pub(crate) async fn load(url: &str, clients: usize) {
    let sessions = Sessions::new(stage::store(url).await);
    let ids: Vec<SessionId> =
        stage::fill(&sessions, clients).await.iter().map(|credential| credential.id()).collect();
    for id in ids {
        let sessions = sessions.clone();
        tokio::spawn(async move {
            for n in 1.. {
                change(&sessions, id, n).await;
            }
        });
    }
    std::future::pending::<()>().await;
}

/// Puts a number into a session.
pub(crate) async fn change(sessions: &Sessions, id: SessionId, n: u64) {
    let mut changes = Changes::new();
    changes.set_raw("n", &n.to_string()).unwrap();
    sessions.change(id, &changes).await.unwrap().unwrap();
}
