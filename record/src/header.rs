//! The two fixed headers of format version 1, byte for byte as they lie on disk.
//!
//! ```text
//! batch header, 128 bytes                          event header, 16 bytes
//!   0 magic u32 "DBB1"   64 prev_root [32]           0 payload_len u32
//!   4 version u8         96 body_crc u32             4 kind u16
//!   5 kind u8           100 clock_error_ns u32       6 flags u16
//!   6 flags u16         104 key_id u32               8 source u32
//!   8 salt u32          108 zero [20]               12 timestamp_delta u32
//!  12 header_crc u32                               then, each 16 bytes and only if flagged:
//!  16 batch_no u64                                   idempotency key
//!  24 first_seq u64                                  correlation
//!  32 count u32                                      causation u64, key u64
//!  36 body_len u32                                 then the payload, padded with zeros to 16
//!  40 epoch u64
//!  48 durable_batch_no u64
//!  56 timestamp u64
//! ```
//!
//! Everything is little endian. `header_crc` is the CRC32C of the other 124 header bytes; `body_crc` is the
//! CRC32C of the body *and* its zero padding up to the block, so no byte of a batch is outside a checksum.
//! The layouts are asserted at compile time; changing one is a new format version.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::buffer::BLOCK;
use crate::error::BatchError;
use crate::ids::{BatchNo, Epoch, Seq, Timestamp};

/// The first four bytes of every batch.
pub const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"DBB1");
/// The version of the batch and event layout.
pub const BATCH_VERSION: u8 = 1;
/// Bytes of a batch header.
pub const BATCH_HEADER_LEN: usize = 128;
/// The most bytes a batch takes on disk.
pub const BATCH_BYTES_MAX: usize = 256 << 20;
/// Bytes of an event header without its optional words.
pub const EVENT_HEADER_LEN: usize = 16;
/// Events, optional words and payloads start on a multiple of this many bytes.
pub const ALIGN: usize = 16;

/// What a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BatchKind {
    /// Events; the only kind that takes places in the order.
    Data = 1,
    /// Nothing: carries the durable mark of the batch before it.
    Heartbeat = 2,
    /// The contract table, as JSON.
    Contracts = 3,
    /// The digests of all stages at a seq, and how far leaves have delivered, as JSON.
    Checkpoint = 4,
    /// What recovery cut off, as JSON.
    Recovery = 5,
}

impl BatchKind {
    /// The kind with this number on disk.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Data,
            2 => Self::Heartbeat,
            3 => Self::Contracts,
            4 => Self::Checkpoint,
            5 => Self::Recovery,
            _ => return None,
        })
    }
}

/// The bytes in front of a batch. Private fields: a header is written by sealing a batch and read by parsing.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BatchHeader {
    magic: U32,
    version: u8,
    kind: u8,
    flags: U16,
    salt: U32,
    header_crc: U32,
    batch_no: U64,
    first_seq: U64,
    count: U32,
    body_len: U32,
    epoch: U64,
    durable_batch_no: U64,
    timestamp: U64,
    prev_root: [u8; 32],
    body_crc: U32,
    clock_error_ns: U32,
    key_id: U32,
    zero: [u8; 20],
}

const _: () = assert!(size_of::<BatchHeader>() == BATCH_HEADER_LEN);
const _: () = assert!(BATCH_HEADER_LEN.is_multiple_of(ALIGN) && BLOCK.is_multiple_of(ALIGN));
const HEADER_CRC_AT: usize = std::mem::offset_of!(BatchHeader, header_crc);
const _: () = assert!(HEADER_CRC_AT == 12);

/// What the writer of a log knows about a batch that its sequencer does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The batch's place in the chain.
    pub batch_no: BatchNo,
    /// The fencing number of the writer.
    pub epoch: Epoch,
    /// Drawn at random for each use of a segment file; tells stale bytes from live ones.
    pub salt: u32,
    /// The root of what stands before: the batch before it, or the header block of its segment.
    pub prev_root: Root,
    /// The highest batch known durable when this one was handed to the disk.
    pub durable: BatchNo,
    /// How far the clock may be from UTC, in nanoseconds; `u32::MAX` when nobody knows.
    pub clock_error_ns: u32,
}

/// BLAKE3 over a whole padded batch (or a segment's header block): what the next one is chained to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Root(pub [u8; 32]);

impl Root {
    /// The root of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl std::fmt::Display for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Root({self})")
    }
}

/// What the sequencer knows about a batch when it closes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents {
    pub(crate) kind: BatchKind,
    pub(crate) first_seq: Seq,
    pub(crate) count: u32,
    pub(crate) timestamp: Timestamp,
}

impl BatchHeader {
    /// Writes the header for `padded`, a whole batch whose body is already in place, into its first bytes.
    pub(crate) fn seal(padded: &mut [u8], body_len: usize, contents: Contents, stamp: &Stamp) {
        let (head, body) = padded.split_at_mut(BATCH_HEADER_LEN);
        let mut header = Self {
            magic: BATCH_MAGIC.into(),
            version: BATCH_VERSION,
            kind: contents.kind as u8,
            flags: 0.into(),
            salt: stamp.salt.into(),
            header_crc: 0.into(),
            batch_no: stamp.batch_no.0.into(),
            first_seq: contents.first_seq.0.into(),
            count: contents.count.into(),
            body_len: u32::try_from(body_len).expect("a batch is far below 4 GiB").into(),
            epoch: stamp.epoch.0.into(),
            durable_batch_no: stamp.durable.0.into(),
            timestamp: contents.timestamp.0.into(),
            prev_root: stamp.prev_root.0,
            body_crc: crc32c::crc32c(body).into(),
            clock_error_ns: stamp.clock_error_ns.into(),
            key_id: 0.into(),
            zero: [0; 20],
        };
        header.header_crc = header.compute_crc().into();
        head.copy_from_slice(header.as_bytes());
    }

    /// Reads and checks a header: magic, version, kind, checksum, and lengths that can be true.
    ///
    /// # Errors
    ///
    /// Which of these does not hold. Nothing is allocated on the word of an unchecked length.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let (header, _) =
            Self::read_from_prefix(bytes).map_err(|_| BatchError::Short { len: bytes.len() })?;
        if header.magic.get() != BATCH_MAGIC {
            return Err(BatchError::Magic { found: header.magic.get() });
        }
        let expected = header.compute_crc();
        if header.header_crc.get() != expected {
            return Err(BatchError::HeaderChecksum { found: header.header_crc.get(), expected });
        }
        if header.version != BATCH_VERSION {
            return Err(BatchError::Version { found: header.version });
        }
        let kind = BatchKind::from_byte(header.kind).ok_or(BatchError::Kind { found: header.kind })?;
        if header.flags.get() != 0 || header.key_id.get() != 0 || header.zero != [0; 20] {
            return Err(BatchError::UnknownFeature);
        }
        let (count, body_len) = (header.count.get(), header.body_len.get());
        let room = body_len as usize / EVENT_HEADER_LEN;
        let possible =
            if kind == BatchKind::Data { (1..=room).contains(&(count as usize)) } else { count == 0 };
        if !possible
            || header.first_seq.get() == 0
            || header.first_seq.get().checked_add(count.into()).is_none()
        {
            return Err(BatchError::Lengths { count, body_len });
        }
        if header.padded_len() > BATCH_BYTES_MAX {
            return Err(BatchError::Lengths { count, body_len });
        }
        let (batch_no, durable) = (header.batch_no(), header.durable());
        if durable >= batch_no {
            return Err(BatchError::Mark { batch_no, durable });
        }
        Ok(header)
    }

    /// The salt in the header at the front of these bytes, also when a later build wrote it: so far it has stood there in all.
    pub fn salt_in(bytes: &[u8]) -> Option<u32> {
        Self::read_from_prefix(bytes).ok().map(|(header, _)| header.salt())
    }

    fn compute_crc(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32c::crc32c_append(crc32c::crc32c(&bytes[..HEADER_CRC_AT]), &bytes[HEADER_CRC_AT + 4..])
    }

    /// What the batch holds.
    pub fn kind(&self) -> BatchKind {
        BatchKind::from_byte(self.kind).expect("a header is parsed or sealed with a known kind")
    }

    /// Its place in the chain.
    pub fn batch_no(&self) -> BatchNo {
        BatchNo(self.batch_no.get())
    }

    /// The seq of its first event; for a batch without events, of the next one to come.
    pub fn first_seq(&self) -> Seq {
        Seq(self.first_seq.get())
    }

    /// How many events it holds.
    pub fn count(&self) -> u32 {
        self.count.get()
    }

    /// The seq of its last event; for a batch without events, of the last one before it.
    pub fn last_seq(&self) -> Seq {
        Seq(self.first_seq.get() + u64::from(self.count.get()) - 1)
    }

    /// The seq that the next batch starts with.
    pub fn next_seq(&self) -> Seq {
        Seq(self.first_seq.get() + u64::from(self.count.get()))
    }

    /// Bytes of the body, padding not counted.
    pub fn body_len(&self) -> usize {
        self.body_len.get() as usize
    }

    /// Bytes the batch takes on disk: header, body and padding.
    pub fn padded_len(&self) -> usize {
        (BATCH_HEADER_LEN + self.body_len()).next_multiple_of(BLOCK)
    }

    /// The fencing number of its writer.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.get())
    }

    /// The salt of the segment it was written to.
    pub fn salt(&self) -> u32 {
        self.salt.get()
    }

    /// The highest batch known durable when this one was handed to the disk.
    pub fn durable(&self) -> BatchNo {
        BatchNo(self.durable_batch_no.get())
    }

    /// The timestamp of its first event, or the clock when it was closed.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp(self.timestamp.get())
    }

    /// How far the clock may have been from UTC, in nanoseconds; `u32::MAX` when unknown.
    pub fn clock_error_ns(&self) -> u32 {
        self.clock_error_ns.get()
    }

    /// What it is chained to.
    pub fn prev_root(&self) -> Root {
        Root(self.prev_root)
    }

    /// The checksum that its body and padding must have.
    pub fn body_crc(&self) -> u32 {
        self.body_crc.get()
    }
}

/// Which optional words an event carries, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// An idempotency key follows the header.
    pub const IDEMPOTENCY: u16 = 1;
    /// A correlation follows.
    pub const CORRELATION: u16 = 1 << 1;
    /// The correlation is that of the first event of the batch.
    pub const FIRST_CORRELATION: u16 = 1 << 2;
    /// Causation and key follow.
    pub const LINK: u16 = 1 << 3;
    /// Causation and key are those of the first event of the batch.
    pub const FIRST_LINK: u16 = 1 << 4;
    /// A stage emitted the event; its causation is the event that made it do so.
    pub const DERIVED: u16 = 1 << 8;

    pub(crate) const KNOWN: u16 = Self::IDEMPOTENCY
        | Self::CORRELATION
        | Self::FIRST_CORRELATION
        | Self::LINK
        | Self::FIRST_LINK
        | Self::DERIVED;

    /// Those for which a word follows the header.
    pub(crate) const WORDS: u16 = Self::IDEMPOTENCY | Self::CORRELATION | Self::LINK;

    /// True when `flag` is set.
    #[inline]
    pub const fn has(self, flag: u16) -> bool {
        self.0 & flag != 0
    }
}

/// The bytes in front of an event.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct EventHeader {
    pub(crate) payload_len: U32,
    pub(crate) kind: U16,
    pub(crate) flags: U16,
    pub(crate) source: U32,
    pub(crate) timestamp_delta: U32,
}

const _: () = assert!(size_of::<EventHeader>() == EVENT_HEADER_LEN);

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Vec<u8> {
        let mut bytes = vec![0; BLOCK];
        let contents = Contents {
            kind: BatchKind::Data,
            first_seq: Seq(0x1112),
            count: 3,
            timestamp: Timestamp(0x4142),
        };
        let stamp = Stamp {
            batch_no: BatchNo(0x3132),
            epoch: Epoch(0x2122),
            salt: 0x5152_5354,
            prev_root: Root([0x61; 32]),
            durable: BatchNo(0x0102),
            clock_error_ns: 0x7172_7374,
        };
        BatchHeader::seal(&mut bytes, 48, contents, &stamp);
        bytes
    }

    /// Changes header bytes and makes the header's checksum true again.
    fn forged(at: usize, value: &[u8]) -> Result<BatchHeader, BatchError> {
        let mut bytes = sealed();
        bytes[at..at + value.len()].copy_from_slice(value);
        let header = BatchHeader::read_from_prefix(&bytes).unwrap().0;
        bytes[HEADER_CRC_AT..HEADER_CRC_AT + 4].copy_from_slice(&header.compute_crc().to_le_bytes());
        BatchHeader::parse(&bytes)
    }

    #[test]
    fn a_header_comes_out_as_it_went_in() {
        let header = BatchHeader::parse(&sealed()).unwrap();
        assert_eq!((header.kind(), header.count(), header.body_len()), (BatchKind::Data, 3, 48));
        assert_eq!((header.first_seq(), header.last_seq()), (Seq(0x1112), Seq(0x1114)));
        assert_eq!(header.next_seq(), Seq(0x1115));
        assert_eq!((header.batch_no(), header.durable()), (BatchNo(0x3132), BatchNo(0x0102)));
        assert_eq!((header.epoch(), header.salt()), (Epoch(0x2122), 0x5152_5354));
        assert_eq!((header.timestamp(), header.clock_error_ns()), (Timestamp(0x4142), 0x7172_7374));
        assert_eq!((header.prev_root(), header.padded_len()), (Root([0x61; 32]), BLOCK));
    }

    #[test]
    fn every_field_lies_where_the_picture_says() {
        let bytes = sealed();
        let at = |range: std::ops::Range<usize>| bytes[range].to_vec();
        assert_eq!(at(0..12), *b"DBB1\x01\x01\0\0\x54\x53\x52\x51");
        assert_eq!(
            at(16..48),
            [
                &[0x32, 0x31][..],
                &[0; 6],
                &[0x12, 0x11],
                &[0; 6],
                &[3, 0, 0, 0, 48, 0, 0, 0],
                &[0x22, 0x21],
                &[0; 6]
            ]
            .concat()
        );
        assert_eq!(at(48..64), [&[2, 1][..], &[0; 6], &[0x42, 0x41], &[0; 6]].concat());
        assert_eq!(at(64..96), [0x61; 32]);
        assert_eq!(at(100..128), [&[0x74, 0x73, 0x72, 0x71][..], &[0; 24]].concat());
    }

    #[test]
    fn what_this_build_does_not_know_is_refused_by_name() {
        assert_eq!(forged(0, b"DBB2").err(), Some(BatchError::Magic { found: u32::from_le_bytes(*b"DBB2") }));
        assert_eq!(forged(4, &[2]).err(), Some(BatchError::Version { found: 2 }));
        assert_eq!(forged(5, &[6]).err(), Some(BatchError::Kind { found: 6 }));
        for unknown in [6, 7, 104, 107, 108, 127] {
            assert_eq!(forged(unknown, &[1]).err(), Some(BatchError::UnknownFeature), "byte {unknown}");
        }
        // Another magic may be anything; under a true checksum the rest is the word of a later format.
        let is_newer = |at, value: &[u8]| forged(at, value).is_err_and(|error| error.is_newer());
        assert!(!is_newer(0, b"DBB2"));
        assert!([4, 5, 6].into_iter().all(|at| is_newer(at, &[9])));
    }

    #[test]
    fn a_batch_is_as_long_as_a_setting_may_make_it_and_not_longer() {
        let body_len = |len: usize| forged(36, &(len as u32).to_le_bytes());
        let longest = BATCH_BYTES_MAX - BATCH_HEADER_LEN;
        assert_eq!(body_len(longest).unwrap().padded_len(), BATCH_BYTES_MAX);
        assert!(matches!(body_len(longest + 1), Err(BatchError::Lengths { .. })));
        assert!(matches!(body_len(longest + 5 * BLOCK), Err(BatchError::Lengths { .. })));
    }

    #[test]
    fn counts_and_lengths_that_cannot_be_are_refused() {
        for (at, value) in [
            (24, u64::MAX.to_le_bytes().to_vec()),
            (24, 0_u64.to_le_bytes().to_vec()),
            (32, 0_u32.to_le_bytes().to_vec()),
            (32, 4_u32.to_le_bytes().to_vec()),
            (36, 47_u32.to_le_bytes().to_vec()),
            (5, vec![BatchKind::Heartbeat as u8]),
        ] {
            assert!(matches!(forged(at, &value), Err(BatchError::Lengths { .. })), "byte {at}: {value:?}");
        }
    }

    #[test]
    fn a_batch_that_calls_itself_or_a_later_one_durable_is_refused() {
        let at = std::mem::offset_of!(BatchHeader, durable_batch_no);
        for durable in [0x3132, 0x3133, u64::MAX] {
            let error = BatchError::Mark { batch_no: BatchNo(0x3132), durable: BatchNo(durable) };
            assert_eq!(forged(at, &durable.to_le_bytes()).err(), Some(error));
        }
        assert!(forged(at, &0x3131_u64.to_le_bytes()).is_ok());
    }

    #[test]
    fn a_header_without_its_end_is_short() {
        let bytes = sealed();
        for len in 0..BATCH_HEADER_LEN {
            assert_eq!(BatchHeader::parse(&bytes[..len]).err(), Some(BatchError::Short { len }));
        }
    }

    #[test]
    fn a_kind_is_the_number_it_is_written_as() {
        for byte in 0..=255 {
            assert!(BatchKind::from_byte(byte).is_none_or(|kind| kind as u8 == byte));
        }
    }
}
