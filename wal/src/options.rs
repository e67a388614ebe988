//! How a log is opened. None of these settings decides the meaning of bytes on disk: all may change at a restart.

use std::path::PathBuf;
use std::sync::Arc;

use downbeat_record::BLOCK;
use downbeat_record::batch::BATCH_BYTES;
use downbeat_record::header::BATCH_BYTES_MAX;

use crate::segment::SEGMENT_BYTES_MAX;
use crate::storage::{Memory, Storage};

/// Which machinery writes the log.
#[derive(Clone, Default)]
pub enum BackendChoice {
    /// io_uring, and `pwritev2` where the kernel refuses it.
    #[default]
    Auto,
    /// io_uring; an error where the kernel refuses it.
    Uring,
    /// `pwritev2`, one write at a time.
    Blocking,
    /// A directory that is not on a disk of this machine: [`Memory`], or a simulated one.
    Storage(Arc<dyn Storage>),
}

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// The directory of the log; it holds nothing else of ours.
    pub dir: PathBuf,
    /// Makes a new log when the directory holds none.
    pub create: bool,
    /// Bytes of a new segment file, rounded up to whole blocks. Existing segments keep their size.
    pub segment_bytes: u64,
    /// Segments kept ready ahead of the writer.
    pub spare_segments: usize,
    /// Writes in flight at once. A batch is held until it is durable, not only until it is written, so whoever fills
    /// batches needs about four of them per write in flight.
    pub depth: usize,
    /// The most bytes a batch takes on disk.
    pub batch_bytes: usize,
    /// What writes.
    pub backend: BackendChoice,
    /// How fast spare segments are filled with zeros in the background, in bytes per second.
    pub zero_fill_bytes_per_second: u64,
    /// What every batch says about the clock's distance from UTC, in nanoseconds; `u32::MAX` for unknown.
    pub clock_error_ns: u32,
}

impl Options {
    /// The defaults for a log in `dir`: 64 MiB segments, two ahead, sixteen writes in flight, 256 KiB batches.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            create: true,
            segment_bytes: 64 << 20,
            spare_segments: 2,
            depth: 16,
            batch_bytes: BATCH_BYTES,
            backend: BackendChoice::Auto,
            zero_fill_bytes_per_second: 400 << 20,
            clock_error_ns: u32::MAX,
        }
    }

    /// The defaults for a log in memory.
    pub fn in_memory(memory: &Memory) -> Self {
        Self {
            backend: BackendChoice::Storage(Arc::new(memory.clone())),
            segment_bytes: 1 << 20,
            ..Self::new("memory:")
        }
    }

    /// The settings as they are used, or what is wrong with them.
    pub(crate) fn checked(&self) -> Result<Settings, &'static str> {
        let block = BLOCK as u64;
        // What does not fit into a number when it is rounded up is out of the bounds below.
        let segment_bytes = self.segment_bytes.checked_next_multiple_of(block).unwrap_or(u64::MAX);
        let batch_bytes = self.batch_bytes.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX);
        if self.depth == 0 || self.depth > 512 {
            return Err("depth must be between 1 and 512");
        }
        if self.spare_segments == 0 {
            return Err("at least one spare segment is needed");
        }
        if !(4 * BLOCK..=BATCH_BYTES_MAX).contains(&batch_bytes) {
            return Err("batch_bytes must be between 16 KiB and 256 MiB");
        }
        // A new segment begins with its header, a recovery note of a block, the contracts and the batch that needed it; and
        // a control batch may come in between.
        if segment_bytes < 2 * block + 3 * batch_bytes as u64 || segment_bytes > SEGMENT_BYTES_MAX {
            return Err("segment_bytes must hold two blocks and three batches, and be at most 1 TiB");
        }
        if self.zero_fill_bytes_per_second == 0 {
            return Err("zero_fill_bytes_per_second must not be 0");
        }
        Ok(Settings {
            segment_bytes,
            batch_bytes,
            depth: self.depth,
            spare_segments: self.spare_segments,
            zero_fill_bytes_per_second: self.zero_fill_bytes_per_second,
            clock_error_ns: self.clock_error_ns,
        })
    }
}

/// Options that have been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) segment_bytes: u64,
    pub(crate) batch_bytes: usize,
    pub(crate) depth: usize,
    pub(crate) spare_segments: usize,
    pub(crate) zero_fill_bytes_per_second: u64,
    pub(crate) clock_error_ns: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_bounds_and_what_is_beyond_is_named() {
        type Change = fn(&mut Options);
        let least: Change = |o| (o.batch_bytes, o.segment_bytes) = (4 * BLOCK, 14 * BLOCK as u64);
        let within: [Change; 5] = [
            least,
            |o| (o.batch_bytes, o.segment_bytes) = (4 * BLOCK - 1, 14 * BLOCK as u64 - 1),
            |o| (o.batch_bytes, o.segment_bytes) = (256 << 20, 1 << 40),
            |o| (o.depth, o.spare_segments, o.zero_fill_bytes_per_second) = (1, 1, 1),
            |o| o.depth = 512,
        ];
        for change in within {
            let mut options = Options::new("log");
            change(&mut options);
            let settings = options.checked().unwrap();
            assert!(
                settings.batch_bytes.is_multiple_of(BLOCK)
                    && settings.segment_bytes.is_multiple_of(BLOCK as u64)
            );
        }
        let beyond: [(&str, Change); 10] = [
            ("batch_bytes", |o| o.batch_bytes = 3 * BLOCK),
            ("batch_bytes", |o| o.batch_bytes = (256 << 20) + 1),
            ("batch_bytes", |o| o.batch_bytes = usize::MAX),
            ("segment_bytes", |o| (o.batch_bytes, o.segment_bytes) = (4 * BLOCK, 13 * BLOCK as u64)),
            ("segment_bytes", |o| o.segment_bytes = (1 << 40) + 1),
            ("segment_bytes", |o| o.segment_bytes = u64::MAX),
            ("depth", |o| o.depth = 0),
            ("depth", |o| o.depth = 513),
            ("spare segment", |o| o.spare_segments = 0),
            ("zero_fill_bytes_per_second", |o| o.zero_fill_bytes_per_second = 0),
        ];
        for (named, change) in beyond {
            let mut options = Options::new("log");
            change(&mut options);
            let what = options.checked().unwrap_err();
            assert!(what.contains(named), "{named}: {what}");
        }
    }
}
