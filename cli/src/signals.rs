//! SIGINT and SIGTERM: the first asks to come to an end in order, a second ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether somebody asked to stop.
#[derive(Clone, Default)]
pub(crate) struct Signals {
    asked: Arc<AtomicUsize>,
}

impl Signals {
    /// Begins to listen; until then a signal ends the process as usual.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn listen() -> io::Result<Self> {
        let signals = Self::default();
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag down and raises it, the second finds it up.
            flag::register_conditional_shutdown(signal, 128 + signal, again.clone())?;
            flag::register(signal, again.clone())?;
            flag::register_usize(signal, signals.asked.clone(), signal as usize)?;
        }
        Ok(signals)
    }

    /// The signal that came, if one did.
    #[inline]
    pub(crate) fn asked(&self) -> Option<i32> {
        match self.asked.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as i32),
        }
    }
}
