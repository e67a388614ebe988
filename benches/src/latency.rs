//! Percentiles; two things timed in turn; and a pace that does not depend on what is timed.

use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::run::Run;

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

    /// Forgets all times and keeps the memory.
    pub fn clear(&mut self) {
        self.histogram.reset();
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
        write!(f, "p50 {}, p99 {}, p99.9 {}, max {}", Shown(p50), Shown(p99), Shown(p999), Shown(max))
    }
}

/// Nanoseconds, in the unit that leaves two or three digits.
struct Shown(f64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ns if ns < 2e3 => write!(f, "{ns:.0} ns"),
            ns if ns < 2e4 => write!(f, "{:.1} µs", ns / 1e3),
            ns if ns < 2e6 => write!(f, "{:.0} µs", ns / 1e3),
            ns => write!(f, "{:.1} ms", ns / 1e6),
        }
    }
}

/// Two things that were timed in turn, and how one stands to the other, round by round.
#[derive(Default)]
pub struct Beside {
    ours: Latencies,
    limit: Latencies,
    medians: Vec<f64>,
    tails: Vec<f64>,
}

impl Beside {
    /// Takes in one round.
    pub fn round(&mut self, ours: &Latencies, limit: &Latencies) {
        self.medians.push(ours.at(0.5) / limit.at(0.5));
        self.tails.push(ours.at(0.99) / limit.at(0.99));
        self.ours.merge(ours);
        self.limit.merge(limit);
    }

    /// Prints both, and the ratios with their spread over the rounds.
    ///
    /// # Panics
    ///
    /// Without a round.
    pub fn report(mut self, run: &Run, ours: &str, limit: &str) {
        let width = ours.chars().count().max(limit.chars().count());
        run.say(format_args!("{ours:<width$}  {}", self.ours));
        run.say(format_args!("{limit:<width$}  {}", self.limit));
        for (what, ratios) in [("p50", &mut self.medians), ("p99", &mut self.tails)] {
            ratios.sort_unstable_by(f64::total_cmp);
            let (low, median, high) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
            let rounds = ratios.len();
            run.say(format_args!("{what} / {what}: {median:.2} ({low:.2} to {high:.2} in {rounds} rounds)"));
        }
    }
}

/// Waits until a time on one thread, without taking the core for it.
///
/// A sleep ends late: by what the kernel may round its timers (50 µs for a thread that asks for nothing else), and by
/// what a wake-up takes. So the timers of the thread are set to be exact, what a wake-up takes is learned and slept less,
/// and the rest is spun away.
pub struct Pacer {
    /// How late a sleep ends, smoothed, in nanoseconds.
    oversleep: f64,
    spin: bool,
}

/// The most that is spun away after a sleep.
const SPIN_MAX: Duration = Duration::from_micros(20);

impl Pacer {
    /// For the calling thread. With `DOWNBEAT_BENCH_SPIN` in the environment it never sleeps, which is exact and takes
    /// a core.
    pub fn here() -> Self {
        // Where the kernel refuses, sleeps end later; how late is measured and shown.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        Self { oversleep: 0.0, spin: std::env::var_os("DOWNBEAT_BENCH_SPIN").is_some() }
    }

    /// Waits until `due`; at once when that is over.
    pub fn until(&mut self, due: Instant) {
        loop {
            // Twice what a sleep is late on average: then hardly one ends behind the time.
            let margin = Duration::from_nanos(2 * self.oversleep as u64).min(SPIN_MAX);
            let left = due.saturating_duration_since(Instant::now());
            if self.spin || left <= margin {
                break;
            }
            let aimed = due - margin;
            std::thread::park_timeout(left - margin);
            // It may have been woken for something else.
            if let Some(late) = Instant::now().checked_duration_since(aimed) {
                self.oversleep += (late.as_nanos() as f64 - self.oversleep) / 16.0;
            }
        }
        while Instant::now() < due {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_shown_in_a_unit_of_its_own() {
        let mut latencies = Latencies::default();
        (0..998).for_each(|_| latencies.add(Duration::from_nanos(875)));
        latencies.add(Duration::from_micros(12));
        latencies.add(Duration::from_millis(3));
        let shown = latencies.to_string();
        assert_eq!(shown, "p50 875 ns, p99 875 ns, p99.9 12.0 µs, max 3.0 ms");
    }

    #[test]
    fn a_pacer_never_returns_early() {
        let mut pacer = Pacer::here();
        let begun = Instant::now();
        for step in 1..50 {
            let due = begun + step * Duration::from_micros(100);
            pacer.until(due);
            assert!(Instant::now() >= due);
        }
    }
}
