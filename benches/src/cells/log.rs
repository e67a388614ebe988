//! The log alone: one thread that appends, polls and waits; checksums and the hash chain are on. And the same disk
//! without a log.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_record::{Batch, Fields, Timestamp};
use downbeat_wal::{Log, NotReady, Options};

use super::bench::Bench;
use super::measured::{Figures, Unit};
use super::plan::{Part, log_bytes};
use super::rounds::Rounds;
use super::trouble::Trouble;
use crate::disk::RawDisk;
use crate::run::Scale;
use crate::table::Sample;

/// Which segments the log finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// All that it will need are there.
    Ready,
    /// Two, and more as they are made.
    Shipped,
}

/// How a log is written.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Bytes of a batch on disk, at most.
    pub batch_bytes: usize,
    /// Writes in flight.
    pub depth: usize,
    /// How much is written.
    pub bytes: u64,
    /// What it finds.
    pub segments: Segments,
}

/// Events of this many bytes.
const PAYLOAD: [u8; 64] = [0x5a; 64];
/// Writes in flight where that is not what is varied: the default.
const DEPTH: usize = 8;

/// Opens a new log in `dir` and writes to it, as a sequencer does: batches are filled again as they come back.
///
/// # Errors
///
/// [`Trouble::Open`], [`Trouble::Log`], [`Trouble::Room`].
///
/// # Panics
///
/// When the log calls other events durable than those it was given.
pub fn stream(dir: &Path, how: Stream) -> Result<Sample, Trouble> {
    let Stream { batch_bytes, depth, bytes, segments } = how;
    // It is not there the first time.
    let _ = std::fs::remove_dir_all(dir);
    let mut options = Options { batch_bytes, depth, ..Options::new(dir) };
    if segments == Segments::Ready {
        options.spare_segments = (bytes / options.segment_bytes) as usize + 2;
        options.zero_fill_bytes_per_second = u64::MAX >> 20;
    }
    let (mut log, _) = Log::open(&options, |_| Ok(()))?;
    // As many again are filled while the others are being written.
    let mut batches: Vec<_> =
        (0..2 * depth as u16).map(|index| Arc::new(Batch::with_capacity(batch_bytes, index))).collect();
    log.register(&batches);
    while log.spare_segments() < options.spare_segments {
        room(&log)?;
        log.wait(Some(Duration::from_millis(100)))?;
    }
    let (mut written, mut events, mut slot, mut time) = (0, 0, 0, 1);
    let begun = Instant::now();
    while written < bytes {
        log.poll()?;
        let free = Arc::get_mut(&mut batches[slot]);
        let Some(batch) = free.filter(|_| log.in_flight() < depth && log.ready().is_ok()) else {
            room(&log)?;
            log.wait(None)?;
            continue;
        };
        batch.open(log.next_seq());
        while batch.push(&Fields::default(), Timestamp(time), &PAYLOAD).is_ok() {
            time += 1;
        }
        events += u64::from(batch.count());
        written += batch.padded_len() as u64;
        log.append(&mut batches[slot])?;
        slot = (slot + 1) % batches.len();
    }
    let durable = log.drain()?;
    let sample = Sample { bytes: written, ..Sample::new(events, begun.elapsed()) };
    assert_eq!(durable.seq.0, events, "every event is durable");
    Ok(sample)
}

/// A full disk is not waited for.
fn room(log: &Log) -> Result<(), Trouble> {
    match log.ready() {
        Err(full @ (NotReady::Full { .. } | NotReady::Poisoned(_))) => Err(full.into()),
        _ => Ok(()),
    }
}

/// Over the size of batches, and over the writes in flight; each beside bare writes, where there can be any.
pub(crate) fn measure(bench: &Bench<'_>, direct: bool, figures: &mut Figures) -> Result<(), Trouble> {
    let bytes = log_bytes(bench.scale());
    let scratch = bench.scratch("log");
    let raw = match direct {
        true => {
            let path = bench.dir().join("bare");
            Some(RawDisk::new(&path, bytes).map_err(|source| Trouble::disk(&path, source))?)
        }
        false => None,
    };
    let (dir, raw) = (scratch.path(), raw.as_ref());
    let stream_cell = move |batch_bytes, depth, segments| {
        move || stream(dir, Stream { batch_bytes, depth, bytes, segments })
    };
    let bare_cell = move |raw: &'_ RawDisk, piece, depth| bare(bench.dir(), raw, piece, depth);

    bench.begin(Part::LogBatch)?;
    let mut rounds = Rounds::new(bench);
    let sizes: &[usize] = match bench.scale() {
        Scale::Test => &[64, 256],
        Scale::Quick => &[16, 64, 256, 1024],
        Scale::Full => &[16, 32, 64, 128, 256, 512, 1024],
    };
    for kib in sizes {
        let (batch_bytes, x) = (kib << 10, Some((kib << 10) as f64));
        for (series, segments) in
            [("log, segments ready", Segments::Ready), ("log, as shipped", Segments::Shipped)]
        {
            let cell = stream_cell(batch_bytes, DEPTH, segments);
            rounds.cell("log.batch", series, x, Unit::BytesPerSecond, cell);
        }
        if let Some(raw) = raw {
            rounds.cell("log.batch", "bare disk, not synced", x, Unit::BytesPerSecond, move || {
                bare_cell(raw, batch_bytes, DEPTH)
            });
        }
    }
    figures.cells.extend(rounds.measure(5)?);

    bench.begin(Part::LogDepth)?;
    let mut rounds = Rounds::new(bench);
    let depths: &[usize] = match bench.scale() {
        Scale::Test => &[1, 4],
        Scale::Quick => &[1, 2, 4, 8],
        Scale::Full => &[1, 2, 4, 8, 16],
    };
    for kib in [64, 256] {
        for depth in depths.iter().copied() {
            let x = Some(depth as f64);
            let cell = stream_cell(kib << 10, depth, Segments::Ready);
            rounds.cell("log.depth", format!("log, {kib} KiB"), x, Unit::BytesPerSecond, cell);
            if let Some(raw) = raw {
                let series = format!("bare disk, {kib} KiB");
                rounds.cell("log.depth", series, x, Unit::BytesPerSecond, move || {
                    bare_cell(raw, kib << 10, depth)
                });
            }
        }
    }
    figures.cells.extend(rounds.measure(5)?);
    Ok(())
}

fn bare(dir: &Path, raw: &RawDisk, piece: usize, depth: usize) -> Result<Sample, Trouble> {
    let time = raw.overwrite(piece, depth as u64).map_err(|source| Trouble::disk(dir, source))?;
    Ok(Sample { bytes: raw.bytes(), ..Sample::new(0, time) })
}
