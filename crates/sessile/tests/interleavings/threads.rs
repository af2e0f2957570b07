//! Real threads: two processes' worth of connections on one SQLite file, and nobody in charge of the
//! order.

use std::sync::Arc;

use http::StatusCode;
use sessile::Sessions;
use sessile::record::ManualClock;
use sessile::store::sqlite::Synchronous;
use sessile::store::{SessionStore, SqliteStore};
use tokio::task::JoinSet;

use crate::support::caller::{Caller, Row, token};
use crate::support::noon;

struct TwoProcesses {
    both: [Sessions; 2],
    _folder: tempfile::TempDir,
}

impl TwoProcesses {
    async fn new() -> TwoProcesses {
        let folder = tempfile::tempdir().unwrap();
        let open = async || {
            let options = SqliteStore::options().synchronous(Synchronous::Normal);
            let store = options.open(folder.path().join("sessions.db")).await.unwrap();
            store.init().await.unwrap();
            Sessions::builder(store).clock(Arc::new(ManualClock::new(noon()))).build()
        };
        let both = [open().await, open().await];
        TwoProcesses { both, _folder: folder }
    }

    fn of(&self, number: usize) -> &Sessions {
        &self.both[number % 2]
    }
}

/// [R12] [G02] Every key and every count of 8 requesters, in two processes, is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_between_two_processes() {
    const EACH: usize = 25;
    let processes = TwoProcesses::new().await;
    let (cookie, id) = token(0);
    Row::new(id, "{}", noon()).put_into(processes.of(0).store()).await;
    let mut crowd = JoinSet::new();
    for number in 0..8 {
        let mut caller = Caller::with_cookie(processes.of(number), &cookie);
        crowd.spawn(async move {
            for turn in 0..EACH {
                caller
                    .does(|session| {
                        session.update("n", |n: &mut usize| *n += 1).unwrap();
                        session.insert(&format!("{number}-{turn}"), &turn).unwrap();
                    })
                    .await;
            }
        });
    }
    crowd.join_all().await;
    let (count, keys) = Caller::with_cookie(processes.of(0), &cookie)
        .peek(|session| (session.require::<usize>("n").unwrap(), session.keys().len()))
        .await;
    assert_eq!((count, keys), (8 * EACH, 8 * EACH + 1));
}

/// [R12] [S09] [G01] [G14] Whoever ends it: afterwards it is dead for both, and no request in flight
/// has brought it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_dead_stay_dead_between_two_processes() {
    let processes = TwoProcesses::new().await;
    for round in 0..60 {
        let (cookie, id) = token(round);
        let mut row = Row::new(id, "{}", noon());
        row.user = Some("ada");
        row.put_into(processes.of(0).store()).await;
        let mut crowd = JoinSet::new();
        for number in 0..4 {
            let mut caller = Caller::with_cookie(processes.of(number), &cookie);
            crowd.spawn(async move {
                let mut statuses = Vec::new();
                for turn in 0..4 {
                    let insert = |session: &sessile::Session| session.insert("k", &turn).unwrap();
                    statuses.push(caller.tries(insert).await.status);
                    if caller.id() != Some(id) {
                        // It was dead already, so this began a session of its own: not what is asked here.
                        break;
                    }
                }
                assert!(statuses.iter().all(|s| [StatusCode::OK, StatusCode::CONFLICT].contains(s)));
            });
        }
        let mut ender = Caller::with_cookie(processes.of(round as usize), &cookie);
        let sessions = processes.of(round as usize).clone();
        let ada = sessile::UserId::new("ada").unwrap();
        crowd.spawn(async move {
            match round % 3 {
                0 => drop(ender.does(|session| session.logout()).await),
                1 => assert!(sessions.revoke(id).await.unwrap()),
                _ => drop(sessions.revoke_user(&ada).await.unwrap()),
            }
        });
        crowd.join_all().await;
        for process in &processes.both {
            assert_eq!(process.get(id).await.unwrap(), None, "round {round}");
        }
    }
}
