//! Making durable: `fdatasync` of one file, which covers every write to it that had completed before.

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, Fixed, FsyncFlags};

use super::{Op, Uring, raw};
use crate::storage::Flush;

/// Puts a sync into the table and its entry into the ring.
pub(super) fn push(queue: &mut Uring, flush: Flush) {
    let slot = queue.file_slot(&flush.file);
    let fd = raw(&*flush.file);
    let index = queue.keep(Op::Flush(flush));
    let entry: Entry = match slot {
        Some(slot) => opcode::Fsync::new(Fixed(slot)).flags(FsyncFlags::DATASYNC).build(),
        None => opcode::Fsync::new(Fd(fd)).flags(FsyncFlags::DATASYNC).build(),
    };
    queue.push_op(index, entry);
}
