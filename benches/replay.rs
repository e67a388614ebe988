//! How fast a log is read again: by the bare disk, by the reader, by an audit that verifies it, by one that replays it.
//! What is done with events is done on one thread; a reader reads ahead on threads of its own.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench replay [-- --quick]
//! ```
//!
//! The log is of events of 64 bytes, in full batches of 256 KiB, and is there twice: as a flow of five stages left it, and
//! as one of a single stage did.

use std::sync::Arc;
use std::time::Instant;

use downbeat_audit::{ReplayOptions, VerifyOptions};
use downbeat_benches::disk::read_segments;
use downbeat_benches::flow::{Spread, chain, five, kinds};
use downbeat_benches::made::{self, Made, Nowhere, whole};
use downbeat_benches::run::{Scratch, bench};
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use downbeat_flow::Flow;
use downbeat_record::{Batch, Seq};
use downbeat_wal::Options;
use downbeat_wal::reader::{ReadOptions, Reader, Trust};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let run = Run::start("replay");
    let five = Audited::make(&run, "replay-five", || five(Spread::Together));
    let one = Audited::make(&run, "replay-one", || chain(1));
    if run.shows() {
        compare(&run, &five, &one);
    }
    record(&run, &five, &one);
}

/// A log and what is known of it.
struct Audited {
    /// What left it.
    flow: fn() -> Flow,
    made: Made,
    scratch: Scratch,
    /// Some of its events, in memory.
    batches: Vec<Arc<Batch>>,
}

impl Audited {
    fn make(run: &Run, name: &str, flow: fn() -> Flow) -> Self {
        let scratch = run.scratch(name);
        let events = run.pick(3_000, 400_000, 4_000_000);
        let mut options = Options::new(scratch.path());
        options.segment_bytes = run.pick(4 << 20, options.segment_bytes, options.segment_bytes);
        let made = made::log(&options, &flow(), events);
        let mut reader = Reader::open(scratch.path()).expect("the log opens");
        let batches = reader.batches().map(|located| located.expect("it reads well").batch);
        let batches = batches.filter(|batch| !batch.is_empty()).take(256).collect();
        Self { flow, made, scratch, batches }
    }

    fn sample(&self, begun: Instant) -> Sample {
        Sample { bytes: self.made.bytes, ..Sample::new(self.made.events, begun.elapsed()) }
    }

    /// The same bytes, in order, without looking at them.
    fn bare(&self, depth: usize) -> Sample {
        let read = read_segments(self.scratch.path(), self.made.bytes, depth);
        let (bytes, time) = read.expect("the disk reads");
        Sample { bytes, ..Sample::new(self.made.events, time) }
    }

    fn read(&self, verify_chain: bool) -> Sample {
        let begun = Instant::now();
        let options = ReadOptions { trust: Trust::Everything, verify_chain, ..ReadOptions::default() };
        let mut reader = Reader::open_with(self.scratch.path(), options).expect("the log opens");
        let mut last = Seq::ZERO;
        while let Some(located) = reader.next_batch().expect("it reads well") {
            last = Seq(located.batch.next_seq().0 - 1);
        }
        assert_eq!(last.0, self.made.events, "every event was read");
        self.sample(begun)
    }

    fn verify(&self, payloads: bool) -> Sample {
        let begun = Instant::now();
        let verified = downbeat_audit::verify(self.scratch.path(), VerifyOptions { payloads }, |_| ());
        assert_eq!(verified.expect("it holds").events, self.made.events);
        self.sample(begun)
    }

    fn replay(&self) -> Sample {
        let begun = Instant::now();
        let flow = (self.flow)();
        let replayed = downbeat_audit::replay(self.scratch.path(), &flow, ReplayOptions::default(), |_| ());
        let replayed = replayed.expect("the code gives what the log records");
        assert_eq!((replayed.events, replayed.checkpoints), (self.made.events, 1));
        self.sample(begun)
    }

    /// The stages alone, on events that are in memory.
    fn stages(&self) -> Sample {
        let flow = (self.flow)();
        let mut unit = whole(&flow, &kinds(&flow));
        let (begun, mut events) = (Instant::now(), 0);
        for batch in &self.batches {
            batch.records().for_each(|record| unit.apply(&record, &[], &mut Nowhere));
            events += u64::from(batch.count());
        }
        Sample::new(events, begun.elapsed())
    }
}

fn compare(run: &Run, log: &Audited, one: &Audited) {
    let title = format!("{} events, {} MB, read again", log.made.events, log.made.bytes >> 20);
    let mut table = Table::new(&title);
    table.cell("bare direct reads in order, one in flight", Unit::MillionsPerSecond, || log.bare(1));
    table.cell("… four in flight", Unit::MillionsPerSecond, || log.bare(4));
    table.cell("reader, checksums only", Unit::MillionsPerSecond, || log.read(false));
    table.cell("reader, checksums and chain", Unit::MillionsPerSecond, || log.read(true));
    table.cell("verify, without looking into payloads", Unit::MillionsPerSecond, || log.verify(false));
    table.cell("verify", Unit::MillionsPerSecond, || log.verify(true));
    table.cell("replay through five stages, verified", Unit::MillionsPerSecond, || log.replay());
    table.cell("the five stages alone, in memory", Unit::MillionsPerSecond, || log.stages());
    table.cell("replay through one stage, verified", Unit::MillionsPerSecond, || one.replay());
    table.cell("the one stage alone, in memory", Unit::MillionsPerSecond, || one.stages());
    let medians = table.measure(run, 0.15);
    run.say(format_args!(
        "to the bare reads with one in flight: reader {:.2}, verify {:.2}, replay {:.2}, of one stage {:.2}; replay / \
         stages alone {:.2}, of one stage {:.2}",
        medians.ratio(3, 0),
        medians.ratio(5, 0),
        medians.ratio(6, 0),
        medians.ratio(8, 0),
        medians.ratio(6, 7),
        medians.ratio(8, 9)
    ));
}

/// The same cells for criterion.
fn record(run: &Run, log: &Audited, one: &Audited) {
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("replay");
    let events = log.made.events;
    bench(&mut group, "bare", events, || log.bare(1));
    bench(&mut group, "reader", events, || log.read(true));
    bench(&mut group, "verify", events, || log.verify(true));
    bench(&mut group, "replay", events, || log.replay());
    bench(&mut group, "replay_one", one.made.events, || one.replay());
    bench(&mut group, "stages", log.stages().count, || log.stages());
    group.finish();
    criterion.final_summary();
}
