//! Who waits for what, which lanes run, and whose each answer is: all that a group knows, under one lock.
//!
//! It waits for nothing and starts nothing, it says what is to be done; so a model checker can walk it
//! through every order of events. What a caller or a job left behind is dropped outside the lock, for a
//! waker's end may be the end of another caller.

use std::collections::HashMap;
use std::task::Waker;

use super::super::ground::Mutex;
use super::super::line::Line;
use super::tickets::{Stage, Ticket, Tickets};
use super::{Bounds, Work};

/// A job in the line.
struct Waiting<J> {
    job: J,
    /// Its callers, one behind the other.
    first: Ticket,
    /// How many of them are still there.
    callers: usize,
}

struct State<W: Work> {
    /// Jobs that are accepted.
    inside: Line<Waiting<W::Job>>,
    /// Jobs for which there is no room yet: they are taken back when their callers go.
    outside: Line<Waiting<W::Job>>,
    /// The job's number under its key, as long as it is in the line.
    keys: HashMap<W::Key, u64>,
    number: u64,
    tickets: Tickets<W::Answer>,
    /// Whether a caller who found nobody here is doing its job by itself.
    alone: bool,
    /// Lanes that may live.
    most: usize,
    /// Lanes that were started.
    lanes: usize,
    /// Those of them that have a batch.
    busy: usize,
}

pub(super) struct Queue<W: Work> {
    state: Mutex<State<W>>,
    bounds: Bounds,
}

/// What becomes of a job that comes in.
pub(super) enum Entered<J> {
    /// Nobody else is here: its caller does it, and says so with [`Queue::leave_alone`].
    Alone(J),
    Waits {
        ticket: Ticket,
        /// Whether there was room for it.
        is_accepted: bool,
        /// Whether the caller has to start a lane.
        starts_lane: bool,
    },
}

/// What a caller who looks finds.
pub(super) enum Seen<A> {
    /// The answer, or `None`: its batch came to nothing. The ticket is given back.
    Answer(Option<A>),
    Nothing {
        /// Whether the caller has to start a lane: those that ran are gone.
        starts_lane: bool,
    },
}

/// What a lane has taken.
pub(super) struct Batch<W: Work> {
    pub(super) jobs: Vec<W::Job>,
    firsts: Vec<Ticket>,
    /// Those to be woken when it is handed in, and what nobody waits for any more.
    wakers: Vec<Waker>,
    unwanted: Vec<W::Answer>,
}

impl<W: Work> Batch<W> {
    pub(super) fn new() -> Batch<W> {
        Batch { jobs: Vec::new(), firsts: Vec::new(), wakers: Vec::new(), unwanted: Vec::new() }
    }
}

/// What a lane is to do.
pub(super) enum Turn {
    /// There is nothing: it has ended.
    Ended,
    /// The batch.
    Work {
        /// Whether to start another lane, for what is left.
        starts_lane: bool,
    },
}

impl<W: Work> Queue<W> {
    pub(super) fn new(bounds: Bounds) -> Queue<W> {
        let state = State {
            inside: Line::new(),
            outside: Line::new(),
            keys: HashMap::new(),
            number: 0,
            tickets: Tickets::new(),
            alone: false,
            most: bounds.lanes,
            lanes: 0,
            busy: 0,
        };
        Queue { state: Mutex::new(state), bounds }
    }

    pub(super) fn enter(&self, job: W::Job, waker: &Waker) -> Entered<W::Job> {
        let mut state = self.state.lock();
        if state.lanes == 0 && !state.alone && state.inside.len() == 0 {
            state.alone = true;
            return Entered::Alone(job);
        }
        let state = &mut *state;
        let key = W::key(&job);
        if let Some(&number) = key.as_ref().and_then(|key| state.keys.get(key))
            && let Some(before) = state.waiting(number).map(|waiting| waiting.first)
        {
            let ticket = state.tickets.draw(number, waker, Some(before));
            if let Some(waiting) = state.waiting(number) {
                waiting.first = ticket;
                waiting.callers += 1;
            }
            let is_accepted = state.inside.get_mut(number).is_some();
            return Entered::Waits { ticket, is_accepted, starts_lane: state.lacks_lane(&self.bounds) };
        }
        let number = state.number;
        state.number += 1;
        if let Some(key) = key {
            state.keys.insert(key, number);
        }
        let ticket = state.tickets.draw(number, waker, None);
        let waiting = Waiting { job, first: ticket, callers: 1 };
        let is_accepted = state.inside.len() < self.bounds.room;
        let line = if is_accepted { &mut state.inside } else { &mut state.outside };
        line.push(number, waiting);
        Entered::Waits { ticket, is_accepted, starts_lane: state.lacks_lane(&self.bounds) }
    }

    /// The caller that was alone is through, or gone.
    pub(super) fn leave_alone(&self) {
        self.state.lock().alone = false;
    }

    /// Looks for the answer.
    pub(super) fn look(&self, ticket: Ticket, waker: &Waker) -> Seen<W::Answer> {
        let mut state = self.state.lock();
        let slot = state.tickets.slot(ticket);
        if let Stage::Waiting(_) = slot.stage {
            let known = slot.waker.as_ref().is_some_and(|known| known.will_wake(waker));
            let before = if known { None } else { slot.waker.replace(waker.clone()) };
            let starts_lane = state.lanes == 0;
            state.lanes += usize::from(starts_lane);
            drop(state);
            drop(before);
            return Seen::Nothing { starts_lane };
        }
        let (stage, waker) = state.tickets.give_back(ticket);
        drop(state);
        drop(waker);
        match stage {
            Stage::Answered(answer) => Seen::Answer(Some(answer)),
            Stage::Waiting(_) | Stage::Lost | Stage::Gone => Seen::Answer(None),
        }
    }

    /// The caller goes away without its answer.
    pub(super) fn leave(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        let Stage::Waiting(number) = state.tickets.slot(ticket).stage else {
            let left = state.tickets.give_back(ticket);
            drop(state);
            drop(left);
            return;
        };
        let left = state.go(ticket, number, &self.bounds);
        drop(state);
        drop(left);
    }

    /// The caller has waited long enough for room. Whether its job was taken back; otherwise it is accepted.
    pub(super) fn give_up(&self, ticket: Ticket) -> bool {
        let mut state = self.state.lock();
        let Stage::Waiting(number) = state.tickets.slot(ticket).stage else { return false };
        if state.outside.get_mut(number).is_none() {
            return false;
        }
        let left = state.go(ticket, number, &self.bounds);
        drop(state);
        drop(left);
        true
    }

    /// Lets no more lanes live from now on.
    pub(super) fn narrow(&self, most: usize) {
        self.state.lock().most = most.max(1);
    }

    /// Fills the empty batch of a lane that has nothing to do.
    pub(super) fn take(&self, batch: &mut Batch<W>) -> Turn {
        let mut state = self.state.lock();
        let free = state.most.saturating_sub(state.busy).max(1);
        let share = if state.lanes > state.most {
            // Those that may live do all of it.
            0
        } else {
            // A small batch is not worth two statements; a large one is shared with the lanes that are free.
            state.inside.len().div_ceil(free).max(self.bounds.small).min(self.bounds.batch)
        };
        while batch.jobs.len() < share {
            let Some((_, Waiting { job, first, .. })) = state.inside.pop() else { break };
            if let Some(key) = W::key(&job) {
                state.keys.remove(&key);
            }
            batch.jobs.push(job);
            batch.firsts.push(first);
        }
        state.let_in(&self.bounds);
        if batch.jobs.is_empty() {
            state.lanes -= 1;
            return Turn::Ended;
        }
        state.busy += 1;
        Turn::Work { starts_lane: state.inside.len() > 0 && state.lacks_lane(&self.bounds) }
    }

    /// Hands in what a lane has done: an answer to each job of the batch, which is then empty.
    pub(super) fn hand_in(&self, batch: &mut Batch<W>, answers: impl IntoIterator<Item = Option<W::Answer>>) {
        let mut answers = answers.into_iter();
        let mut state = self.state.lock();
        for first in batch.firsts.drain(..) {
            let answer = answers.next().flatten();
            state.hand_out(first, answer, &mut batch.wakers, &mut batch.unwanted);
        }
        state.busy -= 1;
        drop(state);
        batch.jobs.clear();
        batch.unwanted.clear();
        batch.wakers.drain(..).for_each(Waker::wake);
    }

    /// A lane ends in the middle: its runtime does. Those who wait are woken, so that one of them starts
    /// another.
    pub(super) fn lose(&self, batch: &mut Batch<W>) {
        let mut state = self.state.lock();
        state.busy -= usize::from(!batch.jobs.is_empty());
        state.lanes -= 1;
        for first in batch.firsts.drain(..) {
            state.hand_out(first, None, &mut batch.wakers, &mut batch.unwanted);
        }
        let mut left = Vec::new();
        if state.lanes == 0 {
            // What nobody waits for is not kept until somebody comes, an hour later perhaps.
            let State { inside, outside, .. } = &mut *state;
            let nobodys = |waiting: &mut Waiting<W::Job>| waiting.callers == 0;
            left = inside.remove_all(nobodys);
            left.extend(outside.remove_all(nobodys));
            for waiting in &left {
                state.forget(waiting);
            }
            state.let_in(&self.bounds);
            batch.wakers.extend(state.tickets.wakers_of_waiting());
        }
        drop(state);
        drop(left);
        batch.wakers.drain(..).for_each(Waker::wake);
    }

    /// Whether nothing is left of anybody: no job, no ticket, no lane.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state.lock();
        let jobs = state.inside.len() + state.outside.len() + state.keys.len();
        jobs + state.tickets.held() + state.lanes + state.busy + usize::from(state.alone) == 0
    }

    /// Jobs that are accepted and wait; those outside.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.inside.len(), state.outside.len())
    }
}

impl<W: Work> State<W> {
    fn waiting(&mut self, number: u64) -> Option<&mut Waiting<W::Job>> {
        self.inside.get_mut(number).or_else(|| self.outside.get_mut(number))
    }

    /// Whether all lanes are busy and another one may be started, which is then noted as started.
    fn lacks_lane(&mut self, bounds: &Bounds) -> bool {
        let is_crowded = self.lanes == 0 || self.inside.len() >= bounds.crowd;
        let lacks = self.lanes == self.busy && self.lanes < self.most && is_crowded;
        self.lanes += usize::from(lacks);
        lacks
    }

    fn let_in(&mut self, bounds: &Bounds) {
        while self.inside.len() < bounds.room
            && let Some((number, waiting)) = self.outside.pop()
        {
            self.inside.push(number, waiting);
        }
    }

    /// A caller goes. Returns what is to be dropped outside the lock.
    fn go(
        &mut self,
        ticket: Ticket,
        number: u64,
        bounds: &Bounds,
    ) -> (Option<Waiting<W::Job>>, Option<Waker>) {
        let slot = self.tickets.slot(ticket);
        slot.stage = Stage::Gone;
        let waker = slot.waker.take();
        // In neither line: it is in a batch, which gives the ticket back.
        let Some(waiting) = self.waiting(number) else { return (None, waker) };
        waiting.callers -= 1;
        let (callers, is_inside) = (waiting.callers, self.inside.get_mut(number).is_some());
        let left = match (callers, is_inside) {
            // Nor is it kept for another time, when nobody is there to do it.
            (0, true) if !W::KEEPS || self.lanes == 0 => self.inside.remove(number),
            (0, false) => self.outside.remove(number),
            _ => None,
        };
        if let Some(waiting) = &left {
            self.forget(waiting);
            self.let_in(bounds);
        }
        (left, waker)
    }

    /// A job without callers has left the line: so do its key and their tickets.
    fn forget(&mut self, waiting: &Waiting<W::Job>) {
        if let Some(key) = W::key(&waiting.job) {
            self.keys.remove(&key);
        }
        let mut ticket = Some(waiting.first);
        while let Some(gone) = ticket {
            ticket = self.tickets.slot(gone).next.take();
            self.tickets.give_back(gone);
        }
    }

    /// The answer to all who want it.
    fn hand_out(
        &mut self,
        first: Ticket,
        answer: Option<W::Answer>,
        wakers: &mut Vec<Waker>,
        unwanted: &mut Vec<W::Answer>,
    ) {
        let put = |answer: Option<W::Answer>| answer.map_or(Stage::Lost, Stage::Answered);
        let (mut ticket, mut last) = (Some(first), None);
        while let Some(at) = ticket {
            let slot = self.tickets.slot(at);
            ticket = slot.next.take();
            if matches!(slot.stage, Stage::Gone) {
                self.tickets.give_back(at);
                continue;
            }
            wakers.extend(slot.waker.take());
            if let Some(before) = last.replace(at) {
                self.tickets.slot(before).stage = put(answer.as_ref().and_then(W::share));
            }
        }
        match last {
            Some(last) => self.tickets.slot(last).stage = put(answer),
            None => unwanted.extend(answer),
        }
    }
}
