use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::group::{Bounds, Group, Unanswered, Work};

/// Doubles numbers, each batch after a permit, and notes what it was asked.
struct Doubling<const KEEPS: bool> {
    asked: Arc<Mutex<Vec<Vec<u32>>>>,
    alone: Arc<Mutex<Vec<u32>>>,
    gate: Arc<Semaphore>,
}

const POISON: u32 = 1_000_013;
/// A batch with it is answered one too few.
const SHORT: u32 = 1_000_014;

impl<const KEEPS: bool> Doubling<KEEPS> {
    async fn pass(gate: &Semaphore) {
        gate.acquire().await.unwrap().forget();
    }
}

impl<const KEEPS: bool> Work for Doubling<KEEPS> {
    type Job = u32;
    type Key = u32;
    type Answer = u32;

    const KEEPS: bool = KEEPS;

    fn key(job: &u32) -> Option<u32> {
        (!KEEPS).then_some(*job)
    }

    fn share(answer: &u32) -> Option<u32> {
        Some(*answer)
    }

    async fn one(&self, job: u32) -> u32 {
        self.alone.lock().push(job);
        Self::pass(&self.gate).await;
        assert_ne!(job, POISON, "this one is poisoned");
        job * 2
    }

    async fn many(&self, jobs: &[u32]) -> Vec<u32> {
        self.asked.lock().push(jobs.to_vec());
        Self::pass(&self.gate).await;
        assert!(!jobs.contains(&POISON), "this one is poisoned");
        let short = usize::from(jobs.contains(&SHORT));
        jobs.iter().map(|job| job * 2).skip(short).collect()
    }

    async fn again(&self, job: &u32) -> Option<u32> {
        assert_ne!(*job, POISON, "this one is poisoned");
        Some(job * 2)
    }
}

/// A group with what it was asked, and the gate before each batch.
struct Scene<const KEEPS: bool> {
    group: Arc<Group<Doubling<KEEPS>>>,
    asked: Arc<Mutex<Vec<Vec<u32>>>>,
    alone: Arc<Mutex<Vec<u32>>>,
    gate: Arc<Semaphore>,
}

impl<const KEEPS: bool> Scene<KEEPS> {
    fn new(lanes: usize) -> Scene<KEEPS> {
        Scene::within(Bounds { small: 1, ..Bounds::new(lanes, Duration::from_secs(5)) })
    }

    fn within(bounds: Bounds) -> Scene<KEEPS> {
        let (asked, alone, gate) = (Arc::default(), Arc::default(), Arc::new(Semaphore::new(0)));
        let work = Doubling { asked: Arc::clone(&asked), alone: Arc::clone(&alone), gate: Arc::clone(&gate) };
        Scene { group: Arc::new(Group::new(work, bounds)), asked, alone, gate }
    }

    fn ask(&self, job: u32) -> JoinHandle<Result<u32, Unanswered>> {
        let group = Arc::clone(&self.group);
        tokio::spawn(async move { group.ask(job).await })
    }

    /// Somebody is there, alone, and a batch with this job is on its way.
    async fn occupied(&self, job: u32) -> [JoinHandle<Result<u32, Unanswered>>; 2] {
        let callers = [self.ask(0), self.ask(job)];
        settle().await;
        assert_eq!((&self.alone.lock()[..], &self.asked.lock()[..]), (&[0][..], &[vec![job]][..]));
        callers
    }

    async fn is_empty_soon(&self) {
        settle().await;
        assert!(self.group.is_empty());
    }
}

/// What comes of a wait that the group has to end.
async fn answered<T>(waiting: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    answer.unwrap_or_else(|_| panic!("nobody answers"))
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Nobody else is there: no hop to another task.
#[tokio::test]
async fn a_lone_caller_does_its_job_itself() {
    let scene = Scene::<false>::new(2);
    scene.gate.add_permits(10);
    let mut asked = by_hand(scene.group.ask(4));
    assert_eq!(asked.next(), Some(Ok(8)), "at the first poll");
    assert!(scene.asked.lock().is_empty());
    scene.is_empty_soon().await;
}

/// Polls a future by hand.
fn by_hand<T>(work: impl Future<Output = T>) -> impl Iterator<Item = T> {
    let mut work = Box::pin(work);
    std::iter::from_fn(move || {
        match work.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    })
}

/// A lone caller that is not polled any more (in a `select!`, say) keeps nobody waiting.
#[tokio::test]
async fn a_caller_that_stands_still_holds_up_nobody() {
    let scene = Scene::<true>::new(1);
    let mut still = by_hand(scene.group.ask(1));
    assert_eq!(still.next(), None);
    // One for each; the first one does not take its own.
    scene.gate.add_permits(2);
    let other = scene.ask(2);
    assert_eq!(other.await.unwrap(), Ok(4));
}

/// [R11] What arrives while a batch is on its way shares the next one, in its order.
#[tokio::test]
async fn a_crowd_shares_the_next_statement() {
    let scene = Scene::<true>::new(1);
    let first = scene.occupied(1).await;
    let crowd: Vec<_> = (100..200).map(|n| scene.ask(n)).collect();
    settle().await;
    scene.gate.add_permits(3);
    for (n, answer) in (100..).zip(crowd) {
        assert_eq!(answer.await.unwrap(), Ok(n * 2));
    }
    for (caller, answer) in first.into_iter().zip([0, 2]) {
        assert_eq!(caller.await.unwrap(), Ok(answer));
    }
    assert_eq!(*scene.asked.lock(), [vec![1], (100..200).collect()]);
    scene.is_empty_soon().await;
}

/// [R11] 10^4 who want the same at once ask for it once, all together, beyond what has left already.
#[tokio::test]
async fn a_herd_asks_once() {
    let scene = Scene::<false>::new(1);
    let first = scene.occupied(7).await;
    let herd: Vec<_> = (0..10_000).map(|_| scene.ask(7)).collect();
    settle().await;
    assert_eq!(scene.group.waiting(), (1, 0), "however many, they take one place");
    scene.gate.add_permits(3);
    for caller in herd {
        assert_eq!(caller.await.unwrap(), Ok(14));
    }
    assert_eq!(*scene.asked.lock(), [vec![7], vec![7]], "one that had left, one for all others");
    for caller in first {
        caller.await.unwrap().unwrap();
    }
    scene.is_empty_soon().await;
}

/// Another lane begins beside a busy one as soon as enough wait, and not before.
#[tokio::test]
async fn a_second_lane_waits_for_a_crowd() {
    let scene = Scene::<true>::within(Bounds { crowd: 3, ..Bounds::new(2, Duration::from_secs(5)) });
    let first = scene.occupied(1).await;
    let mut others = vec![scene.ask(2), scene.ask(3)];
    settle().await;
    assert_eq!(*scene.asked.lock(), [vec![1]], "two are no crowd");
    others.push(scene.ask(4));
    settle().await;
    assert_eq!(*scene.asked.lock(), [vec![1], vec![2, 3, 4]]);
    scene.gate.add_permits(10);
    for caller in first.into_iter().chain(others) {
        caller.await.unwrap().unwrap();
    }
    scene.is_empty_soon().await;
}

/// [R11] Where a second batch turns out to be of no use: the lane beside the one that stays ends, and no other
/// begins.
#[tokio::test]
async fn lanes_become_fewer() {
    let scene = Scene::<true>::new(3);
    let first = scene.occupied(1).await;
    let others = [scene.ask(2), scene.ask(3)];
    settle().await;
    assert_eq!(*scene.asked.lock(), [vec![1], vec![2], vec![3]], "three at once");
    scene.group.narrow(1);
    let crowd: Vec<_> = (100..120).map(|n| scene.ask(n)).collect();
    settle().await;
    // For the one that is alone, and the three lanes.
    scene.gate.add_permits(4);
    for caller in first.into_iter().chain(others) {
        caller.await.unwrap().unwrap();
    }
    settle().await;
    assert_eq!(scene.asked.lock()[3..], [(100..120).collect::<Vec<u32>>()], "one for all that wait");
    let late: Vec<_> = (200..210).map(|n| scene.ask(n)).collect();
    settle().await;
    assert_eq!(scene.asked.lock().len(), 4, "nothing beside it");
    scene.gate.add_permits(2);
    for caller in crowd.into_iter().chain(late) {
        caller.await.unwrap().unwrap();
    }
    scene.is_empty_soon().await;
}

/// First come, first served; a batch has its bound, and a lane that is free gets its share.
#[tokio::test]
async fn no_lane_takes_all_and_nobody_is_overtaken() {
    let scene = Scene::<true>::within(Bounds { batch: 50, ..Bounds::new(2, Duration::from_secs(5)) });
    let first = scene.occupied(1).await;
    let crowd: Vec<_> = (100..260).map(|n| scene.ask(n)).collect();
    settle().await;
    assert_eq!(
        *scene.asked.lock(),
        [vec![1], (100..150).collect()],
        "the second lane takes no more than a batch"
    );
    scene.gate.add_permits(1_000);
    for caller in crowd.into_iter().chain(first) {
        caller.await.unwrap().unwrap();
    }
    let order: Vec<u32> = scene.asked.lock().concat();
    assert_eq!(order, [1].into_iter().chain(100..260).collect::<Vec<_>>());
    assert!(scene.asked.lock().iter().all(|batch| batch.len() <= 50));

    // Both are free: each takes half.
    let scene = Scene::<true>::within(Bounds { batch: 80, ..Bounds::new(2, Duration::from_secs(5)) });
    let crowd: Vec<_> = (0..101).map(|n| scene.ask(n)).collect();
    settle().await;
    scene.gate.add_permits(1_000);
    for caller in crowd {
        caller.await.unwrap().unwrap();
    }
    let sizes: Vec<usize> = scene.asked.lock().iter().map(Vec::len).collect();
    assert_eq!((scene.alone.lock().len(), sizes), (1, vec![50, 50]));
}

/// Where a batch takes no time a lane lets all come in who are ready: a crowd that asks again and again does so
/// in one batch each time.
#[tokio::test]
async fn a_lane_that_gathers_takes_all_who_are_ready() {
    for gathers in [true, false] {
        let scene = Scene::<true>::within(Bounds { gathers, ..Bounds::new(1, Duration::from_secs(5)) });
        let first = scene.occupied(1).await;
        let crowd: Vec<_> = (0..20)
            .map(|n| {
                let group = Arc::clone(&scene.group);
                tokio::spawn(async move {
                    for round in [100, 200, 300] {
                        assert_eq!(group.ask(round + n).await, Ok(2 * (round + n)));
                    }
                })
            })
            .collect();
        settle().await;
        scene.gate.add_permits(1_000);
        for caller in crowd {
            caller.await.unwrap();
        }
        let sizes: Vec<usize> = scene.asked.lock().iter().map(Vec::len).collect();
        let expected: &[usize] = if gathers { &[1, 20, 20, 20] } else { &[1, 20] };
        assert_eq!(sizes, expected);
        drop(first);
        scene.is_empty_soon().await;
    }
}

/// [R03] Who gives up waiting neither cancels nor poisons what the others wait for; a load that nobody
/// wants any more is not asked for.
#[tokio::test]
async fn a_load_whose_caller_has_gone_is_not_asked_for() {
    let scene = Scene::<false>::new(1);
    let [alone, going] = scene.occupied(1).await;
    let (gone, shared, stays) = (scene.ask(2), scene.ask(3), scene.ask(3));
    settle().await;
    for caller in [alone, going, gone, shared] {
        caller.abort();
    }
    settle().await;
    scene.gate.add_permits(10);
    assert_eq!(answered(stays).await.unwrap(), Ok(6));
    assert_eq!(*scene.asked.lock(), [vec![1], vec![3]]);
    scene.is_empty_soon().await;
}

/// [R03] A write that was accepted is made, whoever stays to see it.
#[tokio::test]
async fn a_write_whose_caller_has_gone_is_made() {
    let scene = Scene::<true>::new(1);
    let first = scene.occupied(1).await;
    let gone = scene.ask(2);
    settle().await;
    gone.abort();
    settle().await;
    scene.gate.add_permits(10);
    settle().await;
    assert_eq!(*scene.asked.lock(), [vec![1], vec![2]]);
    drop(first);
    scene.is_empty_soon().await;
}

/// A batch that fails as a whole is done again apart: only the bad row fails.
#[tokio::test]
async fn only_the_bad_row_of_a_batch_fails() {
    for bad in [POISON, SHORT] {
        let scene = Scene::<true>::new(1);
        let first = scene.occupied(1).await;
        let crowd: Vec<_> = [20, bad, 21].into_iter().map(|n| scene.ask(n)).collect();
        settle().await;
        scene.gate.add_permits(10);
        for (caller, n) in crowd.into_iter().zip([20, bad, 21]) {
            let expected = if n == POISON { Err(Unanswered::Lost) } else { Ok(n * 2) };
            assert_eq!(caller.await.unwrap(), expected);
        }
        assert_eq!(scene.group.ask(POISON).await, Err(Unanswered::Lost), "also alone");
        assert_eq!(scene.group.ask(4).await, Ok(8), "and the group goes on");
        drop(first);
        scene.is_empty_soon().await;
    }
}

/// [R02] The queue is bounded: who finds it full waits, but not for ever, and nothing is then done.
#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_after_a_bounded_wait() {
    let scene = Scene::<true>::within(Bounds { room: 10, ..Bounds::new(1, Duration::from_secs(5)) });
    let first = scene.occupied(1).await;
    let inside: Vec<_> = (100..110).map(|n| scene.ask(n)).collect();
    settle().await;
    let [refused, gone, let_in] = [200, 201, 202].map(|n| scene.ask(n));
    settle().await;
    assert_eq!(scene.group.waiting(), (10, 3));
    gone.abort();
    settle().await;
    assert_eq!(scene.group.waiting(), (10, 2), "a write for which there was no room goes with its caller");
    let begun = tokio::time::Instant::now();
    assert_eq!(refused.await.unwrap(), Err(Unanswered::NoRoom));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert_eq!(let_in.await.unwrap(), Err(Unanswered::NoRoom));

    let let_in = scene.ask(203);
    settle().await;
    inside[3].abort();
    scene.gate.add_permits(1_000);
    assert_eq!(let_in.await.unwrap(), Ok(406));
    settle().await;
    let done: HashSet<u32> = scene.asked.lock().concat().into_iter().collect();
    assert_eq!(done, (100..110).chain([1, 203]).collect());
    drop((first, inside));
    scene.is_empty_soon().await;
}

/// Who is let in while it waits for room is not refused later on.
#[tokio::test(start_paused = true)]
async fn who_is_let_in_in_time_gets_an_answer_however_late() {
    let scene = Scene::<true>::within(Bounds { room: 1, ..Bounds::new(1, Duration::from_secs(5)) });
    let first = scene.occupied(1).await;
    let callers = [scene.ask(2), scene.ask(3)];
    settle().await;
    scene.gate.add_permits(2);
    settle().await;
    assert_eq!(scene.group.waiting(), (1, 0), "one on its way, one accepted");
    tokio::time::sleep(Duration::from_secs(60)).await;
    scene.gate.add_permits(10);
    for (caller, answer) in callers.into_iter().zip([4, 6]) {
        assert_eq!(caller.await.unwrap(), Ok(answer));
    }
    drop(first);
}

/// A runtime ends and another one begins: what was on its way is lost, and the group works again. Who
/// waits elsewhere takes over.
#[test]
fn a_group_outlives_its_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scene = Scene::<true>::new(1);
    let (first, second) = (runtime(), runtime());
    first.block_on(async {
        scene.occupied(1).await;
        scene.ask(2);
        settle().await;
    });
    // Its lane lived in the first runtime.
    let entered = second.enter();
    let waiting = scene.ask(3);
    drop(entered);
    second.block_on(settle());
    assert_eq!(scene.group.waiting(), (2, 0));
    drop(first);
    scene.gate.add_permits(10);
    second.block_on(async {
        assert_eq!(waiting.await.unwrap(), Ok(6));
        assert_eq!(scene.group.ask(4).await, Ok(8));
        scene.is_empty_soon().await;
    });
    let done: HashSet<u32> = scene.asked.lock().concat().into_iter().collect();
    assert_eq!(done, HashSet::from([1, 3]), "what nobody waits for is not kept for another time");
}

/// [R03] Callers that go away at their first, second, third await; those who stay get their own answers.
#[tokio::test]
async fn callers_go_away_at_every_await() {
    let polls = AtomicU32::new(0);
    for patience in 0..6 {
        let scene = Scene::<true>::new(2);
        let mut callers = Vec::new();
        for n in 0..200 {
            let mut caller = Some(Box::pin(scene.group.ask(n)));
            let mut left = if n % 3 == 0 { u32::MAX } else { patience };
            let polls = &polls;
            callers.push(async move {
                poll_fn(|context| {
                    polls.fetch_add(1, Ordering::Relaxed);
                    let Some(asked) = caller.as_mut().filter(|_| left > 0) else {
                        caller = None;
                        return Poll::Ready(None);
                    };
                    left -= 1;
                    context.waker().wake_by_ref();
                    asked.as_mut().poll(context).map(Some)
                })
                .await
                .map(|answer| (n, answer))
            });
        }
        let opening = async {
            for _ in 0..50 {
                tokio::task::yield_now().await;
                scene.gate.add_permits(1);
            }
        };
        let (answers, ()) = answered(async { tokio::join!(all(callers), opening) }).await;
        assert!(answers.iter().flatten().count() >= 67);
        for (n, answer) in answers.into_iter().flatten() {
            assert_eq!(answer, Ok(n * 2));
        }
        scene.gate.add_permits(1_000);
        scene.is_empty_soon().await;
    }
    assert!(polls.load(Ordering::Relaxed) > 1_000);
}

async fn all<T>(work: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut work: Vec<_> = work.into_iter().map(|it| (Box::pin(it), None)).collect();
    poll_fn(|context| {
        let mut is_ready = true;
        for (it, done) in work.iter_mut().filter(|(_, done)| done.is_none()) {
            match it.as_mut().poll(context) {
                Poll::Ready(answer) => *done = Some(answer),
                Poll::Pending => is_ready = false,
            }
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    work.into_iter().filter_map(|(_, done)| done).collect()
}
