//! Receipts: what a producer holds from the moment its event is in the ring until it has a place that lasts.
//!
//! ```text
//!  submit: take a slot ──► entry in the ring ──► ordered ──► fifo of what is owed ──► durable ──► complete
//!             ▲                                     └─ Ack::Ordered: complete at once           │
//!             └────────── free again when it is complete and the Ticket is gone ◄──────────────┘
//! ```
//!
//! Tickets live in a slab of fixed size (`ticket/slab.rs`), so an event in steady state allocates nothing, and too many
//! in flight are refused with `Backpressure`.

#[cfg(all(test, loom))]
mod loom_ticket;
mod owed;
pub(crate) mod slab;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use downbeat_record::{Seq, Timestamp};
pub(crate) use owed::{Owed, OwedQueue};
pub(crate) use slab::{Outcome, Settled, Slab, TicketId};

use crate::error::SubmitError;
use crate::ingress::Handle;

/// What has to be true before a producer gets its receipt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ack {
    /// The event has its place in the order, in memory; a crash may still take it.
    Ordered,
    /// The event is on disk and survives a crash.
    #[default]
    Durable,
}

/// An event's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// Its place in the total order; of a group, that of the first event, and the others follow without a gap.
    pub seq: Seq,
    /// When it was ordered; of a group, the first event.
    pub timestamp: Timestamp,
    /// True when this is the place of an event that was submitted before with the same idempotency key.
    pub duplicate: bool,
}

/// Resolves to the [`Receipt`] of what was submitted: poll it, await it, or [`Ticket::wait`].
///
/// Dropping it early is fine: the event keeps its place. Holding it after it resolved keeps its slot taken.
///
/// # Errors
///
/// [`SubmitError::Conflict`], [`SubmitError::Poisoned`].
#[must_use = "drop it explicitly if the receipt does not matter, or use try_send"]
pub struct Ticket {
    handle: Arc<Handle>,
    id: TicketId,
    polled: bool,
}

impl Ticket {
    pub(crate) fn new(handle: Arc<Handle>, id: TicketId) -> Self {
        Self { handle, id, polled: false }
    }

    /// Blocks the thread until the ticket resolves.
    ///
    /// # Errors
    ///
    /// As the future.
    pub fn wait(mut self) -> Result<Receipt, SubmitError> {
        loop {
            if let Some(result) = self.poll_here() {
                return result;
            }
            thread::park();
        }
    }

    /// Blocks the thread until the ticket resolves or the time is over; then it is `None`, and the ticket is as it
    /// was. What is in the ring when the disk is full waits there until there is space: who does not want to wait
    /// as long looks at [`crate::Ingress::check`] in between.
    ///
    /// # Errors
    ///
    /// As the future.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<Receipt, SubmitError>> {
        let begun = Instant::now();
        loop {
            let left = timeout.saturating_sub(begun.elapsed());
            let result = self.poll_here();
            if result.is_some() || left.is_zero() {
                return result;
            }
            thread::park_timeout(left);
        }
    }

    /// Polls; this thread is unparked when it is worth polling again.
    fn poll_here(&mut self) -> Option<Result<Receipt, SubmitError>> {
        std::thread_local! {
            static UNPARK: Waker = Arc::new(Unpark(thread::current())).into();
        }
        UNPARK.with(|waker| match self.poll_once(&mut Context::from_waker(waker)) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        })
    }

    /// True when it has resolved: polling or waiting returns at once.
    pub fn is_done(&self) -> bool {
        self.done().is_some() || self.handle.shared().door.is_gone()
    }

    fn done(&self) -> Option<Result<Receipt, SubmitError>> {
        let shared = self.handle.shared();
        let outcome = shared.slab.outcome(self.id)?;
        Some(match outcome {
            Outcome::Placed(receipt) => Ok(receipt),
            Outcome::Conflict(original) => Err(SubmitError::Conflict { original }),
            Outcome::Poisoned => Err(SubmitError::Poisoned { cause: shared.door.poison_cause() }),
        })
    }

    fn poll_once(&mut self, context: &mut Context<'_>) -> Poll<Result<Receipt, SubmitError>> {
        if let Some(result) = self.done() {
            return Poll::Ready(result);
        }
        self.polled = true;
        let shared = self.handle.shared();
        shared.slab.register(self.id, context.waker());
        // Registered, then looked again: whatever happened before is seen here, whatever comes later wakes.
        if let Some(result) = self.done() {
            return Poll::Ready(result);
        }
        match shared.door.gone() {
            // It may have been answered right before: whoever sees the sequencer gone sees all of its answers.
            Some(cause) => Poll::Ready(self.done().unwrap_or(Err(SubmitError::Poisoned { cause }))),
            None => Poll::Pending,
        }
    }
}

impl Future for Ticket {
    type Output = Result<Receipt, SubmitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_once(context)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let shared = self.handle.shared();
        if shared.slab.drop_ticket(self.id, self.polled) {
            shared.room.notify(usize::MAX);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id).field("done", &self.is_done()).finish_non_exhaustive()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
