//! What this program does in its other processes.

use std::sync::Arc;

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
pub(crate) async fn load(url: &str, clients: u64) {
    let sessions = Sessions::new(stage::store(url).await);
    let ids: Vec<SessionId> =
        stage::fill(&sessions, clients).await.iter().map(|credential| credential.id()).collect();
    for id in Arc::new(ids).iter().copied() {
        let sessions = sessions.clone();
        tokio::spawn(async move { change_for_ever(&sessions, id, |_| {}).await });
    }
    std::future::pending::<()>().await;
}

pub(crate) async fn change_for_ever(sessions: &Sessions, id: SessionId, mut changed: impl FnMut(u64)) {
    for n in 1.. {
        let mut changes = Changes::new();
        changes.set_raw("n", &n.to_string()).unwrap();
        sessions.change(id, &changes).await.unwrap().unwrap();
        changed(n);
    }
}
