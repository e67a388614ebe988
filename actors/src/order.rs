//! The way back to the thread that sequences: woken only when what it waits for is there.
//!
//! ```text
//!  sequencer: until := goal, fence, look once more, sleep        last in a group: cursor := s, fence, until ≤ s? wake
//! ```
//!
//! The sequencer says up to where the slowest cursor has to move before it has something to do. A wake-up for
//! every turn of every worker would cost both threads more than the turn. The pattern is that of
//! [`crate::waiting`], with a seq in place of a flag; `loom_order.rs` shows that no wake-up is lost.

use downbeat_record::Seq;

use crate::sync::{AtomicU64, Ordering, Site, fence};

/// The sequencer thread does not sleep.
const AWAKE: u64 = u64::MAX;

/// Wakes the sequencer thread when it sleeps and has something to do.
pub(crate) struct OrderBell {
    /// Up to where the slowest cursor has to move; [`AWAKE`] while nobody sleeps.
    until: AtomicU64,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl OrderBell {
    /// Where no cursor gets: for one who sleeps until there is news.
    pub(crate) const NEVER: Seq = Seq(AWAKE - 1);

    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { until: AtomicU64::new(AWAKE), wake: Box::new(wake) }
    }

    /// The sequencer thread is about to sleep until the slowest cursor is at `goal` or there is news: it looks
    /// once more after this, and then sleeps.
    pub(crate) fn arm(&self, goal: Seq) {
        self.until.store(goal.0.min(Self::NEVER.0), Ordering::Relaxed);
        fence(Site::OrderArm);
    }

    /// A worker that may be the slowest has published this cursor.
    #[inline]
    pub(crate) fn moved(&self, cursor: Seq) {
        fence(Site::OrderMoved);
        if self.until.load(Ordering::Relaxed) <= cursor.0 {
            self.wake();
        }
    }

    /// Something else than a cursor is there to be looked at: a checkpoint, a fault.
    pub(crate) fn news(&self) {
        self.moved(Self::NEVER);
    }

    /// Wakes the sequencer thread whatever it waits for.
    #[cold]
    pub(crate) fn wake(&self) {
        self.until.store(AWAKE, Ordering::Relaxed);
        (self.wake)();
    }
}

#[cfg(all(test, loom))]
#[path = "loom_order.rs"]
pub(crate) mod loom_order;
