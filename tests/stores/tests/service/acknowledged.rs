//! What was acknowledged is there, beside writes that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sessile::engine::{Changes, NewSession};
use sessile::record::{SessionRecord, StoredData, SystemRandom};
use sessile::store::{Outcome, Rotation, SessionStore, Write};
use sessile::{SessionId, Sessions, UserId};
use sessile_test_stores::Backend;
use tokio::task::JoinSet;

const CLIENTS: usize = 24;
/// Each makes as many sessions, with three or four acknowledged writes for each: more than 30,000 in all.
const SESSIONS: usize = 420;
const FAILING: usize = 6;

/// [R17] Sessions that are made, changed twice and half of them ended, while batches on the same store fail: no
/// acknowledged write is missing, and none fails for another's fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_sessions_acknowledge_is_there() {
    for backend in Backend::SERVERS {
        let place = tokio::task::spawn_blocking(move || backend.start()).await.unwrap().unwrap();
        let store = place.store().await.unwrap();
        let sessions = Sessions::new(Arc::clone(&store));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut failing = JoinSet::new();
        for _ in 0..FAILING {
            failing.spawn(fails(Arc::clone(&store), sessions.clone(), Arc::clone(&is_over)));
        }
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(uses(sessions.clone(), client));
        }
        let made = clients.join_all().await.concat();
        is_over.store(true, Ordering::Relaxed);
        let batches: usize = failing.join_all().await.into_iter().sum();
        println!("{backend:?}: {} sessions beside {batches} failing batches", made.len());
        assert!(batches > FAILING, "{backend:?}");
        for (at, id) in made.into_iter().enumerate() {
            let row = sessions.get(id).await.unwrap();
            match row {
                Some(row) if at % 2 == 0 => {
                    let data = row.try_data().unwrap();
                    assert_eq!(data.get::<u32>("first").unwrap(), Some(1), "{backend:?}");
                    assert_eq!(data.get::<u32>("second").unwrap(), Some(2), "{backend:?}");
                }
                None if at % 2 == 1 => {}
                _ => panic!("{backend:?}: session {at} of {id} is there: {}", at % 2 == 1),
            }
        }
    }
}

/// Returns the sessions; every second one has been ended.
async fn uses(sessions: Sessions, client: usize) -> Vec<SessionId> {
    let mut made = Vec::with_capacity(SESSIONS);
    for number in 0..SESSIONS {
        let user = Some(UserId::new(format!("user-{client}")).unwrap());
        let (_, row) = sessions.create(NewSession { user, ..NewSession::default() }).await.unwrap();
        for (name, value) in [("first", "1"), ("second", "2")] {
            let mut changes = Changes::new();
            changes.set_raw(name, value).unwrap();
            assert!(sessions.change(row.id(), &changes).await.unwrap().is_some());
        }
        match number % 2 {
            0 => assert!(sessions.touch(row.id()).await.unwrap().is_some()),
            _ => assert!(sessions.revoke(row.id()).await.unwrap()),
        }
        made.push(row.id());
    }
    made
}

/// Batches at whose end a rotation onto a taken id stands, which a database may refuse with the whole transaction.
async fn fails(store: Arc<dyn SessionStore>, sessions: Sessions, is_over: Arc<AtomicBool>) -> usize {
    let random = || SessionId::random(&SystemRandom).unwrap();
    let now = sessions.now();
    let later = now.saturating_add(std::time::Duration::from_secs(3600));
    let row = || SessionRecord::new(random(), later, now);
    let taken = row();
    assert_eq!(store.apply(Write::Insert(taken.clone())).await.unwrap(), Outcome::Applied);
    let mut batches = 0;
    while !is_over.load(Ordering::Relaxed) {
        let rows: Vec<SessionRecord> = (0..3).map(|_| row()).collect();
        let expected = StoredData::empty();
        let rotation = Rotation { id: rows[0].id(), expected, record: taken.clone(), now: now.into() };
        let mut writes: Vec<Write> = rows.iter().cloned().map(Write::Insert).collect();
        writes.extend((0..8).map(|_| Write::Delete(random())));
        writes.push(Write::Rotate(rotation));
        let outcomes = store.apply_many(writes).await;
        assert!(!matches!(outcomes.last(), Some(Ok(Outcome::Applied))));
        for outcome in &outcomes[..3] {
            assert_eq!(*outcome.as_ref().unwrap(), Outcome::Applied);
        }
        for row in rows {
            assert_eq!(store.apply(Write::Delete(row.id())).await.unwrap(), Outcome::Applied);
        }
        batches += 1;
    }
    batches
}
