//! A bell that other threads ring to end the writer's wait: an eventfd and a flag that coalesces rings.
//!
//! The ringer puts its work where the writer will look, then swaps the flag to *rung*; only the one that found
//! it silent writes to the eventfd. The writer, at the end of every wait that the bell ended, swaps the flag to
//! *silent* and then looks for work. Both swaps are on one location, so a ring that found the flag set happened
//! before the writer's swap, and the writer sees the work: no wake-up is lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Wakes the one thread that waits for the log. Cheap to clone, safe to ring from anywhere, at any time.
#[derive(Clone)]
pub struct Bell(Arc<Inner>);

struct Inner {
    fd: OwnedFd,
    rung: AtomicBool,
}

impl Bell {
    /// A bell that nobody has rung.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        // Blocking, because an io_uring read of a non-blocking file fails instead of waiting.
        let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(Inner { fd, rung: AtomicBool::new(false) })))
    }

    /// Ends the current wait, or the next one if there is none.
    pub fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            // The counter cannot overflow: it is written at most once per silencing.
            let _ = rustix::io::write(&self.0.fd, &1u64.to_ne_bytes());
        }
    }

    /// Takes the ring back; the caller must look for work afterwards.
    pub(crate) fn silence(&self) {
        self.0.rung.swap(false, Ordering::AcqRel);
    }

    /// Waits for the bell alone, drains the eventfd and silences the flag.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(timespec);
        match poll(&mut [PollFd::new(&self.0.fd, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.0.fd, &mut counter);
        self.silence();
        Ok(())
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_ends_it_and_rings_coalesce() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.ring();
        bell.wait(None).unwrap();
        bell.ring();
        bell.wait(None).unwrap();
    }

    #[test]
    fn a_ring_from_another_thread_ends_a_wait() {
        let bell = Bell::new().unwrap();
        let ringer = bell.clone();
        let thread = std::thread::spawn(move || ringer.ring());
        bell.wait(None).unwrap();
        thread.join().unwrap();
    }
}
