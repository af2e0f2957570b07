//! A limit of time for many waits at once, with one timer for all of them.
//!
//! A timer of its own for each is dear where a request has the machine to itself: entering one wakes the worker that
//! waits for the network, which is a system call and a change of threads for each statement. But where all may take
//! equally long, who came first is due first. So one task waits for the oldest, and when it rings it waits for the
//! one that is then the oldest: about once in the time that the limit allows, however many came and went.

use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{self, Handle};
use tokio::time::{Instant, sleep_until};

use super::line::Line;

/// How long anything may take. Clones are the same limit.
#[derive(Clone)]
pub(crate) struct TimeLimit(Arc<Shared>);

struct Shared {
    length: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// One for each runtime in which somebody waits: one that rests must not hold up what runs in another.
    watches: Vec<Watch>,
    /// The next one's. No number is given twice, for a place may outlive its watch.
    number: u64,
}

/// Those who wait in one runtime.
struct Watch {
    runtime: runtime::Id,
    line: Line<Waiting>,
}

struct Waiting {
    due: Instant,
    waker: Waker,
}

impl fmt::Debug for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TimeLimit").field(&self.0.length).finish()
    }
}

impl TimeLimit {
    pub(crate) fn new(length: Duration) -> TimeLimit {
        TimeLimit(Arc::new(Shared { length, state: Mutex::default() }))
    }

    pub(crate) fn length(&self) -> Duration {
        self.0.length
    }

    /// What comes of this, unless it takes longer. To be called within a runtime that has a timer.
    pub(crate) async fn keep<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut wait = Wait { shared: &self.0, place: None };
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if wait.is_over(context.waker()) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

/// Something that is waited for, and not for ever.
struct Wait<'a> {
    shared: &'a Arc<Shared>,
    place: Option<Place>,
}

/// Where it stands in line.
#[derive(Clone, Copy)]
struct Place {
    runtime: runtime::Id,
    number: u64,
    due: Instant,
}

impl Wait<'_> {
    /// Whether it takes too long; if not, the waker is called when it does.
    fn is_over(&mut self, waker: &Waker) -> bool {
        match self.place {
            Some(place) if Instant::now() >= place.due => return true,
            Some(place) if self.shared.stays(place, waker) => {}
            _ => self.place = self.shared.enter(waker),
        }
        false
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.leave(place);
        }
    }
}

impl State {
    fn watch(&mut self, runtime: runtime::Id) -> Option<&mut Watch> {
        self.watches.iter_mut().find(|watch| watch.runtime == runtime)
    }

    fn end(&mut self, runtime: runtime::Id) -> Option<Watch> {
        let at = self.watches.iter().position(|watch| watch.runtime == runtime)?;
        Some(self.watches.swap_remove(at))
    }
}

impl Shared {
    /// `None`: a limit that no clock reaches.
    fn enter(self: &Arc<Shared>, waker: &Waker) -> Option<Place> {
        let runtime = Handle::current().id();
        let waker = waker.clone();
        let mut state = self.state.lock();
        // Under the lock, so that the line is in the order of these.
        let due = Instant::now().checked_add(self.length)?;
        let number = state.number;
        state.number += 1;
        let is_first = state.watch(runtime).is_none();
        if is_first {
            state.watches.push(Watch { runtime, line: Line::new() });
        }
        if let Some(watch) = state.watch(runtime) {
            watch.line.push(number, Waiting { due, waker });
        }
        drop(state);
        if is_first {
            tokio::spawn(Watchman { shared: Arc::clone(self), runtime, has_ended: false }.watch());
        }
        Some(Place { runtime, number, due })
    }

    /// Whether it still stands there, from now on with this waker.
    fn stays(&self, place: Place, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let found = state.watch(place.runtime).and_then(|watch| watch.line.get_mut(place.number));
        let Some(waiting) = found else { return false };
        let known = waiting.waker.will_wake(waker);
        let before = (!known).then(|| mem::replace(&mut waiting.waker, waker.clone()));
        drop(state);
        // Outside the lock, for a waker's end may be the end of a task that waits here too.
        drop(before);
        true
    }

    fn leave(&self, place: Place) {
        let mut state = self.state.lock();
        let left = state.watch(place.runtime).and_then(|watch| watch.line.remove(place.number));
        drop(state);
        drop(left);
    }

    /// Those whose time is over, and when the next one's is; `None`: nobody waits, the watch has ended.
    fn ring(&self, runtime: runtime::Id) -> (Vec<Waiting>, Option<Instant>) {
        let mut over = Vec::new();
        let mut state = self.state.lock();
        let now = Instant::now();
        if let Some(watch) = state.watch(runtime) {
            while let Some(first) = watch.line.first() {
                if first.due > now {
                    let next = first.due;
                    return (over, Some(next));
                }
                over.extend(watch.line.pop().map(|(_, waiting)| waiting));
            }
        }
        state.end(runtime);
        (over, None)
    }
}

/// The task that waits for the oldest in a runtime.
struct Watchman {
    shared: Arc<Shared>,
    runtime: runtime::Id,
    has_ended: bool,
}

impl Watchman {
    async fn watch(mut self) {
        loop {
            let (over, next) = self.shared.ring(self.runtime);
            self.has_ended = next.is_none();
            over.into_iter().for_each(|waiting| waiting.waker.wake());
            match next {
                Some(due) => sleep_until(due).await,
                None => return,
            }
        }
    }
}

/// The runtime ends, and with it whoever waits in it.
impl Drop for Watchman {
    fn drop(&mut self) {
        if !self.has_ended {
            let ended = self.shared.state.lock().end(self.runtime);
            drop(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use futures_util::future::join_all;
    use tokio::sync::oneshot;
    use tokio::time::{Duration, sleep};

    use super::*;

    const LENGTH: Duration = Duration::from_secs(5);

    impl TimeLimit {
        /// Runtimes that are watched, and how many wait.
        fn watched(&self) -> (usize, usize) {
            let state = self.0.state.lock();
            (state.watches.len(), state.watches.iter().map(|watch| watch.line.len()).sum())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_at_once_is_not_watched() {
        let limit = TimeLimit::new(LENGTH);
        assert_eq!(limit.keep(ready(7)).await, Some(7));
        assert_eq!(limit.watched(), (0, 0));
    }

    /// Each has its own time, whoever else came before; and who was in time is waited for no longer.
    #[tokio::test(start_paused = true)]
    async fn each_is_due_when_its_own_time_is_over() {
        let limit = TimeLimit::new(LENGTH);
        let began = Instant::now();
        let each = (0..20_u64).map(|number| {
            let limit = &limit;
            async move {
                sleep(Duration::from_secs(number)).await;
                // Every other one hangs.
                let takes = if number.is_multiple_of(2) { LENGTH * 100 } else { LENGTH / 2 };
                let kept = limit.keep(sleep(takes)).await;
                (kept.is_some(), began.elapsed().as_secs())
            }
        });
        for (number, (in_time, ended)) in (0..).zip(join_all(each).await) {
            let hangs = number % 2 == 0;
            assert_eq!(in_time, !hangs, "{number}");
            assert_eq!(ended, number + if hangs { 5 } else { 2 }, "{number}");
        }
        assert_eq!(limit.watched().1, 0);
    }

    /// The watch costs nothing where nobody waits, and begins anew.
    #[tokio::test(start_paused = true)]
    async fn nobody_is_watched_for_long_who_has_gone() {
        let limit = TimeLimit::new(LENGTH);
        for _ in 0..3 {
            assert_eq!(limit.keep(sleep(LENGTH / 5)).await, Some(()));
            assert_eq!(limit.watched(), (1, 0));
            sleep(LENGTH * 2).await;
            assert_eq!(limit.watched(), (0, 0));
            assert_eq!(limit.keep(pending::<()>()).await, None);
            tokio::task::yield_now().await;
        }
    }

    /// A limit that the clock does not reach is none.
    #[tokio::test(start_paused = true)]
    async fn a_limit_may_be_endless() {
        let limit = TimeLimit::new(Duration::MAX);
        assert_eq!(limit.keep(sleep(LENGTH)).await, Some(()));
        assert_eq!(limit.watched(), (0, 0));
    }

    struct Counts(AtomicUsize);

    impl Wake for Counts {
        fn wake(self: Arc<Counts>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A future that moves to another task is woken there.
    #[tokio::test(start_paused = true)]
    async fn the_last_one_who_looked_is_woken() {
        let limit = TimeLimit::new(LENGTH);
        let mut kept = pin!(limit.keep(pending::<()>()));
        let [first, last] = [0, 1].map(|_| Arc::new(Counts(AtomicUsize::new(0))));
        for who in [&first, &last] {
            let waker = Waker::from(Arc::clone(who));
            assert!(kept.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        sleep(LENGTH * 2).await;
        assert_eq!([&first, &last].map(|who| who.0.load(Ordering::Relaxed)), [0, 1]);
        let waker = Waker::noop();
        assert_eq!(kept.poll(&mut Context::from_waker(waker)), Poll::Ready(None));
    }

    /// A place whose watch has ended takes nobody else's away.
    #[tokio::test(start_paused = true)]
    async fn who_stayed_too_long_takes_no_other_place() {
        let limit = TimeLimit::new(LENGTH);
        let waker = Waker::noop();
        let mut late = Box::pin(limit.keep(pending::<()>()));
        assert!(late.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        sleep(LENGTH * 2).await;
        assert_eq!(limit.watched(), (0, 0));
        let mut other = pin!(limit.keep(pending::<()>()));
        assert!(other.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        drop(late);
        assert_eq!(limit.watched(), (1, 1));
    }

    /// A runtime that rests, or has ended, holds up nobody in another one.
    #[test]
    fn each_runtime_has_its_own_watch() {
        let limit = TimeLimit::new(Duration::from_millis(20));
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let resting = runtime();
        let (tell, told) = oneshot::channel::<()>();
        let there = limit.clone();
        resting.spawn(async move { there.keep(told).await });
        resting.block_on(tokio::task::yield_now());
        assert_eq!(limit.watched(), (1, 1));
        assert_eq!(runtime().block_on(limit.keep(pending::<()>())), None);
        drop(resting);
        assert_eq!(limit.watched().1, 0);
        assert!(tell.is_closed());
        assert_eq!(runtime().block_on(limit.keep(pending::<()>())), None);
    }
}
