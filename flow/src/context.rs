//! What a stage sees of one event: the event, its logical time, and what earlier stages sent for it.

use std::any::TypeId;

use downbeat_record::rkyv::Archived;
use downbeat_record::{Correlation, Event, Key, Kind, Record, Seq, SourceId, Timestamp, encoded_here};

use crate::contracts::Kinds;
use crate::stage::Reject;
use crate::unit::Before;

/// A stage's number within its flow, in the order of declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub u16);

/// A value that an earlier stage sent for the event being applied.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The stage that sent it.
    pub from: StageId,
    /// The archived value; 16-byte aligned.
    pub bytes: &'a [u8],
}

/// One event, as the stage that applies it sees it.
pub struct Context<'a> {
    record: &'a Record<'a>,
    inputs: &'a [Input<'a>],
    /// The stages that this one comes after.
    after: &'a [Before],
    kinds: &'a Kinds,
}

impl<'a> Context<'a> {
    #[inline]
    pub(crate) fn new(
        record: &'a Record<'a>,
        inputs: &'a [Input<'a>],
        after: &'a [Before],
        kinds: &'a Kinds,
    ) -> Self {
        Self { record, inputs, after, kinds }
    }

    #[inline]
    pub(crate) fn kinds(&self) -> &'a Kinds {
        self.kinds
    }

    /// The event's place in the total order.
    #[inline]
    pub fn seq(&self) -> Seq {
        self.record.seq
    }

    /// Logical time: when the event was ordered. The only time a stage knows.
    #[inline]
    pub fn timestamp(&self) -> Timestamp {
        self.record.timestamp
    }

    /// The entity the event is about.
    #[inline]
    pub fn key(&self) -> Key {
        self.record.fields.key
    }

    /// The transaction the event belongs to.
    #[inline]
    pub fn correlation(&self) -> Correlation {
        self.record.fields.correlation
    }

    /// The event that caused this one, or [`Seq::ZERO`].
    #[inline]
    pub fn causation(&self) -> Seq {
        self.record.fields.causation
    }

    /// Who submitted it.
    #[inline]
    pub fn source(&self) -> SourceId {
        self.record.fields.source
    }

    /// The number of its contract in this log.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.record.fields.kind
    }

    /// 64 bits that follow from the log alone and differ from event to event: the seed for whatever a stage
    /// wants to draw.
    pub fn seed(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(&self.record.seq.0.to_le_bytes(), self.record.timestamp.0)
    }

    /// The event as an `E`, in place; `None` when it is of another type.
    ///
    /// # Errors
    ///
    /// [`Reject`] when the payload is not a valid `E`, or when no stage of the flow declares `E`.
    #[inline]
    pub fn event<E: Event>(&self) -> Result<Option<&'a Archived<E>>, Reject> {
        match self.kinds.of(TypeId::of::<E>()) {
            Some(kind) if kind == self.record.fields.kind => Ok(Some(E::view(self.record.payload())?)),
            Some(_) => Ok(None),
            None => Err(Reject::new(format!("no stage of the flow declares `{}` v{}", E::NAME, E::VERSION))),
        }
    }

    /// The value of type `V` that an earlier stage sent for this event; `None` when none did.
    ///
    /// # Errors
    ///
    /// [`Reject`] when the value is not a valid `V`, or when the stage comes after none that sends a `V`.
    #[inline]
    pub fn input<V: Event>(&self) -> Result<Option<&'a Archived<V>>, Reject> {
        let wanted = Some(TypeId::of::<V>());
        match self.inputs.iter().find(|input| self.kinds.output_of(input.from) == wanted) {
            Some(input) => view_of::<V>(input),
            None if self.after.iter().any(|stage| self.kinds.output_of(stage.id) == wanted) => Ok(None),
            None => Err(after_none_that_sends(V::NAME)),
        }
    }

    /// The value that the stage named `stage` sent for this event; `None` when it sent none.
    ///
    /// # Errors
    ///
    /// [`Reject`] when this stage does not come after that one, or that one sends another type, or the value is not a valid
    /// `V`.
    pub fn input_from<V: Event>(&self, stage: &str) -> Result<Option<&'a Archived<V>>, Reject> {
        // What was sent is from a stage that this one comes after.
        let named = |id: StageId| self.kinds.name_of(id) == Some(stage);
        let given = self.inputs.iter().find(|input| named(input.from));
        let before = || self.after.iter().map(|before| before.id).find(|id| named(*id));
        let Some(from) = given.map(|input| input.from).or_else(before) else {
            return Err(not_after(stage));
        };
        if self.kinds.output_of(from) != Some(TypeId::of::<V>()) {
            return Err(Reject::new(format!("stage `{stage}` does not send `{}`", V::NAME)));
        }
        given.map_or(Ok(None), view_of::<V>)
    }

    /// The stages that sent a value for this event.
    pub fn senders(&self) -> impl Iterator<Item = StageId> {
        self.inputs.iter().map(|input| input.from)
    }
}

#[inline]
fn view_of<'a, V: Event>(input: &Input<'a>) -> Result<Option<&'a Archived<V>>, Reject> {
    Ok(Some(V::view(encoded_here(input.bytes))?))
}

#[cold]
fn not_after(stage: &str) -> Reject {
    Reject::new(format!("this stage does not come after a stage `{stage}`: declare it with `.after`"))
}

#[cold]
fn after_none_that_sends(value: &str) -> Reject {
    Reject::new(format!("this stage comes after none that sends `{value}`: declare it with `.after`"))
}
