//! One thread that fills batches and makes them last: as the log does it, and only the part of the processor.
//!
//! ```text
//!  log        push … push ─► seal (CRC) ─► write ─► root (BLAKE3) ─► … ─► durable
//!  processor  push … push ─► seal (CRC) ──────────► root (BLAKE3), or not
//! ```
//!
//! Format version 1 has the hash chain always, so the log has no switch for it: what the chain costs is shown on the
//! processor's part.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_record::{Batch, BatchNo, Epoch, Fields, Root, Seq, Stamp, Timestamp};
use downbeat_wal::{Log, NotReady, Options};

use crate::Sample;
use crate::cells::Trouble;

/// Writes in flight: as many as ship.
pub const DEPTH: usize = 16;
/// Batches for each write in flight.
const BATCHES_PER_WRITE: u16 = 4;
/// Batches that go round where there is no disk.
const BATCHES: u16 = 16;

/// What is streamed.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Bytes of the payload of each event.
    pub payload: usize,
    /// Bytes of a batch, at most.
    pub batch: usize,
    /// Bytes of all batches together, at least.
    pub bytes: u64,
}

/// Which segments the log finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// All that it will need are there.
    Ready,
    /// Two, and more as they are made: the settings that ship.
    Shipped,
}

/// Whether batches are chained by their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// As in every log.
    On,
    /// As no log is.
    Off,
}

impl Stream {
    /// Events of 64 bytes.
    pub fn of_64(batch: usize, bytes: u64) -> Self {
        Self { payload: 64, batch, bytes }
    }

    /// One event that fills its batch: bytes, and hardly an event.
    pub fn of_bytes(batch: usize, bytes: u64) -> Self {
        Self { payload: batch - 512, batch, bytes }
    }

    fn fill(&self, batch: &mut Batch, first: Seq, payload: &[u8]) -> u64 {
        batch.open(first);
        let mut time = first.0;
        while batch.push(&Fields::default(), Timestamp(time), payload).is_ok() {
            time += 1;
        }
        u64::from(batch.count())
    }

    /// As [`Stream::try_to_log`], with the writes in flight that ship.
    ///
    /// # Panics
    ///
    /// When the disk refuses.
    pub fn to_log(&self, dir: &Path, segments: Segments) -> Sample {
        self.try_to_log(dir, segments, DEPTH).expect("a new log opens and goes on")
    }

    /// Opens a new log in `dir` and writes to it, as a sequencer does: batches are filled again as they come back.
    ///
    /// # Errors
    ///
    /// [`Trouble::Open`], [`Trouble::Log`], [`Trouble::Room`].
    ///
    /// # Panics
    ///
    /// When the log calls other events durable than those it was given.
    pub fn try_to_log(&self, dir: &Path, segments: Segments, depth: usize) -> Result<Sample, Trouble> {
        // It is not there the first time.
        let _ = std::fs::remove_dir_all(dir);
        let mut options = Options { batch_bytes: self.batch, depth, ..Options::new(dir) };
        if segments == Segments::Ready {
            options.spare_segments = (self.bytes / options.segment_bytes) as usize + 2;
            options.zero_fill_bytes_per_second = u64::MAX >> 20;
        }
        let (mut log, _) = Log::open(&options, |_| Ok(()))?;
        let batch = |index| Arc::new(Batch::with_capacity(self.batch, index));
        // A batch comes back when it is durable. While one sync is under way, the writes that the next one will cover end.
        let mut batches: Vec<_> = (0..BATCHES_PER_WRITE * depth as u16).map(batch).collect();
        log.register(&batches);
        while log.spare_segments() < options.spare_segments {
            room(&log)?;
            log.wait(Some(Duration::from_millis(100)))?;
        }
        let payload = vec![0x5a; self.payload];
        let (mut written, mut events, mut slot) = (0, 0, 0);
        let begun = Instant::now();
        while written < self.bytes {
            log.poll()?;
            let free = Arc::get_mut(&mut batches[slot]);
            let Some(batch) = free.filter(|_| log.in_flight() < depth && log.ready().is_ok()) else {
                room(&log)?;
                log.wait(None)?;
                continue;
            };
            events += self.fill(batch, log.next_seq(), &payload);
            written += batch.padded_len() as u64;
            log.append(&mut batches[slot])?;
            slot = (slot + 1) % batches.len();
        }
        let durable = log.drain()?;
        let sample = Sample { bytes: written, ..Sample::new(events, begun.elapsed()) };
        assert_eq!(durable.seq.0, events, "every event is durable");
        Ok(sample)
    }

    /// What the processor does for that, without a log.
    pub fn on_processor(&self, chain: Chain) -> Sample {
        let batch = |index| Batch::with_capacity(self.batch, index);
        let mut batches: Vec<_> = (0..BATCHES).map(batch).collect();
        let payload = vec![0x5a; self.payload];
        let (mut written, mut events, mut link) = (0, 0, Root::default());
        let begun = Instant::now();
        for number in 0.. {
            if written >= self.bytes {
                break;
            }
            let slot = number % batches.len();
            let batch = &mut batches[slot];
            events += self.fill(batch, Seq(events + 1), &payload);
            batch.seal(&Stamp {
                batch_no: BatchNo(number as u64 + 1),
                epoch: Epoch(1),
                salt: 1,
                prev_root: link,
                durable: BatchNo::ZERO,
                clock_error_ns: 0,
            });
            if chain == Chain::On {
                link = batch.root();
            }
            black_box(batch.bytes());
            written += batch.padded_len() as u64;
        }
        Sample { bytes: written, ..Sample::new(events, begun.elapsed()) }
    }
}

/// A full disk is not waited for.
fn room(log: &Log) -> Result<(), Trouble> {
    match log.ready() {
        Err(full @ (NotReady::Full { .. } | NotReady::Lost { .. } | NotReady::Poisoned(_))) => {
            Err(full.into())
        }
        _ => Ok(()),
    }
}
