//! How long a value takes from one stage to the next, sampled: one event in 1,024, on its way between workers.
//!
//! The sender notes when it applied a sampled event, before its cursor passes it; the receiver takes the
//! difference when it applies that event. Under load this includes the turn of other events; it is what a value
//! waits, not what a hop costs.

use std::sync::LazyLock;
use std::time::Instant;

use downbeat_record::Seq;

use crate::sync::{AtomicU64, Ordering};

/// One event in this many is measured.
const EVERY: u64 = 1_024;
/// Buckets per power of two; a percentile is at most an eighth too high.
const STEPS: usize = 8;
const BUCKETS: usize = 48 * STEPS;

/// What hops took, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopLatency {
    /// Hops measured.
    pub samples: u64,
    /// The median.
    pub p50_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// 999 of 1,000 took no longer.
    pub p999_ns: u64,
}

/// True when this event is measured.
#[inline]
pub(crate) fn is_sampled(seq: Seq) -> bool {
    seq.0.is_multiple_of(EVERY)
}

/// When the last sampled event was applied, and which one it was, in one word: no mixture of two can be read.
///
/// ```text
/// ┌── number of the sample, its last 16 bits ──┬── nanoseconds, their last 48 bits ──┐
/// ```
///
/// A number comes back after 67 million events, which no receiver is behind; the nanoseconds after three days.
#[derive(Default)]
pub(crate) struct Departure(AtomicU64);

const NS_BITS: u32 = 48;
const NS_MASK: u64 = (1 << NS_BITS) - 1;

impl Departure {
    /// Notes that the event was applied just now.
    pub(crate) fn note(&self, seq: Seq) {
        self.note_at(seq, now_ns());
    }

    fn note_at(&self, seq: Seq, ns: u64) {
        self.0.store((seq.0 / EVERY) << NS_BITS | (ns & NS_MASK), Ordering::Relaxed);
    }

    /// How long ago the event was applied, in nanoseconds; `None` when the next sample has replaced it.
    pub(crate) fn age_ns(&self, seq: Seq) -> Option<u64> {
        self.age_ns_at(seq, now_ns())
    }

    fn age_ns_at(&self, seq: Seq, now: u64) -> Option<u64> {
        let noted = self.0.load(Ordering::Relaxed);
        let same = noted >> NS_BITS == (seq.0 / EVERY) & (u64::MAX >> NS_BITS);
        same.then(|| now.wrapping_sub(noted) & NS_MASK)
    }
}

fn now_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos() as u64
}

/// Counts hops by how long they took.
pub(crate) struct Hops {
    buckets: [AtomicU64; BUCKETS],
}

impl Hops {
    pub(crate) fn new() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    pub(crate) fn record(&self, ns: u64) {
        self.buckets[bucket(ns)].fetch_add(1, Ordering::Relaxed);
    }

    /// What was measured; `None` when nothing was.
    pub(crate) fn latency(&self) -> Option<HopLatency> {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let samples: u64 = counts.iter().sum();
        let at = |per_mille: u64| {
            let wanted = (samples * per_mille).div_ceil(1_000);
            let mut seen = 0;
            let reached = |count: &u64| {
                seen += count;
                seen >= wanted
            };
            counts.iter().position(reached).map_or(0, upper)
        };
        (samples > 0).then(|| HopLatency { samples, p50_ns: at(500), p99_ns: at(990), p999_ns: at(999) })
    }
}

/// The bucket of a duration: its highest bit, and the three below it.
fn bucket(ns: u64) -> usize {
    if ns < STEPS as u64 {
        return ns as usize;
    }
    let high = ns.ilog2() as usize;
    let step = (ns >> (high - 3)) as usize % STEPS;
    ((high - 2) * STEPS + step).min(BUCKETS - 1)
}

/// The longest duration of a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (high, step) = (bucket / STEPS + 2, bucket % STEPS);
    (((STEPS + step + 1) as u64) << (high - 3)) - 1
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_at_most_an_eighth_above_what_is_in_it() {
        for ns in (0..5_000).chain([1 << 20, (1 << 40) + 12_345]) {
            let end = upper(bucket(ns));
            assert!(end >= ns && end <= ns + ns / 8, "{ns} lies in a bucket that ends at {end}");
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let hops = Hops::new();
        assert_eq!(hops.latency(), None);
        (1..=1_000).for_each(|ns| hops.record(ns));
        let latency = hops.latency().unwrap();
        assert_eq!(latency.samples, 1_000);
        assert!((500..=563).contains(&latency.p50_ns), "{latency:?}");
        assert!((990..=1_119).contains(&latency.p99_ns), "{latency:?}");
    }

    #[test]
    fn a_departure_that_was_replaced_is_not_measured() {
        let departure = Departure::default();
        departure.note(Seq(1_024));
        assert!(departure.age_ns(Seq(1_024)).is_some());
        assert_eq!(departure.age_ns(Seq(2_048)), None);
        departure.note_at(Seq(2_048), 70);
        assert_eq!(departure.age_ns_at(Seq(1_024), 100), None);
        assert_eq!(departure.age_ns_at(Seq(2_048), 100), Some(30));
        departure.note_at(Seq(u64::MAX / EVERY * EVERY), (1 << NS_BITS) - 5);
        assert_eq!(departure.age_ns_at(Seq(u64::MAX / EVERY * EVERY), 1 << NS_BITS), Some(5));
    }
}
