//! What every log that is compared has to do.

use std::time::Instant;

use anyhow::Result;

use crate::event::Event;
use crate::log::crew::Work;
use crate::log::shape::Shape;

/// A log, open.
pub(crate) trait Peer: Send + Sync {
    /// The hold of thread `index` on it, made on that thread.
    fn committer(&self, index: usize, shape: Shape) -> Result<Box<dyn Committer>>;

    /// Before a sample: what the log does in the background comes to an end.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// What it is, where that is known only when it runs.
    fn version(&self) -> Option<String> {
        None
    }

    /// The server behind it.
    fn server(&self) -> Option<u32> {
        None
    }

    /// Closes it, opens it again, and counts the events it holds. No committer is left when this is called.
    fn reopen_and_count(&mut self) -> Result<u64>;
}

/// One thread's hold on a log.
pub(crate) trait Committer {
    /// Appends these events; when it returns they are durable.
    fn commit(&mut self, events: &[Event]) -> Result<()>;

    /// Before a sample.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Does the work of a sample: one commit after the other.
    fn drive(&mut self, work: &mut Work<'_>) -> Result<()> {
        while let Some(events) = work.next() {
            let begun = Instant::now();
            self.commit(events)?;
            work.committed(begun);
        }
        Ok(())
    }
}

/// A key for an event of thread `index`, so that no two threads write the same one.
pub(crate) fn key(index: usize, number: u64) -> u64 {
    (index as u64) << 40 | number
}
