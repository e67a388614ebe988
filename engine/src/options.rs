//! How an engine is opened: where its log is, how much it may hold, how its flow is spread.

use std::path::{Path, PathBuf};

use downbeat_flow::EventType;
use downbeat_record::Event;

/// How an engine is opened. Start with [`Options::new`] and change what matters.
#[derive(Clone)]
pub struct Options {
    /// The log: directory, segment size, writes in flight, backend.
    pub log: downbeat_wal::Options,
    /// The order: ring, receipts in flight, window, idempotency.
    pub order: downbeat_sequencer::Settings,
    /// The flow: shards, threads, lanes.
    pub actors: downbeat_actors::Settings,
    /// A batch is handed to the disk while others are being written once it holds this many bytes; with nothing
    /// being written, at once. Default 64 KiB.
    pub batch_bytes_min: usize,
    pub(crate) events: Vec<EventType>,
}

impl Options {
    /// The defaults for a log in `dir`, which is made when it is not there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            log: downbeat_wal::Options::new(dir),
            order: downbeat_sequencer::Settings::default(),
            actors: downbeat_actors::Settings::default(),
            batch_bytes_min: 64 * 1024,
            events: Vec::new(),
        }
    }

    /// Declares an event type that is submitted but that no stage is on.
    #[must_use]
    pub fn event<E: Event>(mut self) -> Self {
        self.events.push(EventType::of::<E>());
        self
    }

    /// Splits keyed stages into this many shards.
    #[must_use]
    pub fn shards(mut self, shards: u32) -> Self {
        self.actors.shards = shards;
        self
    }

    /// Runs stages on this many threads.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.actors.threads = threads;
        self
    }

    /// The directory of the log.
    pub fn dir(&self) -> &Path {
        &self.log.dir
    }
}
