//! What the log does alone, beside what the same disk does without one: events of 64 bytes, one thread that appends,
//! polls and waits; checksums and the hash chain are on.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench wal_append [-- --quick]
//! ```
//!
//! Two forms. *Ready*: every segment was zero-filled before, so what is measured is the writing. *Sustained*: the
//! settings that ship, where segments are zero-filled at a paced rate while the log is written.

use std::path::Path;

use downbeat_benches::cells::log::{self, Segments, Stream};
use downbeat_benches::disk::RawDisk;
use downbeat_benches::run::bench;
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Writes in flight.
const DEPTH: usize = 8;

fn main() {
    let run = Run::start("wal_append");
    let bytes = run.pick(4 << 20, 128 << 20, 256 << 20);
    let scratch = run.scratch("wal");
    let raw = RawDisk::new(&run.dir().join(format!("downbeat-bench-{}-raw", std::process::id())), bytes);
    let raw = raw.expect("the directory takes direct writes");
    if run.shows() {
        run.floor("before");
        let mut table = Table::new("the log alone beside the bare disk: events of 64 bytes");
        for kib in [64, 256] {
            let (raw, scratch) = (&raw, &scratch);
            table.cell(
                format!("log, ready segments, {kib} KiB batches"),
                Unit::MillionsPerSecond,
                move || stream(scratch.path(), kib << 10, bytes, Segments::Ready),
            );
            table.cell(
                format!("bare direct writes, not synced, {kib} KiB"),
                Unit::GigabytesPerSecond,
                move || bare(raw, kib << 10),
            );
        }
        let long = run.pick(8 << 20, 256 << 20, 768 << 20);
        table.cell("log, settings that ship, 256 KiB batches", Unit::MillionsPerSecond, || {
            stream(scratch.path(), 256 << 10, long, Segments::Shipped)
        });
        let table = table.measure(&run, 0.25);
        run.say(format_args!(
            "log / bare disk, in bytes: {:.2} at 64 KiB, {:.2} at 256 KiB",
            table.gigabytes_per_second(0) / table.of(1),
            table.gigabytes_per_second(2) / table.of(3)
        ));
        run.floor("after");
    }
    record(&run, scratch.path(), bytes);
}

fn bare(raw: &RawDisk, piece: usize) -> Sample {
    let time = raw.overwrite(piece, 4).expect("the disk writes");
    Sample { bytes: raw.bytes(), ..Sample::new(raw.bytes() / piece as u64, time) }
}

/// The log as `downbeat bench` writes it.
fn stream(dir: &Path, batch_bytes: usize, bytes: u64, segments: Segments) -> Sample {
    let how = Stream { batch_bytes, depth: DEPTH, bytes, segments };
    log::stream(dir, how).expect("a new log opens and goes on")
}

/// The same cells for criterion.
fn record(run: &Run, dir: &Path, bytes: u64) {
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("wal_append");
    let bytes = bytes / 2;
    for kib in [64, 256] {
        let events = stream(dir, kib << 10, bytes, Segments::Ready).count;
        bench(&mut group, &format!("{kib}_kib"), events, || stream(dir, kib << 10, bytes, Segments::Ready));
    }
    group.finish();
    criterion.final_summary();
}
