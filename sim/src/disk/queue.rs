//! The queue of the disk: operations end late, in any order, twice, or never.
//!
//! An operation has its effect when it is reaped; until then a power cut or a kill decides about it as it does
//! about what is written and not synced. A queue holds what it writes until it has told how that ended.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use downbeat_record::Batch;
use downbeat_wal::storage::{Backend, Bell, Completion, Flush, Handle, Queue, Source, Write};

use super::{Claim, Disk, SECTOR, State};
use crate::fault::Fault;

/// Steps of the world that an operation takes when nothing holds it up.
const STEPS_MAX: u64 = 3;

/// An operation that has not ended.
pub(super) struct Flying {
    pub(super) ticket: u64,
    pub(super) file: u64,
    pub(super) due: u64,
    pub(super) what: What,
}

pub(super) enum What {
    Write { source: Source, skip: usize, offset: usize, dsync: bool },
    Sync { covers: BTreeSet<u64> },
}

/// A completion that comes a second time.
pub(super) struct Echo {
    ticket: u64,
    len: usize,
    due: u64,
}

pub(super) struct DiskQueue {
    pub(super) disk: Disk,
    pub(super) boot: u64,
    pub(super) bell: Bell,
}

impl DiskQueue {
    fn fly(&self, ticket: u64, handle: Handle<'_>, what: impl FnOnce(&State, u64) -> What) {
        let Handle::Number(file) = handle else { panic!("a file of another storage came to this queue") };
        let mut state = self.disk.state();
        if state.check_boot(self.boot).is_err() {
            return;
        }
        let what = what(&state, file);
        let mut due = state.tick + state.rng.u64(1..=STEPS_MAX);
        if state.hit(Fault::Late) {
            due += state.rng.u64(1..=20);
        }
        if state.hit(Fault::Slow) {
            due += 500 * STEPS_MAX;
        }
        state.flying.push(Flying { ticket, file, due, what });
    }
}

impl Queue for DiskQueue {
    fn backend(&self) -> Backend {
        Backend::Memory
    }

    fn register(&mut self, _batches: &[Arc<Batch>]) -> bool {
        false
    }

    fn write(&mut self, write: Write) {
        let (skip, offset, dsync) = (write.skip, write.offset as usize, write.dsync);
        let source = write.source;
        self.fly(write.ticket, write.file.handle(), |_, _| What::Write { source, skip, offset, dsync });
    }

    fn sync(&mut self, flush: Flush) {
        self.fly(flush.ticket, flush.file.handle(), |state, file| What::Sync {
            covers: state.files.get(&file).map(super::Platter::known).unwrap_or_default(),
        });
    }

    fn submit(&mut self) -> io::Result<()> {
        self.disk.state().operation(self.boot)
    }

    fn reap(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_boot(self.boot)?;
        state.reap(done)
    }

    /// Nothing else can happen while the one who drives the world waits, so time passes until something is due.
    fn wait(&mut self, _timeout: Option<Duration>) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_boot(self.boot)?;
        let flying = state.flying.iter().map(|one| one.due);
        match flying.chain(state.echoes.iter().map(|echo| echo.due)).min() {
            Some(due) => {
                state.tick = state.tick.max(due);
                Ok(())
            }
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "a completion that never comes")),
        }
    }

    fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

impl State {
    fn reap(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        let tick = self.tick;
        let (mut due, flying): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flying).into_iter().partition(|one| one.due <= tick);
        self.flying = flying;
        if due.len() > 1 && self.hit(Fault::Reordered) {
            self.rng.shuffle(&mut due);
        }
        for one in due {
            self.spend()?;
            let ticket = one.ticket;
            let result = self.perform(one);
            if self.hit(Fault::Unheard) {
                continue;
            }
            if let Ok(len) = result
                && self.hit(Fault::Doubled)
            {
                let due = tick + self.rng.u64(0..10);
                self.echoes.push(Echo { ticket, len, due });
            }
            done.push(Completion { ticket, result });
        }
        let echoes = std::mem::take(&mut self.echoes);
        for echo in echoes {
            if echo.due <= tick {
                done.push(Completion { ticket: echo.ticket, result: Ok(echo.len) });
            } else {
                self.echoes.push(echo);
            }
        }
        Ok(())
    }

    /// Does what was asked for, as far as the faults let it.
    pub(super) fn perform(&mut self, one: Flying) -> io::Result<usize> {
        if self.hit(Fault::Interrupted) {
            let kinds = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock];
            return Err(kinds[self.rng.usize(..2)].into());
        }
        match one.what {
            What::Write { source, skip, offset, dsync } => {
                let bytes = &source.bytes()[skip..];
                if let Source::Batch(batch) = &source {
                    self.claims.push(Claim::of(one.file, offset, batch));
                }
                let mut len = bytes.len();
                if self.hit(Fault::ShortWrite) {
                    // Devices end at sectors, file systems at any byte.
                    let short = self.rng.usize(1..len);
                    len = if self.rng.bool() { short } else { short.next_multiple_of(SECTOR).min(len) };
                }
                let failed = self.hit(Fault::WriteError);
                if failed {
                    len = self.rng.usize(..=len / SECTOR) * SECTOR;
                }
                let number = self.put(one.file, offset + skip, &bytes[..len]);
                if failed {
                    // A write of nothing is an error too, by another name.
                    return if self.rng.u8(..8) == 0 { Ok(0) } else { Err(self.device_error()) };
                }
                let file = self.files.get_mut(&one.file);
                let Some(file) = file else { return Err(io::ErrorKind::NotFound.into()) };
                file.know(number);
                if dsync {
                    self.make_durable(one.file, |write| write.number == number)?;
                }
                Ok(len)
            }
            What::Sync { covers } => {
                self.make_durable(one.file, |write| covers.contains(&write.number))?;
                Ok(0)
            }
        }
    }
}
