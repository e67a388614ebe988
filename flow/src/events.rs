//! The event types that Downbeat itself puts into a log.

use downbeat_record::{Event, rkyv};

/// A stage did not accept an event. Its causation is that event; it is about the same key.
#[derive(Clone, Debug, PartialEq, Eq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "downbeat.Rejected", version = 1)]
pub struct Rejected {
    /// The stage.
    pub stage: String,
    /// The reason it gave. Of a panic it is always [`PANICKED`]: the standard library words its messages anew now and then, and
    /// a new compiler must not change a result.
    pub reason: String,
    /// True when the stage panicked instead of answering.
    pub panicked: bool,
}

/// The reason of an event that a stage panicked on; what the panic said is on stderr, unless a panic hook puts it elsewhere.
pub const PANICKED: &str = "it panicked";

/// The output of a stage that sends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "downbeat.Nothing", version = 1)]
pub struct Nothing;
