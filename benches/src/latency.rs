//! Percentiles.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Times, as a histogram of nanoseconds with three digits.
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { histogram: Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are sound") }
    }
}

impl Latencies {
    /// Adds one time.
    pub fn add(&mut self, time: Duration) {
        self.histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    /// Adds what others hold.
    pub fn merge(&mut self, others: &Self) {
        self.histogram.add(&others.histogram).expect("all have the same bounds");
    }

    /// The time that this share, 0 to 1, stays below, in nanoseconds.
    pub fn at(&self, share: f64) -> f64 {
        self.histogram.value_at_quantile(share) as f64
    }

    /// The slowest, in nanoseconds.
    pub fn max(&self) -> f64 {
        self.histogram.max() as f64
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, p999, max) = (self.at(0.5), self.at(0.99), self.at(0.999), self.max());
        if p50 < 2_000.0 {
            write!(f, "p50 {p50:.0} ns, p99 {p99:.0} ns, p99.9 {p999:.0} ns, max {:.0} µs", max / 1e3)
        } else {
            let us = |ns: f64| ns / 1e3;
            let (p50, p99, p999, max) = (us(p50), us(p99), us(p999), us(max));
            write!(f, "p50 {p50:.0} µs, p99 {p99:.0} µs, p99.9 {p999:.0} µs, max {max:.0} µs")
        }
    }
}
