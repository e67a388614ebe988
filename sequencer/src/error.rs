//! Why an event was not accepted, and what its producer should do.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use downbeat_record::{DecodeError, IdempotencyKey, Kind, SourceId};

use crate::ticket::Receipt;

/// What happened elsewhere (a disk, a log) that makes the sequencer refuse events.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Which bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Bytes of the ring for events from outside: `Settings::ring_bytes`.
    Ring,
    /// Bytes of the ring for events of stages: `Settings::derived_ring_bytes`.
    DerivedRing,
    /// Receipts in flight: `Settings::tickets`.
    Tickets,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ring => "bytes of the ingress ring",
            Self::DerivedRing => "bytes of the derived ring",
            Self::Tickets => "tickets in flight",
        })
    }
}

/// How full a bounded thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Units taken.
    pub used: usize,
    /// Units there are.
    pub capacity: usize,
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.used, self.capacity)
    }
}

/// Why an event, or a group of events, has no place in the order.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The sequencer is behind. Submit again when there is room.
    #[error("not accepted: {fill} {bound} are taken; wait for `room()` and submit again, or submit slower")]
    Backpressure {
        /// Which bound.
        bound: Bound,
        /// How full it was, in the unit of the bound.
        fill: Fill,
    },
    /// It can never fit. Make it smaller.
    #[error(
        "not accepted: {len} bytes in one piece, at most {max} fit into a batch and the ring; \
         split it, or raise `batch_bytes` and `ring_bytes`"
    )]
    TooLarge {
        /// Bytes it may take.
        len: usize,
        /// Bytes there can be.
        max: usize,
    },
    /// A group can never fit into the window. Split it.
    #[error(
        "not accepted: a group of {count} events, the window takes {max}; split it or raise `window_events`"
    )]
    TooMany {
        /// Events of the group.
        count: usize,
        /// Events there can be.
        max: usize,
    },
    /// No contract in the log says what it is.
    #[error(
        "not accepted: kind {kind} has no contract in this log; declare the event's type and use the kind that the log \
         gives it"
    )]
    UnknownKind {
        /// Its kind.
        kind: Kind,
    },
    /// In this log its kind is that of another type.
    #[error(
        "not accepted: kind {kind} is that of `{contract}` in this log, and the event is one of `{event}`; give it the kind that \
         this log gives its type"
    )]
    WrongKind {
        /// The kind that it was given.
        kind: Kind,
        /// Name and version of the contract of that kind.
        contract: String,
        /// Name and version of its own.
        event: String,
    },
    /// Its bytes are not what the contract of its kind says.
    #[error(
        "not accepted: its bytes are no `{contract}` ({source}); encode it as that, or give it the kind that it is of"
    )]
    Payload {
        /// Name and version of the contract.
        contract: String,
        /// What is wrong with them.
        source: DecodeError,
    },
    /// It came from outside under a number that stages have.
    #[error(
        "not accepted: source {source_id} is reserved for stages; choose one below {}",
        SourceId::OF_STAGES
    )]
    SourceOfAStage {
        /// Its source.
        source_id: SourceId,
    },
    /// It came from outside and says that a stage emitted it.
    #[error("not accepted: it came from outside and says that a stage emitted it; leave `derived` false")]
    Derived,
    /// Its idempotency key stands for something else. Do not send it again as it is.
    #[error(
        "not accepted: its idempotency key was used for another event or grouping at seq {}; \
         use a new key, or send what was sent then", original.seq
    )]
    Conflict {
        /// What the key was used for first.
        original: Receipt,
    },
    /// In one group a key stands twice, or only some events have one.
    #[error(
        "not added: event {index} of the group has idempotency key {key}; \
         give each event of a group a key of its own, or none to any of them"
    )]
    GroupKeys {
        /// The event in the group, from 0.
        index: usize,
        /// Its key.
        key: IdempotencyKey,
    },
    /// The ingress was closed: the engine is shutting down.
    #[error("not accepted: the ingress is closed; open the engine again to submit")]
    Closed,
    /// The log has no space. Nothing is lost; submit again when there is space.
    #[error("not accepted: the log is full ({cause}); make space and submit again")]
    Full {
        /// What the log said.
        #[source]
        cause: Cause,
    },
    /// The log failed. Whether an event in flight is in it shows when it is opened again.
    #[error("stopped: {cause}; open it again, and send again with the same idempotency key")]
    Poisoned {
        /// What failed.
        #[source]
        cause: Cause,
    },
    /// The value has no archive.
    #[error("not accepted: the event could not be encoded ({source})")]
    Encode {
        /// What the encoder said.
        #[from]
        source: DecodeError,
    },
}
