//! What happened, line by line: the same lines for the same seed, in every process.
//!
//! A trace is kept as text when somebody wants to read it, and otherwise only as a hash, which costs little
//! enough to be taken always.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::Xxh3;

/// Where the parts of a world write what they do. Clones are the same trace.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    text: Option<String>,
    line: String,
    hash: Xxh3,
    lines: u64,
}

impl Trace {
    /// An empty trace, whose text is kept or not.
    pub fn new(keep: bool) -> Self {
        let text = keep.then(String::new);
        Self(Arc::new(Mutex::new(Inner { text, line: String::new(), hash: Xxh3::new(), lines: 0 })))
    }

    /// Adds a line. No address, no time of the machine and nothing of its processes may stand in it.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { text, line, hash, lines } = &mut *inner;
        line.clear();
        // Writing to a string does not fail.
        let _ = writeln!(line, "{what}");
        hash.update(line.as_bytes());
        *lines += 1;
        if let Some(text) = text {
            text.push_str(line);
        }
    }

    /// The hash of all lines.
    pub fn hash(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hash.digest()
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines
    }

    /// The text, if it was kept.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone().unwrap_or_default()
    }
}

/// Adds a line to a trace.
macro_rules! note {
    ($trace:expr, $($what:tt)*) => { $trace.note(format_args!($($what)*)) };
}
pub(crate) use note;
