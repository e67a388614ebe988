//! The first block of a segment file: which log, which place in it, and what the bytes behind it mean.
//!
//! ```text
//!   0 magic "DOWNBEAT"      64 first_seq u64          136 fingerprint [32]
//!   8 major u16             72 first_batch_no u64     168 zero [84]
//!  10 minor u16             80 prev_root [32]         252 crc u32, CRC32C of bytes 0..252
//!  12 header_len u32       112 segment_size u64       256 zeros to 4096
//!  16 incompatible u32     120 block_size u32
//!  20 compatible u32       124 hash u8 (1 = BLAKE3)
//!  24 log_id [16]          125 checksum u8 (1 = CRC32C)
//!  40 segment_id u64       126 zero u16
//!  48 epoch u64            128 created u64, ns UTC
//!  56 salt u64
//! ```
//!
//! Invariants: the first batch of a segment is chained to the root of this block, and this block holds the root
//! of the last batch of the segment before, so segment headers are part of the chain. An all-zero block means
//! *prepared, holds nothing*. There is no close marker: what follows a segment is said by the next header.

use std::sync::LazyLock;

use downbeat_record::{AlignedBuf, BLOCK, BatchNo, Epoch, LogId, Root, SegmentId, Seq, Timestamp, is_zero};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first eight bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"DOWNBEAT";
/// A reader refuses a higher number.
pub const FORMAT_MAJOR: u16 = 1;
/// A reader ignores a higher number.
pub const FORMAT_MINOR: u16 = 0;
/// Bytes of a segment header; the rest of its block is zero.
pub const SEGMENT_HEADER_LEN: usize = 256;
/// Everything that fixes the bytes of a segment, in words; [`fingerprint`] is its hash.
pub const BYTES_ARE: &str = "downbeat format 1: \
    payloads rkyv 0.8 little_endian aligned pointer_width_32; events aligned 16; \
    batches DBB1 aligned 4096; checksum CRC32C; hash BLAKE3";

/// The most bytes of a segment.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 40;

/// A number above this one was counted up to by nobody; that there is room above it keeps sums of them from overflowing.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

const HASH_BLAKE3: u8 = 1;
const CHECKSUM_CRC32C: u8 = 1;
const CRC_AT: usize = SEGMENT_HEADER_LEN - 4;

static FINGERPRINT: LazyLock<[u8; 32]> = LazyLock::new(|| Root::of(BYTES_ARE.as_bytes()).0);

/// The BLAKE3 of [`BYTES_ARE`], which every segment carries.
pub fn fingerprint() -> [u8; 32] {
    *FINGERPRINT
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    magic: [u8; 8],
    major: U16,
    minor: U16,
    header_len: U32,
    incompatible: U32,
    compatible: U32,
    log_id: [u8; 16],
    segment_id: U64,
    epoch: U64,
    salt: U64,
    first_seq: U64,
    first_batch_no: U64,
    prev_root: [u8; 32],
    segment_size: U64,
    block_size: U32,
    hash: u8,
    checksum: u8,
    zero_a: U16,
    created: U64,
    fingerprint: [u8; 32],
    zero_b: [u8; 84],
    crc: U32,
}

const _: () = assert!(size_of::<Layout>() == SEGMENT_HEADER_LEN && SEGMENT_HEADER_LEN <= BLOCK);
const _: () = assert!(std::mem::offset_of!(Layout, log_id) == 24);
const _: () = assert!(std::mem::offset_of!(Layout, first_seq) == 64);
const _: () = assert!(std::mem::offset_of!(Layout, segment_size) == 112);
const _: () = assert!(std::mem::offset_of!(Layout, created) == 128);
const _: () = assert!(std::mem::offset_of!(Layout, fingerprint) == 136);
const _: () = assert!(std::mem::offset_of!(Layout, crc) == CRC_AT);

/// What the header block of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log it belongs to.
    pub log_id: LogId,
    /// Its number, which is also its file name.
    pub segment: SegmentId,
    /// The fencing number of the writer that began it.
    pub epoch: Epoch,
    /// Random per use of the file; its low half stands in every batch.
    pub salt: u64,
    /// The seq that comes next.
    pub first_seq: Seq,
    /// The batch that comes next.
    pub first_batch_no: BatchNo,
    /// The root of the last batch before this segment; zero at the start of a log.
    pub prev_root: Root,
    /// Bytes of the file.
    pub segment_size: u64,
    /// When it was begun, by the clock of its writer.
    pub created: Timestamp,
}

/// Why a header block does not begin a segment of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The file is shorter than a block.
    #[error("the file has only {len} bytes, less than a header block")]
    Short {
        /// Bytes there are.
        len: usize,
    },
    /// The first eight bytes are not a segment's.
    #[error("the file does not begin like a segment")]
    Magic,
    /// Written by a later format.
    #[error("format {major}.{minor} is newer than this build reads")]
    Newer {
        /// Its major number.
        major: u16,
        /// Its minor number.
        minor: u16,
    },
    /// The checksum does not match.
    #[error("the header checksum is {found:#010x}, its bytes give {expected:#010x}")]
    Checksum {
        /// The checksum stored.
        found: u32,
        /// The checksum of the bytes.
        expected: u32,
    },
    /// A field that this build does not know, or must be zero, is set.
    #[error("the segment uses a feature, hash, checksum or block size that this build does not know")]
    UnknownFeature,
    /// The header is whole and the rest of its block is not what was written with it: torn, or rotten.
    #[error("the bytes behind the segment header are not zero")]
    Rest,
    /// The payload encoding or alignment is another than this build's.
    #[error("the segment was written with other encoding settings (its fingerprint differs)")]
    Fingerprint,
    /// The numbers of a segment header or a manifest cannot be true, though their checksum is.
    #[error(
        "the numbers in it cannot be true, though their checksum is: nobody counted up to them; restore the file from a copy"
    )]
    Numbers,
}

/// What the first block of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderBlock {
    /// All zero: prepared, holds nothing.
    Empty,
    /// The header of a segment in use, and the root of the block.
    Valid(SegmentHeader, Root),
    /// Something else: torn, rotten, or not ours.
    Invalid(HeaderError),
}

impl SegmentHeader {
    /// The low half of the salt, which every batch of the segment carries.
    pub fn batch_salt(&self) -> u32 {
        self.salt as u32
    }

    /// The whole block as it lies on disk.
    pub fn to_block(&self) -> AlignedBuf {
        let mut layout = Layout {
            magic: SEGMENT_MAGIC,
            major: FORMAT_MAJOR.into(),
            minor: FORMAT_MINOR.into(),
            header_len: (SEGMENT_HEADER_LEN as u32).into(),
            incompatible: 0.into(),
            compatible: 0.into(),
            log_id: self.log_id.0,
            segment_id: self.segment.0.into(),
            epoch: self.epoch.0.into(),
            salt: self.salt.into(),
            first_seq: self.first_seq.0.into(),
            first_batch_no: self.first_batch_no.0.into(),
            prev_root: self.prev_root.0,
            segment_size: self.segment_size.into(),
            block_size: (BLOCK as u32).into(),
            hash: HASH_BLAKE3,
            checksum: CHECKSUM_CRC32C,
            zero_a: 0.into(),
            created: self.created.0.into(),
            fingerprint: fingerprint(),
            zero_b: [0; 84],
            crc: 0.into(),
        };
        layout.crc = crc32c::crc32c(&layout.as_bytes()[..CRC_AT]).into();
        AlignedBuf::from_slice(layout.as_bytes())
    }

    fn parse(block: &[u8]) -> Result<Self, HeaderError> {
        let (layout, _) =
            Layout::read_from_prefix(block).map_err(|_| HeaderError::Short { len: block.len() })?;
        if layout.magic != SEGMENT_MAGIC {
            return Err(HeaderError::Magic);
        }
        if layout.major.get() > FORMAT_MAJOR {
            return Err(HeaderError::Newer { major: layout.major.get(), minor: layout.minor.get() });
        }
        let expected = crc32c::crc32c(&layout.as_bytes()[..CRC_AT]);
        if layout.crc.get() != expected {
            return Err(HeaderError::Checksum { found: layout.crc.get(), expected });
        }
        let known = layout.major.get() == FORMAT_MAJOR
            && layout.header_len.get() as usize == SEGMENT_HEADER_LEN
            && layout.incompatible.get() == 0
            && layout.block_size.get() as usize == BLOCK
            && (layout.hash, layout.checksum) == (HASH_BLAKE3, CHECKSUM_CRC32C)
            && layout.zero_a.get() == 0
            && layout.zero_b == [0; 84];
        if !known {
            return Err(HeaderError::UnknownFeature);
        }
        // What this build knows of the format is zero here, so this is no word of a later one: the header fits into
        // one sector, and the other sectors of the block may have been torn off it.
        if !is_zero(&block[SEGMENT_HEADER_LEN..]) {
            return Err(HeaderError::Rest);
        }
        if layout.fingerprint != fingerprint() {
            return Err(HeaderError::Fingerprint);
        }
        let zeros = [layout.segment_id, layout.epoch, layout.first_seq, layout.first_batch_no];
        let size = layout.segment_size.get();
        let beyond = zeros.iter().any(|number| number.get() > NUMBER_MAX);
        if zeros.contains(&U64::ZERO)
            || beyond
            || !(2 * BLOCK as u64..=SEGMENT_BYTES_MAX).contains(&size)
            || !size.is_multiple_of(BLOCK as u64)
        {
            return Err(HeaderError::Numbers);
        }
        Ok(Self {
            log_id: LogId(layout.log_id),
            segment: SegmentId(layout.segment_id.get()),
            epoch: Epoch(layout.epoch.get()),
            salt: layout.salt.get(),
            first_seq: Seq(layout.first_seq.get()),
            first_batch_no: BatchNo(layout.first_batch_no.get()),
            prev_root: Root(layout.prev_root),
            segment_size: size,
            created: Timestamp(layout.created.get()),
        })
    }
}

impl HeaderBlock {
    /// Reads the first block of a file; any bytes are safe.
    pub fn parse(block: &[u8]) -> Self {
        if block.len() < BLOCK {
            return Self::Invalid(HeaderError::Short { len: block.len() });
        }
        let block = &block[..BLOCK];
        if is_zero(block) {
            return Self::Empty;
        }
        match SegmentHeader::parse(block) {
            Ok(header) => Self::Valid(header, Root::of(block)),
            Err(error) => Self::Invalid(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            log_id: LogId([7; 16]),
            segment: SegmentId(3),
            epoch: Epoch(2),
            salt: 0x1122_3344_5566_7788,
            first_seq: Seq(1_000),
            first_batch_no: BatchNo(17),
            prev_root: Root([9; 32]),
            segment_size: 1 << 20,
            created: Timestamp(5),
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was_written() {
        let block = header().to_block();
        assert_eq!(HeaderBlock::parse(&block), HeaderBlock::Valid(header(), Root::of(&block)));
        assert_eq!(header().batch_salt(), 0x5566_7788);
        assert_eq!(HeaderBlock::parse(&AlignedBuf::zeroed(BLOCK)), HeaderBlock::Empty);
    }

    #[test]
    fn every_single_bit_of_the_block_is_protected() {
        let good = header().to_block();
        for bit in (0..BLOCK * 8).step_by(if cfg!(miri) { 4_099 } else { 1 }) {
            let mut block = AlignedBuf::from_slice(&good);
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(HeaderBlock::parse(&block), HeaderBlock::Invalid(_)), "bit {bit}");
        }
    }

    /// What a header with these changes, under a true checksum, is taken for.
    fn told(change: impl FnOnce(&mut Layout)) -> Option<HeaderError> {
        let (mut layout, _) = Layout::read_from_prefix(&header().to_block()).unwrap();
        change(&mut layout);
        layout.crc = crc32c::crc32c(&layout.as_bytes()[..CRC_AT]).into();
        SegmentHeader::parse(&AlignedBuf::from_slice(layout.as_bytes())).err()
    }

    #[test]
    fn numbers_are_believed_up_to_their_bounds() {
        let block = BLOCK as u64;
        for size in [2 * block, 3 * block, SEGMENT_BYTES_MAX] {
            assert_eq!(told(|layout| layout.segment_size = size.into()), None, "{size}");
        }
        for size in [0, block, 2 * block - 1, 2 * block + 1, SEGMENT_BYTES_MAX + block, !(block - 1)] {
            let told = told(|layout| layout.segment_size = size.into());
            assert_eq!(told, Some(HeaderError::Numbers), "{size}");
        }
        let fields: [fn(&mut Layout) -> &mut U64; 4] = [
            |layout| &mut layout.segment_id,
            |layout| &mut layout.epoch,
            |layout| &mut layout.first_seq,
            |layout| &mut layout.first_batch_no,
        ];
        for field in fields {
            for number in [1, NUMBER_MAX] {
                assert_eq!(told(|layout| *field(layout) = number.into()), None);
            }
            for number in [0, NUMBER_MAX + 1, u64::MAX] {
                assert_eq!(told(|layout| *field(layout) = number.into()), Some(HeaderError::Numbers));
            }
        }
    }

    #[test]
    fn another_format_under_a_true_checksum_is_told_apart() {
        let unknown: [fn(&mut Layout); 9] = [
            |layout| layout.major = 0.into(),
            |layout| layout.header_len = 512.into(),
            |layout| layout.incompatible = 1.into(),
            |layout| layout.block_size = 512.into(),
            |layout| layout.hash = 2,
            |layout| layout.checksum = 2,
            |layout| layout.zero_a = 1.into(),
            |layout| layout.zero_b[0] = 1,
            |layout| layout.zero_b[83] = 1,
        ];
        for (index, change) in unknown.into_iter().enumerate() {
            assert_eq!(told(change), Some(HeaderError::UnknownFeature), "change {index}");
        }
        let newer = HeaderError::Newer { major: FORMAT_MAJOR + 1, minor: 7 };
        let change =
            |layout: &mut Layout| (layout.major, layout.minor) = ((FORMAT_MAJOR + 1).into(), 7.into());
        assert_eq!(told(change), Some(newer));
        assert_eq!(told(|layout| layout.fingerprint[31] ^= 1), Some(HeaderError::Fingerprint));
        let compatible: [fn(&mut Layout); 2] =
            [|layout| layout.minor = 9.into(), |layout| layout.compatible = 1.into()];
        for change in compatible {
            assert_eq!(told(change), None);
        }
    }

    #[test]
    fn a_block_that_is_too_short_is_told() {
        let block = header().to_block();
        for len in [0, 8, BLOCK - 1] {
            assert_eq!(HeaderBlock::parse(&block[..len]), HeaderBlock::Invalid(HeaderError::Short { len }));
        }
        let longer = [&block[..], &[1; 8]].concat();
        assert!(matches!(HeaderBlock::parse(&longer), HeaderBlock::Valid(..)));
    }

    #[test]
    fn the_fingerprint_of_format_1_never_changes() {
        let hex: String = fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "b36c28fa9f5e217a3166f5646d1a8c63ec34a891ea76363cb1a47efce9ed7fc9");
    }
}
