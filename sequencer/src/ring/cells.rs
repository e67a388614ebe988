//! The memory of the ring: 64-byte cells, zeroed once, and what stands in front of a run of them.
//!
//! The accessors take absolute positions and are unsafe: which thread may use which cells is the protocol of
//! [`super`], and every call names the step that grants the right. Under loom each cell has a shadow that
//! fails the model when two accesses are not ordered.

use std::cell::UnsafeCell;
use std::slice;

/// Bytes of a cell: one cache line.
pub(super) const CELL: usize = 64;
/// Bytes of a frame; the body behind it stays 16-byte aligned.
pub(super) const FRAME: usize = 16;

/// A [`Frame::len`] that says: the claim was dropped, skip it.
const ABANDONED: u32 = u32::MAX;
/// A [`Frame::len`] that says: the rest of the memory was too short for a run, skip it.
const PADDING: u32 = u32::MAX - 1;

/// What stands in the first bytes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Cells of the run, frame included.
    pub(super) cells: u32,
    len: u32,
    /// A word for the user of the ring.
    pub(super) tag: u64,
}

impl Frame {
    pub(super) fn entry(cells: u32, len: usize, tag: u64) -> Self {
        let len = u32::try_from(len).expect("a ring is smaller than 4 GiB");
        assert!(len < PADDING, "a body of {len} bytes, at most {} are possible", PADDING - 1);
        Self { cells, len, tag }
    }

    pub(super) fn abandoned(cells: u32) -> Self {
        Self { cells, len: ABANDONED, tag: 0 }
    }

    pub(super) fn padding(cells: u32) -> Self {
        Self { cells, len: PADDING, tag: 0 }
    }

    /// The length of the body; `None` when there is nothing to read.
    #[inline]
    pub(super) fn body_len(self) -> Option<usize> {
        (self.len < PADDING).then_some(self.len as usize)
    }

    #[inline]
    fn to_bytes(self) -> [u8; FRAME] {
        let word = u128::from(self.cells) | u128::from(self.len) << 32 | u128::from(self.tag) << 64;
        word.to_le_bytes()
    }

    #[inline]
    fn from_bytes(bytes: [u8; FRAME]) -> Self {
        let word = u128::from_le_bytes(bytes);
        Self { cells: word as u32, len: (word >> 32) as u32, tag: (word >> 64) as u64 }
    }
}

#[repr(C, align(64))]
struct Cell([u8; CELL]);

/// A power of two of cells.
pub(super) struct Cells {
    memory: Box<[UnsafeCell<Cell>]>,
    #[cfg(loom)]
    shadow: Box<[loom::cell::UnsafeCell<()>]>,
}

// SAFETY: the cells are bytes; the protocol of the ring gives each to one writer or to the one reader at a time.
unsafe impl Send for Cells {}
// SAFETY: as above.
unsafe impl Sync for Cells {}

impl Cells {
    pub(super) fn zeroed(count: usize) -> Self {
        assert!(count.is_power_of_two() && count < u32::MAX as usize, "{count} cells, not a power of two");
        Self {
            memory: (0..count).map(|_| UnsafeCell::new(Cell([0; CELL]))).collect(),
            #[cfg(loom)]
            shadow: (0..count).map(|_| loom::cell::UnsafeCell::new(())).collect(),
        }
    }

    #[inline]
    pub(super) fn count(&self) -> usize {
        self.memory.len()
    }

    #[inline]
    fn index(&self, position: u64) -> usize {
        position as usize & (self.memory.len() - 1)
    }

    /// The first byte of the cell at `position`, with the right to all cells up to the end of the memory.
    #[inline]
    fn start(&self, position: u64) -> *mut u8 {
        let index = self.index(position);
        UnsafeCell::raw_get(self.memory[index..].as_ptr()).cast()
    }

    /// Writes the frame of a run.
    ///
    /// # Safety
    ///
    /// The caller claimed the run at `position` and has not committed it (step 1).
    #[inline]
    pub(super) unsafe fn write(&self, position: u64, frame: Frame) {
        let bytes = frame.to_bytes();
        self.touch_mut(position, frame.cells);
        // SAFETY: a cell is longer than a frame and, by the precondition, the caller's alone.
        unsafe { self.start(position).copy_from_nonoverlapping(bytes.as_ptr(), FRAME) };
    }

    /// The body of a run of `cells` cells, for writing.
    ///
    /// # Safety
    ///
    /// The caller claimed these cells, has not committed them (step 1), and keeps one such slice at a time.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn body_mut(&self, position: u64, cells: u32) -> &mut [u8] {
        let len = self.checked_len(position, cells);
        self.touch_mut(position, cells);
        // SAFETY: the run lies inside the memory (checked above) and is the caller's alone.
        unsafe { slice::from_raw_parts_mut(self.start(position).add(FRAME), len - FRAME) }
    }

    /// Reads the frame of a run.
    ///
    /// # Safety
    ///
    /// The caller is the consumer, saw the commit word of `position` (step 3) and has not released the run.
    #[inline]
    pub(super) unsafe fn read(&self, position: u64) -> Frame {
        self.touch(position, 1);
        // SAFETY: a cell is longer than a frame, and nobody writes to it before the consumer releases it.
        Frame::from_bytes(unsafe { self.start(position).cast::<[u8; FRAME]>().read() })
    }

    /// The first `len` bytes of the body of a run of `cells` cells.
    ///
    /// # Safety
    ///
    /// As for [`Cells::read`], for all the cells, until the slice is no longer used.
    #[inline]
    pub(super) unsafe fn body(&self, position: u64, cells: u32, len: usize) -> &[u8] {
        let room = self.checked_len(position, cells) - FRAME;
        assert!(len <= room, "a body of {len} bytes in a run with room for {room}");
        self.touch(position, cells);
        // SAFETY: inside the memory (checked above) and not written to before the consumer releases it.
        unsafe { slice::from_raw_parts(self.start(position).add(FRAME), len) }
    }

    /// Bytes of a run, which must lie inside the memory.
    #[inline]
    fn checked_len(&self, position: u64, cells: u32) -> usize {
        let (index, count) = (self.index(position), self.memory.len());
        assert!(
            cells > 0 && cells as usize <= count - index,
            "a run of {cells} cells at cell {index} of {count}"
        );
        cells as usize * CELL
    }

    /// Under loom: fails the model unless all earlier accesses to these cells happened before.
    #[inline(always)]
    #[cfg_attr(not(loom), allow(unused_variables))]
    pub(super) fn touch_mut(&self, position: u64, cells: u32) {
        #[cfg(loom)]
        self.shadow_of(position, cells).for_each(|cell| cell.with_mut(|_| ()));
    }

    /// Under loom: fails the model unless all earlier writes to these cells happened before.
    #[inline(always)]
    #[cfg_attr(not(loom), allow(unused_variables))]
    pub(super) fn touch(&self, position: u64, cells: u32) {
        #[cfg(loom)]
        self.shadow_of(position, cells).for_each(|cell| cell.with(|_| ()));
    }

    /// Nothing while a failed model unwinds: failing twice would abort.
    #[cfg(loom)]
    fn shadow_of(&self, position: u64, cells: u32) -> impl Iterator<Item = &loom::cell::UnsafeCell<()>> {
        let cells = if std::thread::panicking() { 0 } else { cells as usize };
        self.shadow[self.index(position)..][..cells].iter()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was_written() {
        for frame in [Frame::entry(3, 170, u64::MAX), Frame::abandoned(1), Frame::padding(9)] {
            assert_eq!(Frame::from_bytes(frame.to_bytes()), frame);
        }
        assert_eq!(Frame::entry(1, 48, 0).body_len(), Some(48));
        assert_eq!(Frame::abandoned(1).body_len(), None);
        assert_eq!(Frame::padding(1).body_len(), None);
    }
}
