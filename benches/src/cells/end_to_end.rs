//! The whole way: submitted, ordered, durable, applied by five stages. And how long one event takes from `submit` to
//! its receipt, alone and at a rate.

use std::time::Instant;

use downbeat_wal::probe::Floor;

use super::bench::Bench;
use super::measured::{Figures, Replays, Unit};
use super::percentiles::Curve;
use super::plan::Part;
use super::rig::{Rig, Traffic};
use super::rounds::Rounds;
use super::trouble::Trouble;
use crate::flow::{Posted, Spread, five};
use crate::latency::Latencies;

/// Threads that submit.
pub const PRODUCERS: u64 = 4;

/// What a throughput cell varies.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// What it is called.
    pub name: &'static str,
    /// How the stages are spread.
    pub spread: Spread,
    /// Whether every event has a receipt.
    pub receipts: bool,
    /// Shards of each stage, and threads that run them.
    pub shards: u32,
}

/// All of them.
pub const FORMS: [Form; 5] = [
    Form { name: "each stage an actor", spread: Spread::Apart, receipts: false, shards: 1 },
    Form {
        name: "each stage an actor, every event with a receipt",
        spread: Spread::Apart,
        receipts: true,
        shards: 1,
    },
    Form { name: "each stage two actors, on two threads", spread: Spread::Apart, receipts: false, shards: 2 },
    Form { name: "five stages in one actor", spread: Spread::Together, receipts: false, shards: 1 },
    Form {
        name: "five stages in two actors, on two threads",
        spread: Spread::Together,
        receipts: false,
        shards: 2,
    },
];

impl Form {
    /// What its producers send.
    pub fn traffic(&self) -> Traffic {
        if self.receipts { Traffic::Receipts } else { Traffic::Posted }
    }
}

impl Replays {
    pub(crate) fn add(&mut self, more: Self) {
        self.logs += more.logs;
        self.events += more.events;
    }
}

pub(crate) fn measure(bench: &Bench<'_>, figures: &mut Figures) -> Result<(), Trouble> {
    throughput(bench, figures)?;
    alone(bench, figures)?;
    open_loop(bench, figures)
}

fn open(bench: &Bench<'_>, cell: &str, spread: Spread, shards: u32) -> Result<Rig, Trouble> {
    Rig::open(
        bench.scratch("engine"),
        cell,
        move || five(spread),
        shards,
        |options| options.mode(bench.mode()),
    )
}

fn throughput(bench: &Bench<'_>, figures: &mut Figures) -> Result<(), Trouble> {
    bench.begin(Part::Throughput)?;
    let events = bench.pick(10_000, 300_000, 800_000);
    let replays = std::cell::Cell::new(figures.replays);
    let mut rounds = Rounds::new(bench);
    for form in FORMS {
        let replays = &replays;
        rounds.cell("end_to_end.throughput", form.name, None, Unit::EventsPerSecond, move || {
            let rig = open(bench, form.name, form.spread, form.shards)?;
            let sample = rig.run(PRODUCERS, events, form.traffic())?;
            let mut all = replays.get();
            all.add(rig.close()?);
            replays.set(all);
            Ok(sample)
        });
    }
    figures.cells.extend(rounds.measure(5)?);
    figures.replays = replays.get();
    Ok(())
}

/// One event under way, and in turn one bare durable write.
fn alone(bench: &Bench<'_>, figures: &mut Figures) -> Result<(), Trouble> {
    bench.begin(Part::Alone)?;
    let each = bench.pick(20, 800, 2_000);
    let refused = |source| Trouble::disk(bench.dir(), source);
    let rig = open(bench, "one event alone", Spread::Apart, 1)?;
    let mut floor = Floor::new(bench.dir(), true).map_err(refused)?;
    let (mut acks, mut bare) = (Vec::new(), Vec::new());
    for round in 0..5 {
        if round > 0 && !bench.has_time(round) {
            break;
        }
        let (mut these_acks, mut these_bare) = (Latencies::default(), Latencies::default());
        for number in 0..each {
            these_bare.add(floor.measure().map_err(refused)?);
            let (event, key) = Posted::nth(0, number);
            let begun = Instant::now();
            rig.engine().submit(&event).key(key).wait()?;
            these_acks.add(begun.elapsed());
        }
        acks.push(these_acks);
        bare.push(these_bare);
        bench.step()?;
    }
    figures.replays.add(rig.close()?);
    let chart = "end_to_end.alone";
    figures.curves.push(Curve::of(chart, "submit to durable receipt", &acks));
    figures.curves.push(Curve::of(chart, "bare durable write, in turn with it", &bare));
    Ok(())
}

/// Events that come at a rate, whatever the engine does.
fn open_loop(bench: &Bench<'_>, figures: &mut Figures) -> Result<(), Trouble> {
    bench.begin(Part::OpenLoop)?;
    let rates = [(10_000, "10,000"), (100_000, "100,000"), (1_000_000, "1,000,000")];
    let seconds = bench.pick(0.01, 0.45, 1.2);
    let mut all: [[Vec<Latencies>; 2]; 3] = Default::default();
    for round in 0..5 {
        if round > 0 && !bench.has_time(round) {
            break;
        }
        for ((per_second, name), all) in rates.into_iter().zip(&mut all) {
            let rig = open(bench, &format!("{name} events/s"), Spread::Apart, 1)?;
            let [times, late] = rig.at_rate(per_second, (per_second as f64 * seconds) as u64)?;
            figures.replays.add(rig.close()?);
            all[0].push(times);
            all[1].push(late);
            bench.step()?;
        }
    }
    for ((_, name), [times, late]) in rates.into_iter().zip(&all) {
        figures.curves.push(Curve::of("end_to_end.rate", &format!("{name} events/s"), times));
        figures.curves.push(Curve::of("end_to_end.late", &format!("{name} events/s"), late));
    }
    Ok(())
}
