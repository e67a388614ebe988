//! A directory in memory whose power can be cut: for tests, and the seam the simulator stands on.
//!
//! What has been written but not synced is a list of *unsynced* writes per file; a power cut asks, for each,
//! what the platter got: all of it, nothing, or some sectors, old, new, zero or garbage. Names and lengths are
//! volatile until `sync_dir` and `sync_data`, like a filesystem's.
//!
//! The model is as unkind as the contract allows: a sync makes durable only what had been *reaped* before the
//! sync was submitted, and handles opened before a cut are dead after it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use downbeat_record::Batch;

use crate::storage::{
    Access, Backend, Bell, Completion, Entry, EntryKind, File, Flush, Handle, Lock, Queue, Storage, Write,
};

mod fault;

pub use fault::{Fault, Outcome, Step};

/// The unit in which a write can be torn, in bytes.
pub const SECTOR: usize = 512;

/// A directory in memory. Clones are the same directory.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

/// What a power cut does to one unsynced write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reached the platter whole.
    Kept,
    /// It never happened.
    Lost,
    /// Sector by sector; sectors not listed are [`Sector::Old`].
    Torn(Vec<Sector>),
}

/// What a sector of a torn write holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sector {
    /// What was written.
    New,
    /// What was there before.
    Old,
    /// Zeros.
    Zero,
    /// Bytes that nobody wrote.
    Garbage,
}

/// A write that no sync has covered.
#[derive(Clone, Debug)]
pub struct Unsynced {
    /// The file's name when the power went.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// How long.
    pub len: usize,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    locked: BTreeSet<String>,
    /// Handles of an earlier boot are dead.
    boot: u64,
    faults: fault::Faults,
    capacity: Option<u64>,
    random: u64,
    held: bool,
    /// Numbers writes across queues and boots.
    next_write: u64,
}

/// The bytes of one file: as a reader sees them, and as the platter has them.
#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Pending>,
    allocated: u64,
}

#[derive(Clone)]
struct Pending {
    number: u64,
    offset: u64,
    bytes: Vec<u8>,
    /// Its submitter has seen that it completed; a sync submitted from here on covers it.
    reaped: bool,
}

impl Memory {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: `fate` decides about every unsynced write, oldest first; unsynced names are lost. Handles
    /// and locks from before are dead, the directory can be opened anew.
    pub fn power_cut(&self, mut fate: impl FnMut(&Unsynced) -> Fate) {
        let mut state = self.state();
        state.boot += 1;
        state.locked.clear();
        state.faults = fault::Faults::default();
        state.held = false;
        let names: BTreeMap<u64, String> =
            state.names.iter().map(|(name, number)| (*number, name.clone())).collect();
        let durable_names = state.durable_names.clone();
        state.files.retain(|number, _| durable_names.values().any(|durable| durable == number));
        state.names = durable_names;
        for (number, content) in &mut state.files {
            let name = names.get(number).cloned().unwrap_or_default();
            for write in std::mem::take(&mut content.unsynced) {
                let unsynced = Unsynced { file: name.clone(), offset: write.offset, len: write.bytes.len() };
                land(&mut content.durable, &write, &fate(&unsynced));
            }
            content.bytes = content.durable.clone();
        }
    }

    /// Fails later operations; see [`Fault`].
    pub fn fail(&self, fault: Fault) {
        self.state().faults.add(fault);
    }

    /// Takes all faults back, and says how many operations they had met.
    pub fn heal(&self) -> u64 {
        std::mem::take(&mut self.state().faults).happened()
    }

    /// The most bytes that files may take together; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// While held, nothing a queue was given completes.
    pub fn hold(&self, held: bool) {
        self.state().held = held;
    }

    /// The bytes of a file as a reader sees them.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|number| state.files[number].bytes.clone())
    }

    /// Changes a file behind everybody's back, durably.
    ///
    /// # Panics
    ///
    /// When there is no such file.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        assert!(self.tamper_if_there(name, change), "there is no {name}");
    }

    /// As [`Memory::tamper`]; false when there is no such file.
    pub fn tamper_if_there(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state();
        let Some(number) = state.names.get(name).copied() else { return false };
        let content = state.files.get_mut(&number).expect("a name stands for a file");
        change(&mut content.bytes);
        content.durable = content.bytes.clone();
        true
    }

    /// The same bytes in a directory of its own: what a copy of the disk would hold.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        let copy = State {
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            files: state.files.clone(),
            next_file: state.next_file,
            random: state.random.wrapping_add(1 << 40),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(copy)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a write onto the platter as far as its fate says.
fn land(platter: &mut Vec<u8>, write: &Pending, fate: &Fate) {
    let start = write.offset as usize;
    let sectors = match fate {
        Fate::Lost => return,
        Fate::Kept => vec![Sector::New; write.bytes.len().div_ceil(SECTOR)],
        Fate::Torn(sectors) => sectors.clone(),
    };
    if platter.len() < start + write.bytes.len() {
        platter.resize(start + write.bytes.len(), 0);
    }
    for (index, (new, sector)) in write.bytes.chunks(SECTOR).zip(sectors).enumerate() {
        let at = start + index * SECTOR;
        let target = &mut platter[at..at + new.len()];
        match sector {
            Sector::New => target.copy_from_slice(new),
            Sector::Old => {}
            Sector::Zero => target.fill(0),
            Sector::Garbage => {
                let mut word = 0x9e37_79b9_7f4a_7c15 ^ at as u64;
                target.iter_mut().for_each(|byte| *byte = scramble(&mut word) as u8);
            }
        }
    }
}

fn scramble(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl State {
    fn number(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn content(&mut self, number: u64, boot: u64) -> io::Result<&mut Content> {
        if boot != self.boot {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the power was cut"));
        }
        self.files.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The write as far as the faults let it; `reaped` when its submitter knows about it on return.
    fn write(&mut self, target: Target, bytes: &[u8], offset: u64, reaped: bool) -> io::Result<usize> {
        let bytes = match self.faults.check(Step::Write, bytes.len())? {
            Some(short) => &bytes[..short],
            None => bytes,
        };
        let content = self.content(target.number, target.boot)?;
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[start..end].copy_from_slice(bytes);
        let pending = Pending { number: target.write, offset, bytes: bytes.to_vec(), reaped };
        content.unsynced.push(pending);
        Ok(bytes.len())
    }

    /// Makes durable what `covered` picks; everything else stays unsynced.
    fn make_durable(&mut self, target: Target, covered: impl Fn(&Pending) -> bool) -> io::Result<()> {
        let content = self.content(target.number, target.boot)?;
        let (synced, rest) = std::mem::take(&mut content.unsynced).into_iter().partition(covered);
        content.unsynced = rest;
        let synced: Vec<Pending> = synced;
        let len = content.bytes.len();
        if content.durable.len() < len {
            content.durable.resize(len, 0);
        }
        for write in &synced {
            land(&mut content.durable, write, &Fate::Kept);
        }
        Ok(())
    }
}

/// A file of one boot, and the number of the write in question.
#[derive(Clone, Copy)]
struct Target {
    number: u64,
    boot: u64,
    write: u64,
}

impl Storage for Memory {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory:").join(name)
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let state = self.state();
        let entry = |name: &String| Entry { name: name.clone(), kind: EntryKind::File };
        Ok(state.names.keys().map(entry).collect())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        if access == Access::Create {
            state.faults.check(Step::Create, 0)?;
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.next_file += 1;
            let number = state.next_file;
            state.names.insert(name.to_owned(), number);
            state.files.insert(number, Content::default());
        }
        let (number, boot) = (state.number(name)?, state.boot);
        Ok(Arc::new(MemoryFile { memory: self.clone(), number, boot }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Step::Rename, 0)?;
        let number = state.number(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let number = state.number(name)?;
        state.faults.check(Step::Remove, 0)?;
        state.names.remove(name);
        if let Some(content) = state.files.get_mut(&number) {
            content.allocated = 0;
        }
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Step::SyncDir, 0)?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state();
        if !state.locked.insert(name.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { memory: self.clone(), name: name.to_owned(), boot: state.boot }))
    }

    fn holder(&self, _name: &str) -> Option<u32> {
        Some(std::process::id())
    }

    fn queue(&self, _depth: usize) -> io::Result<(Box<dyn Queue>, Option<String>)> {
        let bell = Bell::new()?;
        let boot = self.state().boot;
        Ok((Box::new(MemoryQueue { memory: self.clone(), boot, bell, running: Vec::new() }), None))
    }

    fn random(&self) -> io::Result<u64> {
        Ok(scramble(&mut self.state().random))
    }

    fn single_threaded(&self) -> bool {
        true
    }
}

struct MemoryLock {
    memory: Memory,
    name: String,
    boot: u64,
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        if state.boot == self.boot {
            state.locked.remove(&self.name);
        }
    }
}

struct MemoryFile {
    memory: Memory,
    number: u64,
    boot: u64,
}

impl MemoryFile {
    fn target(&self) -> Target {
        Target { number: self.number, boot: self.boot, write: 0 }
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.memory.state().content(self.number, self.boot)?.bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.memory.state();
        state.faults.check(Step::Read, buf.len())?;
        let bytes = &state.content(self.number, self.boot)?.bytes;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64, dsync: bool) -> io::Result<usize> {
        let mut state = self.memory.state();
        let len = state.write(self.target(), bytes, offset, true)?;
        if dsync {
            state.faults.check(Step::Sync, 0)?;
            state.make_durable(self.target(), |write| write.reaped)?;
        }
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.memory.state();
        state.faults.check(Step::Sync, 0)?;
        state.make_durable(self.target(), |write| write.reaped)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.memory.state();
        state.faults.check(Step::Allocate, 0)?;
        let used: u64 = state.files.values().map(|content| content.allocated).sum();
        if state.capacity.is_some_and(|capacity| used + len > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = state.content(self.number, self.boot)?;
        content.allocated = len;
        content.bytes.resize(len as usize, 0);
        Ok(())
    }

    fn handle(&self) -> Handle<'_> {
        Handle::Number(self.number)
    }
}

/// What a queue was given and has not said back.
struct MemoryQueue {
    memory: Memory,
    /// Like a handle, it is dead after a power cut.
    boot: u64,
    bell: Bell,
    running: Vec<Running>,
}

enum Running {
    Write { ticket: u64, target: Target, dsync: bool, result: io::Result<usize> },
    Sync { ticket: u64, target: Target, covers: BTreeSet<u64> },
}

impl MemoryQueue {
    fn target(&self, file: &dyn File) -> Target {
        let Handle::Number(number) = file.handle() else {
            panic!("a file of a disk came to the memory queue")
        };
        let mut state = self.memory.state();
        state.next_write += 1;
        Target { number, boot: self.boot, write: state.next_write }
    }

    fn complete(&self, running: Running) -> Completion {
        let mut state = self.memory.state();
        match running {
            Running::Write { ticket, target, dsync, mut result } => {
                let content = state.content(target.number, target.boot);
                if let Err(dead) = content {
                    result = Err(dead);
                } else if let (Ok(_), Ok(content)) = (&result, content) {
                    let own = content.unsynced.iter_mut().filter(|write| write.number == target.write);
                    own.for_each(|write| write.reaped = true);
                    if dsync {
                        let synced = state
                            .faults
                            .check(Step::Sync, 0)
                            .and_then(|_| state.make_durable(target, |write| write.number == target.write));
                        result = synced.and(result);
                    }
                }
                Completion { ticket, result }
            }
            Running::Sync { ticket, target, covers } => {
                let result = state
                    .faults
                    .check(Step::Sync, 0)
                    .and_then(|_| state.make_durable(target, |write| covers.contains(&write.number)));
                Completion { ticket, result: result.map(|()| 0) }
            }
        }
    }
}

impl Drop for MemoryQueue {
    /// Its process has died. What it wrote is there for whoever looks, and the next sync by anybody covers it.
    fn drop(&mut self) {
        let mut state = self.memory.state();
        for running in &self.running {
            let Running::Write { target, .. } = running else { continue };
            if let Ok(content) = state.content(target.number, target.boot) {
                let own = content.unsynced.iter_mut().filter(|write| write.number == target.write);
                own.for_each(|write| write.reaped = true);
            }
        }
    }
}

impl Queue for MemoryQueue {
    fn backend(&self) -> Backend {
        Backend::Memory
    }

    fn register(&mut self, _batches: &[Arc<Batch>]) -> bool {
        false
    }

    fn write(&mut self, write: Write) {
        let target = self.target(&*write.file);
        let bytes = &write.source.bytes()[write.skip..];
        let offset = write.offset + write.skip as u64;
        let result = self.memory.state().write(target, bytes, offset, false);
        self.running.push(Running::Write { ticket: write.ticket, target, dsync: write.dsync, result });
    }

    fn sync(&mut self, flush: Flush) {
        let target = self.target(&*flush.file);
        let covers = match self.memory.state().content(target.number, target.boot) {
            Ok(content) => content.unsynced.iter().filter(|w| w.reaped).map(|w| w.number).collect(),
            Err(_) => BTreeSet::new(),
        };
        self.running.push(Running::Sync { ticket: flush.ticket, target, covers });
    }

    fn submit(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reap(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        if self.memory.state().held {
            return Ok(());
        }
        let running = std::mem::take(&mut self.running);
        done.extend(running.into_iter().map(|running| self.complete(running)));
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let nothing_comes = self.running.is_empty() || self.memory.state().held;
        if nothing_comes { self.bell.wait(timeout) } else { Ok(()) }
    }

    fn bell(&self) -> Bell {
        self.bell.clone()
    }
}
