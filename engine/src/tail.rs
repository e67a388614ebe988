//! The newest durable batches, for subscribers: copies, so that no subscriber ever holds the window of the order.
//!
//! It is bounded. A subscriber that falls behind it reads the log instead and comes back; both are indexed by
//! seq, so nothing is missed and nothing comes twice.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use downbeat_record::{Batch, Seq};

/// Bytes of batches kept for subscribers.
const TAIL_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(crate) struct Tail {
    subscribers: AtomicUsize,
    inner: Mutex<Inner>,
}

struct Inner {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// The last seq that was published, whether it was kept or not.
    last: Seq,
}

impl Tail {
    pub(crate) fn new(last: Seq) -> Self {
        let inner = Inner { batches: VecDeque::new(), bytes: 0, last };
        Self { subscribers: AtomicUsize::new(0), inner: Mutex::new(inner) }
    }

    pub(crate) fn join(&self) {
        self.subscribers.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn leave(&self) {
        self.subscribers.fetch_sub(1, Ordering::AcqRel);
    }

    /// True when someone listens: only then are batches copied.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.subscribers.load(Ordering::Acquire) > 0
    }

    /// Takes in a batch that is durable.
    pub(crate) fn publish(&self, batch: &Batch) {
        let copy = Arc::new(batch.detached());
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.last.next() != copy.first_seq() {
            // Nobody listened for a while: what was kept does not connect.
            inner.batches.clear();
            inner.bytes = 0;
        }
        inner.last = Seq(copy.next_seq().0 - 1);
        inner.bytes += copy.padded_len();
        inner.batches.push_back(copy);
        while inner.bytes > TAIL_BYTES_MAX && inner.batches.len() > 1 {
            let Some(oldest) = inner.batches.pop_front() else { break };
            inner.bytes -= oldest.padded_len();
        }
    }

    /// The batch that holds `seq`, if it is kept.
    pub(crate) fn batch_with(&self, seq: Seq) -> Option<Arc<Batch>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let index = inner.batches.partition_point(|batch| batch.next_seq() <= seq);
        inner.batches.get(index).filter(|batch| batch.first_seq() <= seq).cloned()
    }
}
