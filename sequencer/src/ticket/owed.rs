//! Which tickets are owed a receipt, in the order in which they become due.

use std::collections::VecDeque;

use downbeat_record::Seq;

use super::{Receipt, TicketId};

/// A receipt that waits for the durable watermark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed {
    /// Due when the watermark reaches this: the last event the receipt stands for.
    pub(crate) gate: Seq,
    pub(crate) id: TicketId,
    pub(crate) receipt: Receipt,
}

/// Receipts in order of arrival. Gates of new events increase; a duplicate's gate may lie before those in front
/// of it, and then it leaves with them.
pub(crate) struct OwedQueue {
    queue: VecDeque<Owed>,
    bound: usize,
}

impl OwedQueue {
    /// An empty queue that never grows past `tickets`.
    pub(crate) fn with_capacity(tickets: usize) -> Self {
        Self { queue: VecDeque::with_capacity(tickets), bound: tickets }
    }

    #[inline]
    pub(crate) fn push(&mut self, owed: Owed) {
        assert!(
            self.queue.len() < self.bound,
            "{} receipts owed, {} tickets exist",
            self.queue.len(),
            self.bound
        );
        self.queue.push_back(owed);
    }

    /// The next receipt that is due when everything up to `durable` is durable.
    #[inline]
    pub(crate) fn pop_due(&mut self, durable: Seq) -> Option<Owed> {
        if self.queue.front()?.gate > durable { None } else { self.queue.pop_front() }
    }

    /// The next receipt, due or not.
    pub(crate) fn pop(&mut self) -> Option<Owed> {
        self.queue.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
