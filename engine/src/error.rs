//! Errors at the facade: the kind says what the caller does next.

use std::error::Error as StdError;
use std::fmt;

use downbeat_record::Seq;
use downbeat_sequencer::SubmitError;

type Source = Box<dyn StdError + Send + Sync>;

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no room now: submit again later, or wait with `submit`.
    Backpressure,
    /// The request can never succeed as it is: change it.
    Invalid,
    /// The idempotency key stands for another event: do not send this again.
    Conflict,
    /// The engine is closed, or closing.
    Closed,
    /// The disk is full: make space; nothing is lost.
    Full,
    /// Another writer has the log open.
    Locked,
    /// The log is damaged where it was acknowledged: restore it from a copy; `downbeat inspect` shows the events before the damage.
    Corrupt,
    /// The log or the flow failed and takes nothing more: open it again.
    Poisoned,
    /// The code does not give what the log records: use the code that wrote it, or a new version of a contract.
    Diverged,
    /// The system refused something: permissions, a missing directory, a device.
    Io,
}

/// An error of the engine.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    seq: Option<Seq>,
    source: Option<Source>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), seq: None, source: None }
    }

    pub(crate) fn because(kind: ErrorKind, source: impl Into<Source>) -> Self {
        let source = source.into();
        Self { kind, message: source.to_string(), seq: None, source: Some(source) }
    }

    pub(crate) fn at(mut self, seq: Seq) -> Self {
        self.seq = Some(seq);
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The place in the order that it concerns, when it concerns one.
    pub fn seq(&self) -> Option<Seq> {
        self.seq
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The message is the source's own; what lies behind the source is what is left to tell.
        self.source.as_ref().and_then(|source| source.source())
    }
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        let kind = match &error {
            SubmitError::Backpressure { .. } => ErrorKind::Backpressure,
            SubmitError::Conflict { .. } => ErrorKind::Conflict,
            SubmitError::Closed => ErrorKind::Closed,
            SubmitError::Full { .. } => ErrorKind::Full,
            SubmitError::Poisoned { .. } => ErrorKind::Poisoned,
            _ => ErrorKind::Invalid,
        };
        let seq = if let SubmitError::Conflict { original } = &error { Some(original.seq) } else { None };
        let error = Self::because(kind, error);
        match seq {
            Some(seq) => error.at(seq),
            None => error,
        }
    }
}

impl From<downbeat_actors::StartError> for Error {
    fn from(error: downbeat_actors::StartError) -> Self {
        use downbeat_actors::{Fault, StartError};
        use downbeat_flow::Mismatch;
        let (kind, seq) = match &error {
            StartError::Fault(Fault::Diverged(divergence)) => (ErrorKind::Diverged, Some(divergence.seq)),
            StartError::Fault(Fault::Command(
                Mismatch::NotEmitted { seq, .. } | Mismatch::Differs { seq, .. },
            )) => (ErrorKind::Diverged, Some(*seq)),
            StartError::Fault(Fault::Recalled { cause, .. } | Fault::TooLarge { cause, .. }) => {
                (ErrorKind::Invalid, Some(*cause))
            }
            StartError::Fault(Fault::History { .. }) => (ErrorKind::Io, None),
            StartError::Fault(_) => (ErrorKind::Poisoned, None),
            _ => (ErrorKind::Io, None),
        };
        let error = Self::because(kind, error);
        match seq {
            Some(seq) => error.at(seq),
            None => error,
        }
    }
}
