//! The simulated disk: one flat directory, under the same seam as the real one.
//!
//! What it promises is what `wal/src/storage.rs` asks for and nothing more: a write is durable when it completed
//! with `dsync`, or when a sync that was submitted after the write had been reaped completed; a name is durable
//! after `sync_dir`. Everything else is decided by the seed.
//!
//! Two classes of faults. *Crashes and errors* are in the contract: whatever they do, what was acknowledged is
//! there at the next open. *Damage* (rot, latent errors, writes that were confirmed and not done, or done
//! elsewhere) is not: it has to be noticed. [`Disk::is_damaged`] tells them apart, [`Disk::repair`] is the
//! operator who restores from a copy.
//!
//! Not modelled: a device that reports a failed flush and shows the lost bytes to readers all the same, until
//! the next power cut. No log can notice that; after a failed sync readers here see what the platter holds.

mod platter;
mod queue;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use downbeat_record::{Batch, BatchNo};
use downbeat_wal::names;
use downbeat_wal::storage::{Access, Bell, Entry, EntryKind, File, Handle, Lock, Queue, Storage};
use fastrand::Rng;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::fault::{Fault, Injected, Odds};
use platter::{Astray, EIO, Fate, Platter, SECTOR, Unsynced};
use queue::{DiskQueue, Echo, Flying, What};

const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

struct State {
    rng: Rng,
    odds: Odds,
    injected: Injected,
    /// Steps of the world.
    tick: u64,
    /// Counts processes; what an earlier one holds is dead.
    boot: u64,
    /// Operations until the power goes.
    fuse: Option<u64>,
    power: bool,
    full: bool,
    /// A planted bug: syncs end well and do nothing.
    lies: bool,
    locked: bool,
    names: Names,
    /// What the names were after each change since they were last made durable; a power cut takes one of them.
    names_since: Vec<Names>,
    files: BTreeMap<u64, Platter>,
    next_number: u64,
    flying: Vec<Flying>,
    lingering: Vec<Flying>,
    echoes: Vec<Echo>,
    claims: Vec<Claim>,
    /// Errors that this process was given: they explain a refusal to open.
    errors: u64,
}

type Names = BTreeMap<String, u64>;

/// A batch that was written, and what it says is durable.
struct Claim {
    file: u64,
    offset: usize,
    len: usize,
    hash: u64,
    durable: BatchNo,
}

impl Claim {
    fn of(file: u64, offset: usize, batch: &Batch) -> Self {
        let bytes = batch.bytes();
        Self { file, offset, len: bytes.len(), hash: xxh3_64(bytes), durable: batch.header().durable() }
    }
}

impl Disk {
    /// An empty disk that draws from `rng`.
    pub fn new(rng: Rng, odds: Odds) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng,
            odds,
            injected: Injected::default(),
            tick: 0,
            boot: 0,
            fuse: None,
            power: true,
            full: false,
            lies: false,
            locked: false,
            names: Names::new(),
            names_since: vec![Names::new()],
            files: BTreeMap::new(),
            next_number: 0,
            flying: Vec::new(),
            lingering: Vec::new(),
            echoes: Vec::new(),
            claims: Vec::new(),
            errors: 0,
        })))
    }

    /// Lets time pass.
    pub fn step(&self) {
        let mut state = self.state();
        state.tick += 1;
        let tick = state.tick;
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.lingering).into_iter().partition(|one| one.due <= tick);
        state.lingering = rest;
        for one in due {
            state.injected.add(Fault::Lingering);
            // Nobody is there to hear how it ended.
            let _ = state.perform(one);
        }
    }

    /// Steps so far.
    pub fn tick(&self) -> u64 {
        self.state().tick
    }

    /// The power goes after so many more operations.
    pub fn light_fuse(&self, operations: u64) {
        self.state().fuse = Some(operations);
    }

    /// False from the moment the power went until [`Disk::restart`].
    pub fn has_power(&self) -> bool {
        self.state().power
    }

    /// The process is gone, killed or because the power went. What it had in flight is decided now.
    pub fn restart(&self) {
        let mut state = self.state();
        state.boot += 1;
        state.locked = false;
        state.fuse = None;
        state.errors = 0;
        state.echoes.clear();
        if std::mem::replace(&mut state.power, true) { state.kill() } else { state.cut() }
    }

    /// Sets whether there is space.
    pub fn set_full(&self, full: bool) {
        let mut state = self.state();
        if full && !state.full {
            state.injected.add(Fault::DiskFull);
        }
        state.full = full;
    }

    /// True when there is no space.
    pub fn is_full(&self) -> bool {
        self.state().full
    }

    /// Ends all faults that are still to come.
    pub fn calm(&self) {
        let mut state = self.state();
        state.odds = Odds::NONE;
        state.full = false;
    }

    /// Sets how often things go wrong.
    pub fn set_odds(&self, odds: Odds) {
        self.state().odds = odds;
    }

    /// Plants the bug of a device that confirms syncs without doing them.
    pub fn lie_about_syncs(&self) {
        self.state().lies = true;
    }

    /// Damages what is durable, as the odds say; nothing may be in flight.
    pub fn rot(&self) {
        let mut state = self.state();
        let numbers: Vec<u64> = state.files.keys().copied().collect();
        for fault in [Fault::BitRot, Fault::SectorRot, Fault::LatentError] {
            if numbers.is_empty() || !state.hit(fault) {
                continue;
            }
            let number = numbers[state.rng.usize(..numbers.len())];
            let mut rng = state.rng.fork();
            let Some(file) = state.files.get_mut(&number) else { continue };
            if !file.durable().is_empty() {
                rot(file, fault, &mut rng);
            }
        }
    }

    /// Writes of dead processes that may still reach a file.
    pub fn has_lingering(&self) -> bool {
        !self.state().lingering.is_empty()
    }

    /// True when the device did what no crash explains.
    pub fn is_damaged(&self) -> bool {
        self.state().files.values().any(Platter::is_damaged)
    }

    /// True when the device did what no crash explains, to the manifest also before the log was opened last: a slot
    /// that lies does no harm as long as the other one and the segments say it all.
    pub fn was_damaged(&self) -> bool {
        self.state().files.values().any(|file| file.is_damaged() || file.is_other())
    }

    /// A log was opened on what is there: from here on that is the truth, and a copy from before is not.
    pub fn accept(&self) {
        let mut state = self.state();
        let manifests: Vec<u64> =
            names::MANIFEST.iter().filter_map(|name| state.names.get(*name).copied()).collect();
        for (number, file) in &mut state.files {
            if manifests.contains(number) { file.accept_for_now() } else { file.accept() }
        }
    }

    /// Restores everything from a copy.
    pub fn repair(&self) {
        self.state().files.values_mut().for_each(Platter::repair);
    }

    /// True when an operation of this process ended with an error.
    pub fn gave_errors(&self) -> bool {
        let state = self.state();
        state.errors > 0 || state.full
    }

    /// The highest batch that anything whole on the platter says was durable.
    pub fn durable_by_word(&self) -> BatchNo {
        let state = self.state();
        let whole = |claim: &&Claim| {
            let file = state.files.get(&claim.file);
            let bytes = file.and_then(|file| file.durable().get(claim.offset..claim.offset + claim.len));
            bytes.is_some_and(|bytes| xxh3_64(bytes) == claim.hash)
        };
        let batches = state.claims.iter().filter(whole).map(|claim| claim.durable);
        let slots = names::MANIFEST.iter().filter_map(|name| state.files.get(state.names.get(*name)?));
        batches.chain(slots.filter_map(|slot| said_by_slot(slot.durable()))).max().unwrap_or_default()
    }

    /// Zeroes everything from a place in the log on, and what else could tell: the bug of a salvage that makes a
    /// damaged log open again.
    pub fn wipe(&self, name: &str, offset: usize) {
        let mut state = self.state();
        let names = state.names.clone();
        for (other, number) in &names {
            let Some(file) = state.files.get_mut(number) else { continue };
            match other.as_str() {
                _ if other == name => {
                    file.overwrite(|bytes| bytes.get_mut(offset..).unwrap_or_default().fill(0));
                }
                _ if other.starts_with("MANIFEST") || (other.ends_with(".seg") && other.as_str() > name) => {
                    file.overwrite(|bytes| bytes.fill(0));
                }
                _ => {}
            }
        }
    }

    /// What a reader sees of a file.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.files.get(state.names.get(name)?)?;
        let mut bytes = vec![0; file.len];
        file.read(&mut bytes, 0).ok()?;
        Some(bytes)
    }

    /// The hash of every durable byte and name: two runs of a seed leave the same disk.
    pub fn hash(&self) -> u64 {
        let state = self.state();
        let hash = |hash, (name, number): (&String, &u64)| {
            let bytes = state.files.get(number).map(Platter::durable).unwrap_or_default();
            xxh3_64_with_seed(bytes, xxh3_64_with_seed(name.as_bytes(), hash))
        };
        state.names.iter().fold(0, hash)
    }

    /// Changes durable bytes of a file.
    ///
    /// # Panics
    ///
    /// When there is no such file.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut [u8])) {
        let mut state = self.state();
        let number = state.names[name];
        state.files.get_mut(&number).expect("a name stands for a file").damage(change);
    }

    /// What went wrong so far.
    pub fn injected(&self) -> Injected {
        self.state().injected.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The highest batch that a slot of the manifest says was durable, if it is whole (docs/format.md).
fn said_by_slot(bytes: &[u8]) -> Option<BatchNo> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let crc = (word(120)? >> 32) as u32;
    if crc32c::crc32c(&bytes[..124]) == crc { word(64).map(BatchNo) } else { None }
}

fn rot(file: &mut Platter, fault: Fault, rng: &mut Rng) {
    let len = file.durable().len();
    // Most of a file is empty; what is written is what is worth hitting.
    let used = file.durable().chunks(SECTOR).rposition(|sector| sector.iter().any(|byte| *byte != 0));
    let used = used.map_or(len, |sector| (sector + 1) * SECTOR).min(len);
    let range = if rng.u8(..8) == 0 { len } else { used.max(1) };
    let at = rng.usize(..range);
    let sector = at / SECTOR * SECTOR;
    let end = (sector + SECTOR).min(len);
    match fault {
        Fault::BitRot => file.damage(|bytes| bytes[at] ^= 1 << rng.u8(..8)),
        Fault::LatentError => file.lose(at),
        _ => file.damage(|bytes| match rng.u8(..3) {
            0 => bytes[sector..end].fill(0),
            1 => rng.fill(&mut bytes[sector..end]),
            _ if sector >= SECTOR => bytes.copy_within(sector - SECTOR..end - SECTOR, sector),
            _ => bytes[sector..end].fill(0xff),
        }),
    }
}

impl State {
    fn hit(&mut self, fault: Fault) -> bool {
        let hit = self.odds.hit(fault, &mut self.rng);
        if hit {
            self.injected.add(fault);
        }
        hit
    }

    /// An operation of a process of `boot`: it needs that process to live, and power.
    fn operation(&mut self, boot: u64) -> io::Result<()> {
        self.check_boot(boot)?;
        self.spend()
    }

    fn check_boot(&self, boot: u64) -> io::Result<()> {
        if boot == self.boot && self.power { Ok(()) } else { Err(no_power()) }
    }

    /// One operation nearer to the power cut.
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => {
                self.fuse = None;
                self.power = false;
                Err(no_power())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None if self.power => Ok(()),
            None => Err(no_power()),
        }
    }

    fn device_error(&mut self) -> io::Error {
        self.errors += 1;
        // What a write into reserved space should never meet, and does on thin or failing storage.
        io::Error::from_raw_os_error([EIO, EIO, ENOSPC, EROFS][self.rng.usize(..4)])
    }

    fn check_space(&mut self) -> io::Result<()> {
        if self.full { Err(io::Error::from_raw_os_error(ENOSPC)) } else { Ok(()) }
    }

    fn check_names(&mut self) -> io::Result<()> {
        if self.hit(Fault::NameError) { Err(self.device_error()) } else { Ok(()) }
    }

    fn file(&mut self, number: u64) -> io::Result<&mut Platter> {
        self.files.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes into a file, or where the device puts it; the answer is the number of the write.
    fn put(&mut self, number: u64, offset: usize, bytes: &[u8]) -> u64 {
        self.next_number += 1;
        let write = self.next_number;
        let lost = self.hit(Fault::LostWrite);
        let misdirected = !lost && self.hit(Fault::Misdirected);
        let Some(file) = self.files.get_mut(&number) else { return write };
        let astray = match (lost, misdirected) {
            (true, _) => Some(Astray::Lost),
            (_, true) => file.elsewhere(offset, bytes.len(), &mut self.rng).map(Astray::To),
            _ => None,
        };
        file.write(Unsynced { number: write, offset, bytes: bytes.to_vec(), known: false, astray });
        write
    }

    fn make_durable(&mut self, number: u64, covered: impl Fn(&Unsynced) -> bool) -> io::Result<()> {
        if self.lies {
            return Ok(());
        }
        if self.hit(Fault::SyncError) {
            let mut rng = self.rng.fork();
            self.file(number)?.forget(covered, &mut rng);
            return Err(self.device_error());
        }
        self.file(number)?.sync(covered);
        Ok(())
    }

    /// The process was killed: what it had in flight is done, dropped, or done later.
    fn kill(&mut self) {
        for mut one in std::mem::take(&mut self.flying) {
            match self.rng.u8(..4) {
                0 => {}
                1 if self.odds.can(Fault::Lingering) => {
                    one.due = self.tick + self.rng.u64(1..60);
                    self.lingering.push(one);
                }
                _ => drop(self.perform(one)),
            }
        }
    }

    /// The power went.
    fn cut(&mut self) {
        self.injected.add(Fault::PowerCut);
        self.lingering.clear();
        let mut rng = self.rng.fork();
        for one in std::mem::take(&mut self.flying) {
            if let What::Write { source, skip, offset, .. } = one.what {
                self.put(one.file, offset + skip, &source.bytes()[skip..]);
            }
        }
        let kept = rng.usize(..self.names_since.len());
        if kept + 1 < self.names_since.len() {
            self.injected.add(Fault::NamesLost);
        }
        self.names = self.names_since.swap_remove(kept);
        self.names_since = vec![self.names.clone()];
        let names = &self.names;
        self.files.retain(|number, _| names.values().any(|named| named == number));
        // Now and then everything shares one fate; otherwise each write has its own.
        let common = [None, None, Some(Fate::Lost), Some(Fate::Whole)][rng.usize(..4)];
        let injected = &mut self.injected;
        for file in self.files.values_mut() {
            file.cut(&mut rng, |rng| {
                let fate = common.unwrap_or_else(|| [Fate::Whole, Fate::Lost, Fate::Torn][rng.usize(..3)]);
                match fate {
                    Fate::Whole => {}
                    Fate::Lost => injected.add(Fault::UnsyncedLost),
                    Fate::Torn => injected.add(Fault::UnsyncedTorn),
                }
                fate
            });
        }
    }

    fn renamed(&mut self) {
        self.names_since.push(self.names.clone());
    }
}

fn no_power() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the power is gone")
}

impl Storage for Disk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("sim:").join(name)
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        state.spend()?;
        let entry = |name: &String| Entry { name: name.clone(), kind: EntryKind::File };
        Ok(state.names.keys().map(entry).collect())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.spend()?;
        if access == Access::Create {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.check_space()?;
            state.check_names()?;
            state.next_number += 1;
            let number = state.next_number;
            state.names.insert(name.to_owned(), number);
            state.files.insert(number, Platter::default());
            state.renamed();
        }
        let number = state.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(DiskFile { disk: self.clone(), number, boot: state.boot }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        state.check_names()?;
        let number = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), number);
        state.renamed();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.check_names()?;
        state.names.remove(name);
        state.renamed();
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        state.check_names()?;
        state.names_since = vec![state.names.clone()];
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state();
        state.spend()?;
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(DiskLock { disk: self.clone(), boot: state.boot }))
    }

    fn holder(&self, _name: &str) -> Option<u32> {
        None
    }

    fn queue(&self, _depth: usize) -> io::Result<(Box<dyn Queue>, Option<String>)> {
        let mut state = self.state();
        state.spend()?;
        Ok((Box::new(DiskQueue { disk: self.clone(), boot: state.boot, bell: Bell::new()? }), None))
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.state().rng.u64(..))
    }

    fn single_threaded(&self) -> bool {
        true
    }
}

struct DiskLock {
    disk: Disk,
    boot: u64,
}

impl Lock for DiskLock {}

impl Drop for DiskLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.boot == self.boot {
            state.locked = false;
        }
    }
}

struct DiskFile {
    disk: Disk,
    number: u64,
    boot: u64,
}

impl File for DiskFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.operation(self.boot)?;
        Ok(state.file(self.number)?.len as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.operation(self.boot)?;
        if state.hit(Fault::ReadError) {
            return Err(state.device_error());
        }
        let result = state.file(self.number)?.read(buf, offset as usize);
        if result.is_err() {
            state.errors += 1;
        }
        result
    }

    fn write_at(&self, bytes: &[u8], offset: u64, dsync: bool) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.operation(self.boot)?;
        // What lies inside the file has its space.
        if offset as usize + bytes.len() > state.file(self.number)?.len {
            state.check_space()?;
        }
        if state.hit(Fault::WriteError) {
            return Err(state.device_error());
        }
        let mut len = bytes.len();
        if state.hit(Fault::ShortWrite) {
            len = state.rng.usize(1..=len.div_ceil(SECTOR)) * SECTOR;
            len = len.min(bytes.len());
        }
        state.file(self.number)?;
        let number = state.put(self.number, offset as usize, &bytes[..len]);
        state.file(self.number)?.know(number);
        if dsync {
            state.make_durable(self.number, |write| write.number == number)?;
        }
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operation(self.boot)?;
        state.file(self.number)?;
        state.make_durable(self.number, |_| true)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operation(self.boot)?;
        state.check_space()?;
        state.check_names()?;
        state.file(self.number)?.len = len as usize;
        Ok(())
    }

    fn handle(&self) -> Handle<'_> {
        Handle::Number(self.number)
    }
}
