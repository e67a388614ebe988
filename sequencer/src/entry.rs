//! What a producer writes into the ring: one event, or several that belong together.
//!
//! ```text
//!  body of a claim:  event ─ event ─ …           tag: ticket slot u24 · flags u8 · ticket generation u32
//!  event:  payload_len u32 · kind u16 · flags u16 · source u32 · 0 u32
//!          then, each 16 bytes and only if flagged: idempotency key · correlation · causation u64, key u64
//!          then the payload, padded to 16
//! ```
//!
//! This never leaves the process, so it has no version and no checksum. A body that does not parse is a broken
//! invariant of our own and panics.

use downbeat_record::{Correlation, Fields, IdempotencyKey, Key, Kind, Seq, SourceId};

use crate::ticket::{Ack, TicketId};

/// Events and payloads start on a multiple of this many bytes.
pub(crate) const ALIGN: usize = 16;
/// The most that stands in front of a payload.
pub(crate) const HEAD_MAX: usize = 4 * ALIGN;

const IDEMPOTENCY: u16 = 1;
const CORRELATION: u16 = 1 << 1;
const LINK: u16 = 1 << 2;
const DERIVED: u16 = 1 << 3;

/// The word beside the body: who waits, for what, and whether it is a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) ticket: Option<(TicketId, Ack)>,
    pub(crate) group: bool,
    /// The first event has an idempotency key.
    pub(crate) keyed: bool,
}

impl Tag {
    const TICKET: u64 = 1 << 24;
    const ORDERED: u64 = 1 << 25;
    const GROUP: u64 = 1 << 26;
    const KEYED: u64 = 1 << 27;

    #[inline]
    pub(crate) fn to_word(self) -> u64 {
        let group = if self.group { Self::GROUP } else { 0 };
        let keyed = if self.keyed { Self::KEYED } else { 0 };
        let Some((id, ack)) = self.ticket else { return group | keyed };
        let ack = if ack == Ack::Ordered { Self::ORDERED } else { 0 };
        group | keyed | Self::TICKET | ack | u64::from(id.slot) | u64::from(id.generation) << 32
    }

    #[inline]
    pub(crate) fn from_word(word: u64) -> Self {
        let id = TicketId { slot: word as u32 & ((1 << 24) - 1), generation: (word >> 32) as u32 };
        let ack = if word & Self::ORDERED != 0 { Ack::Ordered } else { Ack::Durable };
        Self {
            ticket: (word & Self::TICKET != 0).then_some((id, ack)),
            group: word & Self::GROUP != 0,
            keyed: word & Self::KEYED != 0,
        }
    }
}

/// Bytes in front of the payload of an event with these fields.
#[inline]
pub(crate) fn head_len(fields: &Fields) -> usize {
    let words = usize::from(!fields.idempotency_key.is_none())
        + usize::from(!fields.correlation.is_none())
        + usize::from(has_link(fields));
    ALIGN * (1 + words)
}

#[inline]
fn has_link(fields: &Fields) -> bool {
    fields.causation != Seq::ZERO || fields.key != Key::NONE
}

/// Writes what stands in front of a payload. Precondition: `out` has exactly [`head_len`] bytes.
#[inline]
pub(crate) fn write_head(out: &mut [u8], fields: &Fields, payload_len: usize) {
    let (head, mut words) = out.split_at_mut(ALIGN);
    let mut flags = if fields.derived { DERIVED } else { 0 };
    let mut put = |flag: u16, word: u128| {
        let (place, rest) = std::mem::take(&mut words).split_at_mut(ALIGN);
        place.copy_from_slice(&word.to_le_bytes());
        words = rest;
        flags |= flag;
    };
    if !fields.idempotency_key.is_none() {
        put(IDEMPOTENCY, fields.idempotency_key.0);
    }
    if !fields.correlation.is_none() {
        put(CORRELATION, fields.correlation.0);
    }
    if has_link(fields) {
        put(LINK, u128::from(fields.causation.0) | u128::from(fields.key.0) << 64);
    }
    let payload_len = u32::try_from(payload_len).expect("a ring is smaller than 4 GiB");
    let word = u128::from(payload_len)
        | u128::from(fields.kind.0) << 32
        | u128::from(flags) << 48
        | u128::from(fields.source.0) << 64;
    head.copy_from_slice(&word.to_le_bytes());
}

/// The idempotency key of the first event of a body.
#[inline]
pub(crate) fn first_key(body: &[u8]) -> IdempotencyKey {
    let word = |at| u128::from_le_bytes(body[at..at + ALIGN].try_into().expect("the range has this length"));
    let flags = (word(0) >> 48) as u16;
    if flags & IDEMPOTENCY == 0 { IdempotencyKey::NONE } else { IdempotencyKey(word(ALIGN)) }
}

/// The events of a body, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events<'a> {
    rest: &'a [u8],
}

impl<'a> Events<'a> {
    #[inline]
    pub(crate) fn of(body: &'a [u8]) -> Self {
        Self { rest: body }
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = (Fields, &'a [u8]);

    // Always: returned through memory, the fields cost a fifth of the sequencer's time per event.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut at = 0;
        let mut word = || {
            let bytes = self.rest[at..at + ALIGN].try_into().expect("the range has this length");
            at += ALIGN;
            u128::from_le_bytes(bytes)
        };
        let head = word();
        let (payload_len, flags) = (head as u32 as usize, (head >> 48) as u16);
        let mut fields = Fields {
            kind: Kind((head >> 32) as u16),
            source: SourceId((head >> 64) as u32),
            derived: flags & DERIVED != 0,
            ..Fields::default()
        };
        if flags & IDEMPOTENCY != 0 {
            fields.idempotency_key = IdempotencyKey(word());
        }
        if flags & CORRELATION != 0 {
            fields.correlation = Correlation(word());
        }
        if flags & LINK != 0 {
            let link = word();
            fields.causation = Seq(link as u64);
            fields.key = Key((link >> 64) as u64);
        }
        let end = at + payload_len;
        let payload = &self.rest[at..end];
        self.rest = self.rest.get(end.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((fields, payload))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_comes_back_as_it_was_written() {
        let id = TicketId { slot: (1 << 24) - 1, generation: u32::MAX };
        for ticket in [None, Some((id, Ack::Ordered)), Some((id, Ack::Durable))] {
            for (group, keyed) in [(false, false), (true, false), (false, true), (true, true)] {
                let tag = Tag { ticket, group, keyed };
                assert_eq!(Tag::from_word(tag.to_word()), tag);
            }
        }
    }

    fn fields() -> impl Strategy<Value = Fields> {
        let maybe = |id: u128| prop_oneof![Just(0), Just(id)];
        (any::<u16>(), any::<u32>(), 0..3_u64, 0..3_u64, maybe(u128::MAX), maybe(7), any::<bool>()).prop_map(
            |(kind, source, key, causation, correlation, idempotency, derived)| Fields {
                kind: Kind(kind),
                source: SourceId(source),
                key: Key(key),
                correlation: Correlation(correlation),
                causation: Seq(causation),
                idempotency_key: IdempotencyKey(idempotency),
                derived,
            },
        )
    }

    proptest! {
        #[test]
        fn events_come_back_as_they_were_written(
            events in prop::collection::vec((fields(), prop::collection::vec(any::<u8>(), 0..100)), 1..10)
        ) {
            let mut body = Vec::new();
            for (fields, payload) in &events {
                let start = body.len();
                body.resize(start + head_len(fields), 0);
                prop_assert!(body.len() - start <= HEAD_MAX);
                write_head(&mut body[start..], fields, payload.len());
                body.extend_from_slice(payload);
                if body.len() % ALIGN != 0 {
                    body.resize(body.len().next_multiple_of(ALIGN), 0xEE);
                }
            }
            let read: Vec<_> = Events::of(&body).map(|(fields, payload)| (fields, payload.to_vec())).collect();
            prop_assert_eq!(read, events);
        }
    }
}
