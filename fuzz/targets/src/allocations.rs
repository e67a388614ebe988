//! How much memory a piece of work holds at its worst, by an allocator that counts.
//!
//! The allocator is installed by the program that wants to know, with [`counting_allocator`](crate::counting_allocator);
//! without it every answer is 0 and every bound holds. Counted is what the thread that asks has taken: nothing that
//! the targets test starts another one.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a decoder may take besides twice its input, in bytes.
pub const DECODER: usize = 64 << 10;

/// Installs the allocator that counts.
#[macro_export]
macro_rules! counting_allocator {
    () => {
        #[global_allocator]
        static COUNTING: $crate::allocations::Counting = $crate::allocations::Counting;
    };
}

thread_local! {
    /// Bytes held; may pass below zero where memory of another thread is given back.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counted per thread.
#[derive(Clone, Copy, Debug)]
pub struct Counting;

fn count(taken: usize, given: usize) {
    let held = HELD.get() + taken as isize - given as isize;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches thread-local `Cell`s without a
// destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may both be there for a moment.
        count(size, 0);
        count(0, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// The most bytes that were held at once during the work, above what was held before.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let (before, outer) = (HELD.get(), PEAK.get());
    PEAK.set(before);
    let result = work();
    let peak = PEAK.get();
    PEAK.set(outer.max(peak));
    (result, (peak - before).max(0).cast_unsigned())
}

/// Does the work, and holds its memory against a bound in bytes.
pub(crate) fn within<T>(bound: usize, work: impl FnOnce() -> T) -> T {
    let (result, peak) = peak(work);
    assert!(peak <= bound, "{peak} bytes were held, the bound is {bound}");
    result
}

/// Does what a decoder does with `len` bytes: it may hold twice as many, and [`DECODER`] more.
pub(crate) fn decoding<T>(len: usize, work: impl FnOnce() -> T) -> T {
    within(2 * len + DECODER, work)
}
