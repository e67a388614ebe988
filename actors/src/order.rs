//! The way back to the thread that sequences: woken only when it says that it waits for the actors.

use crate::sync::{AtomicBool, Ordering, fence};

/// Wakes the sequencer thread when it waits for a cursor, a checkpoint, or quiet.
pub(crate) struct OrderBell {
    waits: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl OrderBell {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { waits: AtomicBool::new(false), wake: Box::new(wake) }
    }

    /// The sequencer thread is about to sleep: it looks once more after this, and then sleeps.
    pub(crate) fn arm(&self) {
        self.waits.store(true, Ordering::Relaxed);
        // Pairs with the fence in `moved`: either the actor sees the flag, or this thread sees what moved.
        fence(Ordering::SeqCst);
    }

    /// An actor has moved: wakes the sequencer thread if it waits.
    #[inline]
    pub(crate) fn moved(&self) {
        fence(Ordering::SeqCst);
        if self.waits.load(Ordering::Relaxed) && self.waits.swap(false, Ordering::AcqRel) {
            (self.wake)();
        }
    }

    /// Wakes the sequencer thread whatever it does.
    pub(crate) fn wake(&self) {
        (self.wake)();
    }
}
