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

use downbeat_benches::disk::RawDisk;
use downbeat_benches::pipeline::{Chain, Segments, Stream};
use downbeat_benches::run::bench;
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let run = Run::start("wal_append");
    let bytes = run.pick(4 << 20, 128 << 20, 256 << 20);
    let scratch = run.scratch("wal");
    let raw = RawDisk::new(&run.dir().join(format!("downbeat-bench-{}-raw", std::process::id())), bytes);
    let raw = raw.expect("the directory takes direct writes");
    if run.shows() {
        run.floor("before");
        compare(&run, &raw, scratch.path(), bytes);
        run.floor("after");
    }
    record(&run, scratch.path(), bytes);
}

/// Batches and payloads that are measured, in bytes.
const FORMS: [(usize, usize); 3] = [(64 << 10, 64), (256 << 10, 64), (256 << 10, 256)];

/// For each form the log, the processor's part of it, and the bare disk.
fn compare(run: &Run, raw: &RawDisk, dir: &Path, bytes: u64) {
    let mut table = Table::new("the log alone, beside the processor's part of it and the bare disk");
    for (batch, payload) in FORMS {
        let (stream, kib) = (Stream { payload, batch, bytes }, batch >> 10);
        let form = format!("{payload}-byte events, {kib} KiB batches");
        table.cell(format!("log, ready segments: {form}"), Unit::MillionsPerSecond, move || {
            stream.to_log(dir, Segments::Ready)
        });
        table.cell(format!("processor alone: {form}"), Unit::MillionsPerSecond, move || {
            stream.on_processor(Chain::On)
        });
        table.cell(
            format!("bare direct writes, not synced: {kib} KiB"),
            Unit::GigabytesPerSecond,
            move || bare(raw, batch),
        );
    }
    let long = run.pick(8 << 20, 256 << 20, 768 << 20);
    table.cell(
        "log, settings that ship: 64-byte events, 256 KiB batches",
        Unit::MillionsPerSecond,
        move || Stream::of_64(256 << 10, long).to_log(dir, Segments::Shipped),
    );
    let table = table.measure(run, 0.25);
    for (form, (batch, payload)) in FORMS.iter().enumerate() {
        let [log, processor, disk] = [0, 1, 2].map(|cell| table.gigabytes_per_second(3 * form + cell));
        run.say(format_args!(
            "{payload}-byte events, {} KiB batches: log / bare disk {:.2}, log / processor alone {:.2}, log / the slower {:.2}",
            batch >> 10,
            log / disk,
            log / processor,
            log / disk.min(processor)
        ));
    }
}

fn bare(raw: &RawDisk, piece: usize) -> Sample {
    let time = raw.overwrite(piece, 4).expect("the disk writes");
    Sample { bytes: raw.bytes(), ..Sample::new(raw.bytes() / piece as u64, time) }
}

/// The same cells for criterion.
fn record(run: &Run, dir: &Path, bytes: u64) {
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("wal_append");
    let bytes = bytes / 2;
    for kib in [64, 256] {
        let stream = Stream::of_64(kib << 10, bytes);
        let events = stream.to_log(dir, Segments::Ready).count;
        bench(&mut group, &format!("{kib}_kib"), events, || stream.to_log(dir, Segments::Ready));
    }
    group.finish();
    criterion.final_summary();
}
