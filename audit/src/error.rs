//! What an audit finds wrong, and what that means for whoever asked.

use std::path::PathBuf;

use downbeat_flow::Mismatch;
use downbeat_record::{ContractError, DecodeError, Digest, Seq, Timestamp};
use downbeat_wal::ScanError;
use downbeat_wal::reader::ReadError;

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The log, or the code on the log, is not what it should be.
    DoesNotHold,
    /// The question cannot be asked of this directory by this build.
    Usage,
    /// The system refused to read.
    Io,
}

/// Why an audit did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The log cannot be read on: it is damaged, altered, not there, or the disk fails.
    #[error("{source}{}", intact_up_to(*.intact))]
    Log {
        /// Everything up to here was verified before.
        intact: Seq,
        /// What the reader said.
        source: ReadError,
    },
    /// A batch is whole and in its place, and says something that cannot be.
    #[error("{}: byte {offset}: {finding}{}", path.display(), intact_up_to(*.intact))]
    Content {
        /// The file.
        path: PathBuf,
        /// Where the batch starts.
        offset: u64,
        /// Everything up to here was verified before.
        intact: Seq,
        /// What cannot be.
        finding: Finding,
    },
    /// The code does not give what the log records.
    #[error(transparent)]
    Diverged(#[from] Diverged),
    /// The program's event types are not those of the log.
    #[error("{0}")]
    Contract(#[from] ContractError),
}

fn intact_up_to(seq: Seq) -> String {
    if seq == Seq::ZERO {
        "; nothing before it was verified".into()
    } else {
        format!("; intact up to seq {seq}")
    }
}

impl AuditError {
    /// What it means.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Log { source, .. } => match source {
                ReadError::NotFound { .. } => Verdict::Io,
                ReadError::Retired { .. } | ReadError::SegmentGone { .. } => Verdict::Usage,
                ReadError::Scan(ScanError::Io { .. } | ScanError::Unreadable { .. }) => Verdict::Io,
                ReadError::Scan(ScanError::NewerFormat { .. } | ScanError::OtherEncoding { .. }) => {
                    Verdict::Usage
                }
                _ => Verdict::DoesNotHold,
            },
            Self::Content { .. } | Self::Diverged(_) => Verdict::DoesNotHold,
            Self::Contract(_) => Verdict::Usage,
        }
    }
}

/// Something in a whole batch that cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// Time does not go on.
    #[error("seq {seq} has timestamp {found}, the event before it {before}")]
    Time {
        /// The event.
        seq: Seq,
        /// Its time.
        found: Timestamp,
        /// The time before.
        before: Timestamp,
    },
    /// A writer with an older fencing number wrote after a newer one.
    #[error("epoch {found} follows epoch {before}")]
    Epoch {
        /// The batch's.
        found: u64,
        /// The one before.
        before: u64,
    },
    /// A contract table cannot be read, or contradicts an earlier one.
    #[error("the contract table does not hold: {0}")]
    Contracts(ContractError),
    /// An event of a type that the log does not explain.
    #[error("seq {seq} is of kind {kind}, which no contract before it explains")]
    UnknownKind {
        /// The event.
        seq: Seq,
        /// Its kind.
        kind: u16,
    },
    /// A payload that its contract cannot explain.
    #[error("seq {seq} is no valid `{contract}`: {source}")]
    Payload {
        /// The event.
        seq: Seq,
        /// The contract's name.
        contract: String,
        /// What is wrong.
        source: DecodeError,
    },
    /// A checkpoint or recovery note that cannot be read.
    #[error("the {what} cannot be read: {source}")]
    Control {
        /// Which.
        what: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A checkpoint of an event that is not there.
    #[error("a checkpoint covers seq {seq}, the log is at {last}")]
    CheckpointAhead {
        /// What it covers.
        seq: Seq,
        /// What there is.
        last: Seq,
    },
}

/// The first difference between log and code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Diverged {
    /// A digest differs: something did between two checkpoints.
    #[error(
        "stage `{stage}` diverges after seq {after} and at or before seq {seq}: {what} is {found}, the log has {logged}"
    )]
    Digest {
        /// The stage.
        stage: String,
        /// Outputs or state.
        what: &'static str,
        /// The last checkpoint that agreed.
        after: Seq,
        /// The first that does not.
        seq: Seq,
        /// What the code gives.
        found: Digest,
        /// What the log has.
        logged: Digest,
    },
    /// An emitted event differs.
    #[error(transparent)]
    Command(#[from] Mismatch),
}
