//! The manifest: the little that is known about a log besides its segments.
//!
//! Two slots are written in turn, so that one is always whole; the valid one with the higher generation holds.
//!
//! ```text
//!  0 magic "DBMANIF1"   16 generation u64    48 oldest u64           72 durable_seq u64
//!  8 major u16          24 log_id [16]       56 newest u64           80 flags u32 (1 = closed)
//! 10 minor u16          40 epoch u64         64 durable_batch_no u64 84 zero [40]
//! 12 len u32                                                        124 crc u32, CRC32C of bytes 0..124
//! ```
//!
//! Invariants: the epoch is durable here before its writer writes anything else; `durable_batch_no` is a lower
//! bound of what was acknowledged, never more; `closed` holds only until the next writer opens the log.
//! A crash between the two slots leaves the older one, which says less but nothing false.

use downbeat_record::{AlignedBuf, BLOCK, BatchNo, Epoch, LogId, SegmentId, Seq, is_zero};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::segment::{FORMAT_MAJOR, FORMAT_MINOR, NUMBER_MAX};

const MAGIC: [u8; 8] = *b"DBMANIF1";
const LEN: usize = 128;
const CRC_AT: usize = LEN - 4;
const CLOSED: u32 = 1;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    magic: [u8; 8],
    major: U16,
    minor: U16,
    len: U32,
    generation: U64,
    log_id: [u8; 16],
    epoch: U64,
    oldest: U64,
    newest: U64,
    durable_batch_no: U64,
    durable_seq: U64,
    flags: U32,
    zero: [u8; 40],
    crc: U32,
}

const _: () = assert!(size_of::<Layout>() == LEN);
const _: () = assert!(std::mem::offset_of!(Layout, crc) == CRC_AT);

/// What a manifest slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Higher is newer.
    pub generation: u64,
    /// The identity of the log.
    pub log_id: LogId,
    /// The highest epoch that may have written.
    pub epoch: Epoch,
    /// The oldest segment that must be there.
    pub oldest: SegmentId,
    /// The newest segment known to be in use, 0 for none; segments after it may be in use as well.
    pub newest: SegmentId,
    /// A batch known durable; batches after it may be durable as well.
    pub durable: BatchNo,
    /// The last seq up to that batch.
    pub durable_seq: Seq,
    /// The last writer finished in order, and nothing was written after `durable`.
    pub closed: bool,
}

/// What a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Absent,
    Invalid,
    Newer {
        major: u16,
        minor: u16,
    },
    /// A checksum that holds over numbers that cannot be.
    Impossible,
    Valid(Manifest),
}

impl Manifest {
    pub(crate) fn to_block(self) -> AlignedBuf {
        let mut layout = Layout {
            magic: MAGIC,
            major: FORMAT_MAJOR.into(),
            minor: FORMAT_MINOR.into(),
            len: (LEN as u32).into(),
            generation: self.generation.into(),
            log_id: self.log_id.0,
            epoch: self.epoch.0.into(),
            oldest: self.oldest.0.into(),
            newest: self.newest.0.into(),
            durable_batch_no: self.durable.0.into(),
            durable_seq: self.durable_seq.0.into(),
            flags: if self.closed { CLOSED } else { 0 }.into(),
            zero: [0; 40],
            crc: 0.into(),
        };
        layout.crc = crc32c::crc32c(&layout.as_bytes()[..CRC_AT]).into();
        AlignedBuf::from_slice(layout.as_bytes())
    }

    /// The slot that this generation is written to.
    pub(crate) fn slot(&self) -> usize {
        (self.generation % 2) as usize
    }
}

impl Slot {
    pub(crate) fn parse(block: &[u8]) -> Self {
        let Ok((layout, _)) = Layout::read_from_prefix(block) else { return Self::Invalid };
        if layout.magic != MAGIC {
            return Self::Invalid;
        }
        let crc_holds = layout.crc.get() == crc32c::crc32c(&layout.as_bytes()[..CRC_AT]);
        if layout.major.get() > FORMAT_MAJOR {
            return Self::Newer { major: layout.major.get(), minor: layout.minor.get() };
        }
        let rest_is_zero = is_zero(&block[LEN..BLOCK.min(block.len())]);
        if !crc_holds || layout.oldest == U64::ZERO || layout.flags.get() & !CLOSED != 0 || !rest_is_zero {
            return Self::Invalid;
        }
        let numbers = [
            layout.generation,
            layout.epoch,
            layout.oldest,
            layout.newest,
            layout.durable_batch_no,
            layout.durable_seq,
        ];
        if numbers.iter().any(|number| number.get() > NUMBER_MAX) {
            return Self::Impossible;
        }
        Self::Valid(Manifest {
            generation: layout.generation.get(),
            log_id: LogId(layout.log_id),
            epoch: Epoch(layout.epoch.get()),
            oldest: SegmentId(layout.oldest.get()),
            newest: SegmentId(layout.newest.get()),
            durable: BatchNo(layout.durable_batch_no.get()),
            durable_seq: Seq(layout.durable_seq.get()),
            closed: layout.flags.get() & CLOSED != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            generation: 5,
            log_id: LogId([1; 16]),
            epoch: Epoch(2),
            oldest: SegmentId(1),
            newest: SegmentId(4),
            durable: BatchNo(77),
            durable_seq: Seq(900),
            closed: true,
        }
    }

    /// What a slot with these changes, under a true checksum, is taken for.
    fn told(change: impl FnOnce(&mut Layout)) -> Slot {
        let (mut layout, _) = Layout::read_from_prefix(&manifest().to_block()).unwrap();
        change(&mut layout);
        layout.crc = crc32c::crc32c(&layout.as_bytes()[..CRC_AT]).into();
        Slot::parse(&AlignedBuf::from_slice(layout.as_bytes()))
    }

    #[test]
    fn numbers_are_believed_up_to_their_bounds() {
        let fields: [fn(&mut Layout) -> &mut U64; 6] = [
            |layout| &mut layout.generation,
            |layout| &mut layout.epoch,
            |layout| &mut layout.oldest,
            |layout| &mut layout.newest,
            |layout| &mut layout.durable_batch_no,
            |layout| &mut layout.durable_seq,
        ];
        for field in fields {
            for number in [1, NUMBER_MAX] {
                assert!(matches!(told(|layout| *field(layout) = number.into()), Slot::Valid(_)));
            }
            for number in [NUMBER_MAX + 1, u64::MAX] {
                assert_eq!(told(|layout| *field(layout) = number.into()), Slot::Impossible);
            }
        }
        assert_eq!(told(|layout| layout.oldest = 0.into()), Slot::Invalid, "segments are counted from 1");
    }

    #[test]
    fn flags_and_formats_under_a_true_checksum_are_told_apart() {
        assert_eq!(
            told(|layout| layout.flags = 0.into()),
            Slot::Valid(Manifest { closed: false, ..manifest() })
        );
        for flags in [2, 3, 1 << 31] {
            assert_eq!(told(|layout| layout.flags = flags.into()), Slot::Invalid, "{flags}");
        }
        let (major, minor) = (FORMAT_MAJOR + 1, 7);
        let newer = told(|layout| (layout.major, layout.minor) = (major.into(), minor.into()));
        assert_eq!(newer, Slot::Newer { major, minor });
        assert_eq!(told(|layout| layout.minor = 9.into()), Slot::Valid(manifest()));
    }

    #[test]
    fn generations_take_the_slots_in_turn() {
        let slots = [4, 5, 6, 7].map(|generation| Manifest { generation, ..manifest() }.slot());
        assert_eq!(slots, [0, 1, 0, 1]);
    }

    #[test]
    fn a_manifest_comes_back_and_every_bit_of_it_is_protected() {
        let good = manifest().to_block();
        assert_eq!(Slot::parse(&good), Slot::Valid(manifest()));
        for bit in (0..BLOCK * 8).step_by(if cfg!(miri) { 4_099 } else { 1 }) {
            let mut block = AlignedBuf::from_slice(&good);
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(Slot::parse(&block), Slot::Valid(_)), "bit {bit}");
        }
    }
}
