//! One file: what is durable, what is only written, and what would be there had the device not lied.
//!
//! ```text
//!  bytes      what the platter holds                 ◄── a sync lands what it covers
//!  unsynced   writes on their way to it, in order    ◄── a power cut decides about each, sector by sector
//!  honest     bytes without rot, lost or misdirected writes; only kept once there was such a thing
//! ```
//!
//! A reader sees the platter with the unsynced writes over it. `honest` is for the checker, which has to know
//! whether a refusal to open was right, and for the operator who restores a damaged sector from a copy.

use std::collections::BTreeSet;
use std::io;

use downbeat_record::BLOCK;
use fastrand::Rng;

/// The unit in which a write can be torn, in bytes.
pub(super) const SECTOR: usize = 512;

/// A file.
#[derive(Default)]
pub(super) struct Platter {
    bytes: Vec<u8>,
    honest: Option<Vec<u8>>,
    /// A log was opened on what is there, although it is not what should be.
    accepted: bool,
    unsynced: Vec<Unsynced>,
    /// As a reader sees it.
    pub(super) len: usize,
    /// Sectors that cannot be read.
    latent: BTreeSet<usize>,
}

/// A write that no sync has covered.
pub(super) struct Unsynced {
    pub(super) number: u64,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
    /// Its submitter knows that it completed; a sync submitted from here on covers it.
    pub(super) known: bool,
    pub(super) astray: Option<Astray>,
}

/// What a device does with a write instead of doing it.
#[derive(Clone, Copy)]
pub(super) enum Astray {
    Lost,
    To(usize),
}

/// What becomes of an unsynced write when the power goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Whole,
    Lost,
    Torn,
}

impl Unsynced {
    /// Where it goes on the platter.
    fn place(&self) -> Option<usize> {
        match self.astray {
            None => Some(self.offset),
            Some(Astray::Lost) => None,
            Some(Astray::To(offset)) => Some(offset),
        }
    }
}

impl Platter {
    pub(super) fn write(&mut self, write: Unsynced) {
        self.len = self.len.max(write.offset + write.bytes.len());
        // A sector that is written anew is readable again.
        let sectors = write.offset / SECTOR..(write.offset + write.bytes.len()).div_ceil(SECTOR);
        self.latent.retain(|sector| !sectors.contains(sector));
        self.unsynced.push(write);
    }

    /// Marks a write as known to whoever submitted it.
    pub(super) fn know(&mut self, number: u64) {
        self.unsynced.iter_mut().filter(|write| write.number == number).for_each(|write| write.known = true);
    }

    pub(super) fn known(&self) -> BTreeSet<u64> {
        self.unsynced.iter().filter(|write| write.known).map(|write| write.number).collect()
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: usize) -> io::Result<usize> {
        let len = buf.len().min(self.len.saturating_sub(offset));
        let buf = &mut buf[..len];
        if self.latent.range(offset / SECTOR..(offset + len).div_ceil(SECTOR)).next().is_some() {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let there = self.bytes.get(offset..).unwrap_or_default();
        let there = &there[..there.len().min(len)];
        buf[..there.len()].copy_from_slice(there);
        buf[there.len()..].fill(0);
        for write in &self.unsynced {
            let Some(place) = write.place() else { continue };
            let (from, to) = (place.max(offset), (place + write.bytes.len()).min(offset + len));
            if from < to {
                buf[from - offset..to - offset].copy_from_slice(&write.bytes[from - place..to - place]);
            }
        }
        Ok(len)
    }

    /// Makes durable what `covered` picks; what it does not pick stays on its way.
    pub(super) fn sync(&mut self, covered: impl Fn(&Unsynced) -> bool) {
        self.resize();
        let writes = std::mem::take(&mut self.unsynced);
        for write in writes {
            if covered(&write) {
                self.land(&write, |_| Sector::New);
            } else {
                self.unsynced.push(write);
            }
        }
    }

    /// What a failed sync leaves: the pages count as clean, whatever became of them.
    pub(super) fn forget(&mut self, covered: impl Fn(&Unsynced) -> bool, rng: &mut Rng) {
        let writes = std::mem::take(&mut self.unsynced);
        for write in writes {
            if covered(&write) {
                self.resize();
                let mut sectors = rng.fork();
                self.land(&write, |_| if sectors.bool() { Sector::New } else { Sector::Old });
            } else {
                self.unsynced.push(write);
            }
        }
    }

    /// The power goes: `fate` decides about every unsynced write, oldest first.
    pub(super) fn cut(&mut self, rng: &mut Rng, mut fate: impl FnMut(&mut Rng) -> Fate) {
        if rng.bool() {
            self.resize();
        }
        for write in std::mem::take(&mut self.unsynced) {
            let fate = fate(rng);
            let (mut sectors, mut last) = (rng.fork(), Sector::New);
            self.land(&write, |_| match fate {
                Fate::Whole => Sector::New,
                Fate::Lost => Sector::Old,
                Fate::Torn => {
                    // Neighbours often share their fate.
                    if sectors.u8(..3) == 0 {
                        let draw = [Sector::New, Sector::New, Sector::Old, Sector::Zero, Sector::Garbage];
                        last = draw[sectors.usize(..draw.len())];
                    }
                    last
                }
            });
        }
        self.len = self.bytes.len();
    }

    fn resize(&mut self) {
        if self.bytes.len() < self.len {
            self.bytes.resize(self.len, 0);
            if let Some(honest) = &mut self.honest {
                honest.resize(self.len, 0);
            }
        }
    }

    fn land(&mut self, write: &Unsynced, mut sector: impl FnMut(usize) -> Sector) {
        if write.astray.is_some() {
            self.accepted = false;
            self.honest.get_or_insert_with(|| self.bytes.clone());
        }
        for (index, new) in write.bytes.chunks(SECTOR).enumerate() {
            let sector = sector(index);
            if sector == Sector::Old {
                continue;
            }
            let at = index * SECTOR;
            // What is there is written once more, by a process that is dead and had not heard that it was: a sector is old or new
            // then, which is the same, and nobody could do better.
            let there = self.bytes.get(write.offset + at..write.offset + at + new.len());
            if sector != Sector::New && there == Some(new) {
                continue;
            }
            if let Some(place) = write.place() {
                put(&mut self.bytes, place + at, new, sector);
            }
            if let Some(honest) = &mut self.honest {
                put(honest, write.offset + at, new, sector);
            }
        }
    }

    /// Changes durable bytes behind everybody's back.
    pub(super) fn damage(&mut self, change: impl FnOnce(&mut [u8])) {
        self.accepted = false;
        let honest = self.honest.get_or_insert_with(|| self.bytes.clone());
        change(&mut self.bytes);
        if *honest == self.bytes {
            self.honest = None;
        }
    }

    /// Changes durable bytes as somebody does who means it: that is no damage.
    pub(super) fn overwrite(&mut self, change: impl FnOnce(&mut [u8])) {
        self.honest = None;
        change(&mut self.bytes);
    }

    /// Makes a sector unreadable.
    pub(super) fn lose(&mut self, offset: usize) {
        self.latent.insert(offset / SECTOR);
    }

    /// True when the device did something to it that no crash explains.
    pub(super) fn is_damaged(&self) -> bool {
        (self.is_other() && !self.accepted)
            || !self.latent.is_empty()
            || self.unsynced.iter().any(|write| write.astray.is_some())
    }

    /// True when what is there is not what should be, whether a log was opened on it or not.
    pub(super) fn is_other(&self) -> bool {
        self.honest.as_ref().is_some_and(|honest| *honest != self.bytes)
    }

    /// Takes what is there for what should be there.
    pub(super) fn accept(&mut self) {
        self.honest = None;
    }

    /// Goes on with what is there, and remembers what should be: it may matter later.
    pub(super) fn accept_for_now(&mut self) {
        self.accepted = true;
    }

    /// Puts back what damage has taken.
    pub(super) fn repair(&mut self) {
        self.accepted = false;
        if let Some(honest) = self.honest.take() {
            self.bytes = honest;
        }
        self.unsynced.iter_mut().for_each(|write| write.astray = None);
        self.latent.clear();
    }

    pub(super) fn durable(&self) -> &[u8] {
        &self.bytes
    }

    /// The place of a whole block inside the file, other than the one at `offset`.
    pub(super) fn elsewhere(&self, offset: usize, len: usize, rng: &mut Rng) -> Option<usize> {
        let blocks = self.len.checked_sub(len)? / BLOCK;
        let place = rng.usize(..=blocks) * BLOCK;
        (place != offset).then_some(place)
    }
}

/// The error of a device, by the number of the system.
pub(super) const EIO: i32 = 5;

/// What a sector of a torn write holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sector {
    New,
    Old,
    Zero,
    Garbage,
}

fn put(platter: &mut Vec<u8>, at: usize, new: &[u8], sector: Sector) {
    if platter.len() < at + new.len() {
        platter.resize(at + new.len(), 0);
    }
    let target = &mut platter[at..at + new.len()];
    match sector {
        Sector::New => target.copy_from_slice(new),
        Sector::Old => {}
        Sector::Zero => target.fill(0),
        Sector::Garbage => Rng::with_seed(at as u64).fill(target),
    }
}
