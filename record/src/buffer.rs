//! Memory that a disk can read from directly: page-aligned, zeroed, of fixed size.
//!
//! The one place in this crate with `unsafe`. A buffer owns its allocation alone and hands out ordinary
//! slices, so aliasing is the borrow checker's business.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

/// The unit in which a log is written, in bytes: a batch starts on a block and is padded to one.
pub const BLOCK: usize = 4096;

/// A zeroed run of bytes, aligned to and a multiple of [`BLOCK`].
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
        let size = bytes.max(1).next_multiple_of(BLOCK);
        let layout = Layout::from_size_align(size, BLOCK).expect("a buffer is smaller than isize::MAX");
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(raw) else { handle_alloc_error(layout) };
        Self { start, layout }
    }

    /// Copies `bytes` into a new buffer; the rest up to the block is zero.
    pub fn from_slice(bytes: &[u8]) -> Self {
        let mut buf = Self::zeroed(bytes.len());
        buf[..bytes.len()].copy_from_slice(bytes);
        buf
    }
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
        // SAFETY: allocated in `zeroed` with this very layout and freed only here.
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
}
