//! What the actors need from whoever runs them: the log to read again, the front door for commands.

use std::error::Error;
use std::sync::Arc;

use downbeat_record::{Batch, Checkpoint, Fields, Seq};

/// Anything that goes wrong while a log is read.
pub type HistoryError = Box<dyn Error + Send + Sync>;

/// The log, as far as it is durable.
pub trait History: Send + Sync + 'static {
    /// The last durable seq; always the last of a batch, which was published to the [`crate::Feeds`] before: a
    /// group that is rebuilt reads up to here, and gets from the feeds what comes after.
    fn durable(&self) -> Seq;

    /// Hands every batch from the one that starts with `from` to the one that ends with `upto` to `take`, in
    /// order, until `take` returns false. Waits until `upto` is durable.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    fn read(
        &self,
        from: Seq,
        upto: Seq,
        take: &mut dyn FnMut(Arc<Batch>) -> bool,
    ) -> Result<(), HistoryError>;
}

/// Why a command did not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandRefused {
    /// There is no room now; the worker tries again when it is rung.
    Busy,
    /// It can never fit.
    TooLarge {
        /// Bytes it may take.
        len: usize,
        /// Bytes there can be.
        max: usize,
    },
    /// The order takes nothing any more. The command is not lost: it is emitted again when the log is read.
    Closed,
}

/// The front door for events that stages emit.
pub trait Commands: Send + Sync + 'static {
    /// Puts one into the order; never waits.
    ///
    /// # Errors
    ///
    /// [`CommandRefused`].
    fn try_submit(&self, fields: &Fields, payload: &[u8]) -> Result<(), CommandRefused>;
}

/// Everything the actors are given at the start.
pub struct Ports {
    /// The log.
    pub history: Arc<dyn History>,
    /// The front door.
    pub commands: Arc<dyn Commands>,
    /// The last seq in the log: everything up to it is applied again before the start returns.
    pub recovered: Seq,
    /// The checkpoints in the log.
    pub checkpoints: Vec<Checkpoint>,
}
