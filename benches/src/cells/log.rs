//! The log alone, beside its two limits: the processor's part of it without a disk, and the same disk without a log.

use std::path::Path;

use super::bench::Bench;
use super::measured::{Figures, Unit};
use super::plan::{Part, log_bytes};
use super::rounds::Rounds;
use super::trouble::Trouble;
use crate::disk::RawDisk;
use crate::pipeline::{Chain, DEPTH, Segments, Stream};
use crate::run::Scale;
use crate::table::Sample;

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
    let stream_cell =
        move |batch, depth, segments| move || Stream::of_64(batch, bytes).try_to_log(dir, segments, depth);
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
        rounds.cell("log.batch", "processor alone, no disk", x, Unit::BytesPerSecond, move || {
            Ok(Stream::of_64(batch_bytes, bytes).on_processor(Chain::On))
        });
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
