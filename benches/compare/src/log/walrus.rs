//! walrus-rust: a topic for each thread, since a second batch on the same topic is refused while one is written.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus as Log};

use crate::event::Event;
use crate::log::peer::{Committer, Peer};
use crate::log::shape::Shape;

/// What it promises, and how it was set.
pub(crate) const SAYS: &str = "FsyncSchedule::SyncEach, mmap backend: msync of the block; batches of at most 2,000 events, synced one by one";

/// The most events that it takes at once.
const BATCH: usize = 2_000;

/// It writes below a directory that it reads from the environment, under a key of ours.
pub(crate) struct Walrus {
    log: Option<Arc<Log>>,
    key: String,
    threads: usize,
}

impl Walrus {
    /// Opens the log that belongs to the last part of `dir`.
    pub(crate) fn open(dir: &Path, threads: usize) -> Result<Self> {
        // With the other backend every event of a batch is a synced write of its own.
        walrus_rust::disable_fd_backend();
        let key = dir.file_name().context("a directory with a name")?.to_string_lossy().into_owned();
        Ok(Self { log: Some(open(&key)?), key, threads })
    }
}

fn open(key: &str) -> Result<Arc<Log>> {
    let log = Log::with_consistency_and_schedule_for_key(
        key,
        ReadConsistency::StrictlyAtOnce,
        FsyncSchedule::SyncEach,
    )?;
    Ok(Arc::new(log))
}

fn topic(index: usize) -> String {
    format!("t{index}")
}

impl Peer for Walrus {
    fn committer(&self, index: usize, _: Shape) -> Result<Box<dyn Committer>> {
        let log = self.log.clone().context("it is closed")?;
        Ok(Box::new(Topic { log, name: topic(index) }))
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        drop(self.log.take());
        let log = open(&self.key)?;
        let mut count = 0;
        for index in 0..self.threads {
            loop {
                let some = log.batch_read_for_topic(&topic(index), 1 << 20, true)?;
                if some.is_empty() {
                    break;
                }
                count += some.len() as u64;
            }
        }
        Ok(count)
    }
}

struct Topic {
    log: Arc<Log>,
    name: String,
}

impl Committer for Topic {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        if let [event] = events {
            return Ok(self.log.append_for_topic(&self.name, event)?);
        }
        for some in events.chunks(BATCH) {
            let batch: Vec<&[u8]> = some.iter().map(Event::as_slice).collect();
            self.log.batch_append_for_topic(&self.name, &batch)?;
        }
        Ok(())
    }
}
