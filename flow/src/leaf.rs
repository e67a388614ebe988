//! A leaf: where values leave the process, and determinism ends.
//!
//! A leaf may do anything: write a file, call a service, block. It sees values read-only, after the event that
//! caused them is durable, in the order of seq; what it learns can enter the order only as a submitted event. It must not wait
//! for that in `deliver`, neither for room nor for the receipt: the order may be waiting for this very leaf. A thread of its own
//! can.
//!
//! What leaves has left: so while a log is read again, a leaf that is behind gets a value when the next checkpoint in the log has
//! shown that the code is that which wrote it. After the last checkpoint nothing can show that.

use std::any::TypeId;

use downbeat_record::rkyv::Archived;
use downbeat_record::{Correlation, DecodeError, Event, IdempotencyKey, Key, Seq, Timestamp, encoded_here};

use crate::contracts::EventType;

/// Something that is told what happened.
pub trait Leaf: Send + 'static {
    /// The last seq of which this leaf knows that it delivered *everything*, from its own memory (a file, a table). Deliveries
    /// up to it are not repeated, which makes a leaf that keeps such a memory, and comes after one stage, exactly-once. After
    /// several stages there may be a value of each for one event: such a leaf remembers [`Delivery::idempotency_key`], or
    /// the seq before the last and which stages it had for that one, and drops by itself what comes once more. `None` when it keeps no
    /// memory: then delivery goes on from the last checkpoint in the log, at least once.
    ///
    /// # Errors
    ///
    /// [`LeafError`] when the memory cannot be read; the flow does not start.
    fn resume(&mut self) -> Result<Option<Seq>, LeafError> {
        Ok(None)
    }

    /// Delivers one value. It is not called again for the same value unless it fails or the process dies.
    ///
    /// # Errors
    ///
    /// [`LeafError`] stops this leaf and, with it, the flow. So does a panic. Nothing is lost: what was not delivered is
    /// in the log, and the next opening delivers it.
    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError>;

    /// Called when nothing more is at hand, and else at least once in a thousand deliveries and after a tenth of a second of them,
    /// so that a leaf can flush what it gathered. What is not behind a flush does not count as delivered: after a crash it
    /// comes again.
    ///
    /// # Errors
    ///
    /// As [`Leaf::deliver`].
    fn flush(&mut self) -> Result<(), LeafError> {
        Ok(())
    }
}

/// A leaf could not do its work.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LeafError {
    message: String,
    source: Option<std::io::Error>,
}

impl LeafError {
    /// An error with a message a person can read.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }
}

impl From<std::io::Error> for LeafError {
    fn from(source: std::io::Error) -> Self {
        Self { message: source.to_string(), source: Some(source) }
    }
}

/// One value on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The event that caused it; durable.
    pub seq: Seq,
    /// When that event was ordered.
    pub timestamp: Timestamp,
    /// The entity it is about.
    pub key: Key,
    /// The transaction it belongs to.
    pub correlation: Correlation,
    /// The stage that sent it.
    pub stage: &'a str,
    output: EventType,
    bytes: &'a [u8],
}

impl<'a> Delivery<'a> {
    /// A delivery of an archived value, for whoever drives leaves.
    #[doc(hidden)]
    pub fn new(
        place: (Seq, Timestamp),
        key: Key,
        correlation: Correlation,
        (stage, output): (&'a str, EventType),
        bytes: &'a [u8],
    ) -> Self {
        Self { seq: place.0, timestamp: place.1, key, correlation, stage, output, bytes }
    }

    /// The value, in place.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the stage sends another type.
    pub fn value<V: Event>(&self) -> Result<&'a Archived<V>, DecodeError> {
        if self.output.type_id != TypeId::of::<V>() {
            return Err(self.is_another(V::NAME));
        }
        V::view(encoded_here(self.bytes))
    }

    #[cold]
    fn is_another(&self, contract: &'static str) -> DecodeError {
        let reason = format!("stage `{}` sends `{}`", self.stage, self.output.name);
        DecodeError::Invalid { contract, reason }
    }

    /// A key under which the outside can recognise this delivery when it is repeated.
    pub fn idempotency_key(&self) -> IdempotencyKey {
        crate::command::key_of(self.stage, self.seq, u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Nothing, Rejected};

    /// Found by reading: any bytes that happened to be a value of the type asked for were given as one.
    #[test]
    fn a_value_is_had_as_what_its_stage_sends_and_nothing_else() {
        let sent = ("stage", EventType::of::<Nothing>());
        let delivery = Delivery::new((Seq(1), Timestamp(1)), Key(1), Correlation(1), sent, &[]);
        assert!(delivery.value::<Nothing>().is_ok());
        let error = delivery.value::<Rejected>().map(drop).unwrap_err();
        assert!(error.to_string().contains("stage `stage` sends `downbeat.Nothing`"), "{error}");
    }
}
