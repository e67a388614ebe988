//! Where a holder leaves its waker; under loom it also says what its users may rely on.
//!
//! The waker itself is synchronized by who wrote it. What a user of the slot relies on beyond that is checked under
//! loom: who was told that a waker is there finds it, and who takes a slot over finds that the holder before took
//! its waker out. Loom's waker is a mutex and would give both for nothing, so two relaxed flags stand beside it.

use std::task::Waker;

#[cfg(not(loom))]
use atomic_waker::AtomicWaker;
#[cfg(loom)]
use loom::{
    future::AtomicWaker,
    sync::atomic::{AtomicBool, Ordering},
};

/// A place for one waker.
pub(crate) struct WakerSlot {
    waker: AtomicWaker,
    /// A waker was left here, ever.
    #[cfg(loom)]
    left: AtomicBool,
    /// The holder left a waker and did not take it out.
    #[cfg(loom)]
    held: AtomicBool,
}

impl WakerSlot {
    pub(crate) fn new() -> Self {
        Self {
            waker: AtomicWaker::new(),
            #[cfg(loom)]
            left: AtomicBool::new(false),
            #[cfg(loom)]
            held: AtomicBool::new(false),
        }
    }

    /// Says whom to wake.
    #[inline]
    pub(crate) fn register(&self, waker: &Waker) {
        #[cfg(not(loom))]
        self.waker.register(waker);
        #[cfg(loom)]
        {
            self.waker.register(waker.clone());
            self.left.store(true, Ordering::Relaxed);
            self.held.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the waker out, so that a dropped ticket does not keep a task alive.
    #[inline]
    pub(crate) fn take(&self) {
        #[cfg(not(loom))]
        drop(self.waker.take());
        #[cfg(loom)]
        {
            drop(self.waker.take_waker());
            self.held.store(false, Ordering::Relaxed);
        }
    }

    /// Wakes whoever left a waker, if somebody did.
    #[inline]
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Under loom: fails the model unless the waker that was said to be here is visible.
    #[inline(always)]
    pub(crate) fn expect_left(&self) {
        #[cfg(loom)]
        assert!(self.left.load(Ordering::Relaxed), "a waker is said to be there and is not visible");
    }

    /// Under loom: fails the model unless what the holder before did to the slot is visible.
    #[inline(always)]
    pub(crate) fn expect_taken(&self) {
        #[cfg(loom)]
        assert!(!self.held.load(Ordering::Relaxed), "the holder before has not let go of the waker");
    }
}
