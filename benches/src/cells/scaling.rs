//! What becomes of the cost of an event as there are more producers, more stages, more bytes.

use std::cell::Cell;

use super::bench::Bench;
use super::flows::chain;
use super::measured::{Figures, Replays, Unit};
use super::plan::{CELL_BYTES_MAX, Part};
use super::rig::{Rig, Traffic};
use super::rounds::Rounds;
use super::trouble::Trouble;
use crate::flow::Spread;
use crate::run::Scale;

/// Bytes of an event where that is not what is varied.
const PAYLOAD: usize = 64;
/// Stages where that is not what is varied.
const STAGES: usize = 5;
/// Producers where that is not what is varied.
const PRODUCERS: u64 = super::end_to_end::PRODUCERS;
/// Rounds at most.
const ROUNDS: usize = 3;

/// One point of a line.
#[derive(Clone, Copy)]
struct At {
    producers: u64,
    stages: usize,
    payload: usize,
    spread: Spread,
}

/// Where the lines cross.
const HERE: At = At { producers: PRODUCERS, stages: STAGES, payload: PAYLOAD, spread: Spread::Apart };

pub(crate) fn measure(bench: &Bench<'_>, figures: &mut Figures) -> Result<(), Trouble> {
    let producers: &[u64] = match bench.scale() {
        Scale::Test => &[1, 4],
        Scale::Quick => &[1, 4, 16, 64],
        Scale::Full => &[1, 2, 4, 8, 16, 32, 64],
    };
    let stages: &[usize] = match bench.scale() {
        Scale::Test => &[1, 3],
        Scale::Quick => &[1, 4, 16],
        Scale::Full => &[1, 2, 4, 8, 16],
    };
    let payloads: &[usize] = match bench.scale() {
        Scale::Test => &[16, 4_096],
        Scale::Quick => &[16, 256, 4_096, 65_536],
        Scale::Full => &[16, 64, 256, 1_024, 4_096, 16_384, 65_536],
    };
    let lines = |at: fn(At, usize) -> At, values: Vec<usize>| {
        let both = [Spread::Apart, Spread::Together].into_iter();
        both.flat_map(|spread| {
            values.clone().into_iter().map(move |value| (value as f64, at(At { spread, ..HERE }, value)))
        })
        .collect::<Vec<_>>()
    };
    let by_producers = lines(
        |at, value| At { producers: value as u64, ..at },
        producers.iter().map(|n| *n as usize).collect(),
    );
    let by_stages = lines(|at, value| At { stages: value, ..at }, stages.to_vec());
    let by_payload = lines(|at, value| At { payload: value, ..at }, payloads.to_vec());
    for (part, chart, points) in [
        (Part::Producers, "scaling.producers", by_producers),
        (Part::Stages, "scaling.stages", by_stages),
        (Part::Payload, "scaling.payload", by_payload),
    ] {
        line(bench, part, chart, &points, figures)?;
    }
    Ok(())
}

fn line(
    bench: &Bench<'_>,
    part: Part,
    chart: &'static str,
    points: &[(f64, At)],
    figures: &mut Figures,
) -> Result<(), Trouble> {
    bench.begin(part)?;
    let events = bench.pick(2_000, 100_000, 400_000);
    let replays = Cell::new(figures.replays);
    let mut rounds = Rounds::new(bench);
    for (x, at) in points.iter().copied() {
        let series = match at.spread {
            Spread::Apart => "each stage an actor",
            Spread::Together => "all stages in one actor",
        };
        let replays = &replays;
        rounds.cell(chart, series, Some(x), Unit::EventsPerSecond, move || {
            let cell = format!("{chart} at {x}, {series}");
            let rig = Rig::open(
                bench.scratch("engine"),
                &cell,
                move || chain(at.stages, at.spread),
                1,
                |options| options.mode(bench.mode()),
            )?;
            // As long as with few stages.
            let events = events.min(CELL_BYTES_MAX / at.payload as u64) * 4 / (3 + at.stages as u64);
            let mut sample = rig.run(at.producers, events, Traffic::Parcel(at.payload))?;
            sample.bytes = sample.count * at.payload as u64;
            add(replays, rig.close()?);
            Ok(sample)
        });
    }
    figures.cells.extend(rounds.measure(ROUNDS)?);
    figures.replays = replays.get();
    Ok(())
}

fn add(replays: &Cell<Replays>, more: Replays) {
    let mut all = replays.get();
    all.add(more);
    replays.set(all);
}
