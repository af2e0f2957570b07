//! One process: its own store, its own service, and its part in every story.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rustix::time::{ClockId, clock_gettime};
use sessile::record::{ManualClock, Timestamp};
use sessile::store::StoreUrl;
use sessile::{Session, Sessions, UserId};
use tokio::task::JoinSet;

use crate::checker::key_of;
use crate::history::{Deed, Event, Told};
use crate::stories::{self, PROCESSES, user_of};
use crate::support::caller::{Caller, token};

/// Where a worker learns which one it is, and where its store is.
pub(crate) const NUMBER: &str = "SESSILE_RACE_WORKER";
pub(crate) const STORE: &str = "SESSILE_RACE_STORE";
/// What a line of the worker's begins with; the harness prints others.
pub(crate) const MARK: char = '@';

/// The machine's one clock that never jumps.
fn instant() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// One round: the stories from `first` on, at this time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) number: u32,
    pub(crate) first: u32,
    pub(crate) stories: u32,
    pub(crate) now: Timestamp,
}

impl Round {
    pub(crate) fn to_line(self) -> String {
        format!("{} {} {} {}\n", self.number, self.first, self.stories, self.now.as_micros())
    }

    fn read(line: &str) -> Round {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<i64>().unwrap());
        let mut next = || numbers.next().unwrap();
        let mut small = || u32::try_from(next()).unwrap();
        let (number, first, stories) = (small(), small(), small());
        Round { number, first, stories, now: Timestamp::from_micros(next()).unwrap() }
    }
}

/// A process of the others' making: they start this program again with this test alone.
#[test]
#[ignore = "started by the tests that race, once for each process"]
fn worker() {
    let (Ok(number), Ok(url)) = (std::env::var(NUMBER), std::env::var(STORE)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(play(number.parse().unwrap(), &url.parse().unwrap()));
}

async fn play(worker: usize, url: &StoreUrl) {
    let store = url.connect_existing().await.unwrap();
    let service = || {
        let clock = Arc::new(ManualClock::new(Timestamp::MIN));
        (Sessions::builder(Arc::clone(&store)).clock(Arc::clone(&clock)).build(), clock)
    };
    let ((sessions, clock), (purger, purge_clock)) = (service(), service());
    let mut stdout = std::io::stdout();
    // The harness has begun a line.
    writeln!(stdout, "\n{MARK}ready").unwrap();
    for line in std::io::stdin().lock().lines() {
        let round = Round::read(&line.unwrap());
        clock.set(round.now);
        purge_clock.set(round.now.saturating_add(stories::PURGE_AHEAD));
        let mut crowd = JoinSet::new();
        for story in round.first..round.first + round.stories {
            let actor = Actor { story, worker, sessions: sessions.clone() };
            crowd.spawn(actor.act());
        }
        if round.number as usize % PROCESSES == worker {
            crowd.spawn(purge(purger.clone(), worker));
        }
        let events = crowd.join_all().await;
        for event in events.iter().flatten() {
            writeln!(stdout, "{MARK}{event}").unwrap();
        }
        writeln!(stdout, "{MARK}.").unwrap();
        stdout.flush().unwrap();
    }
}

/// The whole table, several times while the others are at it. It counts in every story of the round.
async fn purge(purger: Sessions, worker: usize) -> Vec<Event> {
    let mut events = Vec::new();
    let (_, of) = token(stories::NOBODY);
    for _ in 0..4 {
        let begun = instant();
        let told = if purger.purge(|_| {}).await.is_ok() { Told::Done } else { Told::Failed };
        let event =
            Event { story: stories::NOBODY, worker, deed: Deed::Purge, told, begun, ended: 0, of, now: None };
        events.push(Event { ended: instant(), ..event });
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    events
}

struct Actor {
    story: u32,
    worker: usize,
    sessions: Sessions,
}

impl Actor {
    async fn act(self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut caller = Caller::with_cookie(&self.sessions, &token(self.story).0);
        for &deed in stories::part(self.story, self.worker) {
            let Some(of) = caller.id() else { break };
            let begun = instant();
            let told = self.perform(deed, &mut caller).await;
            let ended = instant();
            let now = caller.id().filter(|now| *now != of);
            let Actor { story, worker, .. } = self;
            events.push(Event { story, worker, deed, told, begun, ended, of, now });
        }
        events
    }

    async fn perform(&self, deed: Deed, caller: &mut Caller) -> Told {
        let id = caller.id().unwrap();
        let administration = match deed {
            Deed::Touch => self.sessions.touch(id).await.map(|touched| touched.is_some()),
            Deed::Revoke => self.sessions.revoke(id).await.map(|_| true),
            Deed::RevokeUser => {
                let user = UserId::new(user_of(self.story)).unwrap();
                self.sessions.revoke_user(&user).await.map(|_| true)
            }
            _ => return self.request(deed, caller).await,
        };
        match administration {
            Ok(true) => Told::Done,
            Ok(false) => Told::Missing,
            Err(_) => Told::Failed,
        }
    }

    async fn request(&self, deed: Deed, caller: &mut Caller) -> Told {
        let (mut found, key) = (false, key_of(self.worker));
        let act = |session: &Session| {
            found = session.id().is_some();
            match deed {
                // Nothing is begun for who has none.
                _ if !found => {}
                Deed::Insert => session.insert(&key, &1).unwrap(),
                Deed::Count => drop(session.update("count", |count: &mut usize| *count += 1).unwrap()),
                Deed::Rotate => {
                    session.rotate().unwrap();
                    session.insert(&key, &1).unwrap();
                }
                Deed::Login => session.login(user_of(self.story)).unwrap(),
                Deed::Logout => session.logout(),
                _ => {}
            }
        };
        match caller.tries(act).await.status {
            StatusCode::OK if found => Told::Done,
            StatusCode::OK => Told::Missing,
            StatusCode::CONFLICT => Told::Refused,
            _ => Told::Failed,
        }
    }
}
