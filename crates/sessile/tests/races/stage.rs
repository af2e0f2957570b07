//! The processes, the rounds, and the judgement.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sessile::SessionId;
use sessile::record::{Clock as _, Columns, SessionRecord, StoredData, SystemClock, Timestamp};
use sessile::store::{Outcome, SessionStore, StoreUrl, Write};

use crate::checker::{self, Left};
use crate::history::{Event, Told};
use crate::stories::{self, NOBODY, PROCESSES};
use crate::support::caller::token;
use crate::worker::{MARK, NUMBER, Round, STORE};

/// What a run is to see at least.
const INTERLEAVINGS: usize = 10_000;
const STORIES_IN_A_ROUND: u32 = 120;
/// Each process is once the one that purges, and more often while that takes no longer than this.
const LEAST_ROUNDS: u32 = 6;
const USUAL_ROUNDS: u32 = 18;
const USUAL_TIME: Duration = Duration::from_secs(10);
const MOST_ROUNDS: u32 = 90;

/// A process of ours. It ends when its standard input does, and at the latest when this is dropped.
struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start(number: usize, url: &str) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "worker::worker"]);
        command.env(NUMBER, number.to_string()).env(STORE, url);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Process { child, orders, answers }
    }

    fn order(&mut self, round: Round) {
        self.orders.as_mut().unwrap().write_all(round.to_line().as_bytes()).unwrap();
    }

    /// Its lines until this one.
    fn hear_until(&mut self, last: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "a process ended before its time");
            match line.trim_end().strip_prefix(MARK) {
                Some(line) if line == last => return heard,
                Some(line) => heard.push(line.to_owned()),
                None => {}
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.orders.take());
        if std::thread::panicking() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Races until enough has crossed, and judges every story.
pub(crate) fn race(store_name: &str, url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    let store = runtime.block_on(async {
        let store = url.parse::<StoreUrl>().unwrap().connect().await.unwrap();
        store.init().await.unwrap();
        store
    });
    let mut processes: Vec<Process> = (0..PROCESSES).map(|number| Process::start(number, url)).collect();
    processes.iter_mut().for_each(|process| drop(process.hear_until("ready")));

    let mut seen = Seen::default();
    for number in 0..MOST_ROUNDS {
        let round = Round {
            number,
            first: number * STORIES_IN_A_ROUND,
            stories: STORIES_IN_A_ROUND,
            now: SystemClock.now(),
        };
        runtime.block_on(put_rows(&store, round));
        processes.iter_mut().for_each(|process| process.order(round));
        let lines: Vec<String> = processes.iter_mut().flat_map(|process| process.hear_until(".")).collect();
        let events = lines.iter().map(|line| line.parse().unwrap()).collect();
        runtime.block_on(judge(&store, round, events, &mut seen));
        let played = number + 1;
        let enough = played >= USUAL_ROUNDS || played >= LEAST_ROUNDS && begun.elapsed() > USUAL_TIME;
        if seen.interleavings >= INTERLEAVINGS && enough {
            break;
        }
    }
    println!("{store_name}: {seen:?} in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(seen.interleavings >= INTERLEAVINGS, "too little has crossed: {seen:?}");
    assert!(seen.failed * 100 <= seen.operations, "too much has failed: {seen:?}");
}

/// What a run has seen.
#[derive(Debug, Default)]
struct Seen {
    stories: usize,
    operations: usize,
    failed: usize,
    refused: usize,
    interleavings: usize,
}

/// The sessions of a round, as they begin.
async fn put_rows(store: &Arc<dyn SessionStore>, round: Round) {
    let rows = (round.first..round.first + round.stories).map(|story| Write::Insert(row(story, round.now)));
    for outcome in store.apply_many(rows.collect()).await {
        assert_eq!(outcome.unwrap(), Outcome::Applied);
    }
}

fn row(story: u32, now: Timestamp) -> SessionRecord {
    let usual = Duration::from_secs(25 * 60);
    let lives = if stories::is_to_be_purged(story) { stories::SOON } else { usual };
    SessionRecord::from_columns(Columns {
        id: token(story).1,
        user_id: stories::begins_signed_in(story)
            .then(|| sessile::UserId::new(stories::user_of(story)).unwrap()),
        data: StoredData::empty(),
        created_at: Some(now),
        expires_at: now.saturating_add(lives),
        updated_at: Some(now),
    })
}

async fn judge(store: &Arc<dyn SessionStore>, round: Round, events: Vec<Event>, seen: &mut Seen) {
    let mut by_story: BTreeMap<u32, Vec<Event>> = BTreeMap::new();
    for event in events {
        by_story.entry(event.story).or_default().push(event);
    }
    let purges = by_story.remove(&NOBODY).unwrap_or_default();
    assert_eq!(by_story.len(), round.stories as usize, "every story was played");
    for (story, mut events) in by_story {
        let (_, first) = token(story);
        if stories::is_to_be_purged(story) {
            events.extend(purges.iter().map(|purge| Event { story, of: first, ..*purge }));
        }
        let left = left(store, first, &events, round.now).await;
        let breaches = checker::check(first, &events, &left);
        if !breaches.is_empty() {
            events.sort_by_key(|event| event.begun);
            let told: Vec<String> = events.iter().map(ToString::to_string).collect();
            let broken: Vec<String> = breaches.iter().map(ToString::to_string).collect();
            panic!("{}\nof {first}\n{}\nleft: {left:?}", broken.join("\n"), told.join("\n"));
        }
        seen.stories += 1;
        seen.operations += events.len();
        let told = |told| events.iter().filter(|event| event.told == told).count();
        seen.failed += told(Told::Failed);
        seen.refused += told(Told::Refused);
        seen.interleavings += checker::interleavings(&events);
    }
}

/// The live rows of a story, under every id that anybody was told.
async fn left(
    store: &Arc<dyn SessionStore>,
    first: SessionId,
    events: &[Event],
    now: Timestamp,
) -> BTreeMap<SessionId, Left> {
    let ids: BTreeSet<SessionId> =
        events.iter().flat_map(|event| [Some(event.of), event.now]).flatten().chain([first]).collect();
    let ids: Vec<SessionId> = ids.into_iter().collect();
    let mut left = BTreeMap::new();
    for (id, row) in ids.iter().zip(store.load_many(&ids).await) {
        let Some(row) = row.unwrap().filter(|row| row.is_live(now)) else { continue };
        let data = row.data();
        let count = data.get("count").unwrap().unwrap_or(0);
        left.insert(*id, Left { keys: data.keys().map(Into::into).collect(), count });
    }
    left
}
