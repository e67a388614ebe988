//! A batch: the unit that is written, made durable, hashed and shared.
//!
//! ```text
//! ┌──────────────┬─────────┬─────────┬───┬─────────┬──────────────┐
//! │ header, 128 B│ event 1 │ event 2 │ … │ event n │ zeros to 4 KiB│
//! └──────────────┴─────────┴─────────┴───┴─────────┴──────────────┘
//! ```
//!
//! One memory serves everybody: the sequencer fills it while it owns the batch alone, then it is sealed and
//! shared as `Arc<Batch>`; the disk writes these bytes and the stages read them. A batch is reused when its
//! `Arc` is unique again, so memory is bounded and nobody can hold a view of reused bytes.
//!
//! Invariants: `len` ≤ capacity; seqs are implicit (`first_seq` + index), so a gap cannot be written down;
//! timestamps inside a batch strictly increase; a sealed batch parses.

use zerocopy::{FromBytes, IntoBytes};

use crate::buffer::{AlignedBuf, BLOCK};
use crate::error::BatchError;
use crate::header::{
    ALIGN, BATCH_HEADER_LEN, BatchHeader, BatchKind, Contents, EVENT_HEADER_LEN, EventHeader, Flags, Root,
    Stamp,
};
use crate::ids::{Correlation, IdempotencyKey, Key, Kind, Seq, SourceId, Timestamp};

mod events;
mod whole;

use events::Body;
pub use events::{Place, Record, Records};
pub use whole::WholeBatch;

/// The default capacity of a batch in bytes: 93 % of a disk's bandwidth, a quarter of a millisecond.
pub const BATCH_BYTES: usize = 256 * 1024;
/// The most an event can take in a batch besides its payload, in bytes.
pub const EVENT_OVERHEAD_MAX: usize = EVENT_HEADER_LEN + 3 * ALIGN + ALIGN;

/// What an event carries besides its payload, its place and its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The contract, by its number in this log.
    pub kind: Kind,
    /// Who submitted it.
    pub source: SourceId,
    /// The entity it is about.
    pub key: Key,
    /// The transaction it belongs to.
    pub correlation: Correlation,
    /// The event that caused it, or [`Seq::ZERO`].
    pub causation: Seq,
    /// What its producer calls it, or [`IdempotencyKey::NONE`].
    pub idempotency_key: IdempotencyKey,
    /// True when a stage emitted it.
    pub derived: bool,
}

/// An event did not fit; the batch is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFull;

/// A buffer holding one batch: open while its owner pushes, sealed from [`Batch::seal`] until [`Batch::open`].
pub struct Batch {
    buf: AlignedBuf,
    index: u16,
    /// Bytes used, header included, padding not.
    len: usize,
    contents: Contents,
    /// Correlation and link of the first event, to which later ones may refer.
    first: Fields,
    last_timestamp: Timestamp,
}

impl Batch {
    /// An empty open batch of `capacity` bytes; `index` is its number among the buffers of its owner.
    pub fn with_capacity(capacity: usize, index: u16) -> Self {
        let mut batch = Self {
            buf: AlignedBuf::zeroed(capacity.max(BLOCK)),
            index,
            len: BATCH_HEADER_LEN,
            contents: Contents {
                kind: BatchKind::Data,
                first_seq: Seq(1),
                count: 0,
                timestamp: Timestamp::default(),
            },
            first: Fields::default(),
            last_timestamp: Timestamp::default(),
        };
        batch.open(Seq(1));
        batch
    }

    /// A batch without events, ready to be sealed: its body is `body`, its place before `next_seq`.
    pub fn control(kind: BatchKind, next_seq: Seq, timestamp: Timestamp, body: &[u8]) -> Self {
        assert!(kind != BatchKind::Data, "a control batch holds no events");
        let mut batch = Self::with_capacity(BATCH_HEADER_LEN + body.len(), u16::MAX);
        batch.contents = Contents { kind, first_seq: next_seq, count: 0, timestamp };
        batch.buf[BATCH_HEADER_LEN..BATCH_HEADER_LEN + body.len()].copy_from_slice(body);
        batch.len = BATCH_HEADER_LEN + body.len();
        batch
    }

    /// Reads one batch from the start of `bytes`, checks every byte of it, and takes a copy.
    ///
    /// # Errors
    ///
    /// As [`WholeBatch::check`].
    pub fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        WholeBatch::check(bytes).map(|whole| whole.to_batch())
    }

    /// A copy of a sealed batch in memory of its own, for a reader that must not hold this one.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            buf: AlignedBuf::from_slice(self.bytes()),
            index: u16::MAX,
            len: self.len,
            contents: self.contents,
            first: self.first,
            last_timestamp: self.last_timestamp,
        }
    }

    /// Empties the batch for events from `first_seq` on.
    pub fn open(&mut self, first_seq: Seq) {
        self.len = BATCH_HEADER_LEN;
        self.contents =
            Contents { kind: BatchKind::Data, first_seq, count: 0, timestamp: Timestamp::default() };
    }

    /// Appends an event; its seq is the next one. `timestamp` must be later than that of the event before.
    ///
    /// # Errors
    ///
    /// [`BatchFull`] when it does not fit, or is more than four seconds after the first event of the batch.
    #[inline]
    pub fn push(&mut self, fields: &Fields, timestamp: Timestamp, payload: &[u8]) -> Result<Seq, BatchFull> {
        let room = self.buf.len() - self.len;
        if room < EVENT_OVERHEAD_MAX || room - EVENT_OVERHEAD_MAX < payload.len() {
            return Err(BatchFull);
        }
        let first = self.contents.count == 0;
        if first {
            self.contents.timestamp = timestamp;
            self.first = *fields;
        } else {
            assert!(timestamp > self.last_timestamp, "timestamp {timestamp} after {}", self.last_timestamp);
        }
        let Ok(delta) = u32::try_from(timestamp.0 - self.contents.timestamp.0) else { return Err(BatchFull) };

        let mut flags = if fields.derived { Flags::DERIVED } else { 0 };
        let mut at = self.len + EVENT_HEADER_LEN;
        if !fields.idempotency_key.is_none() {
            flags |= Flags::IDEMPOTENCY;
            self.put(&mut at, &fields.idempotency_key.0.to_le_bytes());
        }
        if !fields.correlation.is_none() {
            if !first && fields.correlation == self.first.correlation {
                flags |= Flags::FIRST_CORRELATION;
            } else {
                flags |= Flags::CORRELATION;
                self.put(&mut at, &fields.correlation.0.to_le_bytes());
            }
        }
        if fields.causation != Seq::ZERO || fields.key != Key::NONE {
            if !first && fields.causation == self.first.causation && fields.key == self.first.key {
                flags |= Flags::FIRST_LINK;
            } else {
                flags |= Flags::LINK;
                let link = u128::from(fields.causation.0) | u128::from(fields.key.0) << 64;
                self.put(&mut at, &link.to_le_bytes());
            }
        }
        let header = EventHeader {
            payload_len: (payload.len() as u32).into(),
            kind: fields.kind.0.into(),
            flags: flags.into(),
            source: fields.source.0.into(),
            timestamp_delta: delta.into(),
        };
        self.buf[self.len..self.len + EVENT_HEADER_LEN].copy_from_slice(header.as_bytes());
        let end = at + payload.len();
        self.buf[at..end].copy_from_slice(payload);
        let padded = end.next_multiple_of(ALIGN);
        if padded > end {
            self.buf[end..padded].fill(0);
        }

        self.len = padded;
        self.last_timestamp = timestamp;
        let seq = Seq(self.contents.first_seq.0 + u64::from(self.contents.count));
        self.contents.count += 1;
        Ok(seq)
    }

    #[inline]
    fn put(&mut self, at: &mut usize, word: &[u8; ALIGN]) {
        self.buf[*at..*at + ALIGN].copy_from_slice(word);
        *at += ALIGN;
    }

    /// Fills in the header and the padding: from here the bytes are what a disk and a reader get.
    pub fn seal(&mut self, stamp: &Stamp) {
        let (len, padded) = (self.len, self.padded_len());
        self.buf[len..padded].fill(0);
        BatchHeader::seal(&mut self.buf[..padded], len - BATCH_HEADER_LEN, self.contents, stamp);
    }

    /// The header of a sealed batch.
    pub fn header(&self) -> BatchHeader {
        BatchHeader::read_from_prefix(&self.buf).expect("a batch is longer than its header").0
    }

    /// What it holds.
    pub fn kind(&self) -> BatchKind {
        self.contents.kind
    }

    /// The seq of its first event; for a batch without events, of the next one to come.
    #[inline]
    pub fn first_seq(&self) -> Seq {
        self.contents.first_seq
    }

    /// The seq that comes after its last event.
    #[inline]
    pub fn next_seq(&self) -> Seq {
        Seq(self.contents.first_seq.0 + u64::from(self.contents.count))
    }

    /// How many events it holds.
    #[inline]
    pub fn count(&self) -> u32 {
        self.contents.count
    }

    /// True when it holds no events.
    pub fn is_empty(&self) -> bool {
        self.contents.count == 0
    }

    /// The timestamp of its first event.
    pub fn timestamp(&self) -> Timestamp {
        self.contents.timestamp
    }

    /// The timestamp of its last event; of a batch without events that was read, its own.
    pub fn last_timestamp(&self) -> Timestamp {
        self.last_timestamp
    }

    /// Bytes used, header included, padding not.
    pub fn used(&self) -> usize {
        self.len
    }

    /// Bytes it can hold, header included.
    pub fn capacity(&self) -> usize {
        self.buf.len()
    }

    /// Bytes it takes on disk.
    pub fn padded_len(&self) -> usize {
        self.len.next_multiple_of(BLOCK)
    }

    /// Its number among the buffers of its owner; `u16::MAX` when it is none of them.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The bytes of a sealed batch as they lie on disk.
    pub fn bytes(&self) -> &[u8] {
        &self.buf[..self.padded_len()]
    }

    /// The whole buffer, for registering it with the kernel.
    pub fn buffer(&self) -> &[u8] {
        &self.buf
    }

    /// The bytes between header and padding.
    pub fn body(&self) -> &[u8] {
        &self.buf[BATCH_HEADER_LEN..self.len]
    }

    /// The root of a sealed batch: what the next one is chained to.
    pub fn root(&self) -> Root {
        Root::of(self.bytes())
    }

    /// Its events in order.
    pub fn records(&self) -> Records<'_> {
        self.resume(Place::start(self.contents.first_seq, self.contents.count))
    }

    /// The events from `place` on, where an earlier walk stopped.
    pub fn resume(&self, place: Place) -> Records<'_> {
        Records::new(self.events(), place)
    }

    /// The event at `slot`, which has place `seq`: both as [`Record::slot`] and [`Record::seq`] of this batch
    /// say. For any other pair the answer is `None` or a record of nonsense, never a panic.
    #[inline(always)]
    pub fn record(&self, slot: u32, seq: Seq) -> Option<Record<'_>> {
        if seq < self.first_seq() || seq >= self.next_seq() {
            return None;
        }
        self.events().decode(slot as usize * ALIGN, seq).map(|(record, _)| record)
    }

    #[inline(always)]
    fn events(&self) -> Body<'_> {
        Body { used: &self.buf[..self.len], timestamp: self.contents.timestamp, first: &self.first }
    }
}

#[cfg(test)]
mod tests;
