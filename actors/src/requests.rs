//! Questions to a worker about its states, answered between two events.
//!
//! They outlive an incarnation: one that reads the log to catch up answers when it is live again, so nobody is told a
//! state of the past.

use std::collections::VecDeque;
use std::sync::PoisonError;

use downbeat_flow::Unit;

use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

type Request = Box<dyn FnOnce(&mut Unit) + Send>;

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    closed: bool,
}

/// A mailbox for questions, bounded by the callers: each waits for its answer.
#[derive(Default)]
pub(crate) struct Requests {
    // Relaxed, both of them: what `any` stands for is behind the mutex, and the ring of the worker's bell shows both.
    any: AtomicBool,
    crashes: AtomicU64,
    waiting: Mutex<Waiting>,
}

impl Requests {
    /// Puts a question; the caller rings the worker and waits. Dropped unanswered once nobody will answer.
    pub(crate) fn put(&self, request: Request) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.closed {
            waiting.requests.push_back(request);
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// There will be no worker any more that could answer: whoever waits is told.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Waiting { requests: VecDeque::new(), closed: true };
    }

    /// Asks for a crash: of this incarnation, or, when one was asked for before, of the next.
    pub(crate) fn crash(&self) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers what was asked, if the worker is `live`.
    #[inline]
    pub(crate) fn serve(&self, unit: &mut Unit, live: bool) {
        if self.crashes.load(Ordering::Relaxed) > 0 {
            self.crashes.fetch_sub(1, Ordering::Relaxed);
            panic!("crashed on request");
        }
        while live && self.any.load(Ordering::Relaxed) {
            let Some(request) = self.next() else { return };
            request(unit);
        }
    }

    /// One at a time: who puts another one does not wait for the answer to this.
    #[cold]
    fn next(&self) -> Option<Request> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = waiting.requests.pop_front();
        self.any.store(!waiting.requests.is_empty(), Ordering::Relaxed);
        next
    }
}
