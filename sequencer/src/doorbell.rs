//! Wakes a sleeping consumer, once per sleep, at the price of one look when nobody sleeps.
//!
//! ```text
//!  consumer: arm ─► fence ─► look again ─► nothing: sleep       producer: publish ─► fence ─► armed?
//!                                 └──────► work: disarm                                └► yes: disarm, wake
//! ```
//!
//! Either the consumer's second look sees what was published, or the producer's look sees the bell armed: the
//! two sequentially consistent fences forbid that both miss. With release and acquire alone both can.
//!
//! Invariant: one wake per [`Doorbell::arm`] at most, whoever and however many ring.

#[cfg(all(test, loom))]
pub(crate) mod loom_doorbell;

use std::fmt;
use std::sync::OnceLock;

use crate::sync::{AtomicBool, Ordering, Site, fence};

type Wake = Box<dyn Fn() + Send + Sync>;

/// A coalesced wake-up from many producers to one consumer.
pub struct Doorbell {
    armed: AtomicBool,
    wake: OnceLock<Wake>,
}

impl Doorbell {
    /// A bell that calls `wake`, from the thread that rings.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        let bell = Self::silent();
        bell.hang(wake);
        bell
    }

    /// A bell that wakes nobody until [`Doorbell::hang`].
    pub fn silent() -> Self {
        Self { armed: AtomicBool::new(false), wake: OnceLock::new() }
    }

    /// Says how to wake the consumer; before its first [`Doorbell::arm`].
    ///
    /// # Panics
    ///
    /// When that was said before.
    pub fn hang(&self, wake: impl Fn() + Send + Sync + 'static) {
        assert!(self.wake.set(Box::new(wake)).is_ok(), "the doorbell already has a wake function");
    }

    /// The consumer is about to sleep: it must look for work once more, and sleep only if there is none.
    #[inline]
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
        fence(Site::BellArm);
    }

    /// The consumer found work and does not sleep. A wake-up may already be under way.
    #[inline]
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// A producer has published something.
    #[inline]
    pub fn ring(&self) {
        fence(Site::BellRing);
        if self.armed.load(Ordering::Relaxed) {
            self.wake_once();
        }
    }

    #[cold]
    fn wake_once(&self) {
        // Only one of the producers that saw the bell armed takes it. What they published reaches the consumer
        // through the ring itself, so the swap orders nothing.
        if self.armed.swap(false, Ordering::Relaxed)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorbell").field("armed", &self.armed.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, AtomicUsize};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn one_wake_per_arm() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = wakes.clone();
        let bell = Doorbell::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        bell.ring();
        assert_eq!(wakes.load(Ordering::Relaxed), 0, "nobody sleeps");
        for sleep in 1..=2 {
            bell.arm();
            bell.ring();
            bell.ring();
            assert_eq!(wakes.load(Ordering::Relaxed), sleep);
        }
        bell.arm();
        bell.disarm();
        bell.ring();
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    /// The fences of the real machine, which a model does not have: each round is one chance for both to miss.
    #[test]
    fn nobody_sleeps_on_what_was_published() {
        const ROUNDS: u64 = if cfg!(miri) { 50 } else { 100_000 };
        let published = AtomicU64::new(0);
        let seen = AtomicU64::new(0);
        let consumer = std::thread::current();
        let bell = Doorbell::new(move || consumer.unpark());
        let missed = std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    while seen.load(Ordering::Acquire) < round - 1 {
                        std::hint::spin_loop();
                    }
                    // So that the two meet at every distance.
                    (0..round % 97).for_each(|_| std::hint::spin_loop());
                    published.store(round, Ordering::Release);
                    bell.ring();
                }
            });
            for round in 1..=ROUNDS {
                (0..round % 61).for_each(|_| std::hint::spin_loop());
                while published.load(Ordering::Acquire) < round {
                    bell.arm();
                    if published.load(Ordering::Acquire) < round {
                        let asleep = Instant::now();
                        std::thread::park_timeout(Duration::from_secs(10));
                        if asleep.elapsed() >= Duration::from_secs(10) {
                            seen.store(ROUNDS, Ordering::Release);
                            return Some(round);
                        }
                    }
                    bell.disarm();
                }
                seen.store(round, Ordering::Release);
            }
            None
        });
        assert_eq!(missed, None, "the round that was published and nobody rang for");
    }
}
