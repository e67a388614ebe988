//! The disk without a log: one bare durable write of 4 KiB after the other. No single event can be faster.

use downbeat_wal::probe::Floor;

use super::bench::Bench;
use super::percentiles::Curve;
use super::plan::Part;
use super::trouble::Trouble;
use crate::latency::Latencies;

/// Writes until its time is over, in rounds.
///
/// # Errors
///
/// [`Trouble::Disk`], [`Trouble::Stopped`].
pub fn measure(bench: &Bench<'_>, part: Part) -> Result<Curve, Trouble> {
    bench.begin(part)?;
    let refused = |source| Trouble::disk(bench.dir(), source);
    let mut floor = Floor::new(bench.dir(), true).map_err(refused)?;
    let mut rounds: Vec<Latencies> = Vec::new();
    for round in 0..bench.pick(1, 3, 10) {
        if round > 0 && !bench.has_time(round) {
            break;
        }
        let mut times = Latencies::default();
        for _ in 0..bench.pick(20, 1_000, 2_000) {
            times.add(floor.measure().map_err(refused)?);
        }
        rounds.push(times);
        bench.step()?;
    }
    let series = if part == Part::FloorAfter { "after" } else { "before" };
    Ok(Curve::of("disk.floor", series, &rounds))
}
