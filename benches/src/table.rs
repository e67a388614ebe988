//! Rounds that interleave what is compared: the machine's moods fall on all cells alike.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::run::Run;

/// One measurement of a cell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// How long it took.
    pub time: Duration,
    /// What was done in that time: events, tokens times hops.
    pub count: u64,
    /// Bytes moved, where that is told.
    pub bytes: u64,
    /// The share of all cores that others used meanwhile.
    pub others: f64,
}

impl Sample {
    /// `count` things in `time`.
    pub fn new(count: u64, time: Duration) -> Self {
        Self { time, count, ..Self::default() }
    }

    /// Nanoseconds for one.
    pub fn nanoseconds(&self) -> f64 {
        self.time.as_nanos() as f64 / self.count as f64
    }
}

/// How a figure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds for one.
    Nanoseconds,
    /// Millions a second.
    MillionsPerSecond,
    /// Bytes: gigabytes a second.
    GigabytesPerSecond,
}

impl Unit {
    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Nanoseconds => sample.nanoseconds(),
            Self::MillionsPerSecond => 1e3 / sample.nanoseconds(),
            Self::GigabytesPerSecond => sample.bytes as f64 / sample.time.as_nanos() as f64,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::MillionsPerSecond => "M/s",
            Self::GigabytesPerSecond => "GB/s",
        }
    }
}

type Measure<'a> = Box<dyn FnMut() -> Sample + 'a>;

struct Cell<'a> {
    name: String,
    unit: Unit,
    measure: Measure<'a>,
    samples: Vec<Sample>,
}

/// Cells that are compared with each other.
pub struct Table<'a> {
    title: String,
    cells: Vec<Cell<'a>>,
}

impl<'a> Table<'a> {
    /// A table without cells.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), cells: Vec::new() }
    }

    /// Adds a cell.
    pub fn cell(&mut self, name: impl Into<String>, unit: Unit, measure: impl FnMut() -> Sample + 'a) {
        let (name, measure) = (name.into(), Box::new(measure));
        self.cells.push(Cell { name, unit, measure, samples: Vec::new() });
    }

    /// Adds a cell without work: what a turn of a loop costs, where the others are of a few nanoseconds.
    pub fn empty_loop(&mut self, turns: u64) {
        self.cell("an empty loop", Unit::Nanoseconds, move || {
            let begun = Instant::now();
            (0..turns).for_each(|turn| {
                black_box(turn);
            });
            Sample::new(turns, begun.elapsed())
        });
    }

    /// Measures every cell once, for nothing, and then in turn; prints medians. `others` is the share of the cores
    /// that may go to others before a sample counts as disturbed.
    pub fn measure(mut self, run: &Run, others: f64) -> Medians<'a> {
        if run.rounds() > 1 {
            for cell in &mut self.cells {
                (cell.measure)();
            }
        }
        for _ in 0..run.rounds() {
            for cell in &mut self.cells {
                let sample = run.quiet(others, &mut cell.measure);
                cell.samples.push(sample);
            }
        }
        run.say(self.show());
        Medians(self.cells)
    }

    fn show(&self) -> String {
        let width = self.cells.iter().map(|cell| cell.name.chars().count()).max().unwrap_or(0);
        let mut text = format!("\n## {}\n\n", self.title);
        for cell in &self.cells {
            let (low, high) = cell.extremes();
            let others = cell.samples.iter().map(|sample| sample.others).fold(0.0, f64::max) * 100.0;
            let _ = writeln!(
                text,
                "{:<width$}  {:>8.2} {:<4}  min {:>8.2}  max {:>8.2}  ({} rounds, others at most {others:.1} %{})",
                cell.name,
                cell.median(cell.unit),
                cell.unit.name(),
                low,
                high,
                cell.samples.len(),
                cell.bytes(),
            );
        }
        text
    }
}

impl Cell<'_> {
    fn figures(&self, unit: Unit) -> Vec<f64> {
        let mut figures: Vec<f64> = self.samples.iter().map(|sample| unit.of(sample)).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures
    }

    fn median(&self, unit: Unit) -> f64 {
        let figures = self.figures(unit);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn extremes(&self) -> (f64, f64) {
        let figures = self.figures(self.unit);
        (figures.first().copied().unwrap_or(f64::NAN), figures.last().copied().unwrap_or(f64::NAN))
    }

    /// Bytes, where they are not the figure but were told.
    fn bytes(&self) -> String {
        let told =
            self.unit != Unit::GigabytesPerSecond && self.samples.iter().any(|sample| sample.bytes > 0);
        if told { format!(", {:.2} GB/s", self.median(Unit::GigabytesPerSecond)) } else { String::new() }
    }
}

/// The medians of a table, in the order of its cells.
pub struct Medians<'a>(Vec<Cell<'a>>);

impl Medians<'_> {
    /// One of them.
    ///
    /// # Panics
    ///
    /// When the table has no such cell.
    pub fn of(&self, cell: usize) -> f64 {
        self.0[cell].median(self.0[cell].unit)
    }

    /// What a cell moved.
    ///
    /// # Panics
    ///
    /// When the table has no such cell.
    pub fn gigabytes_per_second(&self, cell: usize) -> f64 {
        self.0[cell].median(Unit::GigabytesPerSecond)
    }

    /// How often one goes into another.
    pub fn ratio(&self, cell: usize, of: usize) -> f64 {
        self.of(cell) / self.of(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_decides_what_a_sample_says() {
        let sample = Sample { bytes: 4_000, ..Sample::new(1_000, Duration::from_micros(2)) };
        assert_eq!(Unit::Nanoseconds.of(&sample), 2.0);
        assert_eq!(Unit::MillionsPerSecond.of(&sample), 500.0);
        assert_eq!(Unit::GigabytesPerSecond.of(&sample), 2.0);
    }
}
