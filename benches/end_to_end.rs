//! The whole way: submitted by four producers, ordered, durable, applied by five stages. And how long one event takes
//! from `submit` to its receipt.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench end_to_end [-- --quick]
//! ```
//!
//! An event counts when it is durable and every stage has applied it. After each log is closed it is replayed on one
//! thread, and the digests must be those that the live run logged. The generator of the open loop sleeps between its
//! bursts; with `DOWNBEAT_BENCH_SPIN=1` it spins, which is exact, and takes a core.

use std::time::Instant;

use downbeat::{Options, Seq, Wait};
use downbeat_benches::cells::end_to_end::{FORMS, Form, PRODUCERS};
use downbeat_benches::cells::rig::Rig;
use downbeat_benches::flow::{Posted, Spread, five};
use downbeat_benches::latency::{Beside, Latencies};
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
        let saturated = throughput(&run);
        one_alone(&run);
        open_loop(&run, saturated);
        run.floor("after");
    }
    record(&run);
}

/// The one of them that an open loop is like.
const WITH_RECEIPTS: usize = 1;

/// An engine in a directory of its own.
fn open(run: &Run, name: &str, spread: Spread, shards: u32) -> Rig {
    Rig::open(run.scratch(name), name, move || five(spread), shards, |options| options)
        .expect("a new log opens")
}

fn go(rig: &Rig, events: u64, form: Form) -> Sample {
    rig.run(PRODUCERS, events, form.traffic()).expect("the engine is open")
}

/// Closes the log and replays it; the events it holds.
fn close(rig: Rig) -> u64 {
    rig.close().expect("everything goes through, and the replay has the digests of the live run").events
}

/// With receipts and each stage an actor, events a second.
fn throughput(run: &Run) -> f64 {
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
    let medians = table.measure(run, 0.25);
    run.say("every log was replayed on one thread: the digests of all stages are those of the live run");
    medians.of(WITH_RECEIPTS) * 1e6
}

/// One event under way, and in turn one bare durable write: with threads that sleep, as shipped; with the thread that
/// orders looking for what comes; and with the one that submits looking for its receipt as well, which leaves the disk's
/// the only wake-up, and takes two cores.
fn one_alone(run: &Run) {
    run.say("\n## one event alone: from submit to a durable receipt\n");
    let forms = [
        ("threads sleep", Wait::Park, Wait::Park),
        ("the one that orders looks", Wait::Poll, Wait::Park),
        ("both look", Wait::Poll, Wait::Poll),
    ];
    for (name, orders, submits) in forms {
        one_alone_with(run, name, orders, submits);
    }
}

fn one_alone_with(run: &Run, name: &str, orders: Wait, submits: Wait) {
    let each = run.pick(20, 300, 1_000);
    let set = |mut options: Options| {
        options.wait = orders;
        options
    };
    let rig =
        Rig::open(run.scratch("alone"), "alone", || five(Spread::Apart), 1, set).expect("a new log opens");
    let mut floor = Floor::new(run.dir(), true).expect("the disk can be measured");
    let mut beside = Beside::default();
    for _ in 0..run.rounds() {
        run.await_quiet(0.05);
        let (mut acks, mut bare) = (Latencies::default(), Latencies::default());
        for number in 0..each {
            bare.add(floor.measure().expect("the disk writes"));
            let (event, key) = Posted::nth(0, number);
            let begun = Instant::now();
            let ticket = rig.engine().submit(&event).key(key).ticket().expect("the door is open");
            while submits == Wait::Poll && !ticket.is_done() {
                std::hint::spin_loop();
            }
            ticket.wait().expect("it becomes durable");
            acks.add(begun.elapsed());
        }
        beside.round(&acks, &bare);
    }
    close(rig);
    beside.report(run, &format!("submit to receipt, {name}"), "bare 4 KiB RWF_DSYNC");
}

/// Events that come at a rate, whatever the engine does: each is timed from when it was due.
fn open_loop(run: &Run, saturated: f64) {
    run.say("\n## open loop: from when an event was due to its durable receipt\n");
    let quarter = (saturated / 4.0) as u64;
    let paces = [("100,000", 100_000), ("a quarter of saturation", quarter), ("1,000,000", 1_000_000)];
    for (name, per_second) in paces {
        let seconds = run.pick(0.02, 1.0, 2.0);
        let (mut all, mut lateness, mut bare) =
            (Latencies::default(), Latencies::default(), Latencies::default());
        let mut medians = Vec::new();
        for _ in 0..run.rounds() {
            run.await_quiet(0.05);
            let mut floor = Floor::new(run.dir(), true).expect("the disk can be measured");
            for _ in 0..run.pick(10, 100, 400) {
                bare.add(floor.measure().expect("the disk writes"));
            }
            let rig = open(run, "open", Spread::Apart, 1);
            let times = rig.at_rate(per_second, (per_second as f64 * seconds) as u64);
            let [these, late] = times.expect("the engine is open");
            close(rig);
            medians.push(these.at(0.5) / 1e3);
            all.merge(&these);
            lateness.merge(&late);
        }
        medians.sort_unstable_by(f64::total_cmp);
        let (low, high, rounds) = (medians[0], medians[medians.len() - 1], medians.len());
        run.say(format_args!("{name}: {per_second} events/s"));
        run.say(format_args!("  due to receipt   {all}  (p50 of {rounds} rounds: {low:.0} to {high:.0} µs)"));
        run.say(format_args!("  of it the generator's lateness  {lateness}"));
        run.say(format_args!("  bare 4 KiB RWF_DSYNC between rounds  {bare}"));
        let floor = bare.at(0.5);
        run.say(format_args!(
            "  p50 / floor p50: {:.2}, p99 / floor p50: {:.1}",
            all.at(0.5) / floor,
            all.at(0.99) / floor
        ));
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
