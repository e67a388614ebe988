//! A coalesced doorbell: however much is put on the lanes of an actor, at most one message is in its mailbox.
//!
//! The producer publishes, *then* rings; the consumer answers, *then* looks. With the order reversed on either
//! side a wake-up can be lost: `loom_doorbell.rs` shows both, and that this order loses none.

use std::sync::OnceLock;

use crate::sync::{AtomicBool, Ordering};

type Wake = Box<dyn Fn() + Send + Sync>;

/// Wakes one consumer, once for any number of rings until it answers.
pub(crate) struct Doorbell {
    rung: AtomicBool,
    wake: OnceLock<Wake>,
}

impl Doorbell {
    /// A bell that is silent until [`Doorbell::connect`].
    pub(crate) fn new() -> Self {
        Self { rung: AtomicBool::new(false), wake: OnceLock::new() }
    }

    /// Says how the consumer is woken, and rings once: whatever was published before is seen.
    pub(crate) fn connect(&self, wake: impl Fn() + Send + Sync + 'static) {
        if self.wake.set(Box::new(wake)).is_ok() {
            self.rung.store(false, Ordering::Release);
            self.ring();
        }
    }

    /// Rings, after publishing. Costs one swap when the bell already rang.
    #[inline]
    pub(crate) fn ring(&self) {
        // AcqRel: the release half puts what was published before the swap that the consumer will read; the
        // acquire half keeps a ring that finds the bell already rung behind the consumer's answer.
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    /// Answers, before looking. A swap, not a store: a store could be passed by a concurrent ring.
    #[inline]
    pub(crate) fn answer(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

#[cfg(all(test, loom))]
#[path = "loom_doorbell.rs"]
mod loom_doorbell;
