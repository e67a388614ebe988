//! The figures that people ask for, out of all that were measured: on the terminal, and at the top of the page.

use downbeat_benches::cells::Measured;
use downbeat_benches::cells::measured::Unit;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    /// A cell: chart, series, place.
    Cell(&'static str, &'static str, Option<f64>),
    /// The same, in events a second.
    Events(&'static str, &'static str, Option<f64>),
    /// The least of some.
    Least(&'static [Asked]),
    /// A percentile of a curve.
    Share(&'static str, &'static str, f64),
}

/// Rows under one heading.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) rows: &'static [Row],
}

/// A row: its name, its figure, and the figure it is set against, with what that is called.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    asked: Asked,
    against: Option<(Asked, &'static str)>,
}

/// A row with its figures.
pub(crate) struct Answer {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) rounds: usize,
    pub(crate) unit: Unit,
    /// How often the other goes into it, and what the other is.
    pub(crate) against: Option<(f64, &'static str)>,
}

const KIB_64: Option<f64> = Some(65536.0);
const KIB_256: Option<f64> = Some(262144.0);

const fn row(name: &'static str, asked: Asked) -> Row {
    Row { name, asked, against: None }
}

const fn against(name: &'static str, asked: Asked, other: Asked, called: &'static str) -> Row {
    Row { name, asked, against: Some((other, called)) }
}

const LANES: Asked = Asked::Cell("hop.loaded", "lanes, one thread", None);
const CPU: &str = "processor alone, no disk";
const RAW: &str = "bare disk, not synced";
const BARE: &str = "bare durable write, in turn with it";
const ACK: &str = "submit to durable receipt";

/// All of them.
pub(crate) const GROUPS: [Group; 5] = [
    Group {
        title: "Disk",
        rows: &[
            row("bare durable 4 KiB write, p50", Asked::Share("disk.floor", "before", 0.5)),
            row("… p99", Asked::Share("disk.floor", "before", 0.99)),
            row("… afterwards, p50", Asked::Share("disk.floor", "after", 0.5)),
            row("bare 64 KiB writes, unsynced", Asked::Cell("log.batch", RAW, KIB_64)),
            row("bare 256 KiB writes, unsynced", Asked::Cell("log.batch", RAW, KIB_256)),
        ],
    },
    Group {
        title: "Log alone, events of 64 bytes",
        rows: &[
            against(
                "batches of 64 KiB",
                Asked::Events("log.batch", "log, segments ready", KIB_64),
                Asked::Least(&[Asked::Cell("log.batch", RAW, KIB_64), Asked::Cell("log.batch", CPU, KIB_64)]),
                "the limit",
            ),
            against(
                "batches of 256 KiB",
                Asked::Events("log.batch", "log, segments ready", KIB_256),
                Asked::Least(&[
                    Asked::Cell("log.batch", RAW, KIB_256),
                    Asked::Cell("log.batch", CPU, KIB_256),
                ]),
                "the limit",
            ),
            row("… processor alone", Asked::Events("log.batch", CPU, KIB_256)),
            row("… as shipped", Asked::Events("log.batch", "log, as shipped", KIB_256)),
        ],
    },
    Group {
        title: "Hop between actors",
        rows: &[
            row("full load, lanes, one thread", LANES),
            row(
                "… two threads, all hops cross",
                Asked::Cell("hop.loaded", "lanes, two threads, every hop crosses", None),
            ),
            against(
                "… by ractor messages",
                Asked::Cell("hop.loaded", "ractor message, peer to peer", None),
                LANES,
                "lanes",
            ),
            against(
                "… the same through a hub",
                Asked::Cell("hop.loaded", "ractor message, through a hub", None),
                LANES,
                "lanes",
            ),
            row("alone, one warm thread, p50", Asked::Share("hop.alone", "lane, one warm thread", 0.5)),
        ],
    },
    Group {
        title: "End to end, 5 stages, 4 producers",
        rows: &[
            row("each stage an actor", Asked::Cell("end_to_end.throughput", "each stage an actor", None)),
            row(
                "five stages in one actor",
                Asked::Cell("end_to_end.throughput", "five stages in one actor", None),
            ),
            against(
                "one event alone, p50",
                Asked::Share("end_to_end.alone", ACK, 0.5),
                Asked::Share("end_to_end.alone", BARE, 0.5),
                "bare write",
            ),
            against(
                "… p99",
                Asked::Share("end_to_end.alone", ACK, 0.99),
                Asked::Share("end_to_end.alone", BARE, 0.99),
                "bare write",
            ),
            row("at 100,000 events/s, p50", Asked::Share("end_to_end.rate", "100,000 events/s", 0.5)),
            row("… p99", Asked::Share("end_to_end.rate", "100,000 events/s", 0.99)),
            row("at 1,000,000 events/s, p50", Asked::Share("end_to_end.rate", "1,000,000 events/s", 0.5)),
            row("… p99", Asked::Share("end_to_end.rate", "1,000,000 events/s", 0.99)),
        ],
    },
    Group {
        title: "Scaling, each stage an actor",
        rows: &[
            against(
                "64 producers",
                Asked::Cell("scaling.producers", "each stage an actor", Some(64.0)),
                Asked::Cell("scaling.producers", "each stage an actor", Some(1.0)),
                "one",
            ),
            row("16 stages, on one thread", Asked::Cell("scaling.stages", "each stage an actor", Some(16.0))),
            row("payload of 64 KiB", Asked::Cell("scaling.payload", "each stage an actor", Some(65536.0))),
        ],
    },
];

impl Row {
    /// Its figures in a run; nothing when it was not measured there.
    pub(crate) fn of(&self, run: &Measured) -> Option<Answer> {
        let mut answer = self.asked.of(run)?;
        let against = self.against.and_then(|(other, called)| {
            let own = match self.asked {
                // Against the disk it is bytes that count.
                Asked::Events(chart, series, x) => Asked::Cell(chart, series, x).of(run)?,
                asked => asked.of(run)?,
            };
            Some((own.value / other.of(run)?.value, called))
        });
        answer.against = against;
        Some(answer)
    }
}

/// How many times as good one figure is as another, whichever direction is better.
pub(crate) fn better(unit: Unit, this: f64, beside: f64) -> f64 {
    match unit {
        Unit::Nanoseconds => beside / this,
        Unit::EventsPerSecond | Unit::BytesPerSecond => this / beside,
    }
}

impl Asked {
    fn of(self, run: &Measured) -> Option<Answer> {
        match self {
            Self::Cell(chart, series, x) => {
                let cell = run.cell(chart, series, x)?;
                let (value, low, high, unit) = (cell.median, cell.low, cell.high, cell.unit);
                Some(Answer { value, low, high, rounds: cell.rounds.len(), unit, against: None })
            }
            Self::Events(chart, series, x) => {
                let cell = run.cell(chart, series, x)?;
                let value = cell.events_per_second?;
                // Bytes and events of a round stand in one proportion.
                let (low, high) = (cell.low * value / cell.median, cell.high * value / cell.median);
                let rounds = cell.rounds.len();
                Some(Answer { value, low, high, rounds, unit: Unit::EventsPerSecond, against: None })
            }
            Self::Least(all) => {
                // Without a bare disk to measure it is not known which is the slower one.
                let all: Option<Vec<Answer>> = all.iter().map(|one| one.of(run)).collect();
                all?.into_iter().min_by(|one, other| one.value.total_cmp(&other.value))
            }
            Self::Share(chart, series, share) => {
                let curve = run.curve(chart, series)?;
                let point = curve.points.iter().find(|point| point.share >= share - 1e-9)?;
                let (value, low, high) = (point.ns, point.low_ns, point.high_ns);
                let rounds = curve.rounds;
                Some(Answer { value, low, high, rounds, unit: Unit::Nanoseconds, against: None })
            }
        }
    }
}
