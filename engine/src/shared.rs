//! What the sequencer thread and everyone else hold together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use downbeat_record::{BatchNo, Checkpoint, Epoch, Seq};
use downbeat_wal::storage::Storage;
use event_listener::{Event, EventListener, Listener};

use crate::metrics::Counters;
use crate::readers::Readers;
use crate::tail::Tail;

/// Why the engine takes nothing more.
pub(crate) type Cause = downbeat_sequencer::Cause;

/// State that outlives neither the engine nor its sequencer thread.
pub(crate) struct Shared {
    durable: AtomicU64,
    last: AtomicU64,
    moved: Event,
    /// The first batch that this engine writes, and its epoch.
    pub(crate) own: (BatchNo, Epoch),
    /// Where the log is.
    pub(crate) log: Arc<dyn Storage>,
    pub(crate) tail: Tail,
    pub(crate) readers: Readers,
    pub(crate) counters: Counters,
    closing: AtomicBool,
    abandoned: AtomicBool,
    ended: AtomicBool,
    failure: Mutex<Option<Cause>>,
    checkpoint: Mutex<Option<Checkpoint>>,
}

impl Shared {
    pub(crate) fn new(
        recovered: Seq,
        own: (BatchNo, Epoch),
        checkpoint: Option<Checkpoint>,
        log: Arc<dyn Storage>,
    ) -> Arc<Self> {
        Arc::new(Self {
            own,
            log,
            durable: AtomicU64::new(recovered.0),
            last: AtomicU64::new(recovered.0),
            moved: Event::new(),
            tail: Tail::new(recovered),
            readers: Readers::default(),
            counters: Counters::default(),
            closing: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            failure: Mutex::new(None),
            checkpoint: Mutex::new(checkpoint),
        })
    }

    /// The durable watermark.
    pub(crate) fn durable(&self) -> Seq {
        Seq(self.durable.load(Ordering::Acquire))
    }

    /// Moves the durable watermark and tells who waits for it.
    pub(crate) fn set_durable(&self, seq: Seq) {
        self.durable.store(seq.0, Ordering::Release);
        self.moved.notify(usize::MAX);
    }

    /// The last seq in the order.
    pub(crate) fn last(&self) -> Seq {
        Seq(self.last.load(Ordering::Acquire))
    }

    pub(crate) fn set_last(&self, seq: Seq) {
        self.last.store(seq.0, Ordering::Release);
    }

    /// Resolves at the next move of the watermark, a failure, or the end. Take it, look, then wait.
    pub(crate) fn moved(&self) -> EventListener {
        self.moved.listen()
    }

    /// Blocks until `upto` is durable; false when it never will be.
    pub(crate) fn wait_durable(&self, upto: Seq) -> bool {
        loop {
            let moved = self.moved();
            if self.durable() >= upto {
                return true;
            }
            if self.failure().is_some() || self.is_abandoned() {
                return false;
            }
            moved.wait();
        }
    }

    /// The first failure.
    pub(crate) fn failure(&self) -> Option<Cause> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn fail(&self, cause: Cause) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
        self.moved.notify(usize::MAX);
    }

    /// The newest checkpoint in the log.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_checkpoint(&self, checkpoint: Checkpoint) {
        *self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint);
    }

    /// Asks the sequencer thread to drain and end.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Asks the sequencer thread to end without draining.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.moved.notify(usize::MAX);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// The sequencer thread has ended: the watermark moves no more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.moved.notify(usize::MAX);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
