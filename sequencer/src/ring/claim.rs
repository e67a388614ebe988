//! A claimed run: its producer's own until it is committed or dropped.

use std::mem;

use super::Ring;
use super::cells::Frame;

/// Room in the ring that one producer writes to. Dropped without [`Claim::commit`] it is skipped by the consumer.
///
/// It holds no reference to the bytes, so none is alive when the commit gives them away.
#[must_use = "a dropped claim is abandoned"]
pub(crate) struct Claim<'r> {
    ring: &'r Ring,
    position: u64,
    cells: u32,
}

impl<'r> Claim<'r> {
    /// Precondition: the caller moved `tail` over these cells.
    #[inline]
    pub(super) fn new(ring: &'r Ring, position: u64, cells: u32) -> Self {
        Self { ring, position, cells }
    }

    /// The room: at least what was asked for, 16-byte aligned, holding bytes of earlier laps.
    #[inline]
    pub(crate) fn body(&mut self) -> &mut [u8] {
        // SAFETY: step 1, claim: the cells are ours until `publish`, and `&mut self` makes this the one slice.
        unsafe { self.ring.cells.body_mut(self.position, self.cells) }
    }

    /// Gives the first `len` bytes of the body to the consumer.
    #[inline]
    pub(crate) fn commit(self, len: usize, tag: u64) {
        self.publish(Frame::entry(self.cells, len, tag));
        mem::forget(self);
    }

    /// Precondition: called once, as the last use of the claim.
    #[inline]
    fn publish(&self, frame: Frame) {
        self.ring.cells.touch_mut(self.position, self.cells);
        // SAFETY: step 1, claim: not yet committed, and no slice from `body` outlives its borrow.
        unsafe { self.ring.cells.write(self.position, frame) };
        self.ring.commit(self.position);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.publish(Frame::abandoned(self.cells));
    }
}
