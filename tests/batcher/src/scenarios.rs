// What happens to a batcher, in an order that the model checker chooses; and what must hold in every order.
// Included for the batcher as it is, and for each mutant.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicUsize, Ordering};

use super::store::ground::{end_lanes, lanes_rest};
use super::store::group::{Bounds, Group, Unanswered, Work};

const BATCH: usize = 2;
/// What panics, in a batch and alone.
const POISON: u32 = 13;
/// What makes a batch answer one too few.
const SHORT: u32 = 14;

/// What the store was asked, for all to see.
#[derive(Default)]
struct Book {
    /// How often each job was done.
    done: Mutex<HashMap<u32, usize>>,
    /// Batches on their way now.
    under_way: AtomicUsize,
    lanes: usize,
}

impl Book {
    fn times(&self, job: u32) -> usize {
        self.done.lock().unwrap().get(&job).copied().unwrap_or(0)
    }

    fn note(&self, job: u32) {
        *self.done.lock().unwrap().entry(job).or_default() += 1;
    }
}

/// Doubles numbers.
struct Doubling<const KEEPS: bool>(Arc<Book>);

impl<const KEEPS: bool> Doubling<KEEPS> {
    fn done(&self, job: u32) -> u32 {
        if job == POISON {
            resume_unwind(Box::new("poison"));
        }
        self.0.note(job);
        job * 2
    }
}

impl<const KEEPS: bool> Work for Doubling<KEEPS> {
    type Job = u32;
    type Key = u32;
    type Answer = u32;

    const KEEPS: bool = KEEPS;

    async fn one(&self, job: u32) -> u32 {
        yield_now().await;
        self.done(job)
    }

    async fn many(&self, jobs: &[u32]) -> Vec<u32> {
        assert!((1..=BATCH).contains(&jobs.len()), "a batch of {}", jobs.len());
        assert!(self.0.under_way.fetch_add(1, Ordering::SeqCst) < self.0.lanes, "more batches than lanes");
        yield_now().await;
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        if jobs.contains(&POISON) {
            resume_unwind(Box::new("poison"));
        }
        if jobs.contains(&SHORT) {
            return jobs.iter().skip(1).map(|job| job * 2).collect();
        }
        jobs.iter().map(|&job| self.done(job)).collect()
    }

    async fn again(&self, job: &u32) -> Option<u32> {
        Some(self.done(*job))
    }
}

type Numbers<const KEEPS: bool> = Arc<Group<Doubling<KEEPS>>>;

fn doubling<const KEEPS: bool>(bounds: Bounds) -> (Numbers<KEEPS>, Arc<Book>) {
    let book = Arc::new(Book { lanes: bounds.lanes, ..Book::default() });
    (Arc::new(Group::new(Doubling(Arc::clone(&book)), bounds)), book)
}

fn bounds(lanes: usize) -> Bounds {
    Bounds { batch: BATCH, small: 1, room: 100, ..Bounds::new(lanes, Duration::MAX) }
}

fn ask<W: Work<Job = u32, Answer = u32>>(
    group: &Arc<Group<W>>,
    job: u32,
) -> JoinHandle<Result<u32, Unanswered>> {
    let group = Arc::clone(group);
    spawn(async move { group.ask(job).await })
}

/// Whatever the callers did: once the lanes have ended, nothing is left of anybody.
fn rests<W: Work>(group: &Group<W>) {
    lanes_rest();
    assert!(group.is_empty(), "something is left: {:?} wait", group.waiting());
}

/// Callers come in any order: each gets its own answer, of a job that was done once.
pub fn everybody_is_served() {
    let (group, book) = doubling::<true>(bounds(1));
    let callers: Vec<_> = (1..=3).map(|job| ask(&group, job)).collect();
    for (job, caller) in (1..).zip(callers) {
        assert_eq!(block_on(caller).unwrap(), Ok(job * 2));
        assert_eq!(book.times(job), 1);
    }
    rests(&group);
}

/// The same with more lanes and more callers.
pub fn a_crowd_is_served() {
    serve_a_crowd(bounds(2));
}

/// The same where lanes let others run before they take what waits.
pub fn a_crowd_is_gathered() {
    serve_a_crowd(Bounds { gathers: true, ..bounds(2) });
}

/// The same where lanes become fewer in the middle.
pub fn a_crowd_is_narrowed() {
    serve(bounds(3), |group| group.narrow(1));
}

fn serve_a_crowd(bounds: Bounds) {
    serve(bounds, |_| {});
}

fn serve(bounds: Bounds, meanwhile: impl FnOnce(&Group<Doubling<true>>)) {
    let (group, book) = doubling::<true>(bounds);
    let callers: Vec<_> = (1..=9).map(|job| ask(&group, job)).collect();
    meanwhile(&group);
    for (job, caller) in (1..).zip(callers) {
        assert_eq!(block_on(caller).unwrap(), Ok(job * 2));
        assert_eq!(book.times(job), 1);
    }
    rests(&group);
}

/// Callers who come again and again, so that lanes end and are started: nobody relies on one that is ending.
pub fn callers_come_again() {
    let (group, book) = doubling::<true>(bounds(1));
    let callers: Vec<_> = (0..3)
        .map(|caller| {
            let group = Arc::clone(&group);
            spawn(async move {
                for job in (1..=3).map(|turn| caller * 100 + turn) {
                    assert_eq!(group.ask(job).await, Ok(job * 2));
                }
            })
        })
        .collect();
    for caller in callers {
        block_on(caller).unwrap();
    }
    assert_eq!(book.done.lock().unwrap().values().sum::<usize>(), 9);
    rests(&group);
}

/// Callers go away at any moment: those who stay are served, and a write that had been accepted is made.
pub fn callers_go_away() {
    let (group, book) = doubling::<true>(bounds(1));
    let callers: Vec<_> = (1..=5).map(|job| ask(&group, job)).collect();
    for caller in &callers[..3] {
        caller.abort();
    }
    for (job, caller) in (1..).zip(callers) {
        let answer = block_on(caller);
        let stays = job > 3;
        assert!(!stays || answer.is_ok());
        if let Ok(answer) = answer {
            assert_eq!(answer, Ok(job * 2));
        }
        assert!(book.times(job) <= 1);
    }
    rests(&group);
}

/// A write that waits in the line when its caller goes is made.
pub fn an_accepted_write_is_made() {
    let (group, book) = doubling::<true>(bounds(1));
    let first = [ask(&group, 1), ask(&group, 2)];
    let leaver = {
        let group = Arc::clone(&group);
        spawn(async move { group.ask(3).await })
    };
    // Those that are on their way just now are in neither number.
    let done = book.times(1) + book.times(2) + book.times(3);
    let before = done + group.waiting().0;
    leaver.abort();
    let _ = block_on(leaver);
    for caller in first {
        assert!(block_on(caller).unwrap().is_ok());
    }
    rests(&group);
    let done = book.times(1) + book.times(2) + book.times(3);
    assert!(done >= before, "{before} were done or accepted, {done} are done");
}

/// A load that nobody wants any more is not asked for once it left the line, and nobody else is hurt.
pub fn loads_are_taken_back() {
    let (group, book) = doubling::<false>(bounds(1));
    let callers: Vec<_> = (1..=4).map(|job| ask(&group, job)).collect();
    callers[0].abort();
    callers[2].abort();
    for (job, caller) in (1..).zip(callers) {
        if let Ok(answer) = block_on(caller) {
            assert_eq!((answer, book.times(job)), (Ok(job * 2), 1));
        } else {
            assert!(job % 2 == 1 && book.times(job) <= 1);
        }
    }
    rests(&group);
}

/// There is room for one, and the timers fire when they like: who is refused is not served, all others are.
pub fn who_is_refused_is_not_served() {
    let limit = Duration::from_secs(1);
    let (group, book) = doubling::<true>(Bounds { room: 1, patience: limit, ..bounds(1) });
    let callers: Vec<_> = (1..=4).map(|job| ask(&group, job)).collect();
    assert!(group.waiting().0 <= 1, "more accepted than there is room for");
    for (job, caller) in (1..).zip(callers) {
        assert!(group.waiting().0 <= 1, "more accepted than there is room for");
        match block_on(caller).unwrap() {
            Ok(answer) => assert_eq!((answer, book.times(job)), (job * 2, 1)),
            Err(refused) => assert_eq!((refused, book.times(job)), (Unanswered::NoRoom, 0)),
        }
    }
    rests(&group);
    for job in 1..=4 {
        assert!(book.times(job) <= 1);
    }
}

/// There is room for one, and everybody has patience: all are let in, one after the other.
pub fn who_waits_outside_is_let_in() {
    let (group, book) = doubling::<true>(Bounds { room: 1, ..bounds(1) });
    let callers: Vec<_> = (1..=5).map(|job| ask(&group, job)).collect();
    callers[4].abort();
    for (job, caller) in (1..=4).zip(callers) {
        assert_eq!(block_on(caller).unwrap(), Ok(job * 2));
        assert_eq!(book.times(job), 1);
    }
    rests(&group);
}

/// A batch that panics, and one that is not wholly answered: only the bad job fails.
pub fn only_the_bad_one_fails() {
    let (group, book) = doubling::<true>(bounds(1));
    let jobs = [1, POISON, 2, SHORT, 3];
    let callers = jobs.map(|job| ask(&group, job));
    for (job, caller) in jobs.into_iter().zip(callers) {
        let expected = if job == POISON { Err(Unanswered::Lost) } else { Ok(job * 2) };
        assert_eq!(block_on(caller).unwrap(), expected);
        assert_eq!(book.times(job), usize::from(job != POISON));
    }
    rests(&group);
}

/// The runtime of the lanes ends at any moment: nobody waits for ever, and nothing is done twice.
pub fn lanes_die() {
    let (group, book) = doubling::<true>(Bounds { lanes: 3, ..bounds(3) });
    let callers: Vec<_> = (1..=4).map(|job| ask(&group, job)).collect();
    let end = spawn(async { end_lanes() });
    for (job, caller) in (1..).zip(callers) {
        match block_on(caller).unwrap() {
            Ok(answer) => assert_eq!((answer, book.times(job)), (job * 2, 1)),
            Err(lost) => assert_eq!(lost, Unanswered::Lost),
        }
        assert!(book.times(job) <= 1);
    }
    block_on(end).unwrap();
    // Those that are to end have.
    lanes_rest();
    assert_eq!(block_on(group.ask(9)), Ok(18), "it goes on");
    rests(&group);
}

/// A row that everybody changes and reads.
struct Row(Arc<AtomicUsize>);

impl Work for Row {
    type Job = u32;
    type Key = u32;
    type Answer = u32;

    const KEEPS: bool = false;

    fn key(job: &u32) -> Option<u32> {
        Some(*job)
    }

    fn share(answer: &u32) -> Option<u32> {
        Some(*answer)
    }

    async fn one(&self, job: u32) -> u32 {
        let read = self.0.load(Ordering::SeqCst) as u32;
        yield_now().await;
        read * 10 + job
    }

    async fn many(&self, jobs: &[u32]) -> Vec<u32> {
        assert!(jobs.len() == 1 || jobs[0] != jobs[1], "asked for twice in one batch");
        let read = self.0.load(Ordering::SeqCst) as u32;
        yield_now().await;
        jobs.iter().map(|job| read * 10 + job).collect()
    }
}

/// Many ask for the same: each sees at least what it has changed itself before it asked, also when some go away.
pub fn a_shared_load_misses_nothing() {
    let row = Arc::new(AtomicUsize::new(0));
    let group = Arc::new(Group::new(Row(Arc::clone(&row)), bounds(1)));
    let callers: Vec<_> = [1, 1, 2, 1, 2]
        .into_iter()
        .map(|job| {
            let (group, row) = (Arc::clone(&group), Arc::clone(&row));
            let caller = spawn(async move {
                let mine = row.fetch_add(1, Ordering::SeqCst) as u32 + 1;
                let answer = group.ask(job).await.unwrap();
                assert!(answer / 10 >= mine, "read {} after {mine} was written", answer / 10);
                assert_eq!(answer % 10, job, "somebody else's answer");
            });
            (job, caller)
        })
        .collect();
    callers[1].1.abort();
    for (at, (_, caller)) in callers.into_iter().enumerate() {
        assert!(block_on(caller).is_ok() || at == 1);
    }
    rests(&group);
}
