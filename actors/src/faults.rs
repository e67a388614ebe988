//! What stops a flow for good.

use std::sync::{Arc, PoisonError};

use downbeat_flow::Mismatch;
use downbeat_record::Seq;

use crate::board::Divergence;
use crate::order::OrderBell;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// Why the flow cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Log and code disagree about a digest.
    #[error(transparent)]
    Diverged(#[from] Divergence),
    /// Log and code disagree about an emitted event.
    #[error(transparent)]
    Command(#[from] Mismatch),
    /// Stages emit events faster than the order can ever take them in.
    #[error(
        "stages hold back {held} emitted events, more than the {max} bytes that they may (`backlog_bytes`): it seems \
         that each event causes more than one other, without end"
    )]
    Flood {
        /// Emitted events that wait.
        held: usize,
        /// Bytes they may take.
        max: usize,
    },
    /// While the log is read again, what a stage emits waits for its place in it, and is more than may wait.
    #[error(
        "what stage `{stage}` emits for the log, for seq {cause} and what follows it, is not in it so far and takes more than \
         the {max} bytes that it may: what a stage emits that is new to a log comes behind all that was there. Open it \
         with a larger `backlog_bytes`, or begin a new log with the stage"
    )]
    Recalled {
        /// The stage.
        stage: String,
        /// The first event for which it emitted what was not found yet.
        cause: Seq,
        /// Bytes that may wait.
        max: usize,
    },
    /// A stage emits an event for which there is never room. It is not lost: it is emitted again when the log is read.
    #[error(
        "for seq {cause} a stage emits an event of up to {len} bytes, at most {max} fit into a batch and the ring for such \
         events: open it again with a larger `batch_bytes` or `derived_ring_bytes`"
    )]
    TooLarge {
        /// The event for which it is emitted.
        cause: Seq,
        /// Bytes it may take.
        len: usize,
        /// Bytes there can be.
        max: usize,
    },
    /// A leaf cannot deliver.
    #[error("leaf `{leaf}` stopped: {reason}")]
    Leaf {
        /// The leaf.
        leaf: String,
        /// What it said.
        reason: String,
    },
    /// A shard group crashed again and again.
    #[error("shard group {group} ({stages}) crashed {times} times and is given up: {reason}")]
    Group {
        /// The group's number.
        group: usize,
        /// Its stages.
        stages: String,
        /// How often.
        times: u32,
        /// The last panic.
        reason: String,
    },
    /// The log could not be read.
    #[error("the log cannot be read again: {reason}")]
    History {
        /// What the reader said.
        reason: String,
    },
}

/// Holds the first fault.
pub(crate) struct Faults {
    any: AtomicBool,
    first: Mutex<Option<Fault>>,
    order: Arc<OrderBell>,
}

impl Faults {
    pub(crate) fn new(order: Arc<OrderBell>) -> Self {
        Self { any: AtomicBool::new(false), first: Mutex::new(None), order }
    }

    /// Notes a fault, and tells the sequencer thread; the first one stays.
    #[cold]
    pub(crate) fn note(&self, fault: Fault) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
        self.any.store(true, Ordering::Release);
        self.order.news();
    }

    /// True when there is one.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// The first fault.
    pub(crate) fn first(&self) -> Option<Fault> {
        if !self.any() {
            return None;
        }
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
