//! The facade that one thread drives: rings in, batches out, receipts back.
//!
//! The driver's round, in this order:
//!
//! 1. [`Sequencer::durable`] with the log's watermark: completes receipts.
//! 2. [`Sequencer::fill`] with the slowest cursor: orders what is in the rings into the open batch.
//! 3. When the log takes a batch: [`Sequencer::close_batch`]. There is no timer; while one batch is written,
//!    the next one fills.
//! 4. With nothing to do: [`Doorbell::arm`], then [`Sequencer::has_input`] once more, then sleep.
//!    [`Sequencer::stopped`] says what the last fill waits for.
//!
//! ```text
//!  derived ring ─┐                                       ┌─► log: Arc::get_mut, seal, clone
//!                ├─► Order ─► open batch ─► close_batch ─┤
//!  outside ring ─┘     │                                 └─► readers: clones
//!                      └─► receipts owed ─► durable(seq) ─► Ticket
//! ```
//!
//! Bounds: the order is never more than `window_events` ahead of the slowest cursor, and a batch is used again
//! only when every clone of its `Arc` is gone. A quarter of both is kept for derived events: without it a flood
//! from outside could take the whole window while the stage that would move the cursor waits to emit.
//!
//! Invariants: one batch is open at most; its next seq is that of the order; receipts are never completed before what
//! they promise is true, and those of new events that wait to be durable in their order. A conflict, a duplicate of what is
//! durable and a receipt for the order alone do not wait behind them.

mod desk;

use std::fmt;
use std::sync::Arc;

use desk::{Desk, place};
use downbeat_record::{Batch, Seq, Timestamp};

use crate::clock::Clock;
use crate::doorbell::Doorbell;
use crate::entry::{Tag, first_key};
use crate::error::Cause;
use crate::ingress::{Ingress, Lane, Shared};
use crate::order::Order;
use crate::ring::Drain;
use crate::settings::{Settings, Start};
use crate::ticket::{Outcome, OwedQueue, Settled, TicketId};

/// Entries that are ordered on one reading of the clock.
const CLOCK_EVERY: u32 = 64;
/// Entries whose keys are looked for in memory together.
const WARM_EVERY: u32 = 16;
/// Holders of tickets that are woken together.
const WAKE_EVERY: usize = 64;

/// What the last [`Sequencer::fill`] stopped at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// The rings had nothing more: wait for the doorbell.
    #[default]
    Empty,
    /// The open batch is full: close it.
    BatchFull,
    /// The order is the whole window ahead of the slowest cursor: wait for the cursor.
    Window,
    /// All batches are being written or read: wait for the log or the readers.
    Batches,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events ordered.
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Events and groups that had a place already.
    pub duplicates: u64,
    /// Events and groups refused because a key stands for something else.
    pub conflicts: u64,
    /// Events and groups refused because the log failed.
    pub poisoned: u64,
    /// Batches closed.
    pub batches: u64,
    /// The fullest that a ring was when it was drained, in bytes.
    pub fill_max: usize,
}

/// Orders events. One thread owns it.
pub struct Sequencer {
    shared: Arc<Shared>,
    /// In the order of [`Lane`].
    drains: [Drain; 2],
    clock: Box<dyn Clock + Send>,
    order: Order,
    batches: Vec<Arc<Batch>>,
    open: Option<usize>,
    /// The batch after the one opened last, where the search for a free one begins.
    search: usize,
    window_events: u64,
    owed: OwedQueue,
    /// Tickets that have ended and whose holders are still to be woken; empty between two calls.
    waiting: Vec<TicketId>,
    durable: Seq,
    stopped: Stop,
    poisoned: bool,
    stats: Stats,
}

const _: () = {
    const fn is_send<T: Send>() {}
    const fn is_shared<T: Send + Sync>() {}
    is_send::<Sequencer>();
    is_shared::<Ingress>();
    is_shared::<crate::Ticket>();
};

/// Makes an ingress and the sequencer behind it, which goes on from `start`.
///
/// # Panics
///
/// When `start.next_seq` is 0.
pub fn sequencer(
    settings: &Settings,
    clock: impl Clock + Send + 'static,
    start: Start,
) -> (Ingress, Sequencer) {
    let settings = settings.in_range();
    let group_max = share(Lane::Outside, settings.window_events);
    let group_max = usize::try_from(group_max).unwrap_or(usize::MAX);
    let (shared, drains) = Shared::new(&settings, group_max, start.contracts);
    let batch = |index| Arc::new(Batch::with_capacity(settings.batch_bytes, index as u16));
    let sequencer = Sequencer {
        shared: shared.clone(),
        drains,
        clock: Box::new(clock),
        durable: Seq(start.next_seq.0.saturating_sub(1)),
        order: Order::new(start.next_seq, start.last_timestamp, start.window),
        batches: (0..settings.batches).map(batch).collect(),
        open: None,
        search: 0,
        window_events: settings.window_events,
        owed: OwedQueue::with_capacity(settings.tickets),
        waiting: Vec::with_capacity(WAKE_EVERY),
        stopped: Stop::Empty,
        poisoned: false,
        stats: Stats::default(),
    };
    (Ingress::new(shared, Lane::Outside), sequencer)
}

/// How much of a bound a lane may take: all of it for derived events, three quarters for those from outside.
fn share(lane: Lane, bound: u64) -> u64 {
    if lane == Lane::Derived { bound } else { bound - (bound / 4).max(1) }
}

impl Sequencer {
    /// The door for events that stages emit: a ring of its own that is drained first, with a share of the
    /// window that a flood from outside cannot take, so the flow goes on while outsiders wait.
    pub fn derived(&self) -> Ingress {
        Ingress::new(self.shared.clone(), Lane::Derived)
    }

    /// All batches; `batches()[i].index() == i`. They stay the same for the life of the sequencer, so a log can
    /// register their memory with the kernel.
    pub fn batches(&self) -> &[Arc<Batch>] {
        &self.batches
    }

    /// Orders what is in the rings, derived events first, into the open batch; returns how many events got a
    /// place. `slowest` is the last seq that every cursor has passed. [`Sequencer::stopped`] says why it ended.
    ///
    /// # Panics
    ///
    /// When `slowest` has no place yet: a cursor cannot pass what is not there.
    pub fn fill(&mut self, slowest: Seq) -> usize {
        let next = self.order.next_seq();
        assert!(slowest < next, "the slowest cursor is at {slowest}, the next seq is {next}");
        if self.poisoned {
            self.turn_away();
            return 0;
        }
        let mut placed = self.drain(Lane::Derived, slowest);
        if self.stopped == Stop::Empty {
            placed += self.drain(Lane::Outside, slowest);
        }
        placed as usize
    }

    /// What the last [`Sequencer::fill`] stopped at.
    pub fn stopped(&self) -> Stop {
        self.stopped
    }

    /// Events and bytes of the open batch.
    pub fn open_batch(&self) -> (u32, usize) {
        self.open.map_or((0, 0), |index| (self.batches[index].count(), self.batches[index].used()))
    }

    /// Takes the open batch away for the log, which seals it while it is unique and clones it for as long as it
    /// writes; `None` when no event waits. The next fill opens another one.
    pub fn close_batch(&mut self) -> Option<&mut Arc<Batch>> {
        let index = self.open.take_if(|index| !self.batches[*index].is_empty())?;
        self.stats.batches += 1;
        Some(&mut self.batches[index])
    }

    /// Everything up to `upto` is durable: completes the receipts that waited for it.
    ///
    /// # Panics
    ///
    /// When the watermark moves back, or past the last event.
    pub fn durable(&mut self, upto: Seq) {
        let next = self.order.next_seq();
        assert!(upto >= self.durable, "the durable watermark goes from {} back to {upto}", self.durable);
        assert!(upto < next, "the durable watermark is {upto}, the next seq is {next}");
        if self.poisoned {
            return;
        }
        self.durable = upto;
        let mut room = false;
        while let Some(owed) = self.owed.pop_due(upto) {
            match self.shared.slab.settle(owed.id, Outcome::Placed(owed.receipt)) {
                Settled::Held => {}
                Settled::Waited => {
                    if self.waiting.len() == WAKE_EVERY {
                        self.wake_waiting();
                    }
                    self.waiting.push(owed.id);
                }
                Settled::Freed { was_empty } => room |= was_empty,
            }
        }
        // Only after all of them have ended: a holder that is woken for its first ticket finds the next ones done,
        // instead of sleeping and being woken again for each.
        self.wake_waiting();
        if room {
            self.shared.room.notify(usize::MAX);
        }
    }

    /// The log failed: every receipt that is owed ends with the cause, and so does every later event. The first
    /// cause stays. [`Sequencer::fill`] keeps the rings empty.
    pub fn fail(&mut self, cause: Cause) {
        self.shared.door.poison(cause);
        self.poisoned = true;
        while let Some(owed) = self.owed.pop() {
            self.shared.slab.complete(owed.id, Outcome::Poisoned);
            self.stats.poisoned += 1;
        }
        self.turn_away();
    }

    /// The log is full, or (with `None`) has space again: events are refused at the door, before they get a
    /// place. What is in the rings stays there as long as the driver does not fill.
    pub fn refuse(&self, cause: Option<Cause>) {
        self.shared.door.set_full(cause);
        // Whoever waits for room submits again, or learns that the log is full.
        self.shared.room.notify(usize::MAX);
    }

    /// True when nothing is in the rings, not even half written, and nothing in the open batch: after a close,
    /// the point at which everything accepted has been handed to the log.
    pub fn is_idle(&self) -> bool {
        self.open_batch().0 == 0 && self.drains.iter().all(|drain| drain.ring().is_empty())
    }

    /// True when both doors are closed: with [`Sequencer::is_idle`] the sign that nothing comes any more.
    pub fn is_closed(&self) -> bool {
        self.drains.iter().all(|drain| drain.ring().is_closed())
    }

    /// True when a fill would find an entry: what to look at between arming the doorbell and going to sleep.
    pub fn has_input(&self) -> bool {
        self.drains.iter().any(Drain::is_ready)
    }

    /// True when a receipt waits for the watermark.
    pub fn owes_receipts(&self) -> bool {
        !self.owed.is_empty()
    }

    /// What wakes the driver when something comes in: hang a wake function on it before the first sleep.
    pub fn doorbell(&self) -> &Doorbell {
        &self.shared.bell
    }

    /// The next place.
    pub fn next_seq(&self) -> Seq {
        self.order.next_seq()
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn wake_waiting(&mut self) {
        for id in self.waiting.drain(..) {
            self.shared.slab.wake(id);
        }
    }

    fn drain(&mut self, lane: Lane, slowest: Seq) -> u64 {
        let limit = slowest.0.saturating_add(share(lane, self.window_events));
        let from = self.order.next_seq();
        self.stopped = if !self.drains[lane as usize].is_ready() {
            Stop::Empty
        } else if let Some(index) = self.open_for(lane) {
            self.drain_into(index, lane, limit)
        } else {
            Stop::Batches
        };
        let (drain, emptied) = (&mut self.drains[lane as usize], self.stopped == Stop::Empty);
        // What was in an empty ring is what was stepped over; otherwise more may be behind it.
        let fill = if emptied { drain.stepped() } else { drain.ring().used() };
        self.stats.fill_max = self.stats.fill_max.max(fill);
        self.shared.give_room(drain, emptied);
        let placed = self.order.next_seq().0 - from.0;
        self.stats.events += placed;
        placed
    }

    /// Orders entries of one ring into one batch, until one of them ends.
    fn drain_into(&mut self, index: usize, lane: Lane, limit: u64) -> Stop {
        let Self { shared, drains, clock, order, batches, owed, durable, stats, .. } = self;
        let drain = &mut drains[lane as usize];
        let batch = Arc::get_mut(&mut batches[index]).expect("the open batch is the sequencer's alone");
        assert!(
            batch.next_seq() == order.next_seq(),
            "the open batch is at seq {}, the order at {}",
            batch.next_seq(),
            order.next_seq()
        );
        let mut desk = Desk::new(shared, owed, *durable, stats);
        let (mut now, mut fresh) = (Timestamp::default(), 0);
        // Where one event has a key, the next ones are likely to have one.
        let (mut keyed, mut warm) = (false, 0);
        loop {
            if keyed && warm == 0 {
                warm = WARM_EVERY;
                let upcoming = drain.upcoming(WARM_EVERY as usize);
                order.window().warm(upcoming.map(|entry| first_key(entry.body)));
            }
            warm = warm.saturating_sub(1);
            let Some(entry) = drain.peek() else { return Stop::Empty };
            if fresh == 0 {
                (now, fresh) = (clock.now(), CLOCK_EVERY);
            }
            fresh -= 1;
            let tag = Tag::from_word(entry.tag);
            keyed = tag.keyed;
            let placed = match place(order, batch, now, tag, entry, limit) {
                Ok(placed) => placed,
                Err(stop) => return stop,
            };
            desk.answer(tag, placed);
            drain.advance();
            if drain.owes_room() {
                desk.note_fill(drain.ring().used());
                shared.give_room(drain, false);
            }
        }
    }

    /// The open batch, or a free one opened for `lane`; `None` when there is none for it.
    fn open_for(&mut self, lane: Lane) -> Option<usize> {
        if self.open.is_some() {
            return self.open;
        }
        let count = self.batches.len();
        let busy = self.batches.iter().filter(|batch| Arc::strong_count(batch) > 1).count();
        if busy as u64 >= share(lane, count as u64) {
            return None;
        }
        let next = self.order.next_seq();
        for step in 0..count {
            let index = (self.search + step) % count;
            // The count says what was true; `get_mut` is what makes it ours, after the reads of the last clone.
            if let Some(batch) = Arc::get_mut(&mut self.batches[index]) {
                batch.open(next);
                self.search = (index + 1) % count;
                self.open = Some(index);
                return self.open;
            }
        }
        None
    }

    /// Ends everything in the rings with the poison.
    fn turn_away(&mut self) {
        for drain in &mut self.drains {
            while let Some(entry) = drain.peek() {
                if let Some((id, _)) = Tag::from_word(entry.tag).ticket {
                    self.shared.slab.complete(id, Outcome::Poisoned);
                }
                self.stats.poisoned += 1;
                drain.advance();
            }
            drain.release();
        }
        self.stopped = Stop::Empty;
        self.shared.room.notify(usize::MAX);
    }
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        if self.is_closed() && self.is_idle() && self.owed.is_empty() && !self.poisoned {
            // Closed, and everything answered: a closed ring is all that a late producer needs to know.
            return;
        }
        // Whoever still waits gets an answer: nobody will complete a ticket any more.
        self.shared.door.leave();
        for lane in [Lane::Derived, Lane::Outside] {
            self.shared.ring(lane).close();
        }
        self.shared.slab.wake_all();
        self.shared.room.notify(usize::MAX);
    }
}

impl fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequencer")
            .field("next_seq", &self.order.next_seq())
            .field("durable", &self.durable)
            .field("open", &self.open)
            .field("stopped", &self.stopped)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
