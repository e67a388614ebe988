//! A page for a person: labels on the left, values on the right, 80 columns, no colour needed. What comes from files and
//! paths can neither begin a line nor reach the terminal as more than text.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use downbeat::record::Shown;

/// Where values begin.
const LABEL: usize = 19;

/// Rows on their way to stdout.
pub(crate) struct Page {
    text: String,
}

impl Page {
    pub(crate) fn titled(title: impl Display) -> Self {
        Self { text: format!("\n  {}\n\n", Shown(title)) }
    }

    /// A label and a value; without a label it belongs to the row above.
    pub(crate) fn row(&mut self, label: &str, value: impl Display) -> &mut Self {
        self.text += format!("  {label:<LABEL$}{}", Shown(value)).trim_end();
        self.text.push('\n');
        self
    }

    pub(crate) fn gap(&mut self) -> &mut Self {
        self.text.push('\n');
        self
    }

    /// A sentence.
    pub(crate) fn line(&mut self, text: impl Display) -> &mut Self {
        self.text += &format!("  {}\n", Shown(text));
        self
    }

    /// Something that was checked, and whether it holds.
    pub(crate) fn check(&mut self, holds: bool, what: impl Display) -> &mut Self {
        let mark = if holds { '✓' } else { '✗' };
        self.text += &format!("  {mark} {}\n", Shown(what));
        self
    }

    pub(crate) fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", self.text)?;
        out.flush()
    }
}

/// Digits in groups of three.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things.
pub(crate) fn count(things: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(things), if things == 1 { one } else { many })
}

/// A duration with three digits and a unit.
pub(crate) fn time(duration: Duration) -> String {
    let ns = duration.as_nanos();
    let (unit, ns_per_unit) = match ns {
        0..1_000 => ("ns", 1),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let thousandths = ns * 1_000 / ns_per_unit;
    let decimals = match thousandths {
        _ if ns_per_unit == 1 => 0,
        0..10_000 => 2,
        10_000..100_000 => 1,
        _ => 0,
    };
    format!("{:.decimals$} {unit}", thousandths as f64 / 1e3)
}

/// Bytes with a unit.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", bytes as f64 / size as f64),
        None => format!("{bytes} bytes"),
    }
}

/// Events per second, in whole events.
pub(crate) fn rate(events: u64, took: Duration) -> u64 {
    let ns = took.as_nanos().max(1);
    u64::try_from(u128::from(events) * 1_000_000_000 / ns).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_can_forge_a_line_or_drive_a_terminal() {
        let hostile = "log\n  ✓ whole\u{1b}[2J\u{9b}2J\u{7f}";
        let mut page = Page::titled(hostile);
        page.row("label", hostile).gap().line(hostile).check(false, hostile);
        assert_eq!(page.text.lines().count(), 7, "{:?}", page.text);
        assert!(page.text.chars().all(|one| one == '\n' || !one.is_control()), "{:?}", page.text);
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        let written = [0, 7, 999, 1_000, 262_200, 1_234_567].map(number);
        assert_eq!(written, ["0", "7", "999", "1,000", "262,200", "1,234,567"]);
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let written = [0, 999, 1_000, 12_345, 123_456, 1_500_000, 2_345_000_000, 75_000_000_000];
        let written = written.map(|ns| time(Duration::from_nanos(ns)));
        assert_eq!(
            written,
            ["0 ns", "999 ns", "1.00 µs", "12.3 µs", "123 µs", "1.50 ms", "2.35 s", "75.0 s"]
        );
    }

    #[test]
    fn a_rate_is_events_over_time_and_never_divides_by_nothing() {
        assert_eq!(rate(500, Duration::from_millis(250)), 2_000);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }
}
