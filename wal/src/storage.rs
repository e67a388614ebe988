//! The seam between the log and the world: one flat directory of files, and one queue of writes.
//!
//! Everything above this line (writer, pool, recovery, reader) is the same code on a disk and in a simulator.
//! [`Storage`] and [`File`] are for work off the hot path and block; [`Queue`] is what the writer drives:
//! it takes writes and syncs, and says later how they ended, in any order.
//!
//! | | disk, `uring` | disk, `blocking` | `memory` |
//! |---|---|---|---|
//! | files | `Disk` | `Disk` | `Memory` |
//! | queue | io_uring, completes later | completes within the call | completes when reaped |
//!
//! Promises that the layers above rely on, and that `tests/storage_contract.rs` runs against all three:
//! a write is durable when it completed with `dsync`, or when a sync that was *submitted after the write had
//! been reaped* completed; a name is durable after `sync_dir`; a queue owns what it writes until it is done, and
//! tells each end once: a log that is told one twice counts the queue as failed.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use downbeat_record::{AlignedBuf, Batch};

pub mod bell;
pub mod blocking;
pub mod disk;
pub mod memory;
pub mod uring;

pub use bell::Bell;
pub use disk::Disk;
pub use memory::Memory;

/// Which machinery moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring: several writes in flight.
    Uring,
    /// `pwritev2`: one write at a time, everywhere.
    Blocking,
    /// Nothing but memory, for tests and the simulator.
    Memory,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "io_uring",
            Self::Blocking => "pwritev2",
            Self::Memory => "memory",
        })
    }
}

/// What stands in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; names that are not UTF-8 are no files of ours and are left out.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A symbolic link, a directory, a device.
    Other,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    Write,
    /// Reading and writing a file that does not exist yet.
    Create,
}

/// A directory of files; names are flat.
pub trait Storage: Send + Sync {
    /// Where a file is, for messages.
    fn path(&self, name: &str) -> PathBuf;

    /// What is there, in the order of names.
    ///
    /// # Errors
    ///
    /// The system's.
    fn list(&self) -> io::Result<Vec<Entry>>;

    /// Opens a regular file, never through a symbolic link.
    ///
    /// # Errors
    ///
    /// The system's; [`io::ErrorKind::AlreadyExists`] for [`Access::Create`] on an existing name.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Renames a file over whatever has the other name.
    ///
    /// # Errors
    ///
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    ///
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    ///
    /// # Errors
    ///
    /// The system's.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the lock on `name`, creating the file, and writes the process id into it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when somebody else holds it; otherwise the system's.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>>;

    /// Who wrote their process id into the lock file.
    fn holder(&self, name: &str) -> Option<u32>;

    /// A queue for the hot path with room for `depth` operations, and one line for the user when the queue is
    /// not the one that was asked for.
    ///
    /// # Errors
    ///
    /// When the machinery asked for does not exist here.
    fn queue(&self, depth: usize) -> io::Result<(Box<dyn Queue>, Option<String>)>;

    /// Random bits for a log id or a salt.
    ///
    /// # Errors
    ///
    /// When the system has none.
    fn random(&self) -> io::Result<u64>;

    /// True when no thread of ours may run: the caller then prepares segments itself, in a fixed order.
    fn single_threaded(&self) -> bool {
        false
    }
}

/// A lock that lasts until it is dropped.
pub trait Lock: Send {}

/// A file. Offsets and lengths are multiples of a block, buffers are aligned to one.
pub trait File: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    ///
    /// The system's.
    fn len(&self) -> io::Result<u64>;

    /// True when it has no bytes.
    ///
    /// # Errors
    ///
    /// The system's.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Reads until `buf` is full or the file ends; says how many bytes there were. May be called by several threads.
    ///
    /// # Errors
    ///
    /// The system's.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some of `bytes`; durable on return when `dsync`.
    ///
    /// # Errors
    ///
    /// The system's.
    fn write_at(&self, bytes: &[u8], offset: u64, dsync: bool) -> io::Result<usize>;

    /// Makes everything durable that was written.
    ///
    /// # Errors
    ///
    /// The system's.
    fn sync_data(&self) -> io::Result<()>;

    /// Reserves space for the first `len` bytes, which also becomes the length.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::StorageFull`] when there is none; otherwise the system's.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// What a queue of the same storage knows it by.
    fn handle(&self) -> Handle<'_>;
}

/// A file as its queue knows it.
#[derive(Clone, Copy, Debug)]
pub enum Handle<'a> {
    /// An open file of the system.
    Fd(BorrowedFd<'a>),
    /// A number of the memory storage.
    Number(u64),
}

/// The memory a write comes from. The queue holds a clone until the write is done.
#[derive(Clone)]
pub enum Source {
    /// A sealed batch; its index may be that of a registered buffer.
    Batch(Arc<Batch>),
    /// A block that is no batch: a segment header.
    Block(Arc<AlignedBuf>),
}

impl Source {
    /// The bytes to be written.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Batch(batch) => batch.bytes(),
            Self::Block(block) => block,
        }
    }
}

/// One write for a queue.
pub struct Write {
    /// What the completion is called.
    pub ticket: u64,
    /// Where to.
    pub file: Arc<dyn File>,
    /// What, starting `skip` bytes in.
    pub source: Source,
    /// Bytes of the source that are already written.
    pub skip: usize,
    /// Where the first byte of the source stands in the file.
    pub offset: u64,
    /// Durable when complete.
    pub dsync: bool,
}

/// One sync for a queue.
pub struct Flush {
    /// What the completion is called.
    pub ticket: u64,
    /// Of what.
    pub file: Arc<dyn File>,
}

/// How an operation ended.
#[derive(Debug)]
pub struct Completion {
    /// The name that its submitter gave it.
    pub ticket: u64,
    /// Bytes written, 0 for a sync.
    pub result: io::Result<usize>,
}

/// Writes and syncs in flight. Driven by one thread.
pub trait Queue: Send {
    /// What moves the bytes.
    fn backend(&self) -> Backend;

    /// Tells the kernel about buffers that stay where they are for the life of the queue. False when it
    /// would not have them; they can be written all the same.
    fn register(&mut self, batches: &[Arc<Batch>]) -> bool;

    /// Takes a write; the system may see it only at the next [`Queue::submit`].
    fn write(&mut self, write: Write);

    /// Takes a sync; the system may see it only at the next [`Queue::submit`].
    fn sync(&mut self, flush: Flush);

    /// Hands everything taken to the system.
    ///
    /// # Errors
    ///
    /// When the system refuses for good; that it is busy is no error, the next call tries again.
    fn submit(&mut self) -> io::Result<()>;

    /// Moves what has ended to `done`, without waiting.
    ///
    /// # Errors
    ///
    /// As [`Queue::submit`].
    fn reap(&mut self, done: &mut Vec<Completion>) -> io::Result<()>;

    /// Waits for a completion, the bell, or the timeout, whichever is first. A bell that rang before counts.
    ///
    /// # Errors
    ///
    /// As [`Queue::submit`].
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// What ends a wait from another thread.
    fn bell(&self) -> Bell;
}
