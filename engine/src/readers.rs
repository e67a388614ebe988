//! Open readers of the log, for subscriptions that are behind: as many as fit, whoever read last.
//!
//! A reader holds files, a thread that reads ahead, and megabytes of window. A subscription that stopped reading
//! needs none of it, and nobody knows which one will read again; so the reader that was used longest ago is closed, and
//! whoever comes back to it opens another, which costs a look at the directory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use downbeat_wal::reader::Reader;

/// Readers that stay open, however many subscriptions there are.
const READERS_MAX: usize = 16;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReaderId(u64);

#[derive(Default)]
pub(crate) struct Readers {
    ids: AtomicU64,
    /// The one that was used longest ago first.
    open: Mutex<VecDeque<(ReaderId, Reader)>>,
}

impl Readers {
    /// A name that nobody else has.
    pub(crate) fn id(&self) -> ReaderId {
        ReaderId(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// The reader that was put back under this name, if it is still open.
    pub(crate) fn take(&self, id: ReaderId) -> Option<Reader> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let index = open.iter().position(|(owner, _)| *owner == id)?;
        open.remove(index).map(|(_, reader)| reader)
    }

    /// Keeps a reader for later.
    pub(crate) fn put(&self, id: ReaderId, reader: Reader) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back((id, reader));
        // Closed after the lock is given back: closing waits for the thread that reads ahead.
        let closed = if open.len() > READERS_MAX { open.pop_front() } else { None };
        drop(open);
        drop(closed);
    }
}
