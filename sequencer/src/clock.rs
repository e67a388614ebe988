//! The only door to time: a [`Clock`] that the sequencer thread owns.
//!
//! A clock may jump or stand still; [`crate::Order`] makes strictly increasing timestamps of what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use downbeat_record::Timestamp;

/// Tells the time.
pub trait Clock {
    /// The time, in nanoseconds since 1970 UTC. It need not increase.
    fn now(&mut self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[inline]
    #[allow(clippy::disallowed_methods, reason = "this is the one place where time enters the order")]
    fn now(&mut self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A clock that a test sets. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at `at`.
    pub fn new(at: Timestamp) -> Self {
        let clock = Self::default();
        clock.set(at);
        clock
    }

    /// Makes it stand at `at`, earlier or later than before.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.0, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&mut self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_until_it_is_set_also_backwards() {
        let hand = ManualClock::new(Timestamp(7));
        let mut clock = hand.clone();
        assert_eq!((clock.now(), clock.now()), (Timestamp(7), Timestamp(7)));
        hand.set(Timestamp(3));
        assert_eq!(clock.now(), Timestamp(3));
    }

    #[test]
    fn the_system_clock_is_past_2020() {
        assert!(SystemClock.now() > Timestamp(1_577_836_800_000_000_000));
    }
}
