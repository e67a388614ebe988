//! What others may know about an actor: how far it is, and how to wake it.

use crossbeam::utils::CachePadded;
use downbeat_record::Seq;

use crate::backlog::Backlog;
use crate::doorbell::Doorbell;
use crate::health::Pulse;
use crate::hops::Departure;
use crate::sync::{AtomicU64, Site, acquire, release};
use crate::waiting::Waiting;

/// One incarnation of a worker or a leaf, as seen from outside.
pub(crate) struct Node {
    /// The last seq it has passed. Written by its actor alone.
    cursor: CachePadded<AtomicU64>,
    pub(crate) bell: Doorbell,
    /// It has commands that ingress had no room for.
    pub(crate) backlog: Backlog,
    /// It stopped at the durable watermark.
    pub(crate) gated: Waiting,
    /// What its health is told from.
    pub(crate) pulse: Pulse,
    /// When it last applied an event whose hops are measured.
    pub(crate) departure: Departure,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self {
            cursor: CachePadded::new(AtomicU64::new(0)),
            bell: Doorbell::new(),
            backlog: Backlog::default(),
            gated: Waiting::default(),
            pulse: Pulse::default(),
            departure: Departure::default(),
        }
    }

    /// The last seq it has passed. Acquire: what it put on its lanes for events up to here is visible.
    #[inline]
    pub(crate) fn cursor(&self) -> Seq {
        Seq(self.cursor.load(acquire(Site::CursorPassed)))
    }

    /// Publishes how far it is, after its lanes.
    #[inline]
    pub(crate) fn pass(&self, seq: Seq) {
        self.cursor.store(seq.0, release(Site::CursorPass));
    }
}
