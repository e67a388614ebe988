//! The ingress memory: a bounded ring of bytes, many producers, one consumer.
//!
//! ```text
//!            head (consumer)                    tail (producers)
//!              ▼                                  ▼
//!  cells   ┌───┬───┬───┬───┬───┬───┬───┬───┬───┬───┬───┬───┐   64 bytes each, a power of two of them
//!          │   │ A │ A │ B │ C │ C │ C │ … │   │   │   │   │   an entry is a run of contiguous cells
//!  commit  ├───┼───┼───┼───┼───┼───┼───┼───┼───┼───┼───┼───┤
//!          │   │ 2 │   │ 4 │ – │   │   │   │   │   │   │   │   position + 1, in the first cell of a run
//!          └───┴───┴───┴───┴───┴───┴───┴───┴───┴───┴───┴───┘   (C is claimed and being written)
//!
//!  a run: cells u32 · len u32 · tag u64 · body, 16-byte aligned
//! ```
//!
//! Who may touch a cell:
//!
//! 1. **claim** — a producer moves `tail` from `p` to `p + n` with a compare-and-swap. The cells `p .. p + n`
//!    are its own until it commits; `p + n ≤ head + cells` was checked against a head it acquired.
//! 2. **commit** — it stores `p + 1` (release) in the commit word of cell `p`. From here the run is read only.
//!    Dropping a claim commits it as *abandoned*, so a panic while encoding cannot stop the ring.
//! 3. **read** — the consumer at position `p` sees `p + 1` in that commit word (acquire) and reads the run.
//! 4. **release** — it stores a `head` behind the run (release); the cells are claimable again.
//!
//! A run never wraps: the cells up to the end of the memory are claimed with it and committed as *padding*.
//! Positions count up for ever, so a commit word of an earlier lap never equals the one waited for and
//! nothing is ever zeroed. [`Ring::close`] sets the top bit of `tail`: a claim that comes later fails, and
//! everything claimed before is still committed and read.
//!
//! Invariants: `head ≤ tail ≤ head + cells`; the consumer sees runs in the order of their claims, each once.
#![allow(unsafe_code)]

mod cells;
mod claim;
mod drain;
#[cfg(all(test, loom))]
pub(crate) mod loom_ring;
#[cfg(all(test, not(loom)))]
mod tests;

use cells::{CELL, Cells, FRAME, Frame};
pub(crate) use claim::Claim;
pub(crate) use drain::{Drain, Entry};

use crate::sync::{Arc, AtomicU64, Ordering, Padded, Site, acquire, release};

/// Set in `tail` when the ring is closed.
const CLOSED: u64 = 1 << 63;

/// Why a claim was refused. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not enough cells are free.
    Full,
    /// The ring was closed.
    Closed,
}

/// The memory shared by the producers and the one [`Drain`].
pub(crate) struct Ring {
    tail: Padded<AtomicU64>,
    head: Padded<AtomicU64>,
    /// A head that some producer saw: old, never too new. Keeps producers off the consumer's cache line.
    head_seen: Padded<AtomicU64>,
    commit: Box<[AtomicU64]>,
    cells: Cells,
}

impl Ring {
    /// A ring of at least `bytes`, rounded up to a power of two of cells, with its consumer.
    pub(crate) fn new(bytes: usize) -> (Arc<Self>, Drain) {
        let cells = bytes.div_ceil(CELL).max(2).next_power_of_two();
        let ring = Arc::new(Self {
            tail: Padded(AtomicU64::new(0)),
            head: Padded(AtomicU64::new(0)),
            head_seen: Padded(AtomicU64::new(0)),
            commit: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            cells: Cells::zeroed(cells),
        });
        (ring.clone(), Drain::new(ring))
    }

    /// The longest body that fits whatever the position: with its padding it takes at most the whole ring.
    pub(crate) fn body_len_max(&self) -> usize {
        self.cells.count() / 2 * CELL - FRAME
    }

    /// Claims room for a body of up to `len` bytes. Never waits for another thread.
    ///
    /// # Errors
    ///
    /// [`Refused`]; the ring is as it was.
    ///
    /// # Panics
    ///
    /// When `len` is more than [`Ring::body_len_max`].
    // Always: returned through memory, a claim is copied by wide loads right behind its narrow stores, which stalls.
    #[inline(always)]
    pub(crate) fn claim(&self, len: usize) -> Result<Claim<'_>, Refused> {
        let max = self.body_len_max();
        assert!(len <= max, "a claim of {len} bytes, the ring takes {max}");
        let cells = (FRAME + len).div_ceil(CELL) as u64;
        let capacity = self.cells.count() as u64;
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            if tail & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            let to_end = capacity - (tail & (capacity - 1));
            let padding = if to_end < cells { to_end } else { 0 };
            self.check_room(tail + padding + cells)?;
            // Relaxed: who owns which cells follows from the modification order of `tail` alone; what earlier
            // owners did to them is acquired from `head`, in `check_room`.
            match self.tail.compare_exchange_weak(
                tail,
                tail + padding + cells,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    if padding > 0 {
                        self.pad(tail, padding as u32);
                    }
                    return Ok(Claim::new(self, tail + padding, cells as u32));
                }
                Err(found) => tail = found,
            }
        }
    }

    /// Ok when every cell before `end` belongs to no reader any more.
    #[inline]
    fn check_room(&self, end: u64) -> Result<(), Refused> {
        let capacity = self.cells.count() as u64;
        if end <= self.head_seen.load(acquire(Site::RingHeadSeen)) + capacity {
            return Ok(());
        }
        let head = self.head.load(acquire(Site::RingRoom));
        // Two producers may store heads out of order; each of them is a head that was true.
        self.head_seen.store(head, release(Site::RingHeadNoted));
        if end <= head + capacity { Ok(()) } else { Err(Refused::Full) }
    }

    /// Commits the cells between a wrapping claim and the end of the memory.
    /// Precondition: the caller claimed `position .. position + cells`.
    fn pad(&self, position: u64, cells: u32) {
        // SAFETY: step 1, claim: these cells are the caller's alone until the commit below.
        unsafe { self.cells.write(position, Frame::padding(cells)) };
        self.commit(position);
    }

    /// Step 2. Precondition: the caller claimed the run at `position` and does not touch it again.
    #[inline]
    fn commit(&self, position: u64) {
        self.word(position).store(position + 1, release(Site::RingCommit));
    }

    /// True when the run at `position` is committed. Step 3.
    #[inline]
    fn is_committed(&self, position: u64) -> bool {
        self.word(position).load(acquire(Site::RingCommitted)) == position + 1
    }

    #[inline]
    fn word(&self, position: u64) -> &AtomicU64 {
        &self.commit[position as usize & (self.commit.len() - 1)]
    }

    /// Bytes claimed and not yet released; a moment's view.
    pub(crate) fn used(&self) -> usize {
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed) & !CLOSED;
        // Loaded after the head, so the difference is at most what was claimed since.
        (tail.saturating_sub(head) as usize * CELL).min(self.capacity())
    }

    /// Bytes there are.
    pub(crate) fn capacity(&self) -> usize {
        self.cells.count() * CELL
    }

    /// Refuses every claim from here on.
    pub(crate) fn close(&self) {
        self.tail.fetch_or(CLOSED, Ordering::Relaxed);
    }

    /// True when every later claim is refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.tail.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// True when nothing is claimed that the consumer has not released.
    pub(crate) fn is_empty(&self) -> bool {
        self.used() == 0
    }
}
