//! The queue that works everywhere: each operation is done by the time its call returns.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use downbeat_record::Batch;

use crate::storage::{Backend, Bell, Completion, Flush, Queue, Write};

/// Writes with `pwritev2`, in the calling thread.
pub struct Blocking {
    bell: Bell,
    done: Vec<Completion>,
}

impl Blocking {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { bell: Bell::new()?, done: Vec::new() })
    }
}

impl Queue for Blocking {
    fn backend(&self) -> Backend {
        Backend::Blocking
    }

    fn register(&mut self, _batches: &[Arc<Batch>]) -> bool {
        false
    }

    fn write(&mut self, write: Write) {
        let bytes = &write.source.bytes()[write.skip..];
        let result = write.file.write_at(bytes, write.offset + write.skip as u64, write.dsync);
        self.done.push(Completion { ticket: write.ticket, result });
    }

    fn sync(&mut self, flush: Flush) {
        let result = flush.file.sync_data().map(|()| 0);
        self.done.push(Completion { ticket: flush.ticket, result });
    }

    fn submit(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reap(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        done.append(&mut self.done);
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.done.is_empty() { self.bell.wait(timeout) } else { Ok(()) }
    }

    fn bell(&self) -> Bell {
        self.bell.clone()
    }
}
