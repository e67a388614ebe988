//! Writing: `WRITE_FIXED` from a registered buffer, plain `WRITE` from any other.
//!
//! A registered buffer is known by the *pages* it had when it was registered. The owner of the batches promises
//! to keep them until the queue is dropped; that address and length still match is checked at every write.

use std::io::IoSlice;
use std::sync::Arc;

use downbeat_record::Batch;
use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, Fixed};

use super::{Op, Uring, raw};
use crate::storage::{Source, Write};

/// `RWF_DSYNC`: complete means durable.
const RWF_DSYNC: i32 = 0x2;

/// Registers the buffers of the batches, which must be numbered from 0.
pub(super) fn register(queue: &mut Uring, batches: &[Arc<Batch>]) -> bool {
    assert!(queue.buffers.is_empty(), "buffers are registered once, {} are", queue.buffers.len());
    let numbered = batches.iter().enumerate().all(|(at, batch)| batch.index() as usize == at);
    if !numbered || batches.is_empty() {
        return false;
    }
    let mut vectors = Vec::with_capacity(batches.len());
    for batch in batches {
        let buffer = batch.buffer();
        vectors.push(IoSlice::new(buffer));
        queue.buffers.push((buffer.as_ptr() as usize, buffer.len()));
    }
    // SAFETY: `IoSlice` is guaranteed to be laid out like the `iovec` that is asked for. The ring only reads through registered buffers (the sole use is `WriteFixed` below), and only the
    // part that an operation in the table names: step 1. The kernel pins the pages, so even a batch dropped
    // against the promise above leaves no dangling memory.
    let registered = unsafe {
        let vectors = std::slice::from_raw_parts(vectors.as_ptr().cast(), vectors.len());
        queue.ring.submitter().register_buffers(vectors)
    };
    if registered.is_err() {
        queue.buffers.clear();
    }
    registered.is_ok()
}

/// Puts a write into the table and its entry into the ring.
pub(super) fn push(queue: &mut Uring, write: Write) {
    let slot = queue.file_slot(&write.file);
    let fd = raw(&*write.file);
    let fixed = fixed_buffer(queue, &write.source);
    let bytes = &write.source.bytes()[write.skip..];
    let (start, len) = (bytes.as_ptr(), u32::try_from(bytes.len()).expect("a write is below 4 GiB"));
    let offset = write.offset + write.skip as u64;
    let flags = if write.dsync { RWF_DSYNC } else { 0 };
    let index = queue.keep(Op::Write(write));
    let entry: Entry = match (fixed, slot) {
        (Some(buffer), Some(slot)) => {
            opcode::WriteFixed::new(Fixed(slot), start, len, buffer).offset(offset).rw_flags(flags).build()
        }
        (Some(buffer), None) => {
            opcode::WriteFixed::new(Fd(fd), start, len, buffer).offset(offset).rw_flags(flags).build()
        }
        (None, Some(slot)) => {
            opcode::Write::new(Fixed(slot), start, len).offset(offset).rw_flags(flags).build()
        }
        (None, None) => opcode::Write::new(Fd(fd), start, len).offset(offset).rw_flags(flags).build(),
    };
    queue.push_op(index, entry);
}

fn fixed_buffer(queue: &Uring, source: &Source) -> Option<u16> {
    let Source::Batch(batch) = source else { return None };
    let buffer = batch.buffer();
    let registered = queue.buffers.get(batch.index() as usize)?;
    (*registered == (buffer.as_ptr() as usize, buffer.len())).then(|| batch.index())
}
