//! The log alone, beside its two limits: the processor's part of it without a disk, and the same disk without a log.

use std::path::Path;

use super::bench::Bench;
use super::measured::{Cell, Figures, Unit};
use super::plan::{Part, log_bytes};
use super::rounds::Rounds;
use super::trouble::Trouble;
use crate::disk::RawDisk;
use crate::pipeline::{Chain, DEPTH, Segments, Stream};
use crate::run::Scale;
use crate::table::Sample;

/// Rounds at most.
const ROUNDS: usize = 5;

/// What the cells of a log share.
struct Place<'a> {
    bench: &'a Bench<'a>,
    dir: &'a Path,
    /// Where there can be direct writes.
    raw: Option<&'a RawDisk>,
    /// What each of them writes.
    bytes: u64,
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
    let place = Place { bench, dir: scratch.path(), raw: raw.as_ref(), bytes };
    bench.begin(Part::LogBatch)?;
    figures.cells.extend(place.over_batches()?);
    bench.begin(Part::LogDepth)?;
    figures.cells.extend(place.over_depth()?);
    Ok(())
}

impl Place<'_> {
    fn over_batches(&self) -> Result<Vec<Cell>, Trouble> {
        let sizes: &[usize] = match self.bench.scale() {
            Scale::Test => &[64, 256],
            Scale::Quick => &[16, 64, 256, 1024],
            Scale::Full => &[16, 32, 64, 128, 256, 512, 1024],
        };
        let mut rounds = Rounds::new(self.bench);
        for size in sizes.iter().map(|kib| kib << 10) {
            let x = Some(size as f64);
            let mut cell = |series: &str, measure| {
                rounds.boxed("log.batch", series.to_owned(), x, Unit::BytesPerSecond, measure);
            };
            cell("log, segments ready", Box::new(move || self.log(size, DEPTH, Segments::Ready)));
            cell("log, as shipped", Box::new(move || self.log(size, DEPTH, Segments::Shipped)));
            let processor = Stream::of_64(size, self.bytes);
            cell("processor alone, no disk", Box::new(move || Ok(processor.on_processor(Chain::On))));
            if let Some(raw) = self.raw {
                cell("bare disk, not synced", Box::new(move || self.bare(raw, size, DEPTH)));
            }
        }
        rounds.measure(ROUNDS)
    }

    fn over_depth(&self) -> Result<Vec<Cell>, Trouble> {
        let depths: &[usize] = match self.bench.scale() {
            Scale::Test => &[1, 4],
            Scale::Quick => &[1, 2, 4, 8],
            Scale::Full => &[1, 2, 4, 8, 16],
        };
        let mut rounds = Rounds::new(self.bench);
        for (kib, depth) in
            [64, 256].into_iter().flat_map(|kib| depths.iter().map(move |depth| (kib, *depth)))
        {
            let (x, size) = (Some(depth as f64), kib << 10);
            let mut cell = |series: String, measure| {
                rounds.boxed("log.depth", series, x, Unit::BytesPerSecond, measure);
            };
            cell(format!("log, {kib} KiB"), Box::new(move || self.log(size, depth, Segments::Ready)));
            if let Some(raw) = self.raw {
                cell(format!("bare disk, {kib} KiB"), Box::new(move || self.bare(raw, size, depth)));
            }
        }
        rounds.measure(ROUNDS)
    }

    fn log(&self, size: usize, depth: usize, segments: Segments) -> Result<Sample, Trouble> {
        Stream::of_64(size, self.bytes).try_to_log(self.dir, segments, depth)
    }

    fn bare(&self, raw: &RawDisk, size: usize, depth: usize) -> Result<Sample, Trouble> {
        let time = raw.overwrite(size, depth as u64);
        let time = time.map_err(|source| Trouble::disk(self.bench.dir(), source))?;
        Ok(Sample { bytes: raw.bytes(), ..Sample::new(0, time) })
    }
}
