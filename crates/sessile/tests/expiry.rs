//! Lifetimes, on an injected clock.
//!
//! Do not fit: E10 and E23 are the cookie's, tested there. E16 and E17: `expires_at` is NOT NULL, so every
//! session ends. E22: there is no second copy of the expiry. E25: a token lives as long as its session.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod support;

use std::time::Duration;

use sessile::engine::{Changes, Credential, Event, NewSession, Rejection};
use sessile::record::{SessionRecord, Timestamp};
use sessile::{Policy, Session};
use support::caller::{Caller, Row, token};
use support::{Stage, noon, seconds};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

fn after(secs: u64) -> Timestamp {
    noon().saturating_add(seconds(secs))
}

/// Somebody who stored something at noon.
async fn caller(stage: &Stage) -> Caller {
    let mut caller = Caller::new(&stage.sessions);
    caller.does(|session| session.insert("k", &1).unwrap()).await;
    stage.store.statements();
    caller
}

async fn row(stage: &Stage) -> SessionRecord {
    let rows = stage.store.rows().await;
    assert_eq!(rows.len(), 1);
    rows.into_iter().next().unwrap()
}

fn nothing(_: &Session) {}

/// [S08] [E01] [E05] [E13] Idle: alive a microsecond before the end, dead at it; nothing has to be purged.
#[tokio::test]
async fn idle_ends_to_the_microsecond() {
    for stage in Stage::everywhere(Policy::default()).await {
        let caller = caller(&stage).await;
        assert_eq!(row(&stage).await.expires_at(), after(30 * MINUTE));
        for (at, alive) in [
            (after(30 * MINUTE - 1), true),
            (after(30 * MINUTE).saturating_sub(Duration::from_micros(1)), true),
            (after(30 * MINUTE), false),
            (after(30 * MINUTE + 1), false),
        ] {
            stage.clock.set(at);
            assert_eq!(caller.is_known().await, alive, "{at}");
        }
        assert_eq!(stage.store.rows().await.len(), 1, "still in the table");
    }
}

/// [S08] [E07] [E08] No activity passes the absolute lifetime.
#[tokio::test]
async fn activity_does_not_pass_the_absolute_lifetime() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut caller = caller(&stage).await;
        for quarter in 1..96 {
            stage.clock.set(after(quarter * 15 * MINUTE));
            match quarter % 3 {
                0 => caller.does(nothing).await,
                1 => caller.does(|session| session.insert("k", &quarter).unwrap()).await,
                _ => caller.does(|session| session.rotate().unwrap()).await,
            };
            assert!(row(&stage).await.expires_at() <= after(DAY));
        }
        assert_eq!(row(&stage).await.created_at(), Some(noon()), "a rotation keeps the lifetime");
        stage.clock.set(after(DAY - 1));
        assert!(caller.is_known().await);
        stage.clock.set(after(DAY));
        assert!(!caller.is_known().await);
    }
}

/// [S08] Also when somebody else has written a later expiry, and for a policy that is stricter with
/// those it remembers.
#[tokio::test]
async fn a_later_expiry_in_the_row_does_not_pass_it_either() {
    let remembered = r#"{"_sessile": {"remember": true}}"#;
    for (policy, data, limit) in [
        (Policy::default(), "{}", DAY),
        (Policy::default(), remembered, 90 * DAY),
        (Policy::default().absolute_lifetime(None), remembered, 90 * DAY),
        (Policy::default().remembered(seconds(HOUR), seconds(2 * HOUR)), remembered, 2 * HOUR),
    ] {
        let stage = Stage::with_policy(policy);
        let (cookie, id) = token(1);
        let mut row = Row::new(id, data, noon());
        row.expires_at = after(YEAR);
        row.put_into(&stage.store).await;
        let caller = Caller::with_cookie(&stage.sessions, &cookie);
        stage.clock.set(after(limit - 1));
        assert!(caller.is_known().await, "{data} {limit}");
        stage.clock.set(after(limit));
        assert!(!caller.is_known().await, "{data} {limit}");
    }
}

/// [E04] [E14] Nothing makes an expired session live again.
#[tokio::test]
async fn the_expired_stay_dead() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut caller = caller(&stage).await;
        let before = row(&stage).await;
        stage.clock.set(after(30 * MINUTE));
        let mut changes = Changes::new();
        changes.set_raw("k", "2").unwrap();
        assert_eq!(stage.sessions.change(before.id(), &changes).await.unwrap(), None);
        assert_eq!(stage.sessions.touch(before.id()).await.unwrap(), None);
        caller.does(nothing).await;
        assert_eq!(row(&stage).await, before, "reads, changes and renewals leave it");
        caller.does(|session| session.insert("k", &3).unwrap()).await;
        assert_ne!(caller.id(), Some(before.id()), "whoever writes gets a session of their own");
        let untouched = stage.sessions.get(before.id()).await.unwrap();
        assert_eq!(untouched, Some(before));
    }
}

/// [E04] The shortest lifetime is over after a second; a session made without any time is dead at once.
#[tokio::test]
async fn a_session_without_time_is_dead_at_once() {
    for stage in Stage::everywhere(Policy::default().idle_timeout(seconds(1))).await {
        let visitor = caller(&stage).await;
        assert!(visitor.is_known().await);
        stage.clock.advance(seconds(1));
        assert!(!visitor.is_known().await);
        let none = NewSession { ttl: Some(Duration::ZERO), ..NewSession::default() };
        let (credential, _) = stage.sessions.create(none).await.unwrap();
        let Credential::Token(token) = credential else { panic!("{credential:?}") };
        assert!(!Caller::with_cookie(&stage.sessions, token.expose()).is_known().await);
    }
}

/// [E20] [F08] A renewal of its own is a statement only when it gains a tenth of the idle timeout; with
/// a change it costs none.
#[tokio::test]
async fn renewal_is_throttled() {
    for (policy, renewals) in [
        (Policy::default(), 9),
        (Policy::default().renew_after(Duration::ZERO), 59),
        (Policy::default().renew_after(seconds(10 * MINUTE)), 2),
        (Policy::default().renew_after(None), 0),
    ] {
        let stage = Stage::with_policy(policy);
        let mut caller = caller(&stage).await;
        for half_minute in 1..60 {
            stage.clock.set(after(half_minute * 30));
            caller.does(nothing).await;
        }
        assert_eq!(stage.store.statements() - 59, renewals, "{:?}", stage.sessions.policy());
        let renewed = stage.events().iter().filter(|event| matches!(event, Event::Renewed { .. })).count();
        assert_eq!(renewed, renewals);
    }
    let stage = Stage::new();
    let mut caller = caller(&stage).await;
    stage.clock.set(after(20 * MINUTE));
    caller.does(|session| session.insert("k", &2).unwrap()).await;
    assert_eq!(stage.store.statements(), 2, "the renewal rides along");
    assert_eq!(row(&stage).await.expires_at(), after(50 * MINUTE));
}

/// [B14] Switched off: requests do not move the expiry, changes do.
#[tokio::test]
async fn without_renewal_idle_counts_from_the_last_change() {
    let stage = Stage::with_policy(Policy::default().renew_after(None));
    let mut caller = caller(&stage).await;
    stage.clock.set(after(20 * MINUTE));
    caller.does(nothing).await;
    assert_eq!(row(&stage).await.expires_at(), after(30 * MINUTE));
    caller.does(|session| session.insert("k", &2).unwrap()).await;
    assert_eq!(row(&stage).await.expires_at(), after(50 * MINUTE));
}

/// [E19] Two clocks ten minutes apart: whoever is behind takes nothing back.
#[tokio::test]
async fn a_late_request_never_shortens() {
    for stage in Stage::everywhere(Policy::default().renew_after(Duration::ZERO)).await {
        let mut caller = caller(&stage).await;
        let behind = stage.another_process();
        stage.clock.set(after(20 * MINUTE));
        behind.clock.set(after(10 * MINUTE));
        caller.does(nothing).await;
        let mut late = Caller::with_cookie(&behind.sessions, caller.cookie.as_deref().unwrap());
        late.does(nothing).await;
        late.does(|session| session.insert("k", &2).unwrap()).await;
        let id = late.id().unwrap();
        behind.sessions.touch(id).await.unwrap();
        late.does(|session| session.rotate().unwrap()).await;
        assert_eq!(row(&stage).await.expires_at(), after(50 * MINUTE));
    }
}

/// [R07] Whatever the clock does meanwhile, and whatever is done then, the absolute end stays where it
/// was; and an hour back is no reason to sign anybody out.
#[tokio::test]
async fn clock_jumps_do_not_extend_the_absolute_lifetime() {
    let deeds: [fn(&Session); 4] = [
        nothing,
        |session| session.insert("k", &2).unwrap(),
        |session| drop(session.rotate()),
        |session| session.set_idle_timeout(Some(seconds(YEAR))),
    ];
    let started = after(HOUR);
    let end = started.saturating_add(seconds(DAY));
    for jumped in [after(HOUR + 5 * MINUTE), after(HOUR - 5 * MINUTE), noon(), after(HOUR + YEAR)] {
        for deed in deeds {
            let stage = Stage::new();
            stage.clock.set(started);
            let mut caller = caller(&stage).await;
            let before = row(&stage).await;
            let expires_later = jumped >= before.expires_at();
            stage.clock.set(jumped);
            assert_eq!(caller.is_known().await, !expires_later, "{jumped}");
            caller.does(deed).await;
            stage.clock.set(started);
            if expires_later {
                let untouched = stage.sessions.get(before.id()).await.unwrap();
                assert_eq!(untouched, Some(before), "over, as far as anybody could tell: left alone");
                continue;
            }
            assert!(caller.is_known().await, "{jumped}");
            let after = row(&stage).await;
            assert_eq!(after.created_at(), Some(started), "{jumped}");
            assert!(after.expires_at() <= end, "{jumped}: {after}");
            stage.clock.set(end);
            assert!(!caller.is_known().await, "{jumped}");
        }
    }
}

/// [R07] [S08] A sign-in while a node's clock is far ahead does not outlive the policy: once the clock is right, its
/// session is not accepted, and `Rejected` says why; a clock that is an hour off is tolerated.
#[tokio::test]
async fn a_session_from_the_future_is_not_accepted() {
    for (ahead, accepted) in [(HOUR, true), (HOUR + MINUTE, false), (YEAR, false)] {
        for stage in Stage::everywhere(Policy::default()).await {
            stage.clock.set(after(ahead));
            let mut visitor = stage.visitor();
            support::sign_in(&mut visitor, "ada").await;
            stage.clock.set(noon());
            stage.events();
            let seen = support::who(&mut visitor).await;
            assert_eq!(seen, if accepted { "ada" } else { "nobody" }, "{ahead} s");
            let told = Event::Rejected { reason: Rejection::FromTheFuture };
            assert_eq!(stage.events().contains(&told), !accepted, "{ahead} s");
            let row = &stage.store.rows().await[0];
            assert_eq!(stage.sessions.is_live(row), accepted, "it is in no list either");
        }
    }
}

/// A row without `created_at` (raw SQL) is held to its `expires_at`: nobody knows when it began.
#[tokio::test]
async fn a_row_without_a_beginning_keeps_its_end() {
    for stage in Stage::everywhere(Policy::default()).await {
        let (cookie, id) = token(1);
        let mut begun = Row::new(id, "{}", noon());
        begun.created_at = None;
        begun.expires_at = after(3 * DAY);
        begun.put_into(&stage.store).await;
        let mut caller = Caller::with_cookie(&stage.sessions, &cookie);
        stage.clock.set(after(2 * DAY));
        caller.does(nothing).await;
        stage.sessions.touch(id).await.unwrap().unwrap();
        caller.does(|session| session.insert("k", &1).unwrap()).await;
        caller.does(|session| session.rotate().unwrap()).await;
        let rotated = row(&stage).await;
        assert_eq!((rotated.created_at(), rotated.expires_at()), (None, after(3 * DAY)));
        caller.does(|session| session.login("ada").unwrap()).await;
        let signed_in = row(&stage).await;
        let beginning = after(2 * DAY);
        assert_eq!(signed_in.created_at(), Some(beginning));
        assert_eq!(signed_in.expires_at(), beginning.saturating_add(seconds(30 * MINUTE)));
    }
}

/// [E11] Remembered: 14 days idle, 90 days in all; taken back, the usual ones at once.
#[tokio::test]
async fn remembered_sessions_live_longer() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut caller = caller(&stage).await;
        caller.does(|session| session.remember(true)).await;
        assert_eq!(row(&stage).await.expires_at(), after(14 * DAY));
        for days in (10..90).step_by(10) {
            stage.clock.set(after(days * DAY));
            caller.does(nothing).await;
        }
        assert_eq!(row(&stage).await.expires_at(), after(90 * DAY));
        stage.clock.set(after(90 * DAY - 1));
        assert!(caller.is_known().await);
        stage.clock.set(after(90 * DAY));
        assert!(!caller.is_known().await);

        let mut other = Caller::new(&stage.sessions);
        other.does(|session| session.remember(true)).await;
        assert_eq!(other.id(), None, "a wish alone makes no row");
        other
            .does(|session| {
                session.login("ada").unwrap();
                session.remember(true);
            })
            .await;
        other.does(|session| session.remember(false)).await;
        let back = stage.sessions.get(other.id().unwrap()).await.unwrap().unwrap();
        assert_eq!(back.expires_at(), after(90 * DAY + 30 * MINUTE));
    }
}

/// [E02] A session's own idle timeout, forward and back, through a rotation, within the absolute end.
#[tokio::test]
async fn a_session_may_have_an_idle_timeout_of_its_own() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut caller = caller(&stage).await;
        caller.does(|session| session.set_idle_timeout(Some(seconds(5 * MINUTE)))).await;
        assert_eq!(row(&stage).await.expires_at(), after(5 * MINUTE));
        stage.clock.set(after(4 * MINUTE));
        caller.does(nothing).await;
        assert_eq!(row(&stage).await.expires_at(), after(9 * MINUTE), "renewed by its own measure");
        caller.does(|session| session.rotate().unwrap()).await;
        assert_eq!(row(&stage).await.expires_at(), after(9 * MINUTE));
        caller.does(|session| session.set_idle_timeout(None)).await;
        assert_eq!(row(&stage).await.expires_at(), after(34 * MINUTE));
        caller.does(|session| session.set_idle_timeout(Some(seconds(YEAR)))).await;
        assert_eq!(row(&stage).await.expires_at(), after(DAY));
        stage.clock.set(after(DAY));
        assert!(!caller.is_known().await);
    }
}

/// [E02] A session made from outside may start with a life of its own, but not beyond the absolute one.
#[tokio::test]
async fn a_session_made_from_outside_may_start_longer_or_shorter() {
    for (ttl, ends) in
        [(None, 30 * MINUTE), (Some(MINUTE), MINUTE), (Some(5 * HOUR), 5 * HOUR), (Some(YEAR), DAY)]
    {
        let stage = Stage::new();
        let new = NewSession { ttl: ttl.map(seconds), ..NewSession::default() };
        let (_, record) = stage.sessions.create(new).await.unwrap();
        stage.clock.set(after(ends - 1));
        assert!(stage.sessions.is_live(&record), "{ttl:?}");
        stage.clock.set(after(ends));
        assert!(!stage.sessions.is_live(&record), "{ttl:?}");
    }
}

/// [B13] A renewal that was on its way when somebody changed the data leaves the change alone.
#[tokio::test]
async fn a_renewal_does_not_roll_back_data() {
    for stage in Stage::everywhere(Policy::default()).await {
        let mut caller = caller(&stage).await;
        stage.clock.set(after(10 * MINUTE));
        let (sessions, id) = (stage.sessions.clone(), caller.id().unwrap());
        stage.store.before_next_write(async move {
            let mut changes = Changes::new();
            changes.set_raw("other", "2").unwrap();
            sessions.change(id, &changes).await.unwrap().unwrap();
        });
        caller.does(nothing).await;
        assert_eq!(caller.peek(|session| session.require::<u8>("other").unwrap()).await, 2);
        assert_eq!(row(&stage).await.expires_at(), after(40 * MINUTE));
    }
}

/// lback: every request renews, and nothing ends a session that is used.
#[tokio::test]
async fn lback_renews_on_every_request_and_has_no_absolute_end() {
    let stage = Stage::with_policy(Policy::lback());
    let mut visitor = stage.visitor();
    visitor.does(|session: Session| async move { session.insert("k", &1) }).await;
    stage.store.statements();
    for turn in 1..=200 {
        stage.clock.set(after(turn * 29 * MINUTE));
        let answer = visitor
            .does(|session: Session| async move { session.require::<u8>("k").map(|k| k.to_string()) })
            .await;
        assert_eq!(answer.body, "1");
        assert_eq!(stage.store.statements(), 2);
        assert_eq!(row(&stage).await.expires_at(), after(turn * 29 * MINUTE + 30 * MINUTE));
    }
    stage.clock.advance(seconds(1));
    visitor.does(|_: Session| async {}).await;
    assert_eq!(stage.store.statements(), 2, "a second later, again");
}
