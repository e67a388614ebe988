//! A flag that says "I wait for you": how a consumer of room, progress or durability is woken only when it waits.
//!
//! ```text
//!  waiter: raise the flag, fence, look once more, sleep        mover: move, fence, flag up? take it, wake
//! ```
//!
//! Either the mover sees the flag, or the waiter's second look sees what moved. Both fences are needed: without
//! one of them each side may read the past of the other, and the wake-up is lost. `loom_waiting.rs` shows it.

use crate::sync::{AtomicBool, Ordering, Site, fence};

/// Raised by one who waits, taken down by whoever moves what it waits for.
#[derive(Default)]
pub(crate) struct Waiting(AtomicBool);

impl Waiting {
    /// Raises the flag and looks once more: true when what is waited for is there after all.
    #[inline]
    pub(crate) fn unless(&self, there: impl FnOnce() -> bool) -> bool {
        self.raise();
        there()
    }

    /// Raises the flag; whoever raises it looks once more afterwards.
    #[inline]
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Site::WaitingRaise);
    }

    /// After a move: true when someone waits, who is then to be woken, once.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        fence(Site::WaitingTake);
        // Relaxed: the wake-up that follows orders what moved before the waiter's next look.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

#[cfg(all(test, loom))]
#[path = "loom_waiting.rs"]
pub(crate) mod loom_waiting;
