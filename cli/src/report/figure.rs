//! Figures as people read them: three digits and a unit.

use downbeat_benches::cells::measured::Unit;

/// A figure with its unit.
pub(crate) fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::EventsPerSecond => scaled(value, "/s", &[(1e6, "M"), (1e3, "k"), (1.0, "")]),
        Unit::BytesPerSecond => scaled(value, "B/s", &[(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")]),
        Unit::Nanoseconds => nanoseconds(value),
    }
}

/// A time.
pub(crate) fn nanoseconds(ns: f64) -> String {
    scaled(ns, "s", &[(1e9, ""), (1e6, "m"), (1e3, "µ"), (1.0, "n")])
}

/// The extremes of a figure over its rounds; nothing for one round.
pub(crate) fn spread(low: f64, high: f64, rounds: usize, unit: Unit) -> String {
    if rounds > 1 { range(low, high, unit) } else { String::new() }
}

fn range(low: f64, high: f64, unit: Unit) -> String {
    let (low, high) = (figure(low, unit), figure(high, unit));
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((low, one)), Some((_, other))) if one == other => format!("{low}–{high}"),
        _ => format!("{low}–{high}"),
    }
}

/// How often one goes into another.
pub(crate) fn ratio(ratio: f64) -> String {
    format!("{}×", digits(ratio))
}

fn scaled(value: f64, unit: &str, prefixes: &[(f64, &str)]) -> String {
    // What rounds up to the next prefix is shown with it.
    let fits = |(size, _): &&(f64, &str)| value * 1.0005 >= *size;
    let last = prefixes.last().copied().unwrap_or((1.0, ""));
    let (size, prefix) = prefixes.iter().find(fits).copied().unwrap_or(last);
    format!("{} {prefix}{unit}", digits(value / size))
}

fn digits(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "?".to_owned(),
        _ if value >= 99.95 => format!("{value:.0}"),
        _ if value >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_the_prefix_that_suits_them() {
        let times = [0.5, 9.996, 148_249.0, 999_900.0, 3.8e6, 2e9].map(nanoseconds);
        assert_eq!(times, ["0.50 ns", "10.0 ns", "148 µs", "1.00 ms", "3.80 ms", "2.00 s"]);
        assert_eq!(figure(20_812_345.0, Unit::EventsPerSecond), "20.8 M/s");
        assert_eq!(figure(312.4, Unit::EventsPerSecond), "312 /s");
        assert_eq!(figure(1.674e9, Unit::BytesPerSecond), "1.67 GB/s");
    }

    #[test]
    fn a_range_names_its_unit_once() {
        assert_eq!(range(1.5e9, 1.8e9, Unit::BytesPerSecond), "1.50–1.80 GB/s");
        assert_eq!(range(900.0, 1_500.0, Unit::Nanoseconds), "900 ns–1.50 µs");
    }
}
