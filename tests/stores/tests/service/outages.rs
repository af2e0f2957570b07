//! A server that stops, dies, stands still or cannot be reached, seen by browsers: on every store with a server.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sessile_test_network::Proxy;
use sessile_test_stores::Backend;

use crate::stage::Stage;

/// Every request that has a session to ask for.
const REQUESTS: [&str; 4] = ["/who", "/change", "/login", "/logout"];

/// [R01] [R04] [R13] Stopped in good order or killed: 503 with Retry-After for whoever has a session, no cookie
/// set or removed, nobody logged out; restarted: everything as it was, without anybody's help.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_and_comes_back_logs_nobody_out() {
    for backend in Backend::SERVERS {
        let stage = Stage::new(backend, Duration::from_secs(5)).await;
        let mut visitor = stage.signed_in("ada").await;
        for kill in [false, true] {
            stage.server(move |server| if kill { server.kill() } else { server.stop() }).await;
            for path in REQUESTS {
                visitor.asks(path).await.assert_unavailable(&format!("{backend:?} {path}"));
            }
            assert_eq!(
                stage.visitor().asks("/who").await.body,
                "nobody",
                "{backend:?}: a visitor costs nothing"
            );
            stage.visitor().asks("/login").await.assert_unavailable("a login without a row");
            stage.server(|server| server.restart()).await;
            visitor.gets("/who", "ada").await;
            visitor.gets("/change", "changed").await;
        }
        assert_eq!(stage.rows().await, 1, "{backend:?}");
    }
}

/// [R01] [R02] It stands still, or nothing passes on the way: 503 within the deadline, then as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    for backend in Backend::SERVERS {
        let stage = Stage::new(backend, Duration::from_secs(2)).await;
        let mut visitor = stage.signed_in("ada").await;
        for paused in [false, true] {
            if paused {
                stage.server(|server| server.pause()).await
            } else {
                stage.proxy.stall()
            }
            for path in ["/who", "/change", "/who"] {
                visitor.asks(path).await.assert_unavailable(&format!("{backend:?} {path}"));
            }
            if paused {
                stage.server(|server| server.resume()).await
            } else {
                stage.proxy.open()
            }
            visitor.gets("/who", "ada").await;
            visitor.gets("/change", "changed").await;
        }
    }
}

/// [R01] Slow is not down: who is within the deadline is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_is_waited_for() {
    for backend in Backend::SERVERS {
        let stage = Stage::new(backend, Duration::from_secs(60)).await;
        let visitor = stage.signed_in("ada").await;
        stage.server(|server| server.pause()).await;
        let asking: Vec<_> = ["/who", "/change"]
            .map(|path| {
                let mut tab = visitor.clone();
                tokio::spawn(async move { tab.asks(path).await.status.as_u16() })
            })
            .into();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(asking.iter().all(|asked| !asked.is_finished()), "{backend:?}: nobody answered yet");
        stage.server(|server| server.resume()).await;
        for asked in asking {
            assert_eq!(asked.await.unwrap(), 200, "{backend:?}");
        }
    }
}

/// [R01] Connections that break under a crowd cost 503s at most, and no session.
#[tokio::test(flavor = "multi_thread")]
async fn cuts_under_load_log_nobody_out() {
    for backend in Backend::SERVERS {
        let stage = Stage::new(backend, Duration::from_secs(5)).await;
        let visitor = stage.signed_in("ada").await;
        let asking: Vec<_> = (0..8)
            .map(|number| {
                let mut tab = visitor.clone();
                tokio::spawn(async move {
                    for _ in 0..40 {
                        let path = if number % 2 == 0 { "/who" } else { "/change" };
                        let answer = tab.asks(path).await;
                        if answer.status != 200 {
                            answer.assert_unavailable(path);
                        } else {
                            assert_ne!(answer.body, "nobody");
                            assert_eq!(answer.set_cookies(), 0);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            stage.proxy.cut();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for asked in asking {
            asked.await.unwrap();
        }
        visitor.clone().gets("/who", "ada").await;
    }
}

/// [R04] The login's write is made or not, and nobody is told: no cookie, and no row but a whole one.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_was_cut_off_sets_no_cookie() {
    for backend in Backend::SERVERS {
        for way in [Proxy::mute, Proxy::close] {
            let stage = Stage::new(backend, Duration::from_secs(5)).await;
            let mut known = stage.signed_in("ada").await;
            for visitor in [&mut stage.visitor(), &mut known] {
                stage.at_commit(way);
                visitor.comes_to_commit(&stage, "/login").await.assert_unavailable(&format!("{backend:?}"));
                stage.proxy.open();
            }
            let rows = stage.rows().await;
            assert!((1..=2).contains(&rows), "{backend:?}: {rows} rows of two sign-ins, one of them told");
            known.gets("/login", "signed in").await;
            known.gets("/who", "ada").await;
        }
    }
}

/// [R04] Who is told "signed out" is; who is told that it failed can try again, until they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_logout_that_was_cut_off_is_never_falsely_done() {
    for backend in Backend::SERVERS {
        let (mut done, mut failed) = (0, 0);
        let stage = Stage::new(backend, Duration::from_secs(5)).await;
        for round in 0..18u64 {
            let mut visitor = stage.signed_in("ada").await;
            let way = [Proxy::mute, Proxy::close, Proxy::cut][round as usize % 3];
            stage.at_commit(way);
            let opening = stage.opens_after(Duration::from_millis(round / 3 * 4));
            let stolen = visitor.clone();
            let answer = visitor.comes_to_commit(&stage, "/logout").await;
            opening.await.unwrap();
            if answer.status == 200 {
                assert_eq!((answer.body.as_str(), answer.set_cookies()), ("signed out", 1));
                done += 1;
            } else {
                answer.assert_unavailable(&format!("{backend:?} {round}"));
                assert!(visitor.cookie.is_some());
                stolen.clone().recovers().await;
                visitor.gets_any("/logout").await;
                failed += 1;
            }
            stolen.clone().gets("/who", "nobody").await;
            assert_eq!(stage.rows().await, 0, "{backend:?} {round}");
        }
        println!("{backend:?}: {done} done, {failed} told so");
    }
}

/// [R03] Requests dropped at every await, one after the other: the next ones get their own answers.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_go_away_harm_nobody() {
    for backend in Backend::SERVERS {
        let stage = Stage::new(backend, Duration::from_secs(30)).await;
        let others = [stage.signed_in("bob").await, stage.signed_in("eve").await];
        for path in REQUESTS {
            for polls in 1..10 {
                let mut leaver = stage.signed_in("ada").await;
                let finished = polled(polls, leaver.asks(path)).await;
                let [mut bob, mut eve] = others.clone();
                let (one, other) = tokio::join!(bob.asks("/who"), eve.asks("/change"));
                assert_eq!(
                    (one.body.as_str(), other.body.as_str()),
                    ("bob", "changed"),
                    "{backend:?} {path}"
                );
                if finished {
                    break;
                }
            }
        }
        let [mut bob, mut eve] = others;
        bob.gets("/who", "bob").await;
        eve.gets("/who", "eve").await;
    }
}

/// [R13] What comes back empty is a clean anonymous visitor, never an error and never half a session.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_store_is_a_clean_beginning() {
    for backend in Backend::SERVERS {
        let stage = Stage::new(backend, Duration::from_secs(5)).await;
        let mut visitor = stage.signed_in("ada").await;
        let mut changing = visitor.clone();
        stage.empty().await;
        visitor.gets("/who", "nobody").await;
        assert_eq!(stage.rows().await, 0, "{backend:?}: looking makes no row");
        changing.gets("/change", "changed").await;
        changing.gets("/who", "nobody").await;
        visitor.gets("/login", "signed in").await;
        visitor.gets("/who", "ada").await;
        assert_eq!(stage.rows().await, 2, "{backend:?}");
    }
}

/// Polls so many times, as it is woken, and drops it then; whether it was finished by then.
async fn polled(mut polls: u32, request: impl Future) -> bool {
    let mut request = pin!(request);
    poll_fn(|context| {
        if request.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        polls -= 1;
        if polls == 0 { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}
