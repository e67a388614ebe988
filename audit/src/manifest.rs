//! The manifest of a log, as an auditor reads it: what the writer says about its own log.
//!
//! The picture of the bytes is in `downbeat_wal::manifest`. An audit reads them on its own, so that what it says
//! about a log does not rest on the code that recovers one. A slot that does not hold says nothing; the newer of
//! those that hold counts.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use downbeat_record::{BLOCK, BatchNo, Epoch, LogId, SegmentId, Seq, is_zero};
use downbeat_wal::ScanError;
use downbeat_wal::manifest::Manifest;
use downbeat_wal::names::MANIFEST;
use downbeat_wal::segment::{FORMAT_MAJOR, HeaderError};

use crate::directory::open;

const MAGIC: &[u8] = b"DBMANIF1";
const LEN: usize = 128;
const CRC_AT: usize = LEN - 4;
const CLOSED: u32 = 1;
/// `docs/format.md`: no number is above this one.
const NUMBER_MAX: u64 = 1 << 62;

/// Both slots of a manifest.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// What the newer of the slots that hold says.
    pub(crate) newest: Option<Manifest>,
    /// Slots that are there and do not hold.
    pub(crate) damaged: Vec<PathBuf>,
}

impl Manifests {
    /// Reads both slots of the log in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self, ScanError> {
        let mut manifests = Self::default();
        for name in MANIFEST {
            let path = dir.join(name);
            let mut block = Vec::with_capacity(BLOCK);
            let read = open(&path).and_then(|file| file.take(BLOCK as u64).read_to_end(&mut block));
            match read {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(source) => return Err(ScanError::Io { action: "read", path, source }),
                Ok(0) => continue,
                Ok(_) => {}
            }
            match parse(&block) {
                Slot::Damaged => manifests.damaged.push(path),
                Slot::Newer { major, minor } => return Err(ScanError::NewerFormat { path, major, minor }),
                Slot::Impossible => {
                    return Err(ScanError::OtherEncoding { path, source: HeaderError::Numbers });
                }
                Slot::Holds(slot) => {
                    if manifests.newest.is_none_or(|other| other.generation < slot.generation) {
                        manifests.newest = Some(slot);
                    }
                }
            }
        }
        Ok(manifests)
    }
}

enum Slot {
    Damaged,
    Newer {
        major: u16,
        minor: u16,
    },
    /// A checksum that holds over numbers that nobody counted up to.
    Impossible,
    Holds(Manifest),
}

fn parse(block: &[u8]) -> Slot {
    let Some((slot, rest)) = block.split_at_checked(LEN).filter(|(slot, _)| slot.starts_with(MAGIC)) else {
        return Slot::Damaged;
    };
    let short = |at: usize| u16::from_le_bytes([slot[at], slot[at + 1]]);
    let word = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
    let number = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if short(8) > FORMAT_MAJOR {
        return Slot::Newer { major: short(8), minor: short(10) };
    }
    let (flags, oldest) = (word(80), number(48));
    let holds = word(CRC_AT) == crc32c::crc32c(&slot[..CRC_AT])
        && flags & !CLOSED == 0
        && oldest != 0
        && is_zero(rest);
    if !holds {
        return Slot::Damaged;
    }
    if [16, 40, 48, 56, 64, 72].into_iter().any(|at| number(at) > NUMBER_MAX) {
        return Slot::Impossible;
    }
    let mut log_id = [0; 16];
    log_id.copy_from_slice(&slot[24..40]);
    Slot::Holds(Manifest {
        generation: number(16),
        log_id: LogId(log_id),
        epoch: Epoch(number(40)),
        oldest: SegmentId(oldest),
        newest: SegmentId(number(56)),
        durable: BatchNo(number(64)),
        durable_seq: Seq(number(72)),
        closed: flags & CLOSED != 0,
    })
}
