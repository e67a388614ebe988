//! The state that producers see before they touch a ring: open, full log, poisoned, or nobody there any more.
//!
//! A look at an open door is one relaxed load. That a door was shut is known to every producer soon, not at
//! once; what slips in is refused by the sequencer.
//!
//! The causes lie behind a mutex, and are there before their flag is. So the flags order nothing themselves: who
//! saw one and then locks comes after who set it; had it locked before, it would not have seen the flag.

use std::fmt;
use std::sync::{Arc, PoisonError};

use crate::error::{Cause, SubmitError};
use crate::sync::{AtomicU8, Mutex, MutexGuard, Ordering};

const FULL: u8 = 1;
const POISONED: u8 = 2;
const GONE: u8 = 4;

#[derive(Default)]
struct Causes {
    full: Option<Cause>,
    poison: Option<Cause>,
}

pub(crate) struct Door {
    state: AtomicU8,
    causes: Mutex<Causes>,
}

impl Default for Door {
    fn default() -> Self {
        Self { state: AtomicU8::new(0), causes: Mutex::new(Causes::default()) }
    }
}

/// The sequencer was dropped while receipts were owed.
#[derive(Debug)]
struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sequencer stopped before the event was acknowledged")
    }
}

impl std::error::Error for Gone {}

impl Door {
    /// Ok when events may come in.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), SubmitError> {
        if self.state.load(Ordering::Relaxed) == 0 { Ok(()) } else { self.refusal() }
    }

    #[cold]
    fn refusal(&self) -> Result<(), SubmitError> {
        let causes = self.causes();
        if let Some(cause) = causes.poison.clone() {
            return Err(SubmitError::Poisoned { cause });
        }
        causes.full.clone().map_or(Ok(()), |cause| Err(SubmitError::Full { cause }))
    }

    /// Shuts the door while there is a cause.
    pub(crate) fn set_full(&self, cause: Option<Cause>) {
        let mut causes = self.causes();
        if cause.is_some() {
            self.state.fetch_or(FULL, Ordering::Relaxed);
        } else {
            self.state.fetch_and(!FULL, Ordering::Relaxed);
        }
        causes.full = cause;
    }

    /// Shuts the door for good. The first cause stays.
    pub(crate) fn poison(&self, cause: Cause) {
        self.causes().poison.get_or_insert(cause);
        self.state.fetch_or(POISONED, Ordering::Relaxed);
    }

    /// Nobody will complete a ticket any more.
    pub(crate) fn leave(&self) {
        self.poison(Arc::new(Gone));
        self.state.fetch_or(GONE, Ordering::Relaxed);
    }

    /// No ticket will be completed any more.
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.state.load(Ordering::Relaxed) & GONE != 0
    }

    /// Why no ticket will be completed any more, if that is so: then every outcome that was said is visible.
    pub(crate) fn gone(&self) -> Option<Cause> {
        self.is_gone().then(|| self.poison_cause())
    }

    /// Precondition: a poisoned ticket was seen, or [`Door::gone`].
    pub(crate) fn poison_cause(&self) -> Cause {
        self.causes().poison.clone().unwrap_or_else(|| Arc::new(Gone))
    }

    fn causes(&self) -> MutexGuard<'_, Causes> {
        // The causes are replaced whole, so a panic elsewhere cannot have left them half written.
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
