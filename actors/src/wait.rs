//! What a thread does when it has nothing to do: sleep, or look for a while first, or look for ever.
//!
//! A sleeping thread costs nothing and takes about 20 µs to wake on a machine whose cores halt; a thread that
//! looks takes a core and answers in a fraction of a microsecond.

use std::time::{Duration, Instant};

/// What a thread does when it has nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// It sleeps at once, and is woken.
    #[default]
    Park,
    /// It looks for work this long, then sleeps.
    Spin(Duration),
    /// It looks for work and never sleeps: for a core that it has to itself.
    Poll,
}

impl Wait {
    /// True when one who found nothing to do since `idle_since` looks again instead of sleeping.
    pub fn looks_again(self, idle_since: Instant) -> bool {
        match self {
            Self::Park => false,
            Self::Spin(patience) => idle_since.elapsed() < patience,
            Self::Poll => true,
        }
    }
}
