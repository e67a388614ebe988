//! What a hop between actors costs: through lanes and doorbells, beside a ractor message for every token, peer to
//! peer and through a hub.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench hop [-- --quick]
//! ```

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_actors::Wait;
use downbeat_actors::hop::{Chain, Pair, Read};
use downbeat_benches::allocations::{Counting, allocations};
use downbeat_benches::cells::hop::{
    ALL_CROSSING, ONE_CROSSING, ONE_THREAD, STAGES, halves, hops, messages, segment,
};
use downbeat_benches::latency::Latencies;
use downbeat_benches::plain::{Plain, PlainPair};
use downbeat_benches::run::bench;
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use downbeat_record::Batch;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let run = Run::start("hop");
    let batch = segment();
    if run.shows() {
        loaded(&run, &batch);
        counted(&run, &batch);
        alone(&run, &batch);
    }
    record(&run, &batch);
}

fn chain(placement: &[usize], batch: &Arc<Batch>, value_bytes: usize) -> Chain {
    Chain::start(placement, batch, value_bytes, Read::Touch).expect("the actors start")
}

/// Full load, per token and hop.
fn loaded(run: &Run, batch: &Arc<Batch>) {
    let (lanes, messages_each) = (run.pick(10_240, 512_000, 4_096_000), run.pick(1_024, 51_200, 307_200));
    let mut one = chain(&ONE_THREAD, batch, 0);
    let mut one_value = chain(&ONE_THREAD, batch, 16);
    let one_record = Chain::start(&ONE_THREAD, batch, 16, Read::Record);
    let mut one_record = one_record.expect("the actors start");
    let mut crossing = chain(&ONE_CROSSING, batch, 0);
    let mut all_crossing = chain(&ALL_CROSSING, batch, 0);
    let mut peers = Plain::peers(STAGES, batch);
    let mut hub = Plain::hub(STAGES, batch);
    let mut table = Table::new("five stages at full load: per token and hop");
    table.empty_loop(lanes);
    table.cell("lanes and doorbells, one thread", Unit::Nanoseconds, || hops(&mut one, lanes));
    table.cell("… with a value of 16 bytes", Unit::Nanoseconds, || hops(&mut one_value, lanes));
    table.cell("… and the event's header read as a worker does", Unit::Nanoseconds, || {
        hops(&mut one_record, lanes)
    });
    table.cell("… two threads, one hop of five crosses", Unit::Nanoseconds, || hops(&mut crossing, lanes));
    table.cell("… two threads, every hop crosses", Unit::Nanoseconds, || hops(&mut all_crossing, lanes));
    table.cell("ractor message per token, peer to peer", Unit::Nanoseconds, || {
        messages(&mut peers, messages_each)
    });
    table.cell("ractor message per token, by a hub", Unit::Nanoseconds, || messages(&mut hub, messages_each));
    let medians = table.measure(run, 0.05);
    run.say(format_args!(
        "hub / peer to peer by messages {:.1}, messages / lanes {:.1}, hub / lanes {:.1}",
        medians.ratio(7, 6),
        medians.ratio(6, 1),
        medians.ratio(7, 1)
    ));
}

/// Allocations in steady state.
fn counted(run: &Run, batch: &Arc<Batch>) {
    let tokens = run.pick(1_024, 102_400, 102_400);
    let mut one = chain(&ONE_THREAD, batch, 16);
    let mut peers = Plain::peers(STAGES, batch);
    let mut hub = Plain::hub(STAGES, batch);
    let per_hop = |mut send: Box<dyn FnMut(u64) -> Duration + '_>| {
        send(tokens);
        let before = allocations();
        send(tokens);
        (allocations() - before) as f64 / (tokens * STAGES as u64) as f64
    };
    let lanes = per_hop(Box::new(|tokens| one.run(tokens)));
    let peers = per_hop(Box::new(|tokens| peers.run(tokens)));
    let hub = per_hop(Box::new(|tokens| hub.run(tokens)));
    run.say(format_args!(
        "allocations per token and hop: lanes {lanes:.4}, messages {peers:.2}, hub {hub:.2}"
    ));
    // The one that wakes whoever waits for the end is not of a hop.
    assert!(lanes < 0.001 || run.scale == downbeat_benches::Scale::Test, "{lanes} allocations a hop");
}

/// One token under way: half of a round trip.
fn alone(run: &Run, batch: &Arc<Batch>) {
    let rounds = run.pick(100, 20_000, 200_000);
    let mut lanes = Pair::start([0, 0], batch).expect("the actors start");
    let mut parked = Pair::start([0, 1], batch).expect("the actors start");
    let (mut peers, mut hub) = (PlainPair::start(false), PlainPair::start(true));
    let mut all: [Latencies; 5] = std::array::from_fn(|_| Latencies::default());
    let mut medians: [Vec<f64>; 5] = Default::default();
    for _ in 0..run.rounds() {
        let few = rounds / 20;
        // Two threads that look take both cores, so they are there for their own cell only.
        let looking =
            || Pair::start_waiting([0, 1], batch, Wait::Poll).expect("the actors start").run(rounds / 4);
        let times = [
            lanes.run(rounds),
            parked.run(few),
            looking(),
            peers.run(rounds as usize),
            hub.run(rounds as usize),
        ];
        for ((all, medians), times) in all.iter_mut().zip(&mut medians).zip(times) {
            let these = halves(&times);
            medians.push(these.at(0.5));
            all.merge(&these);
        }
    }
    run.say("\n## one token alone: half of a round trip, half of a reading of the clock included\n");
    let names = [
        "lane and doorbell, one warm thread",
        "lane and doorbell, two threads that park",
        "lane and doorbell, two threads that look",
        "ractor message, peer to peer",
        "ractor message, by a hub",
    ];
    for ((name, all), medians) in names.iter().zip(&all).zip(&mut medians) {
        medians.sort_unstable_by(f64::total_cmp);
        let (low, high) = (medians[0], medians[medians.len() - 1]);
        run.say(format_args!(
            "{name:<42} {all}  (p50 of {} rounds: {low:.0} to {high:.0} ns)",
            medians.len()
        ));
    }
}

/// The same cells for criterion, which keeps them to compare with.
fn record(run: &Run, batch: &Arc<Batch>) {
    let (tokens, each) = (run.pick(1_024, 512_000, 2_048_000), run.pick(256, 51_200, 102_400));
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("hop");
    let per_run = tokens * STAGES as u64;
    for (name, placement) in [
        ("lanes/one_thread", ONE_THREAD),
        ("lanes/one_crossing", ONE_CROSSING),
        ("lanes/all_crossing", ALL_CROSSING),
    ] {
        let mut chain = chain(&placement, batch, 0);
        bench(&mut group, name, per_run, || hops(&mut chain, tokens));
    }
    let mut peers = Plain::peers(STAGES, batch);
    bench(&mut group, "messages/peer_to_peer", each * STAGES as u64, || messages(&mut peers, each));
    let mut hub = Plain::hub(STAGES, batch);
    bench(&mut group, "messages/hub", each * STAGES as u64, || messages(&mut hub, each));
    let rounds = run.pick(100, 20_000, 100_000);
    let pair = RefCell::new(Pair::start([0, 0], batch).expect("the actors start"));
    bench(&mut group, "alone/lane", 2 * rounds, || {
        let begun = Instant::now();
        pair.borrow_mut().run(rounds);
        Sample::new(2 * rounds, begun.elapsed())
    });
    group.finish();
    criterion.final_summary();
}
