//! The events of a batch, decoded where they lie.
//!
//! Two walks know the layout of an event: [`Body::decode`] takes everything out of one, [`Body::check`] only makes sure
//! that this can be done for all of them. They accept the same bytes; a test holds them together.

use zerocopy::FromBytes;

use super::Fields;
use crate::error::BatchError;
use crate::header::{ALIGN, BATCH_HEADER_LEN, EVENT_HEADER_LEN, EventHeader, Flags};
use crate::ids::{Correlation, IdempotencyKey, Key, Kind, Seq, SourceId, Timestamp};
use crate::verified::Verified;

/// One event of a batch, decoded in place.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its place in the total order.
    pub seq: Seq,
    /// When it was ordered; strictly greater than that of the event before.
    pub timestamp: Timestamp,
    /// Everything else in its header.
    pub fields: Fields,
    /// Where it starts in its batch, in units of 16 bytes.
    pub slot: u32,
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The payload, which a checksum or this very process vouches for.
    #[inline]
    pub fn payload(&self) -> Verified<&'a [u8]> {
        Verified::vouch(self.payload)
    }
}

/// The bytes of a batch up to its padding, and what its events are relative to.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    pub(super) used: &'a [u8],
    /// The timestamp of the first event.
    pub(super) timestamp: Timestamp,
    /// Correlation and link of the first event, to which later ones may refer.
    pub(super) first: &'a Fields,
}

impl<'a> Body<'a> {
    /// The event at a byte, and where the next one starts.
    // Always: returned through memory, a record is copied by wide loads right behind its narrow stores, which stalls.
    #[inline(always)]
    pub(super) fn decode(&self, offset: usize, seq: Seq) -> Option<(Record<'a>, usize)> {
        let used = self.used;
        let (header, _) = EventHeader::read_from_prefix(used.get(offset..)?).ok()?;
        let flags = Flags(header.flags.get());
        if flags.0 & !Flags::KNOWN != 0 {
            return None;
        }
        let mut at = offset + EVENT_HEADER_LEN;
        let mut fields = Fields {
            kind: Kind(header.kind.get()),
            source: SourceId(header.source.get()),
            derived: flags.has(Flags::DERIVED),
            ..Fields::default()
        };
        if flags.has(Flags::IDEMPOTENCY) {
            fields.idempotency_key = IdempotencyKey(word(used, &mut at)?);
        }
        if flags.has(Flags::CORRELATION) {
            fields.correlation = Correlation(word(used, &mut at)?);
        } else if flags.has(Flags::FIRST_CORRELATION) {
            fields.correlation = self.first.correlation;
        }
        if flags.has(Flags::LINK) {
            let link = word(used, &mut at)?;
            fields.causation = Seq(link as u64);
            fields.key = Key((link >> 64) as u64);
        } else if flags.has(Flags::FIRST_LINK) {
            fields.causation = self.first.causation;
            fields.key = self.first.key;
        }
        let end = at.checked_add(header.payload_len.get() as usize)?;
        let payload = used.get(at..end)?;
        let timestamp = self.timestamp.0.checked_add(u64::from(header.timestamp_delta.get()))?;
        let (timestamp, slot) = (Timestamp(timestamp), (offset / ALIGN) as u32);
        Some((Record { seq, timestamp, fields, slot, payload }, end.checked_next_multiple_of(ALIGN)?))
    }

    /// Makes sure that `count` events parse, that their times increase from that of the batch on, and that they fill the
    /// body exactly; says when the last one was. After this, [`Records`] yields `count` events.
    pub(super) fn check(&self, count: u32) -> Result<Timestamp, BatchError> {
        let (mut at, mut last) = (BATCH_HEADER_LEN, 0);
        for index in 0..count {
            let extent =
                self.extent(at).filter(|(delta, _)| if index == 0 { *delta == 0 } else { *delta > last });
            let Some((delta, next)) = extent else { return Err(BatchError::Event { index, offset: at }) };
            (at, last) = (next, delta);
        }
        if at != self.used.len() {
            return Err(BatchError::Event { index: count, offset: at });
        }
        Ok(Timestamp(self.timestamp.0 + u64::from(last)))
    }

    /// How much later than the first event one is, and where the next one starts, inside of the body.
    #[inline]
    fn extent(&self, offset: usize) -> Option<(u32, usize)> {
        let (header, _) = EventHeader::read_from_prefix(self.used.get(offset..)?).ok()?;
        let flags = header.flags.get();
        if flags & !Flags::KNOWN != 0 {
            return None;
        }
        let words = (flags & Flags::WORDS).count_ones() as usize;
        let next = (offset + EVENT_HEADER_LEN + words * ALIGN)
            .checked_add(header.payload_len.get() as usize)?
            .checked_next_multiple_of(ALIGN)?;
        let delta = header.timestamp_delta.get();
        self.timestamp.0.checked_add(u64::from(delta))?;
        (next <= self.used.len()).then_some((delta, next))
    }
}

#[inline]
fn word(bytes: &[u8], at: &mut usize) -> Option<u128> {
    let word = bytes.get(*at..*at + ALIGN)?;
    *at += ALIGN;
    Some(u128::from_le_bytes(word.try_into().ok()?))
}

/// Where a walk over the events of one batch stands: what [`super::Batch::resume`] goes on from.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    at: usize,
    next: Seq,
    left: u32,
}

impl Place {
    /// At the first of `count` events.
    pub(super) fn start(first_seq: Seq, count: u32) -> Self {
        Self { at: BATCH_HEADER_LEN, next: first_seq, left: count }
    }

    /// The seq of the next event.
    #[inline]
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    /// True when no event is left.
    #[inline]
    pub fn is_end(&self) -> bool {
        self.left == 0
    }
}

/// Iterates over the events of a batch.
#[derive(Clone)]
pub struct Records<'a> {
    body: Body<'a>,
    place: Place,
}

impl<'a> Records<'a> {
    pub(super) fn new(body: Body<'a>, place: Place) -> Self {
        Self { body, place }
    }

    /// Where this walk stands.
    #[inline]
    pub fn place(&self) -> Place {
        self.place
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Record<'a>> {
        let Place { at, next, left } = self.place;
        if left == 0 {
            return None;
        }
        let (record, end) = self.body.decode(at, next)?;
        self.place = Place { at: end, next: next.next(), left: left - 1 };
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.place.left as usize))
    }
}
