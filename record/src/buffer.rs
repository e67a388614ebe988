//! Memory that a disk can read from directly: page-aligned, initialised, of fixed size.
//!
//! The one place in this crate with `unsafe`. A buffer owns its allocation alone and hands out ordinary
//! slices, so aliasing is the borrow checker's business.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

/// The unit in which a log is written, in bytes: a batch starts on a block and is padded to one.
pub const BLOCK: usize = 4096;

/// A run of bytes, aligned to and a multiple of [`BLOCK`].
pub struct AlignedBuf {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the buffer owns its allocation exclusively; moving it between threads moves that ownership.
unsafe impl Send for AlignedBuf {}
// SAFETY: through `&AlignedBuf` only `&[u8]` can be had.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A zeroed buffer of at least `bytes`, rounded up to a whole number of blocks and never empty.
    ///
    /// # Panics
    ///
    /// When the size overflows `isize`. Memory exhaustion aborts, as for any Rust collection.
    pub fn zeroed(bytes: usize) -> Self {
        let layout = layout(bytes);
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(raw) else { handle_alloc_error(layout) };
        Self { start, layout }
    }

    /// Copies `bytes` into a new buffer; the rest up to the block is zero.
    pub fn from_slice(bytes: &[u8]) -> Self {
        let layout = layout(bytes.len());
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(raw) else { handle_alloc_error(layout) };
        // SAFETY: the allocation is new, so nothing overlaps it, and has room for `bytes` and the rest; the two writes
        // initialise all of it before anybody can read.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), raw, bytes.len());
            ptr::write_bytes(raw.add(bytes.len()), 0, layout.size() - bytes.len());
        }
        Self { start, layout }
    }
}

/// True when every byte is zero, as in a block that nothing has been written to.
pub fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    // Mostly there is something, and it begins at once.
    bytes.first().is_none_or(|byte| *byte == 0)
        && bytes.chunks(BLOCK).all(|block| block == &ZEROS[..block.len()])
}

/// Whole blocks, at least one.
fn layout(bytes: usize) -> Layout {
    let size = bytes.max(1).next_multiple_of(BLOCK);
    Layout::from_size_align(size, BLOCK).expect("a buffer is smaller than isize::MAX")
}

impl Deref for AlignedBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is valid for `size` initialised bytes until drop, and `&self` forbids a writer.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for AlignedBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout when it was made, and freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_zeroed_and_whole_blocks() {
        let buf = AlignedBuf::zeroed(BLOCK + 1);
        assert_eq!(buf.len(), 2 * BLOCK);
        assert_eq!(buf.as_ptr() as usize % BLOCK, 0);
        assert!(buf.iter().all(|byte| *byte == 0));
        assert_eq!(AlignedBuf::zeroed(0).len(), BLOCK);
    }

    #[test]
    fn one_byte_is_enough_not_to_be_zero() {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|at| *at < len) {
                bytes[at] = 0x80;
                assert!(!is_zero(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn a_copy_holds_the_bytes_and_zeros_behind_them() {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            // Memory that was used before is what a buffer would show if it were not written.
            drop(AlignedBuf::from_slice(&vec![0xff; len.max(1).next_multiple_of(BLOCK)]));
            let buf = AlignedBuf::from_slice(&vec![0x5a; len]);
            assert_eq!(buf.as_ptr() as usize % BLOCK, 0);
            assert_eq!(buf.len(), len.max(1).next_multiple_of(BLOCK));
            assert!(buf[..len].iter().all(|byte| *byte == 0x5a) && buf[len..].iter().all(|byte| *byte == 0));
        }
    }
}
