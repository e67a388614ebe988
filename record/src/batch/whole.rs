//! A batch where it was read: every byte of it checked, no memory taken for it.

use super::events::{Body, Place, Records};
use super::{Batch, Fields};
use crate::buffer::AlignedBuf;
use crate::error::BatchError;
use crate::header::{BATCH_HEADER_LEN, BatchHeader, BatchKind, Contents, Root};
use crate::ids::{Seq, Timestamp};

/// A whole batch, as it lies in bytes that somebody else owns.
///
/// It has what a [`Batch`] that was read has; [`WholeBatch::to_batch`] makes one, for whoever keeps it.
pub struct WholeBatch<'a> {
    /// Header, events and padding, nothing behind.
    bytes: &'a [u8],
    header: BatchHeader,
    first: Fields,
    last_timestamp: Timestamp,
}

impl<'a> WholeBatch<'a> {
    /// Checks every byte of the batch that `bytes` start with.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes; see [`BatchHeader::parse`]. Any input is safe.
    pub fn check(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let bytes = bytes.get(..header.padded_len()).ok_or(BatchError::Short { len: bytes.len() })?;
        let expected = crc32c::crc32c(&bytes[BATCH_HEADER_LEN..]);
        if expected != header.body_crc() {
            return Err(BatchError::BodyChecksum { found: header.body_crc(), expected });
        }
        let mut whole = Self { bytes, header, first: Fields::default(), last_timestamp: header.timestamp() };
        if header.kind() == BatchKind::Data {
            whole.last_timestamp = whole.events().check(header.count())?;
            // What the first event says of itself, when it refers to the first event, is nothing.
            let first = whole.records().next().map(|record| record.fields);
            whole.first = first.unwrap_or_default();
        }
        Ok(whole)
    }

    /// A copy in memory of its own.
    #[must_use]
    pub fn to_batch(&self) -> Batch {
        Batch {
            buf: AlignedBuf::from_slice(self.bytes),
            index: u16::MAX,
            len: BATCH_HEADER_LEN + self.header.body_len(),
            contents: self.contents(),
            first: self.first,
            last_timestamp: self.last_timestamp,
        }
    }

    /// A copy in the memory of another batch, which is gone then.
    ///
    /// # Panics
    ///
    /// When it does not fit.
    pub fn copy_to(&self, batch: &mut Batch) {
        let (room, len) = (batch.buf.len(), self.bytes.len());
        assert!(len <= room, "a batch of {len} bytes does not fit into {room}");
        batch.buf[..len].copy_from_slice(self.bytes);
        batch.index = u16::MAX;
        (batch.len, batch.contents) = (BATCH_HEADER_LEN + self.header.body_len(), self.contents());
        (batch.first, batch.last_timestamp) = (self.first, self.last_timestamp);
    }

    /// Its header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// What it holds.
    pub fn kind(&self) -> BatchKind {
        self.header.kind()
    }

    /// How many events it holds.
    pub fn count(&self) -> u32 {
        self.header.count()
    }

    /// The seq of its first event; for a batch without events, of the next one to come.
    pub fn first_seq(&self) -> Seq {
        self.header.first_seq()
    }

    /// The seq that comes after its last event.
    pub fn next_seq(&self) -> Seq {
        self.header.next_seq()
    }

    /// The timestamp of its last event; of a batch without events, its own.
    pub fn last_timestamp(&self) -> Timestamp {
        self.last_timestamp
    }

    /// Bytes it takes on disk.
    pub fn padded_len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes as they lie on disk.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes between header and padding.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[BATCH_HEADER_LEN..BATCH_HEADER_LEN + self.header.body_len()]
    }

    /// Its root: what the next one is chained to.
    pub fn root(&self) -> Root {
        Root::of(self.bytes)
    }

    /// Its events in order.
    pub fn records(&self) -> Records<'_> {
        Records::new(self.events(), Place::start(self.first_seq(), self.count()))
    }

    fn contents(&self) -> Contents {
        let header = &self.header;
        let (kind, first_seq) = (header.kind(), header.first_seq());
        Contents { kind, first_seq, count: header.count(), timestamp: header.timestamp() }
    }

    fn events(&self) -> Body<'_> {
        let used = &self.bytes[..BATCH_HEADER_LEN + self.header.body_len()];
        Body { used, timestamp: self.header.timestamp(), first: &self.first }
    }
}
