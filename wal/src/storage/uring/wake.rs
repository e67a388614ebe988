//! Waking: a read of the bell's eventfd that is outstanding whenever the writer waits, so that one blocking
//! call waits for the disk and for other threads.
//!
//! The bell is silenced only at the end of [`super::Uring`]'s `wait`, never by reaping: whoever waits looks for
//! work afterwards, whoever reaps need not.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use io_uring::opcode;
use io_uring::types::Fd;

use super::Uring;
use crate::storage::Bell;

/// What the completion of the read is called; no operation has this index.
pub(super) const USER_DATA: u64 = u64::MAX;

pub(super) struct Wake {
    bell: Bell,
    /// Where the kernel puts the counter; owned until the read has completed.
    word: Box<[u8; 8]>,
    armed: bool,
    rang: bool,
}

impl Wake {
    pub(super) fn new(bell: Bell) -> Self {
        Self { bell, word: Box::new([0; 8]), armed: false, rang: false }
    }

    pub(super) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    pub(super) fn is_armed(&self) -> bool {
        self.armed
    }

    pub(super) fn rang(&self) -> bool {
        self.rang
    }

    pub(super) fn completed(&mut self) {
        (self.armed, self.rang) = (false, true);
    }

    /// The end of a wait: the caller looks for work next.
    pub(super) fn finish(&mut self) {
        if std::mem::take(&mut self.rang) {
            self.bell.silence();
        }
    }

    /// Precondition: the queue is being dropped.
    pub(super) fn leak_if_armed(&mut self) {
        if self.armed {
            std::mem::forget(std::mem::replace(&mut self.word, Box::new([0; 8])));
        }
    }
}

/// Makes sure that the read is outstanding.
pub(super) fn arm(queue: &mut Uring) -> io::Result<()> {
    if queue.wake.armed {
        return Ok(());
    }
    let fd = queue.wake.bell.as_fd().as_raw_fd();
    let word = queue.wake.word.as_mut_ptr();
    let entry = opcode::Read::new(Fd(fd), word, 8).offset(u64::MAX).build();
    queue.push(&entry.user_data(USER_DATA))?;
    queue.wake.armed = true;
    Ok(())
}
