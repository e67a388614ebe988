//! The event types that Downbeat itself puts into a log.

use downbeat_record::{Event, rkyv};

/// A stage did not accept an event. Its causation is that event; it is about the same key.
#[derive(Clone, Debug, PartialEq, Eq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "downbeat.Rejected", version = 1)]
pub struct Rejected {
    /// The stage.
    pub stage: String,
    /// The reason it gave, or the message of its panic.
    pub reason: String,
    /// True when the stage panicked instead of answering.
    pub panicked: bool,
}

/// The output of a stage that sends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "downbeat.Nothing", version = 1)]
pub struct Nothing;
