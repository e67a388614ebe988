//! The io_uring queue: the only place that names io_uring, and one of the three with `unsafe`.
//!
//! ```text
//!  write()/sync() ─► Op owns Arc<Batch>, Arc<File> ─► SQE ─ submit ─► kernel ─► CQE ─► Op dropped, Completion
//! ```
//!
//! Protocol, which every `SAFETY` comment refers to:
//! 1. an operation is put into the table *before* its entry is pushed; it owns the memory and the file;
//! 2. it leaves the table only when its completion has been seen;
//! 3. dropping the queue waits for every completion; what does not complete is leaked, never freed.
//!
//! The ring starts disabled: it is bound to a thread (`SINGLE_ISSUER`) when that thread first submits or waits,
//! and from then on may do nothing but the four operations listed in `restrict`. A queue that was opened on
//! one thread can thus be moved to another before its first use.
//! `DEFER_TASKRUN` and `SQPOLL` are not used: both were measured to be worse on small machines.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_record::Batch;
use io_uring::register::Restriction;
use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};

use crate::storage::{Backend, Bell, Completion, File, Flush, Handle, Queue, Write};

mod sync;
mod wake;
mod write;

use wake::Wake;

/// Segments that can have operations in flight at once: the current one and the one before, with room.
const FILE_SLOTS: usize = 8;
/// How often a full ring is offered to a busy kernel before the operation counts as failed.
const PUSHES_MAX: usize = 10_000;
/// How long dropping the queue waits for the device before it leaks what is still in flight.
const DRAIN: Duration = Duration::from_secs(10);

/// What is in flight: owns everything the kernel may touch.
enum Op {
    Write(Write),
    Flush(Flush),
}

/// An io_uring with its operations.
pub struct Uring {
    ring: IoUring,
    ops: Vec<Option<Op>>,
    free: Vec<usize>,
    files: [Option<Arc<dyn File>>; FILE_SLOTS],
    next_file: usize,
    fixed_files: bool,
    /// Where each registered buffer starts and how long it is; empty when none is registered.
    buffers: Vec<(usize, usize)>,
    wake: Wake,
    enabled: bool,
    done: Vec<Completion>,
}

impl Uring {
    /// A ring for `depth` writes, not yet bound to a thread.
    ///
    /// # Errors
    ///
    /// When the kernel has none (`ENOSYS`), does not let us (`EPERM`, in many containers), or cannot wait for a time (before
    /// Linux 5.11).
    pub fn new(depth: usize) -> io::Result<Self> {
        let entries = (depth + 8).next_power_of_two().clamp(16, 1024) as u32;
        let ring = build(entries)?;
        if !ring.params().is_feature_ext_arg() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it cannot wait for a time before Linux 5.11",
            ));
        }
        let fixed_files = ring.submitter().register_files_sparse(FILE_SLOTS as u32).is_ok();
        restrict(&ring);
        let wake = Wake::new(Bell::new()?);
        Ok(Self {
            ring,
            ops: Vec::new(),
            free: Vec::new(),
            files: Default::default(),
            next_file: 0,
            fixed_files,
            buffers: Vec::new(),
            wake,
            enabled: false,
            done: Vec::new(),
        })
    }

    /// Binds the ring to the calling thread.
    fn enable(&mut self) -> io::Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        Ok(())
    }

    fn keep(&mut self, op: Op) -> usize {
        match self.free.pop() {
            Some(index) => {
                self.ops[index] = Some(op);
                index
            }
            None => {
                self.ops.push(Some(op));
                self.ops.len() - 1
            }
        }
    }

    fn in_flight(&self) -> usize {
        self.ops.len() - self.free.len()
    }

    /// Puts an entry into the ring, making room if there is none.
    ///
    /// Precondition: everything that `entry` points to is in the table, or is the bell's word.
    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        for _ in 0..PUSHES_MAX {
            // SAFETY: step 1: the memory and the descriptor that the entry names are owned by the table (or by
            // `self.wake`) until step 2 sees its completion.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.enter()?;
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the kernel takes no entries"))
    }

    /// Pushes the entry of the operation at `index`; if the ring will not have it, the operation has failed.
    fn push_op(&mut self, index: usize, entry: Entry) {
        if let Err(error) = self.push(&entry.user_data(index as u64)) {
            self.finish(index, Err(error));
        }
    }

    /// Takes an operation out of the table: the kernel has seen the last of it, or never saw it.
    fn finish(&mut self, index: usize, result: io::Result<usize>) {
        let op = self.ops[index].take().expect("a completion belongs to an operation in flight");
        self.free.push(index);
        let ticket = match op {
            Op::Write(write) => write.ticket,
            Op::Flush(flush) => flush.ticket,
        };
        self.done.push(Completion { ticket, result });
    }

    /// Lets the kernel take what was pushed and run what it has ready. Busy is no error.
    fn enter(&mut self) -> io::Result<()> {
        self.enable()?;
        match self.ring.submit() {
            Ok(_) => Ok(()),
            Err(error) if is_busy(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The number under which the kernel has the file, registering it over the one not used for longest.
    fn file_slot(&mut self, file: &Arc<dyn File>) -> Option<u32> {
        if !self.fixed_files {
            return None;
        }
        let known = self.files.iter().position(|known| known.as_ref().is_some_and(|k| Arc::ptr_eq(k, file)));
        if let Some(slot) = known {
            return Some(slot as u32);
        }
        let slot = self.next_file;
        // Operations in flight on the file that leaves hold it inside the kernel. Entries that the kernel has not
        // taken yet name only the slot, and would go to the file that comes: they must be taken first.
        if self.files[slot].is_some() && (self.enter().is_err() || !self.ring.submission().is_empty()) {
            return None;
        }
        match self.ring.submitter().register_files_update(slot as u32, &[raw(&**file)]) {
            Ok(_) => {
                self.files[slot] = Some(Arc::clone(file));
                self.next_file = (slot + 1) % FILE_SLOTS;
                Some(slot as u32)
            }
            Err(_) => {
                self.fixed_files = false;
                None
            }
        }
    }

    /// Moves completions from the ring to `done`; step 2 of the protocol.
    fn collect(&mut self) {
        loop {
            let next = self.ring.completion().next();
            let Some(entry) = next else { return };
            if entry.user_data() == wake::USER_DATA {
                self.wake.completed();
                continue;
            }
            let result = match entry.result() {
                len if len >= 0 => Ok(len as usize),
                errno => Err(io::Error::from_raw_os_error(-errno)),
            };
            self.finish(entry.user_data() as usize, result);
        }
    }

    fn blocked(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.enable()?;
        let outcome = match timeout {
            None => self.ring.submit_and_wait(1),
            Some(timeout) => {
                let time = Timespec::new().sec(timeout.as_secs()).nsec(timeout.subsec_nanos());
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        match outcome {
            Ok(_) => Ok(()),
            Err(error) if is_busy(&error) || error.raw_os_error() == Some(ETIME) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Queue for Uring {
    fn backend(&self) -> Backend {
        Backend::Uring
    }

    fn register(&mut self, batches: &[Arc<Batch>]) -> bool {
        write::register(self, batches)
    }

    fn write(&mut self, write: Write) {
        write::push(self, write);
    }

    fn sync(&mut self, flush: Flush) {
        sync::push(self, flush);
    }

    fn submit(&mut self) -> io::Result<()> {
        self.enter()
    }

    fn reap(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        if self.needs_entering() {
            self.enter()?;
        }
        self.collect();
        done.append(&mut self.done);
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.collect();
        if self.done.is_empty() && !self.wake.rang() {
            wake::arm(self)?;
            self.blocked(timeout)?;
            self.collect();
        }
        self.wake.finish();
        Ok(())
    }

    fn bell(&self) -> Bell {
        self.wake.bell()
    }
}

impl Uring {
    /// True when the kernel has completions that it posts only once we enter it, or entries it has not taken.
    fn needs_entering(&mut self) -> bool {
        let submission = self.ring.submission();
        submission.taskrun() || submission.cq_overflow() || !submission.is_empty()
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.wake.bell().ring();
        let give_up = Instant::now() + DRAIN;
        while self.in_flight() > 0 || self.wake.is_armed() {
            self.collect();
            if self.in_flight() == 0 && !self.wake.is_armed() {
                break;
            }
            if Instant::now() > give_up || self.blocked(Some(Duration::from_millis(100))).is_err() {
                break;
            }
        }
        // Step 3: what the kernel may still read or write must never be freed.
        for op in self.ops.drain(..).flatten() {
            std::mem::forget(op);
        }
        self.wake.leak_if_armed();
    }
}

/// Newest kernels first; each step back costs a little speed and nothing else.
fn build(entries: u32) -> io::Result<IoUring> {
    let tuned = IoUring::builder()
        .setup_r_disabled()
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .build(entries);
    match tuned {
        Err(error) if error.raw_os_error() == Some(EINVAL) => {}
        result => return result,
    }
    IoUring::builder().setup_r_disabled().build(entries)
}

/// From the first use on the ring takes these and nothing else. A kernel without restrictions does without.
fn restrict(ring: &IoUring) {
    const REGISTER_BUFFERS: u8 = 0;
    const REGISTER_FILES_UPDATE: u8 = 6;
    const IOSQE_FIXED_FILE: u8 = 1;
    let mut rules = [
        Restriction::sqe_op(opcode::Write::CODE),
        Restriction::sqe_op(opcode::WriteFixed::CODE),
        Restriction::sqe_op(opcode::Fsync::CODE),
        Restriction::sqe_op(opcode::Read::CODE),
        Restriction::sqe_flags_allowed(IOSQE_FIXED_FILE),
        Restriction::register_op(REGISTER_BUFFERS),
        Restriction::register_op(REGISTER_FILES_UPDATE),
    ];
    let _ = ring.submitter().register_restrictions(&mut rules);
}

fn raw(file: &dyn File) -> i32 {
    match file.handle() {
        Handle::Fd(fd) => fd.as_raw_fd(),
        Handle::Number(number) => panic!("file {number} of the memory storage came to an io_uring"),
    }
}

fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EINTR | EAGAIN | EBUSY))
}

const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;
const ETIME: i32 = 62;

#[cfg(test)]
mod tests {
    use io_uring::types::Fd;

    use super::*;

    #[test]
    fn the_kernel_refuses_what_a_log_does_not_do() {
        // Without io_uring, as in many containers, there is nothing to refuse.
        let Ok(mut queue) = Uring::new(4) else { return };
        let refused = |queue: &mut Uring, entry: Entry| {
            queue.push(&entry.user_data(wake::USER_DATA - 1)).expect("there is room");
            queue.enable().expect("the ring is ours");
            queue.ring.submit_and_wait(1).expect("the kernel answers");
            queue.ring.completion().next().map(|answer| answer.result())
        };
        const EACCES: i32 = 13;
        const EBADF: i32 = 9;
        assert_eq!(refused(&mut queue, opcode::Nop::new().build()), Some(-EACCES));
        let elsewhere = opcode::OpenAt::new(Fd(-1), c"/etc/hostname".as_ptr()).build();
        assert_eq!(refused(&mut queue, elsewhere), Some(-EACCES));
        // One that is listed comes as far as its descriptor.
        let listed = opcode::Fsync::new(Fd(-1)).build();
        assert_eq!(refused(&mut queue, listed), Some(-EBADF));
    }
}
