//! Why a flow does not start.

use crate::faults::Fault;
use crate::host::SpawnErr;

/// Why a flow does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Something stopped the flow while it applied the log: above all, code that does not give what the log has.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A leaf does not know how far it is.
    #[error("leaf `{leaf}` cannot go on where it stopped: {reason}")]
    Leaf {
        /// The leaf.
        leaf: String,
        /// What it said.
        reason: String,
    },
    /// No thread could be started.
    #[error("a thread for the actors could not be started: {0}")]
    Thread(#[from] std::io::Error),
    /// An actor could not be started.
    #[error("an actor could not be started: {0}")]
    Spawn(String),
}

impl From<SpawnErr> for StartError {
    fn from(error: SpawnErr) -> Self {
        Self::Spawn(error.to_string())
    }
}
