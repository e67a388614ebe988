//! The flag that says: this worker holds commands back, because the front door had no room for them.
//!
//! ```text
//!  worker: raise, fence, try once more, stop          sequencer: make room, arm (a fence), flag up? ring the worker
//!  worker: the door took them: lower, cursor := s     sequencer: cursor ≥ s and flag down? all commands are in
//! ```
//!
//! Either the worker's second try finds the room, or the sequencer finds the flag: it never sleeps on a worker
//! that waits for it. And a worker raises the flag before its cursor passes the event that emitted the command, so
//! who finds the cursor there and the flag down finds every command in the ring or in the order.

use crate::sync::{AtomicBool, Ordering, Site, acquire, fence, release};

/// Raised and lowered by the worker, looked at by the sequencer.
#[derive(Default)]
pub(crate) struct Backlog(AtomicBool);

impl Backlog {
    /// For the worker: commands are held back. It has to try once more afterwards.
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Site::BacklogRaise);
    }

    /// For the worker: nothing is held back any more.
    pub(crate) fn lower(&self) {
        self.0.store(false, release(Site::BacklogLower));
    }

    /// True while commands are held back. Acquire: once they are not, those that were are seen at the front door.
    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(acquire(Site::BacklogDown))
    }
}

#[cfg(all(test, loom))]
#[path = "loom_backlog.rs"]
pub(crate) mod loom_backlog;
