//! Times as a curve over percentiles, with the extremes of its rounds.

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;

/// Points of the curve in each of its decades: 0 to 90 %, 90 to 99 %, and so on.
const PER_DECADE: i32 = 10;
/// Decades, if there are samples for them.
const DECADES: i32 = 5;
/// What people ask for and is not among them.
const ALSO: [f64; 4] = [0.25, 0.5, 0.75, 0.95];

/// How long one thing took, over many times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Where it is shown, such as `end_to_end.alone`.
    pub chart: String,
    /// Which line of it.
    pub series: String,
    /// How many times, in all rounds.
    pub count: u64,
    /// Rounds.
    pub rounds: usize,
    /// The slowest of all, in nanoseconds.
    pub max_ns: f64,
    /// The curve; the last point is the last for which there is a sample beyond it.
    pub points: Vec<Point>,
}

/// A share of the times, and what it stayed below.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The share, 0 to 1.
    pub share: f64,
    /// Of all rounds together, in nanoseconds.
    pub ns: f64,
    /// Of the best round.
    pub low_ns: f64,
    /// Of the worst round.
    pub high_ns: f64,
}

impl Curve {
    /// The curve of some rounds.
    pub fn of(chart: &str, series: &str, rounds: &[Latencies]) -> Self {
        let mut all = Latencies::default();
        rounds.iter().for_each(|round| all.merge(round));
        let least = rounds.iter().map(Latencies::count).min().unwrap_or(0) as f64;
        // What stands on no sample says nothing.
        let stands = |share: &f64| (1.0 - share) * least >= 0.999;
        let point = |share| {
            let each = rounds.iter().map(|round| round.at(share));
            let extremes = |(low, high): (f64, f64), ns: f64| (low.min(ns), high.max(ns));
            let (low_ns, high_ns) = each.fold((f64::INFINITY, 0.0), extremes);
            Point { share, ns: all.at(share), low_ns, high_ns }
        };
        let points = shares().into_iter().filter(stands).map(point).collect();
        let (count, max_ns) = (all.count(), all.max());
        Self {
            chart: chart.to_owned(),
            series: series.to_owned(),
            count,
            rounds: rounds.len(),
            max_ns,
            points,
        }
    }

    /// The time that this share stays below, in nanoseconds: of the nearest point that is not before it. The
    /// slowest, when there are too few samples for the share.
    pub fn at(&self, share: f64) -> f64 {
        let point = self.points.iter().find(|point| point.share >= share - 1e-9);
        point.map_or(self.max_ns, |point| point.ns)
    }
}

fn shares() -> Vec<f64> {
    let even =
        (0..=PER_DECADE * DECADES).map(|step| 1.0 - 10f64.powf(-f64::from(step) / f64::from(PER_DECADE)));
    let mut shares: Vec<f64> = even.chain(ALSO).collect();
    shares.sort_unstable_by(f64::total_cmp);
    shares
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn round(from: u64, count: u64) -> Latencies {
        let mut times = Latencies::default();
        (from..from + count).for_each(|ns| times.add(Duration::from_nanos(ns)));
        times
    }

    #[test]
    fn a_curve_ends_where_its_samples_end() {
        let curve = Curve::of("chart", "series", &[round(1, 1_000), round(1, 1_000)]);
        let last = curve.points.last().unwrap().share;
        assert!((last - 0.999).abs() < 1e-9, "{last}");
        assert_eq!((curve.count, curve.rounds), (2_000, 2));
        assert_eq!(curve.at(0.9999), curve.max_ns);
    }

    #[test]
    fn the_band_is_that_of_the_rounds() {
        let curve = Curve::of("chart", "series", &[round(1, 100), round(1_001, 100)]);
        let p90 = curve.points.iter().find(|point| (point.share - 0.9).abs() < 1e-9).unwrap();
        assert!(p90.low_ns < 100.0 && p90.high_ns > 1_000.0, "{p90:?}");
        assert!(p90.low_ns <= p90.ns && p90.ns <= p90.high_ns);
    }
}
