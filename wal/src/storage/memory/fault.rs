//! Which operation of the memory storage fails, and how.

use std::io;

/// The kinds of operation that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A write, by a queue or not.
    Write,
    /// A sync, or the second half of a durable write.
    Sync,
    /// A read.
    Read,
    /// Reserving space.
    Allocate,
    /// Creating a file.
    Create,
    /// Renaming one.
    Rename,
    /// Making names durable.
    SyncDir,
    /// Removing a file that is there.
    Remove,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Write,
        Self::Sync,
        Self::Read,
        Self::Allocate,
        Self::Create,
        Self::Rename,
        Self::SyncDir,
        Self::Remove,
    ];
}

/// What happens instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An error with this number of the system.
    Errno(i32),
    /// Only this many bytes are written.
    Short(usize),
}

/// From the `after`-th operation of a kind on (0 is the next one), `times` of them end otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which kind.
    pub step: Step,
    /// How many go well before.
    pub after: u64,
    /// How many end otherwise.
    pub times: u64,
    /// How they end.
    pub outcome: Outcome,
}

#[derive(Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
    happened: u64,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    /// How many operations ended otherwise.
    pub(super) fn happened(&self) -> u64 {
        self.happened
    }

    /// Counts an operation; an error, a shorter length, or neither.
    pub(super) fn check(&mut self, step: Step, len: usize) -> io::Result<Option<usize>> {
        let mut planned = self.planned.iter_mut();
        let Some(fault) = planned.find(|fault| fault.step == step && fault.times > 0) else {
            return Ok(None);
        };
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(None);
        }
        fault.times -= 1;
        self.happened += 1;
        match fault.outcome {
            Outcome::Errno(errno) => Err(io::Error::from_raw_os_error(errno)),
            Outcome::Short(short) => Ok(Some(short.min(len))),
        }
    }
}
