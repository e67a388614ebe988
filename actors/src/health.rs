//! How an actor is, told from outside and without asking it: one that is stuck would not answer.
//!
//! An actor leaves two traces ([`Pulse`]): a count that is odd while it is at a turn, and whether it last stopped for
//! want of room. Who looks compares the count with what was there when somebody looked before. All of it is
//! relaxed, since nothing is read on the strength of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use downbeat_record::Seq;

/// From when on a turn that does not end counts as stalled.
pub const STALLED_AFTER: Duration = Duration::from_secs(1);

/// How a worker or a leaf is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has passed everything that it could have, or is about to.
    Live,
    /// It gets on, and is far behind those before it.
    Lagging {
        /// Events that it could have passed.
        by: u64,
    },
    /// It could go on, if those after it had room for what it sends.
    Throttled {
        /// Events that it could have passed.
        by: u64,
    },
    /// It has been at one turn, which in the end is one event, for longer than [`STALLED_AFTER`]: an endless loop, a
    /// lock, a call that does not return.
    Stalled {
        /// How long somebody has seen it there.
        since: Duration,
    },
    /// Its actor is gone. It is being rebuilt from the log, or the engine has failed and says why.
    Dead,
}

/// The traces of one actor.
#[derive(Default)]
pub(crate) struct Pulse {
    traces: CachePadded<Traces>,
    /// The count that was seen last, and when it was first seen.
    seen: Mutex<Option<(u64, Instant)>>,
}

#[derive(Default)]
struct Traces {
    /// Twice the turns that have ended, and one while at the next.
    turns: AtomicU64,
    /// It stopped for want of room.
    crowded: AtomicBool,
    gone: AtomicBool,
}

impl Pulse {
    /// For the actor: a turn begins, or ends.
    #[inline]
    pub(crate) fn turn(&self) {
        // Written by its actor alone.
        let turns = self.traces.turns.load(Ordering::Relaxed);
        self.traces.turns.store(turns + 1, Ordering::Relaxed);
    }

    /// For the actor: whether it stopped for want of room.
    #[inline]
    pub(crate) fn crowded(&self, crowded: bool) {
        self.traces.crowded.store(crowded, Ordering::Relaxed);
    }

    /// It will do nothing any more.
    #[cold]
    pub(crate) fn end(&self) {
        self.traces.gone.store(true, Ordering::Relaxed);
    }

    /// Notes what it is at, at `now`; says since when.
    pub(crate) fn look(&self, now: Instant) -> Duration {
        let turns = self.traces.turns.load(Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match *seen {
            Some((before, since)) if before == turns => now.saturating_duration_since(since),
            _ => {
                *seen = Some((turns, now));
                Duration::ZERO
            }
        }
    }

    /// How the actor is, `behind` events away from where it could be, at `now`; more than `lag_max` is far.
    pub(crate) fn health(&self, behind: u64, lag_max: u64, now: Instant) -> Health {
        let traces = &self.traces;
        let turns = traces.turns.load(Ordering::Relaxed);
        if traces.gone.load(Ordering::Relaxed) {
            return Health::Dead;
        }
        let since = self.look(now);
        let crowded = traces.crowded.load(Ordering::Relaxed);
        match behind {
            _ if turns % 2 == 1 && since >= STALLED_AFTER => Health::Stalled { since },
            0 => Health::Live,
            by if crowded => Health::Throttled { by },
            by if by > lag_max => Health::Lagging { by },
            _ => Health::Live,
        }
    }
}

/// How many events `cursor` is away from `reach`.
pub(crate) fn behind(reach: Seq, cursor: Seq) -> u64 {
    reach.0.saturating_sub(cursor.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(2);

    #[test]
    fn one_turn_without_end_is_a_stall_and_any_number_of_short_ones_is_none() {
        let (pulse, now) = (Pulse::default(), Instant::now());
        let health = |now| pulse.health(5, 10, now);
        assert_eq!(health(now), Health::Live);
        assert_eq!(health(now + LATER), Health::Live, "idle is not stalled");
        pulse.turn();
        assert_eq!(health(now + LATER), Health::Live, "nobody knows yet for how long");
        assert_eq!(health(now + 2 * LATER), Health::Stalled { since: LATER });
        pulse.turn();
        pulse.turn();
        assert_eq!(health(now + 3 * LATER), Health::Live, "another turn");
    }

    #[test]
    fn who_has_no_room_is_throttled_who_has_is_lagging_and_who_is_gone_is_dead() {
        let (pulse, now) = (Pulse::default(), Instant::now());
        assert_eq!(pulse.health(11, 10, now), Health::Lagging { by: 11 });
        pulse.crowded(true);
        assert_eq!(pulse.health(11, 10, now), Health::Throttled { by: 11 });
        assert_eq!(pulse.health(0, 10, now), Health::Live, "nothing waits for room");
        pulse.end();
        assert_eq!(pulse.health(0, 10, now), Health::Dead);
    }
}
