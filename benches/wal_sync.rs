//! What it costs to make the log last: one durable batch beside one bare durable write, durable bytes beside bytes that
//! are only written, and what the chain of hashes takes of it.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench wal_sync [-- --quick]
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_benches::disk::RawDisk;
use downbeat_benches::latency::{Beside, Latencies};
use downbeat_benches::pipeline::{Chain, Segments, Stream};
use downbeat_benches::run::{Scratch, bench};
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use downbeat_record::{Batch, Fields, Timestamp};
use downbeat_wal::probe::Floor;
use downbeat_wal::{Log, Options};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let run = Run::start("wal_sync");
    let bytes = run.pick(4 << 20, 128 << 20, 512 << 20);
    let scratch = run.scratch("sync");
    let raw = RawDisk::new(&run.dir().join(format!("downbeat-bench-{}-raw", std::process::id())), bytes);
    let raw = raw.expect("the directory takes direct writes");
    if run.shows() {
        run.floor("before");
        one_alone(&run);
        durable_bytes(&run, &raw, scratch.path(), bytes);
        chain(&run, bytes);
        run.floor("after");
    }
    record(&run, &raw, scratch.path(), bytes);
}

/// A log and the one batch that goes through it again and again.
struct One {
    log: Log,
    batch: Arc<Batch>,
    time: u64,
    _scratch: Scratch,
}

impl One {
    fn open(run: &Run) -> Self {
        let scratch = run.scratch("one");
        let (log, _) = Log::open(&Options::new(scratch.path()), |_| Ok(())).expect("a new log opens");
        let mut one =
            Self { log, batch: Arc::new(Batch::with_capacity(64 << 10, 0)), time: 0, _scratch: scratch };
        one.log.register(std::slice::from_ref(&one.batch));
        // The first one begins a segment.
        one.append();
        one
    }

    /// One event of 64 bytes, until it is durable.
    fn append(&mut self) -> Duration {
        self.time += 1;
        while self.log.ready().is_err() {
            self.log.wait(Some(Duration::from_millis(10))).expect("segments are made");
        }
        let begun = Instant::now();
        let batch = Arc::get_mut(&mut self.batch).expect("the log has let go of it");
        batch.open(self.log.next_seq());
        batch.push(&Fields::default(), Timestamp(self.time), &[0x5a; 64]).expect("it is empty");
        self.log.append(&mut self.batch).expect("there is room");
        self.log.drain().expect("it becomes durable");
        begun.elapsed()
    }
}

fn one_alone(run: &Run) {
    let each = run.pick(10, 500, 2_000);
    let mut one = One::open(run);
    let mut floor = Floor::new(run.dir(), true).expect("the disk can be measured");
    let mut beside = Beside::default();
    for _ in 0..run.rounds() {
        run.await_quiet(0.05);
        let (mut log, mut bare) = (Latencies::default(), Latencies::default());
        for _ in 0..each {
            bare.add(floor.measure().expect("the disk writes"));
            log.add(one.append());
        }
        beside.round(&log, &bare);
    }
    run.say("\n## one event made durable by the log, in turn with one bare durable write\n");
    beside.report(run, "log: append until durable", "bare 4 KiB RWF_DSYNC");
}

/// Batches, in bytes.
const BATCHES: [usize; 3] = [64 << 10, 256 << 10, 1 << 20];

fn durable_bytes(run: &Run, raw: &RawDisk, dir: &Path, bytes: u64) {
    let mut table = Table::new("durable bytes: batches of one event, beside writes that nobody makes last");
    for batch in BATCHES {
        let kib = batch >> 10;
        table.cell(format!("log, ready segments, {kib} KiB batches"), Unit::GigabytesPerSecond, move || {
            Stream::of_bytes(batch, bytes).to_log(dir, Segments::Ready)
        });
        table.cell(
            format!("bare direct writes, 4 in flight, not synced, {kib} KiB"),
            Unit::GigabytesPerSecond,
            move || bare(raw, batch),
        );
    }
    let medians = table.measure(run, 0.25);
    for (form, batch) in BATCHES.iter().enumerate() {
        run.say(format_args!(
            "log / bare disk at {} KiB: {:.2}",
            batch >> 10,
            medians.ratio(2 * form, 2 * form + 1)
        ));
    }
}

fn bare(raw: &RawDisk, piece: usize) -> Sample {
    let time = raw.overwrite(piece, 4).expect("the disk writes");
    Sample { bytes: raw.bytes(), ..Sample::new(raw.bytes() / piece as u64, time) }
}

/// Format version 1 has the chain always, so this is the processor's part alone: what a log whose disk never makes it
/// wait would lose by it.
fn chain(run: &Run, bytes: u64) {
    let mut table = Table::new("the chain of hashes, on the processor's part of the log: 256 KiB batches");
    for payload in [64, 256] {
        for (name, chain) in [("with", Chain::On), ("without", Chain::Off)] {
            let stream = Stream { payload, batch: 256 << 10, bytes };
            let name = format!("{payload}-byte events, {name} the chain");
            table.cell(name, Unit::MillionsPerSecond, move || stream.on_processor(chain));
        }
    }
    let medians = table.measure(run, 0.05);
    run.say(format_args!(
        "with / without: {:.2} at 64 bytes, {:.2} at 256 bytes; the log itself has no switch for it",
        medians.ratio(0, 1),
        medians.ratio(2, 3)
    ));
}

/// The same cells for criterion.
fn record(run: &Run, raw: &RawDisk, dir: &Path, bytes: u64) {
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("wal_sync");
    let each = run.pick(5, 200, 500);
    let mut one = One::open(run);
    bench(&mut group, "one/log", each, || Sample::new(each, (0..each).map(|_| one.append()).sum()));
    let mut floor = Floor::new(run.dir(), true).expect("the disk can be measured");
    bench(&mut group, "one/bare", each, || {
        Sample::new(each, (0..each).map(|_| floor.measure().expect("the disk writes")).sum())
    });
    let stream = Stream::of_bytes(256 << 10, bytes / 4);
    let batches = stream.to_log(dir, Segments::Ready).count;
    bench(&mut group, "bytes/log_256_kib", batches, || stream.to_log(dir, Segments::Ready));
    bench(&mut group, "bytes/bare_256_kib", bytes >> 18, || bare(raw, 256 << 10));
    for (name, chain) in [("with", Chain::On), ("without", Chain::Off)] {
        let stream = Stream::of_64(256 << 10, bytes / 4);
        let events = stream.on_processor(chain).count;
        bench(&mut group, &format!("chain/{name}"), events, || stream.on_processor(chain));
    }
    group.finish();
    criterion.final_summary();
}
