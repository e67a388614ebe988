//! What ends a command before it is done: one line for a person, one number for a script.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use downbeat::ErrorKind;
use downbeat::record::Shown;
use downbeat_audit::{AuditError, Verdict};

/// What was checked does not hold: bad input, a damaged log, a replay that differs.
pub(crate) const DOES_NOT_HOLD: u8 = 1;
/// The request makes no sense.
pub(crate) const USAGE: u8 = 2;
/// The system refused: a file, a lock, a disk.
pub(crate) const IO: u8 = 3;

/// Why a command ended.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// Nothing when whoever reads knows already.
    message: Option<String>,
}

impl Failure {
    pub(crate) fn does_not_hold(message: impl fmt::Display) -> Self {
        Self { code: DOES_NOT_HOLD, message: Some(message.to_string()) }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { code: USAGE, message: Some(message.to_string()) }
    }

    pub(crate) fn io(message: impl fmt::Display) -> Self {
        Self { code: IO, message: Some(message.to_string()) }
    }

    /// A signal ended it.
    pub(crate) fn signal(signal: i32, message: impl fmt::Display) -> Self {
        Self { code: 128 + signal as u8, message: Some(message.to_string()) }
    }

    /// The page that was printed says it.
    pub(crate) fn printed() -> Self {
        Self { code: DOES_NOT_HOLD, message: None }
    }

    /// True when something that was checked does not hold.
    pub(crate) fn is_broken_promise(&self) -> bool {
        self.code == DOES_NOT_HOLD
    }

    /// Says what it concerns.
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Self {
        self.message = self.message.map(|message| format!("{what}: {message}"));
        self
    }

    /// Says what else a person needs to know.
    pub(crate) fn and(mut self, more: impl fmt::Display) -> Self {
        self.message = self.message.map(|message| format!("{message}; {more}"));
        self
    }

    /// Prints the line and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if let Some(message) = &self.message {
            // There is no place left to report that stderr is closed.
            let _ = writeln!(io::stderr(), "downbeat: {}", Shown(message));
        }
        ExitCode::from(self.code)
    }
}

impl From<downbeat::Error> for Failure {
    fn from(error: downbeat::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Corrupt | ErrorKind::Diverged | ErrorKind::Conflict => DOES_NOT_HOLD,
            ErrorKind::Invalid => USAGE,
            _ => IO,
        };
        Self { code, message: Some(error.to_string()) }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let code = match error.verdict() {
            Verdict::DoesNotHold => DOES_NOT_HOLD,
            Verdict::Usage => USAGE,
            Verdict::Io => IO,
        };
        Self { code, message: Some(error.to_string()) }
    }
}

/// Of writing to stdout: a reader that has seen enough is no error.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { code: 0, message: None },
            _ => Self::io(format_args!("stdout: {error}")),
        }
    }
}
