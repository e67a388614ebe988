//! The whole way: submitted by four producers, ordered, durable, applied by five stages. And how long one event takes
//! from `submit` to its receipt.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench end_to_end [-- --quick]
//! ```
//!
//! An event counts when it is durable and every stage has applied it. After each log is closed it is replayed on one
//! thread, and the digests must be those that the live run logged.

use std::time::Instant;

use downbeat::Seq;
use downbeat_benches::cells::end_to_end::{FORMS, Form, PRODUCERS};
use downbeat_benches::cells::rig::Rig;
use downbeat_benches::flow::{Posted, Spread, five};
use downbeat_benches::latency::Latencies;
use downbeat_benches::run::bench;
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use downbeat_wal::probe::Floor;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let run = Run::start("end_to_end");
    if run.shows() {
        run.floor("before");
        throughput(&run);
        one_alone(&run);
        open_loop(&run);
        run.floor("after");
    }
    record(&run);
}

/// An engine in a directory of its own.
fn open(run: &Run, name: &str, spread: Spread, shards: u32) -> Rig {
    Rig::open(run.scratch(name), name, move || five(spread), shards).expect("a new log opens")
}

fn go(rig: &Rig, events: u64, form: Form) -> Sample {
    rig.run(PRODUCERS, events, form.traffic()).expect("the engine is open")
}

/// Closes the log and replays it; the events it holds.
fn close(rig: Rig) -> u64 {
    rig.close().expect("everything goes through, and the replay has the digests of the live run").events
}

fn throughput(run: &Run) {
    let events = run.pick(10_000, 400_000, 1_000_000);
    let mut table =
        Table::new("submitted, ordered, durable and applied: events of 64 bytes, 4 producers, 5 stages");
    for form in FORMS {
        table.cell(form.name, Unit::MillionsPerSecond, move || {
            let rig = open(run, "throughput", form.spread, form.shards);
            let sample = go(&rig, events, form);
            assert_eq!(close(rig), sample.count, "the log holds what was submitted");
            sample
        });
    }
    table.measure(run, 0.25);
    run.say("every log was replayed on one thread: the digests of all stages are those of the live run");
}

/// One event under way, and in turn one bare durable write.
fn one_alone(run: &Run) {
    let rounds = run.pick(1, 2, 5);
    let each = run.pick(20, 300, 1_000);
    let rig = open(run, "alone", Spread::Apart, 1);
    let mut floor = Floor::new(run.dir(), true).expect("the disk can be measured");
    let (mut acks, mut bare, mut ratios) = (Latencies::default(), Latencies::default(), Vec::new());
    for _ in 0..rounds {
        run.await_quiet(0.05);
        let (mut these_acks, mut these_bare) = (Latencies::default(), Latencies::default());
        for number in 0..each {
            these_bare.add(floor.measure().expect("the disk writes"));
            let (event, key) = Posted::nth(0, number);
            let begun = Instant::now();
            rig.engine().submit(&event).key(key).wait().expect("it becomes durable");
            these_acks.add(begun.elapsed());
        }
        ratios.push(these_acks.at(0.5) / these_bare.at(0.5));
        acks.merge(&these_acks);
        bare.merge(&these_bare);
    }
    close(rig);
    ratios.sort_unstable_by(f64::total_cmp);
    run.say("\n## one event alone: from submit to a durable receipt\n");
    run.say(format_args!("submit to receipt      {acks}"));
    run.say(format_args!("bare 4 KiB RWF_DSYNC   {bare}"));
    let (low, high) = (ratios[0], ratios[ratios.len() - 1]);
    run.say(format_args!("ratio of the medians {:.2} ({low:.2} to {high:.2})", ratios[ratios.len() / 2]));
}

/// Events that come at a rate, whatever the engine does: each is timed from when it was due.
fn open_loop(run: &Run) {
    run.say("\n## open loop: from when an event was due to its durable receipt\n");
    for per_second in [100_000, 1_000_000] {
        let seconds = run.pick(0.02, 0.5, 1.0);
        let (mut all, mut lateness) = (Latencies::default(), Latencies::default());
        let mut medians = Vec::new();
        for _ in 0..run.pick(1, 1, 5) {
            run.await_quiet(0.05);
            let rig = open(run, "open", Spread::Apart, 1);
            let times = rig.at_rate(per_second, (per_second as f64 * seconds) as u64);
            let [these, late] = times.expect("the engine is open");
            close(rig);
            medians.push(these.at(0.5) / 1e3);
            all.merge(&these);
            lateness.merge(&late);
        }
        medians.sort_unstable_by(f64::total_cmp);
        let (low, high) = (medians[0], medians[medians.len() - 1]);
        run.say(format_args!(
            "{per_second:>9} events/s  {all}  (p50 of {} rounds: {low:.0} to {high:.0} µs)",
            medians.len()
        ));
        run.say(format_args!("          of it late to submit  {lateness}"));
    }
}

/// The same cells for criterion.
fn record(run: &Run) {
    let events = run.pick(4_000, 200_000, 200_000);
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("end_to_end");
    for form in FORMS {
        let rig = open(run, "criterion", form.spread, form.shards);
        let name = form.name.replace([' ', ','], "_").replace("__", "_");
        bench(&mut group, &name, events, || go(&rig, events, form));
        // Criterion may have been asked for other benchmarks only.
        if rig.engine().last_seq() > Seq::ZERO {
            close(rig);
        }
    }
    group.finish();
    criterion.final_summary();
}
