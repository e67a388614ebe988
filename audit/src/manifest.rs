//! The manifest of a log, as an auditor reads it: what the writer says about its own log.
//!
//! The picture of the bytes is in `downbeat_wal::manifest`. An audit reads them on its own, so that what it says
//! about a log does not rest on the code that recovers one. A slot that does not hold says nothing; the newer of
//! those that hold counts.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use downbeat_record::{BLOCK, BatchNo, Epoch, LogId, SegmentId, Seq};
use downbeat_wal::ScanError;
use downbeat_wal::manifest::Manifest;
use downbeat_wal::names::MANIFEST;

const MAGIC: &[u8] = b"DBMANIF1";
const LEN: usize = 128;
const CRC_AT: usize = LEN - 4;
const CLOSED: u32 = 1;

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
            let read = fs::File::open(&path).and_then(|file| file.take(BLOCK as u64).read_to_end(&mut block));
            match read {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(source) => return Err(ScanError::Io { action: "read", path, source }),
                Ok(0) => continue,
                Ok(_) => {}
            }
            match parse(&block) {
                None => manifests.damaged.push(path),
                Some(slot) => {
                    if manifests.newest.is_none_or(|other| other.generation < slot.generation) {
                        manifests.newest = Some(slot);
                    }
                }
            }
        }
        Ok(manifests)
    }
}

fn parse(block: &[u8]) -> Option<Manifest> {
    let (slot, rest) = block.split_at_checked(LEN)?;
    let crc = u32::from_le_bytes(*slot[CRC_AT..].first_chunk()?);
    let flags = u32::from_le_bytes(*slot[80..].first_chunk()?);
    let holds = slot.starts_with(MAGIC)
        && crc == crc32c::crc32c(&slot[..CRC_AT])
        && flags & !CLOSED == 0
        && rest.iter().all(|byte| *byte == 0);
    let number = |at: usize| slot[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let manifest = Manifest {
        generation: number(16)?,
        log_id: LogId(*slot[24..].first_chunk()?),
        epoch: Epoch(number(40)?),
        oldest: SegmentId(number(48)?),
        newest: SegmentId(number(56)?),
        durable: BatchNo(number(64)?),
        durable_seq: Seq(number(72)?),
        closed: flags & CLOSED != 0,
    };
    (holds && manifest.oldest.0 != 0).then_some(manifest)
}
