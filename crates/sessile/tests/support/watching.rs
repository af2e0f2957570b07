//! What a watch owes, whatever the store and whoever ends the session.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]

use sessile::engine::{Credential, Ended};
use sessile::{LazySession, Sessions, UserId};

use crate::coherence::{Others, session};

async fn rotate(sessions: &Sessions, credential: &Credential) {
    let session = LazySession::new(sessions.clone(), vec![credential.clone()]).load().await.unwrap();
    session.rotate().unwrap();
    session.save().await.unwrap();
}

async fn log_out(sessions: &Sessions, credential: &Credential) {
    let session = LazySession::new(sessions.clone(), vec![credential.clone()]).load().await.unwrap();
    session.logout();
    session.save().await.unwrap();
}

/// Here and in another process, with what the library has and in the server's own language.
pub async fn every_end_is_told(here: &Sessions, elsewhere: &Sessions, others: &impl Others) {
    let bystander = session(here).await;
    for way in 0..10 {
        let credential = session(elsewhere).await;
        let id = credential.id();
        let (mut watch, twin, dropped) = (here.watch(id), here.watch(id), here.watch(id));
        drop(dropped);
        if way % 2 == 0 {
            // Known to live: otherwise the end may come before the first look.
            settled(here, elsewhere).await;
        }
        let mut unmoved = here.watch(bystander.id());
        match way {
            0 | 1 => assert!(elsewhere.revoke(id).await.unwrap()),
            2 | 3 => others.delete(id).await,
            4 => rotate(elsewhere, &credential).await,
            5 => log_out(elsewhere, &credential).await,
            6 => assert!(here.revoke(id).await.unwrap()),
            7 => log_out(here, &credential).await,
            8 => rotate(here, &credential).await,
            _ => others.empty().await,
        }
        let ended = (&mut watch).await;
        // The store may tell of a rotation before it has answered.
        assert!(ended == Ended::Gone || way == 8, "{ended:?}, way {way}");
        assert_eq!((ended, watch.await), (twin.await, ended), "way {way}");
        if way < 9 {
            let gone =
                tokio::select! { biased; _ = &mut unmoved => true, () = std::future::ready(()) => false };
            assert!(!gone, "way {way}");
        } else {
            assert_eq!(unmoved.await, Ended::Gone);
        }
    }
}

/// Waits until everything that is watched now was looked at: a further watch has been answered.
async fn settled(here: &Sessions, elsewhere: &Sessions) {
    let last = session(elsewhere).await;
    assert!(elsewhere.revoke(last.id()).await.unwrap());
    assert_eq!(here.watch(last.id()).await, Ended::Gone);
}

/// The feed is cut off again and again, and each end is told all the same.
pub async fn ends_while_the_feed_is_down_are_told(
    here: &Sessions,
    elsewhere: &Sessions,
    proxy: &sessile_test_network::Proxy,
) {
    for round in 0..6 {
        let credential = session(elsewhere).await;
        let watch = here.watch(credential.id());
        settled(here, elsewhere).await;
        if round % 2 == 0 {
            proxy.cut()
        } else {
            proxy.close()
        }
        assert_eq!(elsewhere.revoke_user(&UserId::new("ada").unwrap()).await.unwrap(), 1);
        if round == 1 {
            // For a while nobody can be asked, and nothing has ended.
            let asked = here.get(credential.id()).await;
            assert!(asked.is_err());
        }
        proxy.open();
        assert_eq!(watch.await, Ended::Gone, "round {round}");
    }
}
