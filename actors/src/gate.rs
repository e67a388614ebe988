//! Where values stop before they leave the process: what they follow from must be durable, and the code must have shown, as far
//! as the log can tell, that it is the code which wrote it.
//!
//! While the log is read again the gate stands at the last checkpoint that was compared. Behind the last one in the log there
//! is nothing to compare with, and it opens up to the end of what was recovered; from then on the disk moves it.

use std::sync::Arc;

use downbeat_record::Seq;

use crate::node::Node;
use crate::sync::{AtomicU64, Ordering};

/// Up to where values may leave, and the leaves that wait there.
pub(crate) struct Gate {
    upto: AtomicU64,
    /// The last event that was in the log when it was opened.
    recovered: Seq,
    leaves: Vec<Arc<Node>>,
}

impl Gate {
    /// Closed.
    pub(crate) fn new(recovered: Seq, leaves: Vec<Arc<Node>>) -> Self {
        Self { upto: AtomicU64::new(0), recovered, leaves }
    }

    /// What follows from events up to here may leave.
    pub(crate) fn upto(&self) -> Seq {
        Seq(self.upto.load(Ordering::Acquire))
    }

    /// Moves it, and rings who waits.
    pub(crate) fn open(&self, upto: Seq) {
        self.set(upto);
        for leaf in &self.leaves {
            if leaf.gated.take() {
                leaf.bell.ring();
            }
        }
    }

    pub(crate) fn set(&self, upto: Seq) {
        self.upto.store(upto.0, Ordering::Release);
    }

    /// The code has given what the log has at `checkpoint`, and `next` is the one after it in the log.
    pub(crate) fn confirm(&self, checkpoint: Seq, next: Option<Seq>) {
        self.open(if next.is_some() { checkpoint } else { self.recovered });
    }

    /// True while a checkpoint in the log is still to be reached.
    pub(crate) fn awaits_checkpoint(&self) -> bool {
        self.upto() < self.recovered
    }
}
