//! The ordering core: which place and which time an event gets, and whether it gets one at all.
//!
//! A pure state machine, `(state, input) → output`: the time is an input, there is no thread, no file, no
//! random number and no iteration in hash order. Two cores that start alike and see the same inputs stay alike.
//!
//! 1. A key that is in the window makes the event a duplicate, or a conflict when the bytes differ.
//! 2. Otherwise its seq is the next one, and its time the later of the clock, up to [`CLOCK_MAX`], and one after the
//!    last.
//! 3. It is appended to the open batch; only when that succeeds does the state move.
//!
//! A **group** is placed as a whole, in consecutive places of one batch. Either none of its events has a key,
//! or each has its own: all of them new, and the group is placed; all of them duplicates, in consecutive places,
//! and the group is a duplicate; anything else is a conflict, and nothing of it is placed. This needs nothing but
//! the keys in the log, so it holds after a crash as before. (An event without a key among keyed ones would be
//! taken for a duplicate on the word of its neighbours.)
//!
//! Invariants: seqs are dense; timestamps strictly increase, whatever the clock does.

use downbeat_record::batch::EVENT_OVERHEAD_MAX;
use downbeat_record::{Batch, Fields, Seq, Timestamp};

use crate::window::{Admission, IdempotencyWindow, Original, fingerprint};

/// A clock that says a later time is not believed: the year 2262.
pub const CLOCK_MAX: Timestamp = Timestamp(1 << 63);
/// The latest time of a log that can be gone on with. Every event takes a nanosecond at the least; from here on there
/// are more of them than can ever come.
pub const LAST_MAX: Timestamp = Timestamp(3 << 62);
const _: () = assert!(CLOCK_MAX.0 < LAST_MAX.0, "a log is gone on with after any time that a clock may say");

/// What became of an event or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It stands in the batch; `first` is the place of the first event.
    New {
        /// Place of the first event.
        first: Original,
    },
    /// It has a place already; `first` is that of the first event.
    Duplicate {
        /// Place of the first event.
        first: Original,
    },
    /// A key of it stands for something else.
    Conflict {
        /// What the key was used for.
        original: Original,
    },
    /// The batch has no room (or is four seconds old); nothing changed. Offer it to the next batch.
    BatchFull,
}

/// The state of the order.
#[derive(Debug)]
pub struct Order {
    next: Seq,
    last: Timestamp,
    window: IdempotencyWindow,
}

impl Order {
    /// Goes on after a log whose next place, last time and remembered keys are these.
    ///
    /// # Panics
    ///
    /// When `next` is 0: places start at 1. When `last` is after [`LAST_MAX`].
    pub fn new(next: Seq, last: Timestamp, window: IdempotencyWindow) -> Self {
        assert!(last <= LAST_MAX, "the last time is {last}, the latest to go on after {LAST_MAX}");
        assert!(next > Seq::ZERO, "the next seq is {next}, the first one is 1");
        Self { next, last, window }
    }

    /// The next place.
    #[inline]
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    /// The time of the last event.
    pub fn last_timestamp(&self) -> Timestamp {
        self.last
    }

    /// The keys remembered.
    pub fn window(&self) -> &IdempotencyWindow {
        &self.window
    }

    /// Places one event. Precondition: `batch` is open and its next seq is [`Order::next_seq`].
    #[inline]
    pub fn place(&mut self, now: Timestamp, fields: &Fields, payload: &[u8], batch: &mut Batch) -> Placed {
        let timestamp = self.time(now);
        let key = fields.idempotency_key;
        if key.is_none() {
            if batch.push(fields, timestamp, payload).is_err() {
                return Placed::BatchFull;
            }
            return self.advance(timestamp);
        }
        let print = fingerprint(fields, payload);
        match self.window.admit(key, print, timestamp) {
            Admission::Duplicate(first) => return Placed::Duplicate { first },
            Admission::Conflict(original) => return Placed::Conflict { original },
            Admission::New => {}
        }
        if batch.push(fields, timestamp, payload).is_err() {
            return Placed::BatchFull;
        }
        self.window.insert(key, print, self.next, timestamp);
        self.advance(timestamp)
    }

    /// Places a group, in which no key stands twice. Precondition: as [`Order::place`].
    ///
    /// # Panics
    ///
    /// When the group is empty, or only some of its events have a key.
    pub fn place_group<'a>(
        &mut self,
        now: Timestamp,
        events: impl Iterator<Item = (Fields, &'a [u8])> + Clone,
        batch: &mut Batch,
    ) -> Placed {
        let start = self.time(now);
        let (mut count, mut bytes, mut keyed) = (0, 0, 0);
        let mut earlier = None;
        for (fields, payload) in events.clone() {
            count += 1;
            bytes += payload.len() + EVENT_OVERHEAD_MAX;
            let key = fields.idempotency_key;
            if key.is_none() {
                continue;
            }
            keyed += 1;
            match self.window.admit(key, fingerprint(&fields, payload), start) {
                Admission::New => {
                    if let Some(original) = earlier {
                        return Placed::Conflict { original };
                    }
                }
                Admission::Conflict(original) => return Placed::Conflict { original },
                Admission::Duplicate(original) => {
                    // Behind events that are new, too, it stands where no duplicate of the group would.
                    let first = *earlier.get_or_insert(original);
                    if original.seq.0 != first.seq.0 + keyed - 1 {
                        return Placed::Conflict { original };
                    }
                }
            }
        }
        assert!(count > 0 && (keyed == 0 || keyed == count), "a group of {count} events with {keyed} keys");
        if let Some(first) = earlier {
            return Placed::Duplicate { first };
        }
        if !fits(batch, start, count, bytes) {
            return Placed::BatchFull;
        }
        let first = Original { seq: self.next, timestamp: start };
        for (fields, payload) in events {
            let timestamp = self.time(now);
            let seq = batch.push(&fields, timestamp, payload).expect("room for the whole group was checked");
            assert!(seq == self.next, "the batch gave seq {seq}, the order is at {}", self.next);
            if !fields.idempotency_key.is_none() {
                self.window.insert(fields.idempotency_key, fingerprint(&fields, payload), seq, timestamp);
            }
            self.advance(timestamp);
        }
        Placed::New { first }
    }

    #[inline]
    fn time(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.min(CLOCK_MAX).0.max(self.last.0 + 1))
    }

    #[inline]
    fn advance(&mut self, timestamp: Timestamp) -> Placed {
        let first = Original { seq: self.next, timestamp };
        self.next = self.next.next();
        self.last = timestamp;
        Placed::New { first }
    }
}

/// True when `count` events of at most `bytes` together go into the batch, in bytes and in time.
fn fits(batch: &Batch, start: Timestamp, count: u64, bytes: usize) -> bool {
    let in_time = batch.is_empty() || start.0 + count - batch.timestamp().0 <= u64::from(u32::MAX);
    in_time && bytes <= batch.capacity() - batch.used()
}

#[cfg(all(test, not(loom)))]
mod tests;
