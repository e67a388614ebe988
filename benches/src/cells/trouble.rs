//! Why a run of cells ended early.

use std::io;
use std::path::{Path, PathBuf};

use downbeat_actors::StartError;
use downbeat_audit::AuditError;
use downbeat_sequencer::SubmitError;
use downbeat_wal::{LogError, NotReady, OpenError};

/// Why a run of cells ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// Whoever watches said so.
    #[error("stopped")]
    Stopped,
    /// The system refused something in a directory.
    #[error("{}: {source}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A log could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A log could not go on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A log has no room.
    #[error(transparent)]
    Room(#[from] NotReady),
    /// Actors could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An engine could not be opened or could not go on.
    #[error(transparent)]
    Engine(#[from] downbeat::Error),
    /// An event was not accepted, or did not become durable.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A log that was just written does not replay.
    #[error("the log of \"{cell}\" does not replay: {source}")]
    Replay {
        /// What was measured.
        cell: String,
        /// The first difference.
        source: Box<AuditError>,
    },
    /// A log that was just written replays to something else than what ran.
    #[error(
        "the replay of \"{cell}\" gave other digests than the run, or other events: its figures say nothing"
    )]
    Digests {
        /// What was measured.
        cell: String,
    },
}

impl Trouble {
    pub(crate) fn disk(path: &Path, source: io::Error) -> Self {
        Self::Disk { path: path.to_owned(), source }
    }
}
