//! The one consumer of a ring: look at the next entry, step over it, give the memory back in chunks.

use super::Ring;
use crate::sync::{Arc, Site, release};

/// The reading end. There is one per ring, which makes the reads of [`super`] exclusive.
pub(crate) struct Drain {
    ring: Arc<Ring>,
    /// The position looked at next; everything before it was stepped over.
    position: u64,
    /// What `head` holds: everything before it was given back.
    released: u64,
    /// Cells of the run that `peek` found.
    peeked: u32,
}

/// A committed entry, in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'d> {
    pub(crate) tag: u64,
    pub(crate) body: &'d [u8],
}

impl Drain {
    /// Precondition: called once per ring.
    pub(super) fn new(ring: Arc<Ring>) -> Self {
        Self { ring, position: 0, released: 0, peeked: 0 }
    }

    pub(crate) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// True when an entry (or one to skip) is there to be read.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.ring.is_committed(self.position)
    }

    /// The next entry, which stays until [`Drain::advance`]; `None` when its producer has not committed yet.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<Entry<'_>> {
        loop {
            if !self.ring.is_committed(self.position) {
                return None;
            }
            // SAFETY: step 3, read: the commit word was seen, and `release` needs `&mut self`.
            let frame = unsafe { self.ring.cells.read(self.position) };
            self.peeked = frame.cells;
            if let Some(len) = frame.body_len() {
                // SAFETY: as above; the slice borrows `self`, so neither `advance` nor `release` can be called
                // while it lives.
                let body = unsafe { self.ring.cells.body(self.position, frame.cells, len) };
                return Some(Entry { tag: frame.tag, body });
            }
            self.advance();
        }
    }

    /// Entries from the next one on that are committed already, at most `count` runs.
    #[inline]
    pub(crate) fn upcoming(&self, count: usize) -> impl Iterator<Item = Entry<'_>> {
        let mut position = self.position;
        let mut next = move || {
            if !self.ring.is_committed(position) {
                return None;
            }
            // SAFETY: step 3, read, as in `peek`; `&self` keeps `release` away while the entries live.
            let frame = unsafe { self.ring.cells.read(position) };
            let entry = frame.body_len().map(|len| {
                // SAFETY: as above.
                let body = unsafe { self.ring.cells.body(position, frame.cells, len) };
                Entry { tag: frame.tag, body }
            });
            position += u64::from(frame.cells);
            Some(entry)
        };
        (0..count).map_while(move |_| next()).flatten()
    }

    /// Steps over the entry that [`Drain::peek`] returned.
    #[inline]
    pub(crate) fn advance(&mut self) {
        assert!(self.peeked > 0, "position {} was stepped over without a look at it", self.position);
        self.position += u64::from(std::mem::take(&mut self.peeked));
    }

    /// Bytes stepped over and not given back.
    #[inline]
    pub(crate) fn stepped(&self) -> usize {
        (self.position - self.released) as usize * super::cells::CELL
    }

    /// Cells stepped over and not given back, as a share of the ring: true when it is time to do so.
    #[inline]
    pub(crate) fn owes_room(&self) -> bool {
        (self.position - self.released) as usize >= self.ring.cells.count() / 4
    }

    /// Gives everything stepped over back to the producers. True when that was anything.
    #[inline]
    pub(crate) fn release(&mut self) -> bool {
        if self.position == self.released {
            return false;
        }
        // Step 4: all reads of these cells happen before this store.
        self.ring.head.store(self.position, release(Site::RingHead));
        self.released = self.position;
        true
    }
}
