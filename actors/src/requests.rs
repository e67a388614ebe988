//! Questions to a worker about its states, answered between two events.

use std::collections::VecDeque;
use std::sync::PoisonError;

use downbeat_flow::Unit;

use crate::sync::{AtomicBool, Mutex, Ordering};

type Request = Box<dyn FnOnce(&mut Unit) + Send>;

/// A mailbox for questions, bounded by the callers: each waits for its answer.
#[derive(Default)]
pub(crate) struct Requests {
    any: AtomicBool,
    waiting: Mutex<VecDeque<Request>>,
}

impl Requests {
    /// Puts a question; the caller rings the worker and waits.
    pub(crate) fn put(&self, request: Request) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(request);
        self.any.store(true, Ordering::Release);
    }

    /// Answers what was asked.
    #[inline]
    pub(crate) fn serve(&self, unit: &mut Unit) {
        if !self.any.load(Ordering::Relaxed) || !self.any.swap(false, Ordering::AcqRel) {
            return;
        }
        let requests = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for request in requests {
            request(unit);
        }
    }
}
