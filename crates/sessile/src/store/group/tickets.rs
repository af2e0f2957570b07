//! Tickets: where the answer to each caller is put down, and who has to be woken for it.

use std::task::Waker;

/// The number of a ticket. Its caller alone holds it, and gives it back.
pub(super) type Ticket = usize;

/// How far a caller's job is.
pub(super) enum Stage<A> {
    /// In the line under this number, or in a batch.
    Waiting(u64),
    Answered(A),
    /// Its lane came to nothing.
    Lost,
    /// The caller went away.
    Gone,
}

pub(super) struct Slot<A> {
    pub(super) stage: Stage<A>,
    pub(super) waker: Option<Waker>,
    /// Who wants the same.
    pub(super) next: Option<Ticket>,
}

/// All tickets, used again and again.
pub(super) struct Tickets<A> {
    slots: Vec<Slot<A>>,
    free: Vec<Ticket>,
}

/// Slots that are kept though nobody uses them.
const KEPT: usize = 1_024;

impl<A> Tickets<A> {
    pub(super) fn new() -> Tickets<A> {
        Tickets { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn draw(&mut self, number: u64, waker: &Waker, next: Option<Ticket>) -> Ticket {
        let slot = Slot { stage: Stage::Waiting(number), waker: Some(waker.clone()), next };
        match self.free.pop() {
            Some(ticket) => {
                self.slots[ticket] = slot;
                ticket
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    pub(super) fn slot(&mut self, ticket: Ticket) -> &mut Slot<A> {
        &mut self.slots[ticket]
    }

    /// Gives it back; what it held is to be dropped outside the lock.
    pub(super) fn give_back(&mut self, ticket: Ticket) -> (Stage<A>, Option<Waker>) {
        let slot = &mut self.slots[ticket];
        let held = (std::mem::replace(&mut slot.stage, Stage::Gone), slot.waker.take());
        self.free.push(ticket);
        if self.free.len() == self.slots.len() && self.slots.len() > KEPT {
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
        held
    }

    /// Takes out the wakers of all who wait: they leave another when they look.
    pub(super) fn wakers_of_waiting(&mut self) -> impl Iterator<Item = Waker> {
        let waits = |slot: &&mut Slot<A>| matches!(slot.stage, Stage::Waiting(_));
        self.slots.iter_mut().filter(waits).filter_map(|slot| slot.waker.take())
    }

    /// Tickets that somebody holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
