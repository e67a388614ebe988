//! The whole way: submitted by four producers, ordered, durable, applied by five stages. And how long one event takes
//! from `submit` to its receipt.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench end_to_end [-- --quick]
//! ```
//!
//! An event counts when it is durable and every stage has applied it. After each log is closed it is replayed on one
//! thread, and the digests must be those that the live run logged.

use std::time::{Duration, Instant};

use downbeat::{Ack, Engine, Options, Receipt, Seq, Ticket};
use downbeat_benches::audit;
use downbeat_benches::flow::{Posted, Spread, five};
use downbeat_benches::latency::{Beside, Latencies, Pacer};
use downbeat_benches::run::{Scratch, bench};
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use downbeat_record::Fields;
use downbeat_wal::probe::Floor;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const PRODUCERS: u64 = 4;
/// Receipts that a producer has under way before it waits for the oldest.
const UNDER_WAY: usize = 4_096;

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

/// What a throughput cell varies.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    spread: Spread,
    receipts: bool,
    /// Shards of each stage, and threads that run them.
    shards: u32,
}

const FORMS: [Form; 5] = [
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

/// The one of them that an open loop is like.
const WITH_RECEIPTS: usize = 1;

/// An engine in a directory of its own.
struct Rig {
    engine: Engine,
    spread: Spread,
    scratch: Scratch,
}

impl Rig {
    fn open(run: &Run, name: &str, spread: Spread, shards: u32) -> Self {
        let scratch = run.scratch(name);
        let options = Options::new(scratch.path()).shards(shards).threads(shards as usize);
        let engine = Engine::open(options, five(spread)).expect("a new log opens");
        Self { engine, spread, scratch }
    }

    /// Four producers submit `events` events; the time until all are durable and applied.
    fn run(&self, events: u64, receipts: bool) -> Sample {
        let from = self.engine.last_seq();
        let each = events / PRODUCERS;
        let last = Seq(from.0 + each * PRODUCERS);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for producer in 0..PRODUCERS {
                scope.spawn(move || {
                    if receipts { self.with_receipts(producer, each) } else { self.send(producer, each) }
                });
            }
        });
        while self.engine.durable() < last || self.applied() < last {
            std::thread::park_timeout(Duration::from_micros(100));
        }
        Sample::new(each * PRODUCERS, begun.elapsed())
    }

    fn applied(&self) -> Seq {
        self.engine.workers().iter().map(|worker| worker.cursor).min().unwrap_or_default()
    }

    fn send(&self, producer: u64, events: u64) {
        let ingress = self.engine.ingress();
        let kind = self.engine.kind_of::<Posted>().expect("the flow is on it");
        for number in 0..events {
            let (event, key) = Posted::nth(producer, number);
            let fields = Fields { kind, key, ..Fields::default() };
            ingress.send_blocking(&fields, &event).expect("the engine is open");
        }
    }

    fn with_receipts(&self, producer: u64, events: u64) {
        let ingress = self.engine.ingress();
        let kind = self.engine.kind_of::<Posted>().expect("the flow is on it");
        let mut under_way = std::collections::VecDeque::<Ticket>::with_capacity(UNDER_WAY);
        let receive = |ticket: Ticket| -> Receipt { ticket.wait().expect("it becomes durable") };
        for number in 0..events {
            if under_way.len() == UNDER_WAY {
                under_way.pop_front().map(receive);
            }
            let (event, key) = Posted::nth(producer, number);
            let fields = Fields { kind, key, ..Fields::default() };
            let ticket = ingress.submit_blocking(&fields, &event, Ack::Durable);
            under_way.push_back(ticket.expect("the engine is open"));
        }
        for ticket in under_way {
            receive(ticket);
        }
    }

    /// Closes the log and replays it; the events it holds.
    fn close(self) -> u64 {
        self.engine.close().expect("everything goes through");
        audit::replay(self.scratch.path(), &five(self.spread))
    }
}

/// With receipts and each stage an actor, events a second.
fn throughput(run: &Run) -> f64 {
    let events = run.pick(10_000, 400_000, 1_000_000);
    let mut table =
        Table::new("submitted, ordered, durable and applied: events of 64 bytes, 4 producers, 5 stages");
    for form in FORMS {
        table.cell(form.name, Unit::MillionsPerSecond, move || {
            let rig = Rig::open(run, "throughput", form.spread, form.shards);
            let sample = rig.run(events, form.receipts);
            assert_eq!(rig.close(), sample.count, "the log holds what was submitted");
            sample
        });
    }
    let medians = table.measure(run, 0.25);
    run.say("every log was replayed on one thread: the digests of all stages are those of the live run");
    medians.of(WITH_RECEIPTS) * 1e6
}

/// One event under way, and in turn one bare durable write.
fn one_alone(run: &Run) {
    let each = run.pick(20, 300, 1_000);
    let rig = Rig::open(run, "alone", Spread::Apart, 1);
    let mut floor = Floor::new(run.dir(), true).expect("the disk can be measured");
    let mut beside = Beside::default();
    for _ in 0..run.rounds() {
        run.await_quiet(0.05);
        let (mut acks, mut bare) = (Latencies::default(), Latencies::default());
        for number in 0..each {
            bare.add(floor.measure().expect("the disk writes"));
            let (event, key) = Posted::nth(0, number);
            let begun = Instant::now();
            rig.engine.submit(&event).key(key).wait().expect("it becomes durable");
            acks.add(begun.elapsed());
        }
        beside.round(&acks, &bare);
    }
    rig.close();
    run.say("\n## one event alone: from submit to a durable receipt\n");
    beside.report(run, "submit to receipt", "bare 4 KiB RWF_DSYNC");
}

/// Events that come at a rate, whatever the engine does: each is timed from when it was due.
fn open_loop(run: &Run, saturated: f64) {
    run.say("\n## open loop: from when an event was due to its durable receipt\n");
    let quarter = (saturated / 4.0) as u64;
    let paces = [("100,000", 100_000), ("a quarter of saturation", quarter), ("1,000,000", 1_000_000)];
    for (name, per_second) in paces {
        let seconds = run.pick(0.02, 0.5, 1.0);
        let (mut all, mut lateness, mut bare) =
            (Latencies::default(), Latencies::default(), Latencies::default());
        let mut medians = Vec::new();
        for _ in 0..run.rounds() {
            run.await_quiet(0.05);
            let mut floor = Floor::new(run.dir(), true).expect("the disk can be measured");
            for _ in 0..run.pick(10, 100, 400) {
                bare.add(floor.measure().expect("the disk writes"));
            }
            let rig = Rig::open(run, "open", Spread::Apart, 1);
            let [these, late] = at_pace(&rig.engine, per_second, (per_second as f64 * seconds) as u64);
            rig.close();
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

/// How often a burst of events comes. Each of its events is due at the same time: one timer for each event would be
/// too fine for a thread that sleeps, and one that spins takes a core from the engine.
const BURST_EVERY: Duration = Duration::from_micros(50);

/// How long each event took, and how late it was submitted.
fn at_pace(engine: &Engine, per_second: u64, events: u64) -> [Latencies; 2] {
    let (mut sender, mut receiver) = rtrb::RingBuffer::<(Ticket, Instant)>::new(1 << 16);
    let burst = (per_second as f64 * BURST_EVERY.as_secs_f64()).round().max(1.0) as u64;
    let begun = Instant::now() + Duration::from_millis(5);
    let caller = std::thread::current();
    std::thread::scope(|scope| {
        let generator = scope.spawn(move || {
            let ingress = engine.ingress();
            let kind = engine.kind_of::<Posted>().expect("the flow is on it");
            let (mut late, mut pacer) = (Latencies::default(), Pacer::here());
            for first in (0..events).step_by(burst as usize) {
                let due = begun + Duration::from_nanos(first * 1_000_000_000 / per_second);
                pacer.until(due);
                for number in first..(first + burst).min(events) {
                    late.add(due.elapsed());
                    let (event, key) = Posted::nth(0, number);
                    let fields = Fields { kind, key, ..Fields::default() };
                    let ticket = ingress.submit_blocking(&fields, &event, Ack::Durable);
                    let mut entry = (ticket.expect("the engine is open"), due);
                    while let Err(rtrb::PushError::Full(back)) = sender.push(entry) {
                        entry = back;
                        std::thread::yield_now();
                    }
                }
                caller.unpark();
            }
            late
        });
        let mut latencies = Latencies::default();
        while latencies.count() < events {
            let Ok((ticket, due)) = receiver.pop() else {
                std::thread::park_timeout(Duration::from_millis(10));
                continue;
            };
            ticket.wait().expect("it becomes durable");
            latencies.add(due.elapsed());
        }
        [latencies, generator.join().expect("the generator does not panic")]
    })
}

/// The same cells for criterion.
fn record(run: &Run) {
    let events = run.pick(4_000, 200_000, 200_000);
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("end_to_end");
    for form in FORMS {
        let rig = Rig::open(run, "criterion", form.spread, form.shards);
        let name = form.name.replace([' ', ','], "_").replace("__", "_");
        bench(&mut group, &name, events, || rig.run(events, form.receipts));
        // Criterion may have been asked for other benchmarks only.
        if rig.engine.last_seq() > Seq::ZERO {
            rig.close();
        }
    }
    group.finish();
    criterion.final_summary();
}
