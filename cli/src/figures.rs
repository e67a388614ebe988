//! Figures that several pages show: how fast it went, what the stages did, when.

use std::time::{Duration, Instant};

use downbeat::probe::Latency;
use downbeat::record::{Digest, StageDigest};
use downbeat::{HopLatency, Timestamp};
use serde_json::{Map, Value};

use crate::page::{Page, number, rate, time};
use crate::pump::{IN_FLIGHT_MAX, Pumped};

/// How fast it went.
pub(crate) fn speed(page: &mut Page, pumped: &Pumped, hops: Option<HopLatency>, floor: Option<Latency>) {
    let per_second = number(rate(pumped.acknowledged, pumped.took));
    page.row("rate", format_args!("{per_second} events/s, {} in all", time(pumped.took)));
    let ack = [0.5, 0.99, 0.999].map(|quantile| time(pumped.ack(quantile)));
    page.row("submit to durable", format_args!("p50 {}   p99 {}   p99.9 {}", ack[0], ack[1], ack[2]));
    page.row("", format_args!("with up to {} in flight", number(IN_FLIGHT_MAX as u64)));
    if let Some(floor) = floor {
        page.row("fdatasync floor", format_args!("p50 {}   p99 {}", time(floor.p50), time(floor.p99)));
        page.row("", "a bare 4 KiB durable write, before the run");
    }
    if let Some(hop) = hops {
        let [p50, p99, p999] = [hop.p50_ns, hop.p99_ns, hop.p999_ns].map(|ns| time(Duration::from_nanos(ns)));
        page.row("stage to stage", format_args!("p50 {p50}   p99 {p99}   p99.9 {p999}"));
        page.row("", format_args!("a value's wait under load, {} sampled", number(hop.samples)));
    }
}

/// One digest per stage.
pub(crate) fn digests(page: &mut Page, stages: &[StageDigest]) {
    for (index, stage) in stages.iter().enumerate() {
        let label = if index == 0 { "digests" } else { "" };
        page.row(label, format_args!("{:<13}{}", stage.stage, combined(stage)));
    }
}

/// One digest for a stage: xxh3-128 of its output digest and its state digest, 16 bytes little endian each.
pub(crate) fn combined(stage: &StageDigest) -> Digest {
    let mut both = [0; 32];
    both[..16].copy_from_slice(&stage.outputs.0.to_le_bytes());
    both[16..].copy_from_slice(&stage.state.0.to_le_bytes());
    Digest::of(0, &both)
}

/// [`combined`], by the names of the stages.
pub(crate) fn digests_json(stages: &[StageDigest]) -> Value {
    let named = stages.iter().map(|stage| (stage.stage.clone(), combined(stage).to_string().into()));
    Value::Object(named.collect::<Map<_, _>>())
}

/// A time of the log, in UTC.
pub(crate) fn when(timestamp: Timestamp) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(timestamp.0)) {
        Ok(time) => format!("{time:.6}"),
        Err(_) => format!("{timestamp} ns"),
    }
}

/// How long something took, and what it gave.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = work();
    (done, begun.elapsed())
}
