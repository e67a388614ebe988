//! The slots of tickets in flight: fixed in number, reused without allocation.
//!
//! A slot has two owners, and the one who lets go last frees it:
//!
//! ```text
//!  free ──take──► HELD|OWED ──complete──► HELD ──drop──► free        HELD: a Ticket exists
//!                     └─────────drop────► OWED ──complete──► free    OWED: the sequencer will complete it
//! ```
//!
//! The free slots form a stack; its head carries a counter, so a head that was popped and pushed in between is
//! not mistaken for the same. A slot carries a generation: whoever holds an id of an earlier use is caught by
//! an assertion instead of completing someone else's ticket.
//!
//! A holder that waits leaves its waker in the slot and then sets WAITS in the state. That and the clearing of
//! OWED are read-modify-writes of one word, so one of them sees the other: either the sequencer finds WAITS and
//! wakes, or the holder finds OWED cleared and does not sleep. A ticket nobody waits for costs no look at its waker.
//!
//! Invariant: the outcome is written by the sequencer before it clears OWED (release), and read by the holder
//! after it saw OWED cleared (acquire).

#[cfg(all(test, loom))]
pub(crate) mod loom_slab;

use std::task::Waker;

use downbeat_record::{Seq, Timestamp};

use super::Receipt;
use crate::sync::{
    AtomicU32, AtomicU64, Ordering, Padded, Site, WakerSlot, acquire, acquire_release, release,
};

const HELD: u64 = 1;
const OWED: u64 = 2;
/// The holder left a waker. It may outlive the use of the slot that set it: the next `take` clears it.
const WAITS: u64 = 4;
const GENERATION: u32 = 32;
/// No slot: the end of the stack.
const NIL: u32 = u32::MAX;

/// One use of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TicketId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// How a ticket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Placed(Receipt),
    Conflict(Receipt),
    Poisoned,
}

/// What is left to do for a ticket whose outcome is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Nothing: its holder will look.
    Held,
    /// Its holder waits, or did: [`Slab::wake`].
    Waited,
    /// Nothing: its holder was gone, and the slot is free.
    Freed {
        /// No slot was free before.
        was_empty: bool,
    },
}

/// One cache line.
#[repr(align(64))]
struct Slot {
    /// Generation in the upper half; HELD, OWED and WAITS below.
    state: AtomicU64,
    seq: AtomicU64,
    timestamp: AtomicU64,
    outcome: AtomicU32,
    next: AtomicU32,
    waker: WakerSlot,
}

/// All slots.
pub(crate) struct Slab {
    /// Counter in the upper half, first free slot below.
    free: Padded<AtomicU64>,
    slots: Box<[Slot]>,
}

impl Slab {
    pub(crate) fn new(count: usize) -> Self {
        assert!(count > 0 && count < 1 << 24, "{count} tickets, the ring has 24 bits for a slot");
        let slot = |index: usize| Slot {
            state: AtomicU64::new(0),
            seq: AtomicU64::new(0),
            timestamp: AtomicU64::new(0),
            outcome: AtomicU32::new(0),
            next: AtomicU32::new(if index + 1 == count { NIL } else { index as u32 + 1 }),
            waker: WakerSlot::new(),
        };
        Self { free: Padded(AtomicU64::new(0)), slots: (0..count).map(slot).collect() }
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// A slot, held and owed; `None` when all are in flight.
    #[inline]
    pub(crate) fn take(&self) -> Option<TicketId> {
        let mut head = self.free.load(acquire(Site::TicketTake));
        loop {
            let slot = head as u32;
            if slot == NIL {
                return None;
            }
            // May be stale when another thread took the slot meanwhile; then the counter has moved.
            let next = self.slots[slot as usize].next.load(Ordering::Relaxed);
            let ordering = acquire(Site::TicketTake);
            match self.free.compare_exchange_weak(head, moved(head, next), ordering, ordering) {
                Ok(_) => return Some(self.begin(slot)),
                Err(found) => head = found,
            }
        }
    }

    #[inline]
    fn begin(&self, slot: u32) -> TicketId {
        let Slot { state, waker, .. } = &self.slots[slot as usize];
        waker.expect_taken();
        let before = state.load(Ordering::Relaxed);
        assert!(before & (HELD | OWED) == 0, "ticket slot {slot} is free and in state {before:#x}");
        let generation = ((before >> GENERATION) as u32).wrapping_add(1);
        state.store(u64::from(generation) << GENERATION | HELD | OWED, Ordering::Relaxed);
        TicketId { slot, generation }
    }

    /// The sequencer's part: says how it ended and wakes the holder. True when room came back to an empty slab.
    #[inline]
    pub(crate) fn complete(&self, id: TicketId, outcome: Outcome) -> bool {
        match self.settle(id, outcome) {
            Settled::Held => false,
            Settled::Waited => {
                self.wake(id);
                false
            }
            Settled::Freed { was_empty } => was_empty,
        }
    }

    /// The first half of [`Slab::complete`]: says how it ended. Where somebody waits, [`Slab::wake`] is owed.
    #[inline]
    pub(crate) fn settle(&self, id: TicketId, outcome: Outcome) -> Settled {
        let slot = &self.slots[id.slot as usize];
        let (code, seq, timestamp) = encode(outcome);
        slot.seq.store(seq, Ordering::Relaxed);
        slot.timestamp.store(timestamp, Ordering::Relaxed);
        slot.outcome.store(code, Ordering::Relaxed);
        let before = slot.state.fetch_and(!OWED, acquire_release(Site::TicketSettle, Site::TicketSettled));
        check(id, before, OWED);
        if before & HELD == 0 {
            return Settled::Freed { was_empty: self.free(id.slot) };
        }
        if before & WAITS == 0 {
            return Settled::Held;
        }
        slot.waker.expect_left();
        Settled::Waited
    }

    /// The second half: wakes the holder.
    pub(crate) fn wake(&self, id: TicketId) {
        // The holder may be gone by now and the slot in use again: then a waker of that use is called for
        // nothing, which a future must bear.
        self.slots[id.slot as usize].waker.wake();
    }

    /// The holder's part: how it ended, if it has.
    #[inline]
    pub(crate) fn outcome(&self, id: TicketId) -> Option<Outcome> {
        let slot = &self.slots[id.slot as usize];
        let state = slot.state.load(acquire(Site::TicketDone));
        check(id, state, HELD);
        if state & OWED != 0 {
            return None;
        }
        let receipt = |duplicate| Receipt {
            seq: Seq(slot.seq.load(Ordering::Relaxed)),
            timestamp: Timestamp(slot.timestamp.load(Ordering::Relaxed)),
            duplicate,
        };
        Some(match slot.outcome.load(Ordering::Relaxed) {
            0 => Outcome::Placed(receipt(false)),
            1 => Outcome::Placed(receipt(true)),
            2 => Outcome::Conflict(receipt(false)),
            _ => Outcome::Poisoned,
        })
    }

    /// The holder's part: whom to wake. It must look at the outcome once more afterwards.
    #[inline]
    pub(crate) fn register(&self, id: TicketId, waker: &Waker) {
        let slot = &self.slots[id.slot as usize];
        slot.waker.register(waker);
        // Release: who finds the flag finds the waker. What this reads is read once more by `outcome`.
        let before = slot.state.fetch_or(WAITS, release(Site::TicketWaits));
        check(id, before, HELD);
    }

    /// The holder's part: nobody waits any more. True when room came back to an empty slab.
    #[inline]
    pub(crate) fn drop_ticket(&self, id: TicketId, polled: bool) -> bool {
        let slot = &self.slots[id.slot as usize];
        if polled {
            slot.waker.take();
        }
        // Release: the next use of the slot comes after the waker was taken out, if the sequencer frees it. Acquire: it
        // comes after the outcome was written, if this does.
        let before = slot.state.fetch_and(!HELD, acquire_release(Site::TicketDrop, Site::TicketDropped));
        check(id, before, HELD);
        before & OWED == 0 && self.free(id.slot)
    }

    /// Takes back a slot that never got into the ring. True when room came back to an empty slab.
    pub(crate) fn undo(&self, id: TicketId) -> bool {
        let slot = &self.slots[id.slot as usize];
        let before = slot.state.fetch_and(!(HELD | OWED), Ordering::Relaxed);
        check(id, before, HELD | OWED);
        self.free(id.slot)
    }

    /// Wakes whoever waits, whatever for.
    pub(crate) fn wake_all(&self) {
        for slot in &self.slots {
            slot.waker.wake();
        }
    }

    /// Precondition: the caller let go last. True when there was no free slot before.
    #[inline]
    fn free(&self, slot: u32) -> bool {
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            self.slots[slot as usize].next.store(head as u32, Ordering::Relaxed);
            let freed = release(Site::TicketFree);
            match self.free.compare_exchange_weak(head, moved(head, slot), freed, Ordering::Relaxed) {
                Ok(_) => return head as u32 == NIL,
                Err(found) => head = found,
            }
        }
    }
}

/// A new head of the stack: the counter one higher.
#[inline]
fn moved(head: u64, slot: u32) -> u64 {
    u64::from(((head >> 32) as u32).wrapping_add(1)) << 32 | u64::from(slot)
}

#[inline]
fn check(id: TicketId, state: u64, expected: u64) {
    let generation = (state >> GENERATION) as u32;
    assert!(
        generation == id.generation && state & expected == expected,
        "ticket slot {} is of generation {generation} in state {:#x}, expected generation {} with {expected:#x}",
        id.slot,
        state & (HELD | OWED),
        id.generation
    );
}

fn encode(outcome: Outcome) -> (u32, u64, u64) {
    match outcome {
        Outcome::Placed(receipt) => (u32::from(receipt.duplicate), receipt.seq.0, receipt.timestamp.0),
        Outcome::Conflict(original) => (2, original.seq.0, original.timestamp.0),
        Outcome::Poisoned => (3, 0, 0),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn placed(seq: u64) -> Outcome {
        Outcome::Placed(Receipt { seq: Seq(seq), timestamp: Timestamp(9), duplicate: false })
    }

    #[test]
    fn every_move_of_the_free_slots_is_another_one() {
        assert_eq!(moved(7 << 32 | 3, 5), 8 << 32 | 5);
        assert_eq!(moved(u64::MAX, 0), 0, "from the last to the first");
    }

    #[test]
    fn a_slot_is_free_again_when_both_owners_let_go_in_either_order() {
        let slab = Slab::new(1);
        let first = slab.take().unwrap();
        assert_eq!(slab.take(), None, "one slot, one ticket");
        assert!(!slab.complete(first, placed(1)));
        assert_eq!(slab.outcome(first), Some(placed(1)));
        assert_eq!(slab.take(), None, "the ticket is still held");
        assert!(slab.drop_ticket(first, false), "room in an empty slab");

        let second = slab.take().unwrap();
        assert_eq!((second.slot, second.generation), (first.slot, first.generation + 1));
        assert!(!slab.drop_ticket(second, false));
        assert_eq!(slab.take(), None, "the sequencer still owes it");
        assert!(slab.complete(second, Outcome::Poisoned));
        assert!(slab.take().is_some());
    }

    #[test]
    #[should_panic(expected = "is of generation 2 in state 0x3, expected generation 1")]
    fn an_id_of_an_earlier_use_is_caught() {
        let slab = Slab::new(1);
        let stale = slab.take().unwrap();
        slab.undo(stale);
        slab.take().unwrap();
        slab.complete(stale, placed(1));
    }
}
