//! How far the slowest stage gets before a full window is looked at again.
//!
//! To give places to a handful of events for every turn of a worker would cost a fast flow more than the events do: there it is an
//! eighth of the window. A slow stage takes long for an eighth, and another one that is fast would get its events in bursts,
//! each after a sleep: there it is what the slow one takes in [`STEP_TIME`].

use std::time::{Duration, Instant};

use downbeat_record::Seq;

/// An eighth of the window that takes longer than this is too long a step.
const EIGHTH_TIME_MAX: Duration = Duration::from_millis(10);
/// What a step takes then: a hundred times what it costs to wake the thread that orders.
const STEP_TIME: Duration = Duration::from_millis(2);

/// The step, by the pace of the slowest cursor while the window is full.
#[derive(Debug)]
pub(crate) struct WindowStep {
    events: u64,
    eighth: u64,
    /// Where the slowest cursor was when the window was last looked at and was full; nothing when it was not.
    full_at: Option<Seq>,
    /// Where the slowest cursor was at some time since which the window has been full.
    since: Option<(Seq, Instant)>,
}

impl WindowStep {
    pub(crate) fn of(window_events: u64) -> Self {
        let eighth = (window_events / 8).max(1);
        Self { events: eighth, eighth, full_at: None, since: None }
    }

    /// Up to where the slowest cursor has to get before a full window is looked at again: a step on from where it was,
    /// but no farther than the last event that was `published`, which is what it can reach. Nothing when the window was not
    /// full, or when the cursor had reached all there was: then it is not the cursor that is waited for.
    pub(crate) fn goal(&self, published: Seq) -> Option<Seq> {
        let at = self.full_at.filter(|at| *at < published)?;
        Some(Seq(at.0.saturating_add(self.events)).min(published))
    }

    /// The window is not full: how far the slowest cursor gets says nothing about its pace.
    pub(crate) fn not_full(&mut self) {
        self.full_at = None;
        self.since = None;
    }

    /// The window is full, and the slowest cursor is at `slowest`.
    pub(crate) fn full(&mut self, slowest: Seq, now: Instant) {
        self.full_at = Some(slowest);
        let (before, then) = *self.since.get_or_insert((slowest, now));
        let time = now.saturating_duration_since(then);
        if time < EIGHTH_TIME_MAX {
            return;
        }
        self.since = Some((slowest, now));
        let moved = u128::from(slowest.0.saturating_sub(before.0));
        let in_time = |limit: Duration| {
            let events = moved * limit.as_nanos() / time.as_nanos().max(1);
            u64::try_from(events).unwrap_or(u64::MAX).clamp(1, self.eighth)
        };
        let fast = in_time(EIGHTH_TIME_MAX) == self.eighth;
        self.events = if fast { self.eighth } else { in_time(STEP_TIME) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// The step after so many events every millisecond, with the window full, for fifty of them.
    fn after(step: &mut WindowStep, per_millisecond: u64) -> u64 {
        let mut now = Instant::now();
        step.not_full();
        for millisecond in 0..50 {
            step.full(Seq(1 + millisecond * per_millisecond), now);
            now += MILLISECOND;
        }
        step.events
    }

    #[test]
    fn a_fast_flow_goes_on_by_an_eighth_of_the_window() {
        let mut step = WindowStep::of(65_536);
        assert_eq!(step.events, 8_192);
        assert_eq!(after(&mut step, 1_000), 8_192);
        assert_eq!(after(&mut step, 820), 8_192);
    }

    #[test]
    fn a_slow_one_goes_on_by_what_it_takes_in_two_milliseconds() {
        let mut step = WindowStep::of(65_536);
        assert_eq!(after(&mut step, 818), 1_636);
        assert_eq!(after(&mut step, 20), 40);
        assert_eq!(after(&mut step, 1_000), 8_192, "as soon as it is fast again");
    }

    #[test]
    fn it_goes_on_at_all() {
        assert_eq!(WindowStep::of(1).events, 1);
        let mut step = WindowStep::of(64);
        assert_eq!(after(&mut step, 0), 1);
        assert_eq!(after(&mut step, u64::MAX / 64), 8);
    }

    #[test]
    fn a_pace_is_taken_only_while_the_window_is_full() {
        let mut step = WindowStep::of(1_000);
        let now = Instant::now();
        step.full(Seq(1), now);
        step.not_full();
        step.full(Seq(1), now + 1_000 * MILLISECOND);
        assert_eq!(step.events, 125, "a second without work is not a slow stage");
        step.full(Seq(11), now + 1_010 * MILLISECOND);
        assert_eq!(step.events, 2);
    }

    #[test]
    fn a_full_window_is_looked_at_again_a_step_on_or_where_everything_is_done() {
        let mut step = WindowStep::of(1_000);
        let now = Instant::now();
        assert_eq!(step.goal(Seq(2_000)), None, "it was never full");
        step.full(Seq(500), now);
        assert_eq!(step.goal(Seq(1_500)), Some(Seq(625)), "an eighth on");
        assert_eq!(step.goal(Seq(501)), Some(Seq(501)), "there is no more to reach");
        assert_eq!(step.goal(Seq(500)), None, "nothing is left to be done, and nobody would wake it");
        step.full(Seq(510), now + 10 * MILLISECOND);
        assert_eq!(step.goal(Seq(1_500)), Some(Seq(512)), "a slow one gets on by two in two milliseconds");
        step.not_full();
        assert_eq!(step.goal(Seq(1_500)), None);
    }
}
