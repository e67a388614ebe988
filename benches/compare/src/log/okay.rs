//! okaywal: threads that commit at once share a sync.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};

use crate::event::Event;
use crate::log::peer::{Committer, Peer};
use crate::log::shape::Shape;

/// What it promises, and how it was set.
pub(crate) const SAYS: &str = "EntryWriter::commit: fdatasync; a chunk an event, segments of 64 MiB filled and used again, checkpoints do nothing";

/// Counts what it is shown when a log is opened.
#[derive(Debug, Default)]
struct Counter(Arc<AtomicU64>);

impl LogManager for Counter {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let chunks = entry.read_all_chunks()?.map_or(0, |chunks| chunks.len());
        self.0.fetch_add(chunks as u64, Ordering::Relaxed);
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct Okay {
    log: Option<WriteAheadLog>,
    configuration: Configuration,
}

impl Okay {
    pub(crate) fn open(dir: &Path, shape: Shape) -> Result<Self> {
        let configuration = Configuration::default_for(dir)
            .preallocate_bytes(shape.file_bytes.try_into()?)
            .checkpoint_after_bytes(shape.file_bytes / 8 * 7)
            .buffer_bytes(1 << 20);
        Ok(Self { log: Some(configuration.clone().open(Counter::default())?), configuration })
    }
}

impl Peer for Okay {
    fn committer(&self, _: usize, _: Shape) -> Result<Box<dyn Committer>> {
        Ok(Box::new(Hold(self.log.clone().context("it is closed")?)))
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        self.log.take().context("it is closed")?.shutdown()?;
        let count = Arc::new(AtomicU64::new(0));
        self.configuration.clone().open(Counter(count.clone()))?.shutdown()?;
        Ok(count.load(Ordering::Relaxed))
    }
}

struct Hold(WriteAheadLog);

impl Committer for Hold {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        let mut entry = self.0.begin_entry()?;
        for event in events {
            entry.write_chunk(event)?;
        }
        entry.commit()?;
        Ok(())
    }
}
