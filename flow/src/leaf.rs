//! A leaf: where values leave the process, and determinism ends.
//!
//! A leaf may do anything: write a file, call a service, block. It sees values read-only, after the event that
//! caused them is durable, in the order of seq; what it learns can enter the order only as a submitted event. It must not wait
//! for that in `deliver`, neither for room nor for the receipt: the order may be waiting for this very leaf. A thread of its own
//! can.

use downbeat_record::rkyv::Archived;
use downbeat_record::{Correlation, DecodeError, Event, IdempotencyKey, Key, Seq, Timestamp, encoded_here};

/// Something that is told what happened.
pub trait Leaf: Send + 'static {
    /// The last seq this leaf knows it delivered, from its own memory (a file, a table). Deliveries up to it
    /// are not repeated, which makes a leaf that keeps such a memory exactly-once. `None` when it keeps none:
    /// then delivery goes on from the last checkpoint in the log, at least once.
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

    /// Called when nothing more is at hand, so that a leaf can flush what it gathered.
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
    bytes: &'a [u8],
}

impl<'a> Delivery<'a> {
    /// A delivery of an archived value, for whoever drives leaves.
    #[doc(hidden)]
    pub fn new(
        place: (Seq, Timestamp),
        key: Key,
        correlation: Correlation,
        stage: &'a str,
        bytes: &'a [u8],
    ) -> Self {
        Self { seq: place.0, timestamp: place.1, key, correlation, stage, bytes }
    }

    /// The value, in place.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the stage sends another type.
    pub fn value<V: Event>(&self) -> Result<&'a Archived<V>, DecodeError> {
        V::view(encoded_here(self.bytes))
    }

    /// A key under which the outside can recognise this delivery when it is repeated.
    pub fn idempotency_key(&self) -> IdempotencyKey {
        crate::command::key_of(self.stage, self.seq, u8::MAX)
    }
}
