//! What an audit finds wrong, and what that means for whoever asked.

use std::path::{Path, PathBuf};

use downbeat_flow::Mismatch;
use downbeat_record::{BatchNo, ContractError, DecodeError, Digest, Epoch, Seq, Shown, Timestamp};
use downbeat_wal::ScanError;
use downbeat_wal::reader::ReadError;
use downbeat_wal::segment::HeaderError;

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
        /// Everything up to here was verified before; `None` when that was not asked for.
        intact: Option<Seq>,
        /// What the reader said.
        source: Box<ReadError>,
    },
    /// A batch is whole and in its place, and says something that cannot be.
    #[error("{}: byte {offset}: {finding}{}", Shown(path.display()), intact_up_to(*.intact))]
    Content {
        /// The file.
        path: PathBuf,
        /// Where the batch starts.
        offset: u64,
        /// Everything up to here was verified before; `None` when that was not asked for.
        intact: Option<Seq>,
        /// What cannot be.
        finding: Box<Finding>,
    },
    /// The code does not give what the log records.
    #[error(transparent)]
    Diverged(#[from] Diverged),
    /// The program's event types are not those of the log.
    #[error("{0}")]
    Contract(#[from] ContractError),
    /// Too much is held of what stages emit and the log has not been found to hold.
    #[error(
        "what stage `{stage}` emits for seq {cause} and what follows it is not in the log so far and takes more than the \
         {max} bytes that it may: what a stage emits that is new to a log comes behind all that was there. Replay it with a \
         larger `command_backlog_bytes`"
    )]
    Recalled {
        /// The stage.
        stage: String,
        /// The first event for which it emitted what was not found yet.
        cause: Seq,
        /// Bytes that may be held.
        max: usize,
    },
}

fn intact_up_to(seq: Option<Seq>) -> String {
    match seq {
        None => String::new(),
        Some(Seq::ZERO) => "; nothing before it was verified".into(),
        Some(seq) => format!("; intact up to seq {seq}"),
    }
}

impl AuditError {
    /// What it means.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Log { source, .. } => match &**source {
                ReadError::NotFound { .. } => Verdict::Io,
                ReadError::Retired { .. } | ReadError::SegmentGone { .. } => Verdict::Usage,
                ReadError::Scan(ScanError::Io { .. } | ScanError::Unreadable { .. }) => Verdict::Io,
                ReadError::Scan(ScanError::OtherEncoding { source: HeaderError::Numbers, .. }) => {
                    Verdict::DoesNotHold
                }
                ReadError::Scan(
                    ScanError::NewerFormat { .. }
                    | ScanError::NewerBatch { .. }
                    | ScanError::OtherEncoding { .. },
                ) => Verdict::Usage,
                _ => Verdict::DoesNotHold,
            },
            Self::Content { .. } | Self::Diverged(_) => Verdict::DoesNotHold,
            Self::Contract(_) | Self::Recalled { .. } => Verdict::Usage,
        }
    }

    /// Where in which file the log stops holding; `None` when it is not a matter of bytes.
    pub fn place(&self) -> Option<(&Path, u64)> {
        let error = match self {
            Self::Content { path, offset, .. } => return Some((path, *offset)),
            Self::Log { source, .. } => match &**source {
                ReadError::Scan(error) => error,
                _ => return None,
            },
            Self::Diverged(_) | Self::Contract(_) | Self::Recalled { .. } => return None,
        };
        match error {
            ScanError::Damaged { path, offset, .. }
            | ScanError::ChainBroken { path, offset, .. }
            | ScanError::NewerBatch { path, offset, .. }
            | ScanError::Unreadable { path, offset, .. } => Some((path, *offset)),
            ScanError::Truncated { path, .. }
            | ScanError::MissingSegment { path, .. }
            | ScanError::NotAFile { path }
            | ScanError::ForeignSegment { path, .. }
            | ScanError::Misplaced { path, .. }
            | ScanError::NewerFormat { path, .. }
            | ScanError::OtherEncoding { path, .. }
            | ScanError::Stranger { path, .. }
            | ScanError::ManifestLost { path, .. }
            | ScanError::Io { path, .. } => Some((path, 0)),
            _ => None,
        }
    }

    /// The last seq up to which everything holds, when that was verified; what is behind it is in doubt.
    pub fn intact(&self) -> Option<Seq> {
        match self {
            Self::Log { intact, .. } | Self::Content { intact, .. } => *intact,
            Self::Diverged(_) | Self::Contract(_) | Self::Recalled { .. } => None,
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
    /// A durable mark goes back, or is ahead of the batch that carries it.
    #[error("batch {batch} says that batches up to {found} were durable, an earlier one said {before}")]
    Mark {
        /// The batch.
        batch: BatchNo,
        /// Its mark.
        found: BatchNo,
        /// The highest mark before it.
        before: BatchNo,
    },
    /// A writer went on before the end of what an earlier one had acknowledged.
    #[error(
        "the writer of epoch {epoch} went on with batch {batch} although batches up to {durable} had been \
         acknowledged: events were cut off here"
    )]
    Cut {
        /// The later writer.
        epoch: Epoch,
        /// Its first batch.
        batch: BatchNo,
        /// What had been acknowledged.
        durable: BatchNo,
    },
    /// A recovery note that contradicts the place where it stands.
    #[error(
        "a recovery says that it kept batch {kept} and seq {kept_seq}, before it stand {batch} and {seq}"
    )]
    Note {
        /// What it says, as a batch.
        kept: BatchNo,
        /// What it says, as a seq.
        kept_seq: Seq,
        /// The batch before it.
        batch: BatchNo,
        /// The seq before it.
        seq: Seq,
    },
    /// An event that a stage is said to have emitted, without what such an event has.
    #[error(
        "seq {seq} is said to be emitted by a stage for seq {cause}; such events come after their cause and have \
         an idempotency key"
    )]
    Derived {
        /// The event.
        seq: Seq,
        /// Its causation.
        cause: Seq,
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
    Command(Box<Mismatch>),
    /// An emitted event is not in the log although it must be.
    #[error(
        "stage `{stage}` emits an event for seq {cause} that the log does not hold, {}",
        match by { Some(seq) => format!("although it holds the one emitted after it, seq {seq}"),
                   None => "although it was closed when everything was in".to_owned() }
    )]
    NotLogged {
        /// The stage.
        stage: String,
        /// The event for which it emits.
        cause: Seq,
        /// The event that shows that it is missing; `None` when the end of the log does.
        by: Option<Seq>,
    },
    /// The log records a stage that the flow does not have.
    #[error(
        "the log has digests of stage `{}` of flow `{}` at seq {seq}, and the flow given has no such stage; replay \
         with the code that wrote the log, or say that the stage is gone with `retired`",
        Shown(stage),
        Shown(flow)
    )]
    NoStage {
        /// The stage.
        stage: String,
        /// The flow that ran, by its name in the log.
        flow: String,
        /// The checkpoint.
        seq: Seq,
    },
}

impl From<Mismatch> for Diverged {
    fn from(mismatch: Mismatch) -> Self {
        Self::Command(Box::new(mismatch))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use downbeat_record::{BatchError, BatchNo, LogId, SegmentId};
    use downbeat_wal::Damage;

    use super::*;

    fn path() -> PathBuf {
        PathBuf::from("log/file")
    }

    fn refused() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    #[test]
    fn what_was_read_has_a_verdict_and_a_place_where_there_is_one() {
        use Verdict::{DoesNotHold, Io, Usage};
        let (batch, first_seq, segment) = (BatchNo(3), Seq(5), SegmentId(2));
        let (found, expected) = (LogId([1; 16]), LogId([2; 16]));
        let damaged = ScanError::Damaged {
            path: path(),
            offset: 7,
            batch,
            first_seq,
            resumes: None,
            durable: batch,
            reason: Damage::Zeros,
        };
        let newer = BatchError::Short { len: 1 };
        let scans = [
            (damaged, DoesNotHold, 7),
            (ScanError::ChainBroken { path: path(), offset: 8, batch }, DoesNotHold, 8),
            (ScanError::Truncated { path: path(), len: 1, expected: 2 }, DoesNotHold, 0),
            (ScanError::MissingSegment { path: path(), segment }, DoesNotHold, 0),
            (ScanError::NotAFile { path: path() }, DoesNotHold, 0),
            (ScanError::ForeignSegment { path: path(), found, expected }, DoesNotHold, 0),
            (ScanError::Misplaced { path: path(), found: segment }, DoesNotHold, 0),
            (ScanError::ManifestLost { path: path(), first: segment }, DoesNotHold, 0),
            (ScanError::Stranger { path: path(), source: HeaderError::Magic }, DoesNotHold, 0),
            (ScanError::OtherEncoding { path: path(), source: HeaderError::Numbers }, DoesNotHold, 0),
            (ScanError::OtherEncoding { path: path(), source: HeaderError::Fingerprint }, Usage, 0),
            (ScanError::NewerFormat { path: path(), major: 9, minor: 0 }, Usage, 0),
            (ScanError::NewerBatch { path: path(), offset: 9, source: newer }, Usage, 9),
            (ScanError::Unreadable { path: path(), offset: 10, source: refused() }, Io, 10),
            (ScanError::Io { action: "open", path: path(), source: refused() }, Io, 0),
        ];
        let scans = scans.map(|(error, verdict, offset)| (ReadError::Scan(error), verdict, Some(offset)));
        let reads = [
            (ReadError::NotFound { dir: path() }, Io, None),
            (ReadError::Retired { from: Seq(1), oldest: Seq(9) }, Usage, None),
            (ReadError::SegmentGone { path: path(), segment }, Usage, None),
        ];
        let place = path();
        for (source, verdict, offset) in scans.into_iter().chain(reads) {
            let error = AuditError::Log { intact: Some(Seq(4)), source: Box::new(source) };
            assert_eq!(error.verdict(), verdict, "{error}");
            assert_eq!(error.place(), offset.map(|offset| (&*place, offset)), "{error}");
            assert!(
                error.intact() == Some(Seq(4)) && error.to_string().ends_with("; intact up to seq 4"),
                "{error}"
            );
        }
    }
}
