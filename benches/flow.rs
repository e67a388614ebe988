//! What a stage costs: as a function on one thread, and on actors, without a log.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench flow [-- --quick]
//! ```
//!
//! A stage of these does a few nanoseconds of arithmetic on a state per account, of which there are 4,096. What is
//! measured is what surrounds it: finding the state, guarding it, and digesting what was put out and what was changed.

use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

use downbeat_actors::{Actors, CommandRefused, Commands, Feeds, History, HistoryError, Ports, Settings};
use downbeat_benches::flow::{Spread, chain, five, kinds};
use downbeat_benches::made::{Nowhere, fill, whole};
use downbeat_benches::run::bench;
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use downbeat_flow::{Flow, Kinds};
use downbeat_record::{Batch, BatchNo, Epoch, Fields, Root, Seq, Stamp, Timestamp};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Stages of the flow that runs on actors.
const STAGES: usize = 5;
/// Lengths of the chains that run on one thread.
const CHAINS: [usize; 5] = [1, 2, 4, 8, 16];

fn main() {
    let run = Run::start("flow");
    if run.shows() {
        grows(&run);
        on_actors(&run);
    }
    record(&run);
}

/// All stages of a flow in a unit, as an audit runs them.
struct Alone {
    unit: downbeat_flow::Unit,
    stages: u64,
    batches: Vec<Batch>,
}

impl Alone {
    fn new(flow: &Flow) -> Self {
        let kinds = kinds(flow);
        let mut first = 0;
        let batches = (0..8).map(|index| {
            let mut batch = Batch::with_capacity(256 << 10, index);
            batch.open(Seq(first + 1));
            first += fill(&mut batch, &kinds, first, u64::MAX);
            batch
        });
        let batches = batches.collect();
        Self { unit: whole(flow, &kinds), stages: flow.stages().len() as u64, batches }
    }

    /// `laps` times all batches; per event and stage.
    fn run(&mut self, laps: u64) -> Sample {
        let (begun, mut events) = (Instant::now(), 0);
        for _ in 0..laps {
            for batch in &self.batches {
                batch.records().for_each(|record| self.unit.apply(&record, &[], &mut Nowhere));
                events += u64::from(batch.count());
            }
        }
        Sample::new(events * self.stages, begun.elapsed())
    }
}

/// Does a stage cost the same, however many there are?
fn grows(run: &Run) {
    let laps = run.pick(1, 4, 40);
    let mut units: Vec<Alone> = CHAINS.iter().map(|stages| Alone::new(&chain(*stages))).collect();
    let mut table = Table::new("a chain of stages on one thread, as an audit runs it: per event and stage");
    table.empty_loop(100_000 * laps);
    for (unit, stages) in units.iter_mut().zip(CHAINS) {
        let plural = if stages == 1 { "" } else { "s" };
        table.cell(format!("{stages} stage{plural}"), Unit::Nanoseconds, move || unit.run(laps));
    }
    table.measure(run, 0.05);
}

/// A flow without a log: batches by [`Feeds`], five stages, values between them.
struct Rig {
    flow: (Actors, Feeds),
    batches: Vec<Arc<Batch>>,
    next: Seq,
}

struct NoLog;

impl History for NoLog {
    fn durable(&self) -> Seq {
        Seq::ZERO
    }

    fn read(&self, _: Seq, _: Seq, _: &mut dyn FnMut(Arc<Batch>) -> bool) -> Result<(), HistoryError> {
        Ok(())
    }
}

impl Commands for NoLog {
    fn try_submit(&self, _: &Fields, _: &[u8]) -> Result<(), CommandRefused> {
        Err(CommandRefused::Closed)
    }
}

impl Rig {
    fn new(spread: Spread) -> Self {
        let flow = five(spread);
        let kinds = kinds(&flow);
        let batches = (0..32).map(|index| Arc::new(full(&kinds, index))).collect();
        let ports = Ports {
            history: Arc::new(NoLog),
            commands: Arc::new(NoLog),
            recovered: Seq::ZERO,
            checkpoints: Vec::new(),
        };
        let caller: Thread = std::thread::current();
        let flow = Actors::start(flow, kinds, Settings::default(), ports, move || caller.unpark());
        Self { flow: flow.expect("the flow starts"), batches, next: Seq(1) }
    }

    /// Sends `laps` times all batches through: each has been prepared, and its seqs are moved on.
    fn run(&mut self, laps: u64) -> Sample {
        let from = self.next;
        let mut spent = Duration::ZERO;
        for _ in 0..laps {
            for batch in &mut self.batches {
                let batch = Arc::get_mut(batch).expect("every stage has passed it");
                refill(batch, self.next);
                self.next = batch.next_seq();
            }
            let begun = Instant::now();
            self.batches.iter().for_each(|batch| self.flow.1.publish(batch));
            self.wait();
            spent += begun.elapsed();
            drop(self.flow.0.checkpoints());
        }
        Sample::new((self.next.0 - from.0) * STAGES as u64, spent)
    }

    /// Until every stage has passed everything and has let go of the batches.
    fn wait(&mut self) {
        let (actors, feeds) = &mut self.flow;
        let last = Seq(self.next.0 - 1);
        while feeds.slowest() < last {
            feeds.arm(Some(last));
            assert_eq!(actors.fault(), None, "the flow goes on");
            if feeds.slowest() < last {
                std::thread::park();
            }
        }
        while self.batches.iter().any(|batch| Arc::strong_count(batch) > 1) {
            std::thread::yield_now();
        }
    }
}

fn full(kinds: &Kinds, index: u16) -> Batch {
    let mut batch = Batch::with_capacity(256 << 10, index);
    fill(&mut batch, kinds, u64::from(index) << 32, u64::MAX);
    batch
}

/// The same events again, at later places.
fn refill(batch: &mut Batch, first: Seq) {
    let events: Vec<(Fields, Vec<u8>)> =
        batch.records().map(|record| (record.fields, record.payload().bytes().to_vec())).collect();
    batch.open(first);
    for (index, (fields, payload)) in events.iter().enumerate() {
        batch.push(fields, Timestamp(first.0 + index as u64), payload).expect("it fitted before");
    }
    batch.seal(&Stamp {
        batch_no: BatchNo(1),
        epoch: Epoch(1),
        salt: 1,
        prev_root: Root::default(),
        durable: BatchNo::ZERO,
        clock_error_ns: 0,
    });
}

/// The same flow on one thread without actors, and on actors.
fn on_actors(run: &Run) {
    let laps = run.pick(1, 4, 12);
    let mut alone = Alone::new(&five(Spread::Together));
    let (mut apart, mut together) = (Rig::new(Spread::Apart), Rig::new(Spread::Together));
    let mut table = Table::new("a whole flow, five stages with values between them: per event and stage");
    table.cell("on one thread, without actors", Unit::Nanoseconds, || alone.run(4 * laps));
    table.cell("five stages in one actor", Unit::Nanoseconds, || together.run(laps));
    table.cell("each stage an actor", Unit::Nanoseconds, || apart.run(laps));
    let medians = table.measure(run, 0.05);
    run.say(format_args!(
        "one actor / no actor {:.2}, apart / together {:.2}",
        medians.ratio(1, 0),
        medians.ratio(2, 1)
    ));
}

/// The same cells for criterion.
fn record(run: &Run) {
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("flow");
    for stages in CHAINS {
        let mut unit = Alone::new(&chain(stages));
        let count = unit.run(1).count;
        bench(&mut group, &format!("chain/{stages}"), count, || unit.run(1));
    }
    for (name, spread) in [("five/apart", Spread::Apart), ("five/together", Spread::Together)] {
        let mut rig = Rig::new(spread);
        let count = rig.run(1).count;
        bench(&mut group, name, count, || rig.run(1));
    }
    group.finish();
    criterion.final_summary();
}
