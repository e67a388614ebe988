//! The sequencer thread's side: hands every batch to every worker, and knows how far the slowest is.

use std::sync::{Arc, PoisonError};

use downbeat_record::{Batch, Seq};
use rtrb::Producer;

use crate::node::Node;
use crate::order::OrderBell;
use crate::sync::channel::Sender;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// The way from the sequencer thread to one worker.
pub(crate) struct Feed {
    pub(crate) batches: Producer<Arc<Batch>>,
    pub(crate) node: Arc<Node>,
    pub(crate) group: usize,
    /// It waits for batches alone; others are rung by who is upstream of them.
    pub(crate) source: bool,
    /// Until it has caught up it counts as being here: a rebuild does not hold the window.
    pub(crate) floor: Seq,
}

/// A change of the feeds, from whoever rebuilds a shard group.
pub(crate) enum Change {
    /// The group is gone.
    Detach(usize),
    /// The group is back; the answer is the last seq published before its first batch.
    Attach(Vec<Feed>, Sender<Seq>),
}

/// Changes on their way to the sequencer thread; at most two for each group. Who waits for the answer to one waits no
/// longer than there are feeds: what is here when they go, or comes later, is dropped, and the answer with it. A
/// channel keeps what nobody receives for as long as somebody could send.
#[derive(Default)]
pub(crate) struct Changes {
    // Relaxed: what it stands for is behind the mutex.
    any: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: Vec<Change>,
    closed: bool,
}

impl Changes {
    /// The caller wakes the sequencer thread.
    pub(crate) fn put(&self, change: Change) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.closed {
            inner.waiting.push(change);
            self.any.store(true, Ordering::Relaxed);
        }
    }

    #[inline]
    fn take(&self) -> Vec<Change> {
        if !self.any.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut inner.waiting)
    }

    fn close(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.closed = true;
        inner.waiting.clear();
    }
}

/// What the sequencer thread holds of the actors.
pub struct Feeds {
    pub(crate) feeds: Vec<Feed>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) order: Arc<OrderBell>,
    /// The last seq published.
    pub(crate) published: Seq,
    /// The groups that are being rebuilt, and up to where the order goes on without them.
    pub(crate) absent: Vec<(usize, Seq)>,
    pub(crate) absent_events: u64,
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.changes.close();
    }
}

impl Feeds {
    /// Hands a sealed batch to every worker. Never waits: a worker can hold as many batches as there are.
    pub fn publish(&mut self, batch: &Arc<Batch>) {
        self.service();
        assert_eq!(batch.first_seq(), self.published.next(), "batches are published without a gap");
        // Those downstream first: a worker rings who is after it, so they must have the batch before it has.
        for feed in self.feeds.iter_mut().rev() {
            if let Err(error) = feed.batches.push(batch.clone()) {
                assert!(feed.batches.is_abandoned(), "a worker holds more batches than there are: {error}");
            } else if feed.source {
                feed.node.bell.ring();
            }
        }
        self.published = Seq(batch.next_seq().0 - 1);
    }

    /// The last seq that every worker has passed; with no worker, the last one published. Those that are being rebuilt count
    /// as being here, until the order is [`Settings::absent_events`](crate::Settings::absent_events) ahead of them.
    pub fn slowest(&self) -> Seq {
        let cursors = self.feeds.iter().map(|feed| feed.node.cursor().max(feed.floor));
        let absent = self.absent.iter().map(|(_, upto)| *upto);
        cursors.chain(absent).fold(self.published, Seq::min)
    }

    /// The sequencer thread is about to sleep. It is woken when the slowest cursor is at `goal` ([`Seq::ZERO`]: when
    /// anything moves, leaves included; `None`: for no move), and always when there is a checkpoint, a fault or a group
    /// that is rebuilt. It looks once more after this, and then sleeps. Workers for whose commands ingress had no room are
    /// rung: there may be some now.
    ///
    /// A goal behind the last seq published is never reached.
    pub fn arm(&self, goal: Option<Seq>) {
        self.order.arm(goal.unwrap_or(OrderBell::NEVER));
        self.ring_held();
    }

    /// The last seq published.
    pub fn published(&self) -> Seq {
        self.published
    }

    /// Takes in changes, and rings the workers that hold commands back because ingress was full.
    pub fn service(&mut self) {
        for change in self.changes.take() {
            match change {
                Change::Detach(group) => {
                    self.feeds.retain(|feed| feed.group != group);
                    if self.absent.iter().all(|(absent, _)| *absent != group) {
                        self.absent.push((group, Seq(self.published.0.saturating_add(self.absent_events))));
                    }
                }
                Change::Attach(feeds, answer) => {
                    let joined = self.published;
                    self.absent.retain(|(group, _)| feeds.iter().all(|feed| feed.group != *group));
                    self.feeds.extend(feeds.into_iter().map(|feed| Feed { floor: joined, ..feed }));
                    // Who asked may have been stopped meanwhile; then the feeds are detached again.
                    let _ = answer.send(joined);
                }
            }
        }
        self.ring_held();
    }

    fn ring_held(&self) {
        for feed in &self.feeds {
            if feed.node.backlog.is_up() {
                feed.node.bell.ring();
            }
        }
    }
}
