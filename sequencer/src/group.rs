//! Several events that get consecutive places, all or none, also after a crash.

use downbeat_record::batch::EVENT_OVERHEAD_MAX;
use downbeat_record::header::BATCH_BYTES_MAX;
use downbeat_record::{Event, Fields, IdempotencyKey};
use zerocopy::IntoBytes;

use crate::entry::{ALIGN, HEAD_MAX, head_len, write_head};
use crate::error::SubmitError;
use crate::ingress::Claim;
use crate::kinds::TypeName;

/// Events being put together; encoded here, copied into the ring in one piece when submitted.
///
/// Keep one and [`Group::clear`] it: its memory is reused. Give each event an idempotency key of its own, or
/// none to any of them; [`crate::order`] says what makes a group a duplicate.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The bytes, as words so that payloads are aligned; `used` of them count.
    words: Vec<u128>,
    used: usize,
    count: usize,
    /// What the events take in a batch at most.
    batch_bytes: usize,
    /// Keys so far, sorted.
    keys: Vec<IdempotencyKey>,
    /// What the events say of themselves.
    claim: Option<Claim>,
    /// What each of those that are typed says; once for several in a row.
    types: Vec<(Claim, TypeName)>,
    /// One of them came as bytes.
    has_bytes: bool,
}

impl Group {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event behind the others.
    ///
    /// # Errors
    ///
    /// [`SubmitError::GroupKeys`], [`SubmitError::Encode`], [`SubmitError::TooLarge`] when it would be larger than any
    /// batch; the group is as it was.
    pub fn push<E: Event>(&mut self, fields: &Fields, event: &E) -> Result<(), SubmitError> {
        let room = event.encoded_len_max();
        self.add(fields, room, |out| Ok(event.encode(out)?))?;
        let of = (Claim::of(fields), TypeName::of::<E>());
        if self.types.last() != Some(&of) {
            self.types.push(of);
        }
        Ok(())
    }

    /// Adds an event that is encoded already; it is held to its contract when the group is submitted.
    ///
    /// # Errors
    ///
    /// [`SubmitError::GroupKeys`], [`SubmitError::TooLarge`] as for [`Group::push`]; the group is as it was.
    pub fn push_bytes(&mut self, fields: &Fields, payload: &[u8]) -> Result<(), SubmitError> {
        self.add(fields, payload.len(), |out| {
            out.copy_from_slice(payload);
            Ok(payload.len())
        })?;
        self.has_bytes = true;
        Ok(())
    }

    fn add(
        &mut self,
        fields: &Fields,
        room: usize,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, SubmitError>,
    ) -> Result<(), SubmitError> {
        let key = fields.idempotency_key;
        let place = self.keys.partition_point(|other| other.0 < key.0);
        let mixed = self.count > 0 && self.keys.is_empty() != key.is_none();
        if mixed || self.keys.get(place) == Some(&key) {
            return Err(SubmitError::GroupKeys { index: self.count, key });
        }
        let len = self.batch_bytes.saturating_add(room);
        if len > BATCH_BYTES_MAX {
            return Err(SubmitError::TooLarge { len, max: BATCH_BYTES_MAX });
        }
        let payload = self.used + head_len(fields);
        let words = (payload + room).div_ceil(ALIGN);
        // What an earlier group left there is written over; to clear it first would cost as much again.
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        let bytes = self.words.as_mut_bytes();
        let len = encode(&mut bytes[payload..payload + room])?;
        assert!(len <= room, "{len} bytes were encoded into {room}");
        write_head(&mut bytes[self.used..payload], fields, len);

        self.used = (payload + len).next_multiple_of(ALIGN);
        self.count += 1;
        self.batch_bytes += len + EVENT_OVERHEAD_MAX;
        self.claim = Some(self.claim.map_or(Claim::of(fields), |claim| claim.and(fields)));
        if !key.is_none() {
            self.keys.insert(place, key);
        }
        Ok(())
    }

    /// Removes all events and keeps the memory.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.types.clear();
        (self.used, self.count, self.batch_bytes, self.claim, self.has_bytes) = (0, 0, 0, None, false);
    }

    /// Events so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when it has no events.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// True when its events have keys.
    pub(crate) fn is_keyed(&self) -> bool {
        !self.keys.is_empty()
    }

    /// What its events say of themselves; `None` when it has none.
    pub(crate) fn claim(&self) -> Option<Claim> {
        self.claim
    }

    /// What its events say of themselves that were typed, with their types; neighbours differ.
    pub(crate) fn types(&self) -> &[(Claim, TypeName)] {
        &self.types
    }

    /// True when one of its events was given as bytes.
    pub(crate) fn has_bytes(&self) -> bool {
        self.has_bytes
    }

    /// An upper bound of what the events take in a batch.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// The events as they stand in the ring.
    pub(crate) fn body(&self) -> &[u8] {
        &self.words.as_bytes()[..self.used]
    }
}

// A group that fits into a batch fits into a ring of the same size: the ring needs less for each event.
const _: () = assert!(HEAD_MAX + ALIGN <= EVENT_OVERHEAD_MAX);
