//! What a stage sees of one event: the event, its logical time, and what earlier stages sent for it.

use std::any::TypeId;

use downbeat_record::rkyv::Archived;
use downbeat_record::{Correlation, Event, Key, Kind, Record, Seq, SourceId, Timestamp, encoded_here};

use crate::contracts::Kinds;
use crate::stage::Reject;

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
    kinds: &'a Kinds,
}

impl<'a> Context<'a> {
    #[inline]
    pub(crate) fn new(record: &'a Record<'a>, inputs: &'a [Input<'a>], kinds: &'a Kinds) -> Self {
        Self { record, inputs, kinds }
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
    /// [`Reject`] when the value is not a valid `V`.
    #[inline]
    pub fn input<V: Event>(&self) -> Result<Option<&'a Archived<V>>, Reject> {
        let wanted = TypeId::of::<V>();
        view_of::<V>(self.inputs.iter().find(|input| self.kinds.output_of(input.from) == Some(wanted)))
    }

    /// The value that the stage named `stage` sent for this event; `None` when it sent none.
    ///
    /// # Errors
    ///
    /// [`Reject`] when that stage sends another type, or the value is not a valid `V`.
    pub fn input_from<V: Event>(&self, stage: &str) -> Result<Option<&'a Archived<V>>, Reject> {
        // What is there is looked through first: it is less than the stages of the flow.
        let given = self.inputs.iter().find(|input| self.kinds.name_of(input.from) == Some(stage));
        let Some(from) = given.map(|input| input.from).or_else(|| self.kinds.stage(stage)) else {
            return Err(Reject::new(format!("the flow has no stage `{stage}`")));
        };
        if self.kinds.output_of(from) != Some(TypeId::of::<V>()) {
            return Err(Reject::new(format!("stage `{stage}` does not send `{}`", V::NAME)));
        }
        view_of::<V>(given)
    }

    /// The stages that sent a value for this event.
    pub fn senders(&self) -> impl Iterator<Item = StageId> {
        self.inputs.iter().map(|input| input.from)
    }
}

#[inline]
fn view_of<'a, V: Event>(input: Option<&Input<'a>>) -> Result<Option<&'a Archived<V>>, Reject> {
    match input {
        Some(input) => Ok(Some(V::view(encoded_here(input.bytes))?)),
        None => Ok(None),
    }
}
