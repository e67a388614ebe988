//! What a run gave, as it is written and read: the JSON of `downbeat bench --json`, described in `docs/bench.md`.

use serde::{Deserialize, Serialize};

use super::percentiles::Curve;
use super::stamp::{BuildStamp, MachineStamp, RunStamp};

/// What the JSON says it is.
pub const FORMAT: &str = "downbeat-bench";
/// Grows when a name changes its meaning or goes; new names do not change it.
pub const VERSION: u32 = 1;

/// Everything that a run gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// When, for how long, by which command.
    pub run: RunStamp,
    /// On what.
    pub machine: MachineStamp,
    /// With what.
    pub build: BuildStamp,
    /// The disk without a log, before and after.
    pub floor: Floors,
    /// Figures that are one number a round.
    pub cells: Vec<Cell>,
    /// Figures that are times, as percentiles.
    pub curves: Vec<Curve>,
    /// What was replayed and compared.
    pub replays: Replays,
}

/// Bare durable writes of 4 KiB, one at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floors {
    /// Before all else.
    pub before: Floor,
    /// After all else.
    pub after: Floor,
}

/// The percentiles of one floor, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Half were faster.
    pub p50_ns: f64,
    /// 99 of 100 were faster.
    pub p99_ns: f64,
    /// The slowest.
    pub max_ns: f64,
}

impl From<&Curve> for Floor {
    fn from(curve: &Curve) -> Self {
        Self { p50_ns: curve.at(0.5), p99_ns: curve.at(0.99), max_ns: curve.max_ns }
    }
}

/// What the figure of a cell counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Events a second: more is better.
    EventsPerSecond,
    /// Bytes a second: more is better.
    BytesPerSecond,
    /// Nanoseconds for one: less is better.
    Nanoseconds,
}

/// One thing that was measured in rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Where it is shown, such as `log.batch`.
    pub chart: String,
    /// Which line or row of it.
    pub series: String,
    /// Where on the line; none for a row.
    pub x: Option<f64>,
    /// What the figure counts.
    pub unit: Unit,
    /// The median of the rounds.
    pub median: f64,
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
    /// The figure of each round, in order.
    pub rounds: Vec<f64>,
    /// The median in events a second, where that is not the figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<f64>,
    /// The median in bytes a second, where that is not the figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<f64>,
    /// The most of all cores that others used in a round and around it, 0 to 1; none where that was too short to
    /// tell.
    pub others: Option<f64>,
}

/// Replays of the logs that the cells wrote. A run with a difference in it gives no figures at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replays {
    /// Logs that were replayed on one thread, with the same digests of all stages as the live run.
    pub logs: u64,
    /// Events in them.
    pub events: u64,
}

/// What the parts collect.
#[derive(Default)]
pub struct Figures {
    pub(crate) cells: Vec<Cell>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) replays: Replays,
}

impl Measured {
    /// The cells of a chart, in the order in which they were measured.
    pub fn cells_of<'a>(&'a self, chart: &'a str) -> impl Iterator<Item = &'a Cell> {
        self.cells.iter().filter(move |cell| cell.chart == chart)
    }

    /// The curves of a chart.
    pub fn curves_of<'a>(&'a self, chart: &'a str) -> impl Iterator<Item = &'a Curve> {
        self.curves.iter().filter(move |curve| curve.chart == chart)
    }

    /// One cell.
    pub fn cell(&self, chart: &str, series: &str, x: Option<f64>) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.chart == chart && cell.series == series && cell.x == x)
    }

    /// One curve.
    pub fn curve(&self, chart: &str, series: &str) -> Option<&Curve> {
        self.curves.iter().find(|curve| curve.chart == chart && curve.series == series)
    }

    /// The most of all cores that others used while a cell was measured, 0 to 1.
    pub fn others(&self) -> f64 {
        self.cells.iter().filter_map(|cell| cell.others).fold(0.0, f64::max)
    }
}
