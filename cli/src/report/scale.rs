//! Where a value lies on an axis, and where the axis is marked.
//!
//! Every axis is logarithmic: what is twice as much lies equally far everywhere. Its ends are fixed by the chart and
//! move by whole decades only when a value lies beyond them.

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// The value.
    pub(crate) at: f64,
    /// What is written there; empty for a line only.
    pub(crate) label: String,
}

/// Values laid out between two ends, in units of the drawing.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    /// The ends are those of the chart.
    pub(crate) as_fixed: bool,
}

impl Scale {
    /// From `low` to `high`, or as many decades more as the values need; values without a logarithm do not count.
    pub(crate) fn decades((low, high): (f64, f64), values: impl Iterator<Item = f64>) -> Self {
        let fits = values.filter(|value| value.is_finite() && *value > 0.0);
        let (least, most) =
            fits.fold((low, high), |(least, most), value| (least.min(value), most.max(value)));
        let mut scale = Self { low, high, from: 0.0, to: 1.0, as_fixed: least >= low && most <= high };
        while scale.low > least {
            scale.low /= 10.0;
        }
        while scale.high < most {
            scale.high *= 10.0;
        }
        scale
    }

    /// Over steps that each have a mark, with half a step at both ends.
    pub(crate) fn steps(steps: &[f64]) -> Self {
        let (first, last) = (steps[0], steps[steps.len() - 1]);
        let half = (steps[1] / first).sqrt();
        Self { low: first / half, high: last * half, from: 0.0, to: 1.0, as_fixed: true }
    }

    /// Drawn from one coordinate to another.
    pub(crate) fn drawn(self, from: f64, to: f64) -> Self {
        Self { from, to, ..self }
    }

    /// Where a value lies; what is beyond an end lies at it.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln();
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Marks at 1, 2 and 5 of each decade; those at 2 and 5 are named where there are few decades.
    pub(crate) fn ticks(&self, name: impl Fn(f64) -> String) -> Vec<Tick> {
        let decades = (self.high / self.low).log10().round() as i32;
        let first = self.low.log10().round() as i32;
        let values =
            (first..=first + decades).flat_map(|decade| [1.0, 2.0, 5.0].map(|m| (m, m * 10f64.powi(decade))));
        let within = values.filter(|(_, value)| *value <= self.high * 1.001);
        within
            .map(|(m, at)| {
                let named = m == 1.0 || decades <= 3;
                Tick { at, label: if named { name(at) } else { String::new() } }
            })
            .collect()
    }
}

/// Decades of the axis of percentiles: up to 99.999 %.
const NINES: i32 = 5;

/// The axis of percentiles: the share that is *beyond*, growing small to the right.
pub(crate) fn percentiles() -> (Scale, Vec<Tick>) {
    let scale = Scale { low: 1.0, high: 10f64.powi(NINES), from: 0.0, to: 1.0, as_fixed: true };
    let names = [
        (1.0, "0 %"),
        (2.0, "50 %"),
        (1e1, "90 %"),
        (1e2, "99 %"),
        (1e3, "99.9 %"),
        (1e4, "99.99 %"),
        (1e5, "99.999 %"),
    ];
    let ticks = names.map(|(at, label)| Tick { at, label: label.to_owned() });
    (scale, ticks.to_vec())
}

/// Where a share stands on the axis of percentiles.
pub(crate) fn beyond(share: f64) -> f64 {
    1.0 / (1.0 - share).max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-6
    }

    #[test]
    fn equal_factors_are_equal_distances() {
        let scale = Scale::decades((1.0, 1_000.0), [].into_iter()).drawn(300.0, 0.0);
        assert!(near(scale.at(1.0), 300.0) && near(scale.at(10.0), 200.0) && near(scale.at(1_000.0), 0.0));
        assert!(near(scale.at(20.0) - scale.at(40.0), scale.at(200.0) - scale.at(400.0)));
    }

    #[test]
    fn the_ends_stay_unless_a_value_lies_beyond_and_then_move_by_decades() {
        let inside = Scale::decades((1e4, 1e8), [5e4, 9e7].into_iter());
        assert!(inside.as_fixed && near(inside.low, 1e4) && near(inside.high, 1e8));
        let beyond = Scale::decades((1e4, 1e8), [9e3, 2e9, f64::NAN, 0.0].into_iter());
        assert!(!beyond.as_fixed && near(beyond.low, 1e3) && near(beyond.high / 1e10, 1.0));
    }

    #[test]
    fn what_lies_beyond_an_end_is_drawn_at_it() {
        let scale = Scale::decades((1.0, 10.0), [].into_iter()).drawn(0.0, 100.0);
        assert!(near(scale.at(0.0), 0.0) && near(scale.at(1e9), 100.0));
    }

    #[test]
    fn every_decade_is_marked_at_1_2_and_5_and_named_where_there_is_room() {
        let name = |value: f64| value.to_string();
        let few = Scale::decades((1e5, 1e7), [].into_iter()).ticks(name);
        let at: Vec<f64> = few.iter().map(|tick| tick.at).collect();
        assert_eq!(at, [1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7]);
        assert!(few.iter().all(|tick| !tick.label.is_empty()));
        let many = Scale::decades((1e4, 1e8), [].into_iter()).ticks(name);
        let named: Vec<&str> =
            many.iter().map(|tick| tick.label.as_str()).filter(|label| !label.is_empty()).collect();
        assert_eq!(named, ["10000", "100000", "1000000", "10000000", "100000000"]);
    }

    #[test]
    fn each_nine_of_the_percentiles_takes_the_same_room() {
        let (scale, ticks) = percentiles();
        let scale = scale.drawn(0.0, 500.0);
        for (share, at) in [(0.0, 0.0), (0.9, 100.0), (0.99, 200.0), (0.999, 300.0), (0.99999, 500.0)] {
            assert!(near(scale.at(beyond(share)), at), "{share}: {}", scale.at(beyond(share)));
        }
        assert_eq!(ticks.len(), 7);
    }

    #[test]
    fn steps_have_half_a_step_at_both_ends() {
        let scale = Scale::steps(&[1.0, 2.0, 4.0]).drawn(0.0, 300.0);
        assert!(near(scale.at(1.0), 50.0) && near(scale.at(2.0), 150.0) && near(scale.at(4.0), 250.0));
    }
}
