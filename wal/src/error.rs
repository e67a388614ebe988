//! What can go wrong, one enum per thing that the caller does.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use downbeat_record::{BatchError, BatchNo, Epoch, SegmentId, Seq, Shown};

use crate::recovery::Row;
use crate::segment::HeaderError;

/// Why the bytes in a directory are not a log that can be gone on with. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// Something that had been made durable is not there any more.
    #[error(
        "{}: byte {offset}: batch {batch} (from seq {first_seq}) is damaged although batches up to {durable} had \
         been acknowledged ({reason}); restore the file from a copy; what is before it can still be read",
        Shown(path.display())
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the batch should start.
        offset: u64,
        /// The batch that is not there.
        batch: BatchNo,
        /// Its first seq; everything before it is intact.
        first_seq: Seq,
        /// The seq with which intact batches go on behind the damage, if any do.
        resumes: Option<Seq>,
        /// The highest batch known to have been durable.
        durable: BatchNo,
        /// What stands there instead.
        reason: Damage,
    },
    /// A segment file is shorter than its header says. It had its full size before it was used, so no crash did
    /// this.
    #[error("{}: has {len} bytes, its header says {expected}; restore the file from a copy", Shown(path.display()))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
        /// The length it was made with.
        expected: u64,
    },
    /// The device could not read: nobody knows what is there.
    #[error("{}: byte {offset} cannot be read: {source}; this is not taken for the end of the log", Shown(path.display()))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// The system's words.
        source: io::Error,
    },
    /// A segment file is gone although later ones, or the manifest, need it.
    #[error("{}: segment {segment} is missing; restore the file from a copy", Shown(path.display()))]
    MissingSegment {
        /// The file it should be.
        path: PathBuf,
        /// Its number.
        segment: SegmentId,
    },
    /// A name of ours stands for something that is no regular file.
    #[error("{}: not a regular file; links are not followed", Shown(path.display()))]
    NotAFile {
        /// The name.
        path: PathBuf,
    },
    /// A segment of another log lies in this directory.
    #[error("{}: belongs to log {found}, this is log {expected}; move it away", Shown(path.display()))]
    ForeignSegment {
        /// The file.
        path: PathBuf,
        /// The log it names.
        found: downbeat_record::LogId,
        /// The log of the directory.
        expected: downbeat_record::LogId,
    },
    /// A segment lies under the name of another.
    #[error("{}: is segment {found} of this log; give it back its name", Shown(path.display()))]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// Its real number.
        found: SegmentId,
    },
    /// Written by a later format.
    #[error("{}: format {major}.{minor} is newer than this build reads; use a newer build", Shown(path.display()))]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its major number.
        major: u16,
        /// Its minor number.
        minor: u16,
    },
    /// A batch of a later format: its checksum is true, and it says what this build does not know.
    #[error("{}: byte {offset}: {source}; use a newer build", Shown(path.display()))]
    NewerBatch {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is not known.
        source: BatchError,
    },
    /// Written with settings that fix the bytes differently.
    #[error("{}: {source}", Shown(path.display()))]
    OtherEncoding {
        /// The file.
        path: PathBuf,
        /// What differs.
        source: HeaderError,
    },
    /// A whole, checksummed piece of the log does not continue the piece before it: bytes were replaced.
    #[error(
        "{}: byte {offset}: batch {batch} is intact but is not chained to what stands before it; \
         the log was altered or files of different copies were mixed",
        Shown(path.display())
    )]
    ChainBroken {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// The batch (or the first one of the segment) whose link does not hold.
        batch: BatchNo,
    },
    /// A file has the name of a segment and is none, and there is no manifest either.
    #[error("{}: {source}, and there is no manifest: move the file away, or restore the log from a copy", Shown(path.display()))]
    Stranger {
        /// The file.
        path: PathBuf,
        /// What it is not.
        source: HeaderError,
    },
    /// Both manifest slots are unreadable and the beginning of the log cannot be told from a loss.
    #[error(
        "{}: both manifest slots are gone and the first segment here is {first}; restore the manifest from a copy",
        Shown(path.display())
    )]
    ManifestLost {
        /// The manifest.
        path: PathBuf,
        /// The oldest segment there is.
        first: SegmentId,
    },
    /// Any other error of the system.
    #[error("{}: cannot {action}: {source}", Shown(path.display()))]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl ScanError {
    /// The row of the recovery table that refused; `None` for errors of the system outside the table.
    pub fn row(&self) -> Option<Row> {
        Some(match self {
            Self::Damaged { .. } => Row::H,
            Self::Unreadable { .. } => Row::I,
            Self::MissingSegment { .. } => Row::J,
            Self::ChainBroken { .. } => Row::K,
            Self::ForeignSegment { .. } => Row::L,
            Self::Misplaced { .. } => Row::M,
            Self::NewerFormat { .. } | Self::NewerBatch { .. } | Self::OtherEncoding { .. } => Row::N,
            Self::NotAFile { .. } => Row::O,
            Self::Truncated { .. } => Row::P,
            Self::ManifestLost { .. } | Self::Stranger { .. } => Row::Q,
            Self::Io { .. } => return None,
        })
    }
}

/// What stands where a batch should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// Bytes that are no batch.
    #[error("{0}")]
    Batch(#[from] BatchError),
    /// Bytes that are no segment header.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// Zeros.
    #[error("there are only zeros")]
    Zeros,
    /// The end of the file.
    #[error("the file ends there")]
    EndOfFile,
    /// A whole batch that belongs somewhere else.
    #[error("batch {found} of epoch {epoch} stands there")]
    Misdirected {
        /// Which.
        found: BatchNo,
        /// Of which writer.
        epoch: Epoch,
    },
    /// A longer batch than the segment has room for.
    #[error("it claims {claimed} bytes")]
    TooLong {
        /// What its header says.
        claimed: u64,
    },
    /// The file is not there.
    #[error("the segment is not there")]
    NoSegment,
}

/// Why a log could not be opened for writing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no log, and none was to be made.
    #[error("{}: there is no log here", Shown(dir.display()))]
    NotFound {
        /// The directory.
        dir: PathBuf,
    },
    /// Another writer has it open.
    #[error("{}: another writer{} has this log open", Shown(path.display()), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote its number there.
        pid: Option<u32>,
    },
    /// An option cannot be.
    #[error("{what}")]
    Settings {
        /// Which, and what it must be.
        what: &'static str,
    },
    /// The files are not a log to go on with.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The visitor did not want to go on.
    #[error("batch {batch} was refused: {source}")]
    Refused {
        /// The batch it was shown.
        batch: BatchNo,
        /// Its reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// io_uring was asked for by name and is not to be had.
    #[error("{}: the backend asked for cannot be had: {source}; `BackendChoice::Auto` takes the other", Shown(dir.display()))]
    Backend {
        /// The directory.
        dir: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// The first failure of a write or a sync: nothing is acknowledged after it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: {operation} at byte {offset} failed: {source}; batches after {durable} are not acknowledged, open the log again",
    Shown(path.display())
)]
pub struct Poison {
    /// What failed.
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Where in it; 0 for a sync.
    pub offset: u64,
    /// The last batch that is durable.
    pub durable: BatchNo,
    /// The system's words.
    pub source: io::Error,
}

/// Why the log cannot take another batch. Asked before a seq is assigned, so nothing is lost.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// The next segment is not filled with zeros yet; it will be in a moment.
    #[error("segment {segment} is still being prepared")]
    Preparing {
        /// Which.
        segment: SegmentId,
    },
    /// No segment can be prepared, as a rule because the disk is full. It is tried again all the time.
    #[error(
        "{}: the next segment cannot be prepared: {cause}; {}, writing then goes on by itself",
        Shown(path.display()),
        if is_full(cause) { "free some space" } else { "see to that" }
    )]
    Full {
        /// The file that could not be made.
        path: PathBuf,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// There is no place for segments any more: the directory was removed, or its file system became read-only.
    #[error("{}: the next segment cannot be made: {cause}; see what became of the directory, then open the log again", Shown(path.display()))]
    Lost {
        /// The file that could not be made.
        path: PathBuf,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// A write or a sync failed earlier.
    #[error(transparent)]
    Poisoned(Arc<Poison>),
}

fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl NotReady {
    /// True when waiting helps.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Lost { .. } | Self::Poisoned(_))
    }
}

/// Why a batch was not taken, or the watermark cannot move.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A write or a sync failed; the log must be opened again.
    #[error(transparent)]
    Poisoned(Arc<Poison>),
    /// There was no room; [`crate::Log::ready`] says so before a seq is assigned.
    #[error(transparent)]
    NotReady(NotReady),
    /// Closing did everything but leave a note of it: the log is intact, the next open takes longer.
    #[error("{}: {source}", Shown(path.display()))]
    Close {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: Arc<io::Error>,
    },
}
