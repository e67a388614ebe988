//! The way back to the thread that sequences: woken only when it says that it waits for the actors.

use crate::waiting::Waiting;

/// Wakes the sequencer thread when it waits for a cursor, a checkpoint, or quiet.
pub(crate) struct OrderBell {
    waits: Waiting,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl OrderBell {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { waits: Waiting::default(), wake: Box::new(wake) }
    }

    /// The sequencer thread is about to sleep: it looks once more after this, and then sleeps.
    pub(crate) fn arm(&self) {
        self.waits.raise();
    }

    /// An actor has moved: wakes the sequencer thread if it waits.
    #[inline]
    pub(crate) fn moved(&self) {
        if self.waits.take() {
            (self.wake)();
        }
    }

    /// Wakes the sequencer thread whatever it does.
    pub(crate) fn wake(&self) {
        (self.wake)();
    }
}
