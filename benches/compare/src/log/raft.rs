//! raft-engine, the log of TiKV: threads that write at once form a group, whose leader syncs for all.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::event::{Event, number};
use crate::log::peer::{Committer, Peer};
use crate::log::shape::Shape;

/// What it promises, and how it was set.
pub(crate) const SAYS: &str = "Engine::write(sync = true): fdatasync; a log entry an event, no compression, log files of 128 MiB, compacted before a sample";

/// The same, with files that are ready.
pub(crate) const SAYS_PREFILLED: &str =
    "as raft-engine; log files prefilled for recycling, more than are used";

/// Files are prefilled for as many samples of the largest size.
const SAMPLES: u64 = 8;

/// An event as a log entry; its index is its number.
struct Entry;

impl MessageExt for Entry {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        number(&entry.value)
    }
}

/// A log with a region for each thread: within one, indices have no gaps.
pub(crate) struct Raft {
    engine: Option<Arc<Engine>>,
    config: Config,
    /// Entries that were let go.
    compacted: Arc<AtomicU64>,
}

impl Raft {
    /// A new log whose files are made as they are needed.
    pub(crate) fn open(dir: &Path, _: Shape) -> Result<Self> {
        Self::with(Config {
            dir: dir.to_string_lossy().into_owned(),
            batch_compression_threshold: ReadableSize(0),
            ..Config::default()
        })
    }

    /// A new log whose files are there already.
    pub(crate) fn prefilled(dir: &Path, shape: Shape) -> Result<Self> {
        let file = ReadableSize(2 * shape.file_bytes);
        // Half as much again is prefilled as it is told.
        let prefilled = (shape.sample_bytes_max() * SAMPLES).max(2 * file.0);
        Self::with(Config {
            dir: dir.to_string_lossy().into_owned(),
            batch_compression_threshold: ReadableSize(0),
            target_file_size: file,
            purge_threshold: ReadableSize(prefilled),
            prefill_for_recycle: true,
            prefill_limit: Some(ReadableSize(prefilled)),
            ..Config::default()
        })
    }

    fn with(config: Config) -> Result<Self> {
        let engine = Some(Arc::new(Engine::open(config.clone())?));
        Ok(Self { engine, config, compacted: Arc::default() })
    }
}

impl Peer for Raft {
    fn committer(&self, index: usize, shape: Shape) -> Result<Box<dyn Committer>> {
        let engine = self.engine.clone().context("it is closed")?;
        let entries = vec![BytesValue::default(); shape.events];
        let (batch, compacted) = (LogBatch::default(), self.compacted.clone());
        Ok(Box::new(Region { engine, id: index as u64 + 1, entries, batch, compacted }))
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        drop(self.engine.take());
        let engine = Engine::open(self.config.clone())?;
        let count = |region| Some(engine.last_index(region)? - engine.first_index(region)? + 1);
        let held: u64 = engine.raft_groups().into_iter().filter_map(count).sum();
        Ok(held + self.compacted.load(Ordering::Relaxed))
    }
}

struct Region {
    engine: Arc<Engine>,
    id: u64,
    entries: Vec<BytesValue>,
    batch: LogBatch,
    compacted: Arc<AtomicU64>,
}

impl Committer for Region {
    /// Lets go of what the last sample wrote, as its users do: the index of what is kept is in memory, and grows.
    fn settle(&mut self) -> Result<()> {
        if let Some(last) = self.engine.last_index(self.id) {
            self.compacted.fetch_add(self.engine.compact_to(self.id, last + 1), Ordering::Relaxed);
        }
        Ok(())
    }

    fn commit(&mut self, events: &[Event]) -> Result<()> {
        for (entry, event) in self.entries.iter_mut().zip(events) {
            entry.value.clear();
            entry.value.extend_from_slice(event);
        }
        self.batch.add_entries::<Entry>(self.id, &self.entries)?;
        self.engine.write(&mut self.batch, true)?;
        Ok(())
    }
}
