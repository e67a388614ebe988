//! Cells in turn, round after round: the machine's moods fall on all of them alike.

use std::time::{Duration, Instant};

use super::bench::Bench;
use super::measured::{Cell, Unit};
use super::trouble::Trouble;
use crate::machine::Load;
use crate::table::Sample;

/// The kernel counts in hundredths of a second: what is shorter says nothing about others.
const TELLING: Duration = Duration::from_millis(100);

pub(crate) type Measure<'a> = Box<dyn FnMut() -> Result<Sample, Trouble> + 'a>;

/// One cell to be measured.
pub(crate) struct Row<'a> {
    pub(crate) chart: &'static str,
    pub(crate) series: String,
    pub(crate) x: Option<f64>,
    pub(crate) unit: Unit,
    measure: Measure<'a>,
    samples: Vec<Sample>,
    others: Option<f64>,
}

/// Cells that are compared with each other.
pub(crate) struct Rounds<'a> {
    bench: &'a Bench<'a>,
    rows: Vec<Row<'a>>,
}

impl<'a> Rounds<'a> {
    pub(crate) fn new(bench: &'a Bench<'a>) -> Self {
        Self { bench, rows: Vec::new() }
    }

    /// Adds a cell: its chart, its line, its place on the line.
    pub(crate) fn cell(
        &mut self,
        chart: &'static str,
        series: impl Into<String>,
        x: Option<f64>,
        unit: Unit,
        measure: impl FnMut() -> Result<Sample, Trouble> + 'a,
    ) {
        self.boxed(chart, series.into(), x, unit, Box::new(measure));
    }

    /// As [`Rounds::cell`], for cells of several kinds.
    pub(crate) fn boxed(
        &mut self,
        chart: &'static str,
        series: String,
        x: Option<f64>,
        unit: Unit,
        measure: Measure<'a>,
    ) {
        self.rows.push(Row { chart, series, x, unit, measure, samples: Vec::new(), others: None });
    }

    /// Measures every cell `most` times, or as often as there is time for, and at least once.
    pub(crate) fn measure(mut self, most: usize) -> Result<Vec<Cell>, Trouble> {
        for round in 0..most {
            if round > 0 && !self.bench.has_time(round) {
                break;
            }
            for row in &mut self.rows {
                let (before, begun) = (Load::now(), Instant::now());
                let sample = (row.measure)()?;
                if begun.elapsed() >= TELLING {
                    let others = before.others_since();
                    row.others = Some(row.others.map_or(others, |most| most.max(others)));
                }
                row.samples.push(sample);
                self.bench.step()?;
            }
        }
        Ok(self.rows.into_iter().map(Row::figures).collect())
    }
}

impl Row<'_> {
    fn figures(self) -> Cell {
        let rounds: Vec<f64> = self.samples.iter().map(|sample| figure(self.unit, sample)).collect();
        let mut sorted = rounds.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let also = |unit| {
            let told = unit != self.unit
                && self.unit != Unit::Nanoseconds
                && self.samples.iter().all(|sample| match unit {
                    Unit::BytesPerSecond => sample.bytes > 0,
                    _ => sample.count > 0,
                });
            told.then(|| {
                let mut figures: Vec<f64> = self.samples.iter().map(|sample| figure(unit, sample)).collect();
                figures.sort_unstable_by(f64::total_cmp);
                figures[figures.len() / 2]
            })
        };
        Cell {
            chart: self.chart.to_owned(),
            x: self.x,
            unit: self.unit,
            median: sorted[sorted.len() / 2],
            low: sorted[0],
            high: sorted[sorted.len() - 1],
            events_per_second: also(Unit::EventsPerSecond),
            bytes_per_second: also(Unit::BytesPerSecond),
            others: self.others,
            rounds,
            series: self.series,
        }
    }
}

fn figure(unit: Unit, sample: &Sample) -> f64 {
    let seconds = sample.time.as_secs_f64().max(1e-9);
    match unit {
        Unit::EventsPerSecond => sample.count as f64 / seconds,
        Unit::BytesPerSecond => sample.bytes as f64 / seconds,
        Unit::Nanoseconds => seconds * 1e9 / sample.count as f64,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::bench::{How, Watch};
    use super::*;
    use crate::run::Scale;

    fn how(scale: Scale) -> How {
        How { scale, mode: downbeat::Mode::Shared }
    }

    struct Stops(bool);

    impl Watch for Stops {
        fn at(&self, _: &'static str, _: f64) -> bool {
            !self.0
        }
    }

    #[test]
    fn one_round_is_done_even_without_time_and_its_median_is_its_figure() {
        let bench = Bench::new(Path::new("."), how(Scale::Test), &Stops(false));
        let mut rounds = Rounds::new(&bench);
        let sample = Sample { bytes: 4_000, ..Sample::new(1_000, Duration::from_micros(2)) };
        rounds.cell("chart", "series", Some(4.0), Unit::BytesPerSecond, move || Ok(sample));
        let cells = rounds.measure(5).unwrap();
        assert_eq!(cells[0].rounds, [2e9]);
        assert_eq!((cells[0].median, cells[0].events_per_second), (2e9, Some(5e8)));
        assert_eq!(cells[0].bytes_per_second, None, "it is the figure");
    }

    #[test]
    fn whoever_watches_ends_it_after_the_cell_at_hand() {
        let bench = Bench::new(Path::new("."), how(Scale::Full), &Stops(true));
        let mut measured = 0;
        let mut rounds = Rounds::new(&bench);
        rounds.cell("chart", "series", None, Unit::Nanoseconds, || {
            measured += 1;
            Ok(Sample::new(1, Duration::from_nanos(1)))
        });
        assert!(matches!(rounds.measure(5), Err(Trouble::Stopped)));
        assert_eq!(measured, 1);
    }
}
