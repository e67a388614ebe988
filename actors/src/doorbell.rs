//! A coalesced doorbell: however much is put on the lanes of an actor, at most one message is in its mailbox.
//!
//! The producer publishes, *then* rings; the consumer answers, *then* looks. With the order reversed on either
//! side a wake-up can be lost: `loom_doorbell.rs` shows both, and that this order loses none.
//!
//! Every change of the flag is an exchange. So the one that the consumer reads, when it answers, carries on what
//! all exchanges before it released: the consumer sees what was published before any of them.

use std::sync::OnceLock;

use crate::sync::{AtomicBool, Ordering, Site, acquire, release};

type Wake = Box<dyn Fn() + Send + Sync>;

/// How the consumer behind a bell is called.
struct Line {
    /// True when the consumer's thread will see the ring by itself.
    will_see: Box<dyn Fn() -> bool + Send + Sync>,
    call: Wake,
}

/// Wakes one consumer, once for any number of rings until it answers.
pub(crate) struct Doorbell {
    rung: AtomicBool,
    /// It was called by its own thread and has not answered.
    called: AtomicBool,
    line: OnceLock<Line>,
}

impl Doorbell {
    /// A bell that is silent until [`Doorbell::connect`].
    pub(crate) fn new() -> Self {
        Self { rung: AtomicBool::new(false), called: AtomicBool::new(false), line: OnceLock::new() }
    }

    /// Says how the consumer is called, and when it need not be, since its thread looks at the bell. Rings once:
    /// whatever was published before is seen.
    pub(crate) fn connect(
        &self,
        will_see: impl Fn() -> bool + Send + Sync + 'static,
        call: impl Fn() + Send + Sync + 'static,
    ) {
        if self.line.set(Line { will_see: Box::new(will_see), call: Box::new(call) }).is_ok() {
            // An exchange, not a store: a ring that came before there was a line is not called again, and what was
            // published for it has to be seen all the same.
            self.rung.swap(false, Ordering::Relaxed);
            self.ring();
        }
    }

    /// Rings, after publishing. Costs one swap when the bell already rang.
    #[inline]
    pub(crate) fn ring(&self) {
        // Release: what was published lies before the exchange that the consumer's answer will read.
        if !self.rung.swap(true, release(Site::DoorbellRing))
            && let Some(line) = self.line.get()
            && !(line.will_see)()
        {
            (line.call)();
        }
    }

    /// For the consumer's own thread, which looks at the bell: calls the consumer if it was rung, once until it
    /// answers.
    #[inline]
    pub(crate) fn call_if_rung(&self) -> bool {
        // Without a line nobody is called, and nobody may be taken for called.
        let Some(line) = self.line.get() else { return false };
        // Relaxed: the consumer, on this thread, answers before it looks.
        let rung = self.rung.load(Ordering::Relaxed) && !self.called.swap(true, Ordering::Relaxed);
        if rung {
            (line.call)();
        }
        rung
    }

    /// Answers, before looking. A swap, not a store: a store could be passed by a concurrent ring.
    #[inline]
    pub(crate) fn answer(&self) {
        self.called.store(false, Ordering::Relaxed);
        self.rung.swap(false, acquire(Site::DoorbellAnswer));
    }
}

#[cfg(all(test, loom))]
#[path = "loom_doorbell.rs"]
pub(crate) mod loom_doorbell;
