//! A disk in memory, and everything that was asked of it: from this follows what a power cut may leave.
//!
//! The model: a sector of 512 bytes is old or new, never a mixture. What was written before a flush *began* is
//! there once that flush is *done*. Of everything else any part may be there, in any order, torn at any sector.
//! Two writes to one sector do not change places: the later one hides the earlier one or is lost.

use std::sync::Arc;

use crate::crash::rng::Rng;

/// What the disk keeps whole.
pub(crate) const SECTOR: usize = 512;
/// What the map below is made of; a copy of a disk shares its pages until one of the two writes.
const PAGE: usize = 4096;

/// What is on a disk. Pages that were never written are zeros and take no memory.
#[derive(Clone)]
pub(crate) struct Disk {
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

/// What a disk was asked to do, in the order in which it was done.
#[derive(Clone)]
pub(crate) enum Op {
    Write {
        offset: u64,
        bytes: Arc<[u8]>,
    },
    /// A flush is done. It covers the operations before this index: those that were done when it began.
    Flush {
        covers: usize,
    },
}

/// Which part of what was not flushed a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    /// Nothing.
    Nothing,
    /// All of it.
    Everything,
    /// All up to some write, which is torn.
    Prefix,
    /// All but one write.
    OneMissing,
    /// Each write or not.
    Writes,
    /// Each sector or not.
    Sectors,
}

impl Manner {
    pub(crate) const ALL: [Self; 6] =
        [Self::Nothing, Self::Everything, Self::Prefix, Self::OneMissing, Self::Writes, Self::Sectors];
}

impl Disk {
    /// A disk of zeros.
    pub(crate) fn new(len: u64) -> Self {
        Self { pages: vec![None; (len as usize).div_ceil(PAGE)] }
    }

    /// Its size in bytes.
    pub(crate) fn len(&self) -> u64 {
        (self.pages.len() * PAGE) as u64
    }

    /// What is there, as far as the disk goes.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let end = self.len().min(offset + len as u64) as usize;
        let mut at = end.min(offset as usize);
        let mut bytes = Vec::with_capacity(end - at);
        while at < end {
            let within = at % PAGE;
            let len = (PAGE - within).min(end - at);
            match &self.pages[at / PAGE] {
                Some(page) => bytes.extend_from_slice(&page[within..within + len]),
                None => bytes.resize(bytes.len() + len, 0),
            }
            at += len;
        }
        bytes
    }

    /// Writes, as far as the disk goes; says how much that was.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> usize {
        let end = self.len().min(offset + bytes.len() as u64) as usize;
        let start = end.min(offset as usize);
        let mut at = start;
        while at < end {
            let within = at % PAGE;
            let len = (PAGE - within).min(end - at);
            let page = self.pages[at / PAGE].get_or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + len].copy_from_slice(&bytes[at - start..][..len]);
            at += len;
        }
        end - start
    }
}

/// What a power cut leaves of a disk that was asked all of `ops`; and how many writes were at its mercy.
pub(crate) fn cut(before: &Disk, ops: &[Op], manner: Manner, rng: &mut Rng) -> (Disk, usize) {
    let covered =
        ops.iter().filter_map(|op| if let Op::Flush { covers } = op { Some(*covers) } else { None });
    let safe = covered.max().unwrap_or_default();
    let mut disk = before.clone();
    for (offset, bytes) in writes(&ops[..safe]) {
        disk.write(offset, bytes);
    }
    let pending: Vec<_> = writes(&ops[safe..]).collect();
    let chosen = rng.below(1 + pending.len() as u64) as usize;
    // Rarely lost, rarely kept, or one as often as the other.
    let kept_of_16 = [1, 8, 15][rng.below(3) as usize];
    for (at, (offset, bytes)) in pending.iter().enumerate() {
        match manner {
            Manner::Nothing => {}
            Manner::Prefix if at > chosen => {}
            Manner::Prefix if at == chosen => {
                let sectors = (bytes.len() / SECTOR) as u64;
                let torn = rng.below(1 + sectors) as usize * SECTOR;
                disk.write(*offset, &bytes[..torn]);
            }
            Manner::OneMissing if at == chosen => {}
            Manner::Writes if rng.below(16) >= kept_of_16 => {}
            Manner::Sectors => {
                for (nth, sector) in bytes.chunks(SECTOR).enumerate() {
                    if rng.below(16) < kept_of_16 {
                        disk.write(offset + (nth * SECTOR) as u64, sector);
                    }
                }
            }
            Manner::Everything | Manner::Prefix | Manner::OneMissing | Manner::Writes => {
                disk.write(*offset, bytes);
            }
        }
    }
    (disk, pending.len())
}

fn writes(ops: &[Op]) -> impl Iterator<Item = (u64, &[u8])> {
    ops.iter().filter_map(|op| match op {
        Op::Write { offset, bytes } => Some((*offset, &**bytes)),
        Op::Flush { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, byte: u8) -> Op {
        Op::Write { offset, bytes: vec![byte; 2 * SECTOR].into() }
    }

    /// First bytes of the three places that the tests write to.
    fn seen(disk: &Disk) -> [u8; 3] {
        [0, 8192, 16384].map(|offset| disk.read(offset, 1)[0])
    }

    #[test]
    fn what_a_flush_covers_stays_and_the_rest_may_go() {
        let ops = [write(0, 1), write(8192, 2), Op::Flush { covers: 1 }, write(16384, 3)];
        for seed in 0..200 {
            for manner in Manner::ALL {
                let (disk, pending) = cut(&Disk::new(1 << 20), &ops, manner, &mut Rng::new(seed));
                let seen = seen(&disk);
                assert_eq!((seen[0], pending), (1, 2), "{manner:?}");
                match manner {
                    Manner::Nothing => assert_eq!(seen, [1, 0, 0]),
                    Manner::Everything => assert_eq!(seen, [1, 2, 3]),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn every_part_of_what_was_not_flushed_is_left_at_some_time() {
        let ops = [write(0, 1), write(8192, 2)];
        let of = |manner, seed| seen(&cut(&Disk::new(1 << 20), &ops, manner, &mut Rng::new(seed)).0);
        for wanted in [[0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 2, 0]] {
            assert!((0..200).any(|seed| of(Manner::Writes, seed) == wanted), "{wanted:?}");
        }
        let torn = |seed| {
            let (disk, _) = cut(&Disk::new(1 << 20), &ops, Manner::Sectors, &mut Rng::new(seed));
            [disk.read(0, 1)[0], disk.read(SECTOR as u64, 1)[0]] == [0, 1]
        };
        assert!((0..200).any(torn), "a write is never torn");
    }

    #[test]
    fn a_copy_of_a_disk_does_not_change_with_it() {
        let mut disk = Disk::new(1 << 20);
        disk.write(4000, &[7; 200]);
        let copy = disk.clone();
        disk.write(4000, &[8; 200]);
        assert_eq!((copy.read(3999, 4), disk.read(4198, 4)), (vec![0, 7, 7, 7], vec![8, 8, 0, 0]));
        assert_eq!(disk.write((1 << 20) - 1, &[1, 1]), 1, "it ends where it ends");
    }
}
