//! How long it takes until a log that was left open can be written again: the scan beside the bare disk, and an engine
//! with everything that it has to know.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench recovery [-- --quick]
//! ```
//!
//! The scan reads more than the log: behind its end, in the rest of its last segment and in those that were made ready,
//! something might say that more was durable than is there. All that is read is counted.
//!
//! At full scale the log is of ten million events of 64 bytes. Nothing is closed in order between the openings, so each
//! recovers as after a crash. The engine applies every event to its five stages again: there are no snapshots.

use std::time::Instant;

use downbeat::Engine;
use downbeat_benches::disk::read_segments;
use downbeat_benches::flow::{Spread, five};
use downbeat_benches::made::{self, Made};
use downbeat_benches::run::{Scratch, bench};
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use downbeat_wal::{Log, Options};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let run = Run::start("recovery");
    // An engine writes, and each opening begins a segment: what the log alone is measured on stays as it is.
    let (log, engine) = (Left::make(&run, "recovery-log"), Left::make(&run, "recovery-engine"));
    if run.shows() {
        compare(&run, &log, &engine);
    }
    record(&run, &log, &engine);
}

/// A log that a writer left.
struct Left {
    made: Made,
    options: Options,
    scratch: Scratch,
}

impl Left {
    fn make(run: &Run, name: &str) -> Self {
        let scratch = run.scratch(name);
        let mut options = Options::new(scratch.path());
        options.segment_bytes = run.pick(4 << 20, options.segment_bytes, options.segment_bytes);
        let made = made::log(&options, &five(Spread::Together), run.pick(3_000, 1_000_000, 10_000_000));
        let left = Self { made, options, scratch };
        // It was closed in order; from here it is not.
        left.scan();
        left
    }

    fn sample(&self, begun: Instant) -> Sample {
        Sample { bytes: self.made.bytes, ..Sample::new(self.made.events, begun.elapsed()) }
    }

    fn bare(&self, depth: usize) -> Sample {
        let (bytes, time) =
            read_segments(self.scratch.path(), self.made.bytes, depth).expect("the disk reads");
        Sample { bytes, ..Sample::new(self.made.events, time) }
    }

    /// Bytes of all segments, those that are ready as well.
    fn segments(&self) -> u64 {
        let files = std::fs::read_dir(self.scratch.path()).expect("the directory is there");
        let files = files.map(|file| file.expect("it can be listed").path());
        let segments = files.filter(|path| path.extension().is_some_and(|end| end == "seg"));
        segments.map(|path| path.metadata().expect("nobody removes it").len()).sum()
    }

    /// The log alone: every batch checked, the chain followed, what is behind the end looked at, the new epoch durable.
    fn scan(&self) -> Sample {
        let bytes = self.segments();
        let begun = Instant::now();
        let (log, recovered) = Log::open(&self.options, |_| Ok(())).expect("the log opens");
        let sample = Sample { bytes, ..self.sample(begun) };
        assert_eq!(recovered.next_seq.0, self.made.events + 1, "every event is there");
        drop(log);
        sample
    }

    /// Until the first event could be submitted.
    fn engine(&self, spread: Spread) -> Sample {
        let mut options = downbeat::Options::new(self.scratch.path());
        options.log = self.options.clone();
        let begun = Instant::now();
        let engine = Engine::open(options, five(spread)).expect("the log opens");
        let sample = self.sample(begun);
        assert_eq!(engine.last_seq().0, self.made.events, "every event is there");
        drop(engine);
        sample
    }
}

fn compare(run: &Run, log: &Left, engine: &Left) {
    let title =
        format!("a log of {} events of 64 bytes, {} MB, opened", log.made.events, log.made.bytes >> 20);
    let mut table = Table::new(&title);
    table.cell("bare direct reads in order, one in flight", Unit::GigabytesPerSecond, || log.bare(1));
    table.cell("… four in flight", Unit::GigabytesPerSecond, || log.bare(4));
    table.cell("log: recovery scan, and what is behind the end", Unit::GigabytesPerSecond, || log.scan());
    table.cell("engine, each stage an actor", Unit::MillionsPerSecond, || engine.engine(Spread::Apart));
    table.cell("engine, five stages in one actor", Unit::MillionsPerSecond, || {
        engine.engine(Spread::Together)
    });
    let medians = table.measure(run, 0.15);
    let seconds = |millions: f64| log.made.events as f64 / 1e6 / millions;
    run.say(format_args!(
        "scan / bare reads with one in flight {:.2}, behind the end {} MB; to open takes the log {:.2} s, an engine {:.2} s \
         with stages apart and {:.2} s together",
        medians.ratio(2, 0),
        (log.segments() - log.made.bytes) >> 20,
        log.segments() as f64 / 1e9 / medians.of(2),
        seconds(medians.of(3)),
        seconds(medians.of(4))
    ));
}

/// The same cells for criterion.
fn record(run: &Run, log: &Left, engine: &Left) {
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("recovery");
    bench(&mut group, "bare", log.made.events, || log.bare(1));
    bench(&mut group, "scan", log.made.events, || log.scan());
    bench(&mut group, "engine", log.made.events, || engine.engine(Spread::Together));
    group.finish();
    criterion.final_summary();
}
