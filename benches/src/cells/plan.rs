//! How much of everything is measured, by the scale; how long that may take, and how much space it needs.

use crate::run::Scale;

/// What is measured as one, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bare durable writes, before all else.
    FloorBefore,
    /// The log over the size of its batches.
    LogBatch,
    /// The log over its writes in flight.
    LogDepth,
    /// Hops at full load.
    HopLoaded,
    /// Hops of a token alone.
    HopAlone,
    /// The whole way, as much as goes.
    Throughput,
    /// One event alone.
    Alone,
    /// Events at a rate.
    OpenLoop,
    /// Over the number of producers.
    Producers,
    /// Over the number of stages.
    Stages,
    /// Over the size of the payload.
    Payload,
    /// Bare durable writes, after all else.
    FloorAfter,
}

/// In the order in which they are measured: seconds of a quick run, of a full one.
const PARTS: [(Part, &str, f64, f64); 12] = [
    (Part::FloorBefore, "disk floor", 0.6, 2.0),
    (Part::LogBatch, "log: batches", 3.0, 30.0),
    (Part::LogDepth, "log: depth", 2.5, 22.0),
    (Part::HopLoaded, "hop: loaded", 1.5, 8.0),
    (Part::HopAlone, "hop: alone", 0.8, 4.0),
    (Part::Throughput, "throughput", 4.0, 30.0),
    (Part::Alone, "one alone", 0.8, 6.0),
    (Part::OpenLoop, "open loop", 2.4, 24.0),
    (Part::Producers, "producers", 3.0, 26.0),
    (Part::Stages, "stages", 3.6, 28.0),
    (Part::Payload, "payload", 3.0, 24.0),
    (Part::FloorAfter, "disk floor", 0.6, 2.0),
];

impl Part {
    pub(crate) fn name(self) -> &'static str {
        PARTS.iter().find(|(part, ..)| *part == self).map_or("", |(_, name, ..)| name)
    }
}

fn seconds_of((_, _, quick, full): &(Part, &str, f64, f64), scale: Scale) -> f64 {
    match scale {
        // One round of everything.
        Scale::Test => 0.0,
        Scale::Quick => *quick,
        Scale::Full => *full,
    }
}

/// The time of a part. A round that has begun is brought to its end.
pub(crate) fn budget(part: Part, scale: Scale) -> f64 {
    PARTS.iter().find(|(one, ..)| *one == part).map_or(0.0, |row| seconds_of(row, scale))
}

/// The time of all parts before one.
pub(crate) fn before(part: Part, scale: Scale) -> f64 {
    PARTS.iter().take_while(|(one, ..)| *one != part).map(|row| seconds_of(row, scale)).sum()
}

/// The time of all parts.
pub fn seconds(scale: Scale) -> f64 {
    PARTS.iter().map(|row| seconds_of(row, scale)).sum()
}

/// The most space that a run takes at once, in bytes: the file of the bare disk, and a log with its segments made
/// ready.
pub fn bytes_needed(scale: Scale) -> u64 {
    let log = log_bytes(scale);
    // The engine's own: what a cell writes, and two segments ahead.
    let engine = CELL_BYTES_MAX + 3 * (64 << 20);
    log + (log + 3 * (64 << 20)).max(engine)
}

/// Bytes that one cell of the log writes.
pub(crate) fn log_bytes(scale: Scale) -> u64 {
    match scale {
        Scale::Test => 4 << 20,
        Scale::Quick => 64 << 20,
        Scale::Full => 128 << 20,
    }
}

/// Bytes that one cell of an engine submits at most.
pub(crate) const CELL_BYTES_MAX: u64 = 160 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_follow_each_other_and_keep_what_is_promised() {
        assert_eq!(before(Part::FloorBefore, Scale::Full), 0.0);
        let last = before(Part::FloorAfter, Scale::Full) + budget(Part::FloorAfter, Scale::Full);
        assert!((last - seconds(Scale::Full)).abs() < 1e-9);
        assert!(seconds(Scale::Quick) < 30.0 && seconds(Scale::Full) < 210.0);
    }
}
