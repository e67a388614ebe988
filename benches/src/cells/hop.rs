//! What a hop between actors costs, on lanes and doorbells, and what it costs by a ractor message for each token,
//! peer to peer and through a hub.

use std::sync::Arc;
use std::time::Duration;

use downbeat_actors::hop::{Chain, Pair, Read};
use downbeat_record::{Batch, Fields, Timestamp};

use super::bench::Bench;
use super::measured::{Figures, Unit};
use super::percentiles::Curve;
use super::plan::Part;
use super::rounds::Rounds;
use super::trouble::Trouble;
use crate::latency::Latencies;
use crate::plain::{Plain, PlainPair};
use crate::table::Sample;

/// Stages of a chain.
pub const STAGES: usize = 5;
/// Tokens that go first: what was cold is not asked for.
const WARM: u64 = 10_240;
/// The source and five relays, on one thread.
pub const ONE_THREAD: [usize; 6] = [0; 6];
/// One hop of five goes from thread to thread.
pub const ONE_CROSSING: [usize; 6] = [0, 0, 0, 1, 1, 1];
/// Every hop goes from thread to thread.
pub const ALL_CROSSING: [usize; 6] = [0, 1, 0, 1, 0, 1];

/// 64 KiB of events of 64 bytes, for tokens to name.
pub fn segment() -> Arc<Batch> {
    let mut batch = Batch::with_capacity(64 << 10, 0);
    let mut time = 0;
    while batch.push(&Fields::default(), Timestamp(time + 1), &[7; 64]).is_ok() {
        time += 1;
    }
    Arc::new(batch)
}

/// Sends tokens through a chain: per token and hop.
pub fn hops(chain: &mut Chain, tokens: u64) -> Sample {
    Sample::new(tokens * chain.hops(), chain.run(tokens))
}

/// The same by messages.
pub fn messages(plain: &mut Plain, tokens: u64) -> Sample {
    Sample::new(tokens * plain.stages(), plain.run(tokens))
}

/// Half of each round trip, in order; the first tenth is left out, for what was cold is not asked for.
pub fn halves(round_trips: &[u32]) -> Latencies {
    let mut halves = Latencies::default();
    let warm = round_trips.iter().skip(round_trips.len() / 10);
    warm.for_each(|ns| halves.add(Duration::from_nanos(u64::from(ns / 2))));
    halves
}

pub(crate) fn measure(bench: &Bench<'_>, figures: &mut Figures) -> Result<(), Trouble> {
    let batch = segment();
    bench.begin(Part::HopLoaded)?;
    loaded(bench, &batch, figures)?;
    bench.begin(Part::HopAlone)?;
    alone(bench, &batch, figures)
}

/// Full load, per token and hop.
fn loaded(bench: &Bench<'_>, batch: &Arc<Batch>, figures: &mut Figures) -> Result<(), Trouble> {
    let lanes = bench.pick(10_240, 512_000, 2_048_000);
    let each = bench.pick(1_024, 51_200, 204_800);
    let chain = |placement: &[usize], value_bytes, read| {
        let mut chain = Chain::start(placement, batch, value_bytes, read)?;
        chain.run(WARM);
        Ok::<_, Trouble>(chain)
    };
    let mut one = chain(&ONE_THREAD, 0, Read::Touch)?;
    let mut one_record = chain(&ONE_THREAD, 16, Read::Record)?;
    let mut crossing = chain(&ONE_CROSSING, 0, Read::Touch)?;
    let mut all_crossing = chain(&ALL_CROSSING, 0, Read::Touch)?;
    let (mut peers, mut hub) = (Plain::peers(STAGES, batch), Plain::hub(STAGES, batch));
    peers.run(WARM);
    hub.run(WARM);
    let mut rounds = Rounds::new(bench);
    for (series, chain) in [
        ("lanes, one thread", &mut one),
        ("… with a value, and the event's header read", &mut one_record),
        ("lanes, two threads, one hop of five crosses", &mut crossing),
        ("lanes, two threads, every hop crosses", &mut all_crossing),
    ] {
        rounds.cell("hop.loaded", series, None, Unit::Nanoseconds, move || Ok(hops(chain, lanes)));
    }
    for (series, plain) in
        [("ractor message, peer to peer", &mut peers), ("ractor message, through a hub", &mut hub)]
    {
        rounds.cell("hop.loaded", series, None, Unit::Nanoseconds, move || Ok(messages(plain, each)));
    }
    figures.cells.extend(rounds.measure(5)?);
    Ok(())
}

/// One token under way.
fn alone(bench: &Bench<'_>, batch: &Arc<Batch>, figures: &mut Figures) -> Result<(), Trouble> {
    let trips = bench.pick(100, 20_000, 100_000);
    let mut lanes = Pair::start([0, 0], batch)?;
    let mut parked = Pair::start([0, 1], batch)?;
    let (mut peers, mut hub) = (PlainPair::start(false), PlainPair::start(true));
    let mut all: [Vec<Latencies>; 4] = Default::default();
    for round in 0..5 {
        if round > 0 && !bench.has_time(round) {
            break;
        }
        let times = [
            lanes.run(trips),
            // Each takes a hundred times as long.
            parked.run(trips / 20),
            peers.run(trips as usize),
            hub.run(trips as usize),
        ];
        all.iter_mut().zip(times).for_each(|(all, times)| all.push(halves(&times)));
        bench.step()?;
    }
    let names = [
        "lane, one warm thread",
        "lane, two threads that park",
        "ractor message, peer to peer",
        "ractor message, through a hub",
    ];
    figures.curves.extend(names.iter().zip(&all).map(|(name, all)| Curve::of("hop.alone", name, all)));
    Ok(())
}
