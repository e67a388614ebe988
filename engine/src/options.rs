//! How an engine is opened: where its log is, how much it may hold, how its flow is spread.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use downbeat_actors::Wait;
use downbeat_flow::EventType;
use downbeat_record::Event;
use downbeat_sequencer::{IDEMPOTENCY_KEYS_MAX, WINDOW_EVENTS_MIN};

use crate::error::{Error, ErrorKind};

/// A group is built again, and what it emits is in the log, in less.
const AGE_MIN_NS: u64 = 60_000_000_000;

/// How an engine is opened. Start with [`Options::new`] and change what matters.
#[derive(Clone)]
pub struct Options {
    /// The log: directory, segment size, writes in flight, backend. Its `batch_bytes` is that of `order`, whatever is said here.
    pub log: downbeat_wal::Options,
    /// The order: ring, receipts in flight, window, idempotency. At least as many keys as the window has events are
    /// remembered, for at least a minute.
    pub order: downbeat_sequencer::Settings,
    /// The flow: shards, threads, lanes. Its `batches` is that of `order`, whatever is said here.
    pub actors: downbeat_actors::Settings,
    /// A batch is handed to the disk while others are being written once it holds this many bytes; with nothing
    /// being written, at once. Default 64 KiB.
    pub batch_bytes_min: usize,
    /// What the thread that orders does when there is nothing to do. While a write is on its way to the disk it
    /// sleeps in any case: on a machine with few cores, the kernel needs one to complete it. Default: sleep.
    pub wait: Wait,
    /// The core of the thread that orders. Default `None`: wherever the system puts it.
    pub core: Option<usize>,
    pub(crate) events: Vec<EventType>,
}

/// What an engine spends in order to be fast. None of it changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Threads sleep when there is nothing to do, and share the cores with whatever else runs. The default.
    Shared,
    /// Threads look for work for 50 µs before they sleep, and batches grow to 128 KiB before they are handed over
    /// while others are being written: fewer wake-ups and fewer writes, for a little delay.
    Throughput,
    /// The thread that orders and those that run stages never sleep while they could have work, and each has a core
    /// of its own: the first cores that the process may use, in this order. That takes these cores whole, so it
    /// is for machines that have one more than that for the kernel and one for producers.
    Latency,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Throughput => "throughput",
            Self::Latency => "latency",
        })
    }
}

impl Options {
    /// The defaults for a log in `dir`, which is made when it is not there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            log: downbeat_wal::Options::new(dir),
            order: downbeat_sequencer::Settings::default(),
            actors: downbeat_actors::Settings::default(),
            batch_bytes_min: 64 * 1024,
            wait: Wait::Park,
            core: None,
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

    /// Sets what `mode` stands for: how threads wait, where they run, and when a batch is worth a write. Whatever
    /// of it does not suit can be changed afterwards.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        let (wait, core, batch_bytes_min) = match mode {
            Mode::Shared => (Wait::Park, None, 64 * 1024),
            Mode::Throughput => (Wait::Spin(Duration::from_micros(50)), None, 128 * 1024),
            Mode::Latency => (Wait::Poll, Some(0), 16 * 1024),
        };
        (self.wait, self.actors.wait) = (wait, wait);
        (self.core, self.actors.first_core) = (core, core.map(|core| core + 1));
        self.batch_bytes_min = batch_bytes_min;
        self
    }

    /// What is wrong with the settings, beyond what the log says of its own.
    pub(crate) fn check(&self) -> Result<(), Error> {
        // As they are used, not as they were given.
        let keys = self.order.idempotency.keys.min(IDEMPOTENCY_KEYS_MAX) as u64;
        let window = self.order.window_events.max(WINDOW_EVENTS_MIN);
        let what = if self.actors.checkpoint_interval == 0 {
            "`actors.checkpoint_interval` is 0; checkpoints are at least one event apart".to_owned()
        } else if keys < window {
            format!(
                "`order.idempotency.keys` is {keys}, less than `order.window_events`, which is {window}; raise the one or lower the other: \
                 a stage that is built again emits once more what is on its way to the log, and it must be known there"
            )
        } else if self.order.idempotency.age_ns < AGE_MIN_NS {
            format!(
                "`order.idempotency.age_ns` is {}, at least a minute is needed: a stage that is built again emits once more \
                 what is on its way to the log, and it must be known there",
                self.order.idempotency.age_ns
            )
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Invalid, what))
    }

    /// The directory of the log.
    pub fn dir(&self) -> &Path {
        &self.log.dir
    }
}
