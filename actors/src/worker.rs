//! A worker: the stages of one group for one shard, and how far they are. What a ractor actor holds as its state.
//!
//! ```text
//!  feed ──► batch ──► record s ──► inputs for s from the lanes ──► unit.apply ──► lanes out, commands
//!            only while s ≤ what every upstream worker has passed, and every lane out has room
//!  then: cursor := s, ring downstream, relieve upstream
//! ```
//!
//! Invariants: batches arrive without a gap; the cursor is published after everything sent for it; a worker that
//! stops waits for exactly one of: a batch, an upstream cursor, room on a lane. Each of these rings its bell.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use downbeat_flow::{Input, STAGES_MAX, Unit};
use downbeat_record::{Batch, Place, Record, Seq};
use rtrb::Consumer;

use crate::board::Board;
use crate::fate::Fate;
use crate::faults::Faults;
use crate::group::Logged;
use crate::hops::{Hops, is_sampled};
use crate::lane::{LaneIn, value_bytes};
use crate::node::Node;
use crate::order::OrderBell;
use crate::outgoing::Outgoing;
use crate::requests::Requests;
use crate::sync::channel::{Receiver, Sender, TryRecvError};

/// Events that a worker applies at most before it lets others have the thread, and shows how far it is.
pub(crate) const BUDGET: usize = 512;
/// How long that may take; a slow stage gets fewer events a turn, down to one.
pub(crate) const TURN: Duration = Duration::from_millis(1);
/// Events of the first turns, of which nobody knows yet how long they take.
const BUDGET_AT_FIRST: usize = 16;

/// Whether a worker has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Idle,
}

enum Stop {
    End,
    Budget(Place),
    /// For what is before it.
    Waiting(Place),
    /// For room after it.
    Crowded(Place),
}

/// The state of a worker actor.
pub(crate) struct Worker {
    pub(crate) node: Arc<Node>,
    pub(crate) unit: Unit,
    pub(crate) shard: u32,
    pub(crate) position: Seq,
    pub(crate) current: Option<(Arc<Batch>, Place)>,
    /// The log, until the worker has caught up with what is live.
    pub(crate) catch_up: Option<Receiver<Logged>>,
    /// Dropped when the worker has caught up; who built it waits for that.
    pub(crate) live: Option<Sender<Infallible>>,
    pub(crate) feed: Consumer<Arc<Batch>>,
    pub(crate) fate: Arc<Fate>,
    pub(crate) lanes: Vec<LaneIn>,
    pub(crate) out: Outgoing,
    pub(crate) board: Arc<Board>,
    pub(crate) next_barrier: Seq,
    pub(crate) reported: Seq,
    pub(crate) requests: Arc<Requests>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) order: Arc<OrderBell>,
    /// No worker comes after it, so it may be the slowest of its group.
    pub(crate) last: bool,
    pub(crate) hops: Arc<Hops>,
    pub(crate) values: Vec<u128>,
    pub(crate) turn: Turn,
    /// Whether events concern this worker of their own accord, or only when a token names them.
    pub(crate) scans: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.fate.fall();
    }
}

impl Worker {
    /// Does what can be done, up to a budget.
    pub(crate) fn pump(&mut self) -> Progress {
        if self.fate.has_fallen() {
            // Who built the group waits for these two; it will build it again.
            (self.catch_up, self.live) = (None, None);
            return Progress::Idle;
        }
        let live = self.catch_up.is_none();
        self.requests.serve(&mut self.unit, live);
        self.out.flush(&self.node, &self.faults);
        let start = self.position;
        self.turn.begin();
        let mut crowded = false;
        let progress = loop {
            let Some((batch, place)) = self.current.take().or_else(|| self.next_batch()) else {
                break Progress::Idle;
            };
            let limit = self.limit();
            let stop = if self.scans || self.out.ledger.is_some() {
                self.scan(&batch, place, limit)
            } else {
                self.follow_tokens(&batch, limit)
            };
            match stop {
                Stop::End => {}
                Stop::Budget(place) => {
                    self.current = Some((batch, place));
                    break Progress::More;
                }
                Stop::Waiting(place) | Stop::Crowded(place) => {
                    crowded = matches!(stop, Stop::Crowded(_));
                    self.current = Some((batch, place));
                    break Progress::Idle;
                }
            }
        };
        self.node.pulse.crowded(crowded);
        self.turn.end();
        if self.position > start {
            // In this order: who sees the cursor sees whether commands are held back.
            self.out.flush(&self.node, &self.faults);
            self.out.publish(&self.node, self.position);
            if self.last {
                self.order.moved(self.position);
            }
        }
        self.lanes.iter().for_each(LaneIn::relieve);
        self.report_if_asked();
        if !live && self.catch_up.is_none() {
            // Who asked meanwhile rang an incarnation that could not answer.
            self.requests.serve(&mut self.unit, true);
        }
        progress
    }

    /// The next batch from the log or, once that is through, from the sequencer.
    fn next_batch(&mut self) -> Option<(Arc<Batch>, Place)> {
        if let Some(receiver) = &self.catch_up {
            match receiver.try_recv() {
                Ok(Some(batch)) => return Some(self.hold(batch)),
                Ok(None) => {
                    self.catch_up = None;
                    self.out.go_live(&self.node, &self.faults);
                    // The end waits for this: until now what was emitted counted as held back.
                    self.order.news();
                    self.live.take();
                }
                Err(TryRecvError::Empty) => return None,
                // Whoever read the log has given this incarnation up.
                Err(TryRecvError::Disconnected) => {
                    self.fate.fall();
                    return None;
                }
            }
        }
        let batch = self.feed.pop().ok()?;
        Some(self.hold(batch))
    }

    fn hold(&self, batch: Arc<Batch>) -> (Arc<Batch>, Place) {
        assert_eq!(batch.first_seq(), self.position.next(), "batches reach a worker without a gap");
        let place = batch.records().place();
        (batch, place)
    }

    /// The last seq that every upstream worker has passed.
    #[inline]
    fn limit(&self) -> Seq {
        self.lanes.iter().map(LaneIn::passed).min().unwrap_or(Seq(u64::MAX))
    }

    /// Goes through every event of the batch.
    fn scan(&mut self, batch: &Batch, place: Place, limit: Seq) -> Stop {
        let mut records = batch.resume(place);
        loop {
            let here = records.place();
            if here.is_end() {
                return Stop::End;
            }
            if here.next_seq() > limit {
                return Stop::Waiting(here);
            }
            if !self.out.has_room() {
                return Stop::Crowded(here);
            }
            if !self.turn.goes_on() {
                return Stop::Budget(here);
            }
            let record = records.next().expect("a checked batch holds the events it counts");
            if let Some(ledger) = &mut self.out.ledger
                && record.fields.derived
            {
                ledger.compare(&record, &self.faults);
            }
            self.apply(&record);
            self.advance(record.seq);
        }
    }

    /// Goes from token to token: the events between them do not concern this worker.
    fn follow_tokens(&mut self, batch: &Batch, limit: Seq) -> Stop {
        let last = Seq(batch.next_seq().0 - 1);
        let end = last.min(limit);
        loop {
            let place = batch.records().place();
            let reach = end.min(self.next_barrier);
            let head = self.lanes.iter_mut().filter_map(LaneIn::head).min_by_key(|token| token.seq);
            match head.filter(|token| token.seq <= reach) {
                Some(token) => {
                    if !self.out.has_room() {
                        return Stop::Crowded(place);
                    }
                    if !self.turn.goes_on() {
                        return Stop::Budget(place);
                    }
                    let record =
                        batch.record(token.slot, token.seq).expect("a token names an event of its batch");
                    self.apply(&record);
                    self.advance(token.seq);
                }
                None if reach > self.position => self.advance(reach),
                None if self.position == last => return Stop::End,
                None => return Stop::Waiting(place),
            }
        }
    }

    /// Applies one event with the values that were sent for it.
    #[inline]
    fn apply(&mut self, record: &Record<'_>) {
        if self.lanes.is_empty() {
            self.unit.apply(record, &[], &mut self.out);
            return;
        }
        self.values.clear();
        let mut taken = ArrayVec::<_, STAGES_MAX>::new();
        for lane in &mut self.lanes {
            while lane.head().is_some_and(|token| token.seq == record.seq) {
                let Some((token, start)) = lane.take(&mut self.values) else { break };
                taken.push((token, start));
            }
        }
        // Filled in place: collected, all of its room would be moved, however little is in it.
        let mut inputs = ArrayVec::<Input<'_>, STAGES_MAX>::new();
        for (token, start) in &taken {
            inputs
                .push(Input { from: token.from, bytes: value_bytes(&self.values, *start, token.value_len) });
        }
        self.unit.apply(record, &inputs, &mut self.out);
        if is_sampled(record.seq) && !inputs.is_empty() {
            let ages = self.lanes.iter().filter_map(|lane| lane.from.departure.age_ns(record.seq));
            ages.for_each(|ns| self.hops.record(ns));
        }
    }

    #[inline]
    fn advance(&mut self, seq: Seq) {
        self.position = seq;
        if is_sampled(seq) {
            self.node.departure.note(seq);
        }
        if seq == self.next_barrier {
            self.report(seq);
            self.next_barrier = self.board.next_barrier(seq);
        }
    }

    #[cold]
    fn report(&mut self, seq: Seq) {
        if let Err(divergence) = self.board.report(seq, self.shard, &self.unit.sums()) {
            self.faults.note(divergence.into());
        }
        self.order.news();
        self.reported = seq;
    }

    fn report_if_asked(&mut self) {
        if let Some(seq) = self.board.asked()
            && seq == self.position
            && self.reported < seq
        {
            self.report(seq);
        }
    }
}

/// How much a worker does before it lets others have the thread.
///
/// To read a clock twice a turn would cost a short one a good part of what it takes. So a turn is timed from its beginning when
/// the last one that was timed was long, or the last one was full, and one in [`TIMED_EVERY`] in any case. Another one is timed from
/// its fourth event on.
pub(crate) struct Turn {
    /// Events at most.
    budget: usize,
    taken: usize,
    /// When the clock was read first, and how many events were taken by then.
    begun: Option<(Instant, usize)>,
    /// The last one took as many as it might.
    full: bool,
    /// The last one that was timed was long; or none has been.
    slow: bool,
    /// Turns that took something since one did that was timed from its beginning.
    untimed: u8,
    /// It is known to have taken a good part of its time.
    lingered: bool,
}

/// Events that a turn takes before it reads the clock, unless it is timed from its beginning, and most of them between two looks.
const LOOK_FIRST: usize = 4;
const LOOK_EVERY: usize = 64;
/// One in so many turns is timed from its beginning, however quick those before were.
const TIMED_EVERY: u8 = 8;
/// A turn after which others are to have the thread: long beside the system call that it is to look at them.
const LINGERED: Duration = Duration::from_micros(100);

impl Turn {
    pub(crate) const fn new() -> Self {
        Self {
            budget: BUDGET_AT_FIRST,
            taken: 0,
            begun: None,
            full: false,
            slow: true,
            untimed: 0,
            lingered: false,
        }
    }

    fn begin(&mut self) {
        (self.taken, self.lingered) = (0, false);
        // Time is no input of a schedule that is to be run again.
        let timed = !cfg!(any(loom, shuttle)) && (self.full || self.slow || self.untimed + 1 >= TIMED_EVERY);
        self.begun = timed.then(|| (Instant::now(), 0));
    }

    /// True when it may take one more event.
    #[inline]
    fn goes_on(&mut self) -> bool {
        let looks = self.taken.is_power_of_two() || self.taken.is_multiple_of(LOOK_EVERY);
        let goes_on = self.taken < self.budget && (!looks || self.has_time());
        self.taken += usize::from(goes_on);
        goes_on
    }

    #[inline(never)]
    fn has_time(&mut self) -> bool {
        if cfg!(any(loom, shuttle)) || self.taken == 0 || (self.begun.is_none() && self.taken < LOOK_FIRST) {
            return true;
        }
        let (begun, _) = *self.begun.get_or_insert_with(|| (Instant::now(), self.taken));
        begun.elapsed() <= TURN
    }

    pub(crate) fn lingered(&self) -> bool {
        self.lingered
    }

    fn end(&mut self) {
        if self.taken == 0 {
            return;
        }
        self.full = self.taken >= self.budget;
        self.untimed = if matches!(self.begun, Some((_, 0))) { 0 } else { self.untimed.saturating_add(1) };
        let Some((begun, before)) = self.begun else { return };
        let timed = self.taken - before;
        if timed == 0 {
            return;
        }
        let took = begun.elapsed();
        self.lingered = took > LINGERED;
        self.slow = took > TURN;
        if self.slow || (self.full && before == 0) {
            self.budget = budget_after(timed, took);
        }
    }
}

/// How many events the next turn may take, when `budget` of them took this long.
fn budget_after(budget: usize, took: Duration) -> usize {
    if took <= TURN {
        return (budget * 2).min(BUDGET);
    }
    let fit = budget as u128 * TURN.as_nanos() / took.as_nanos();
    (fit as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by reading: what had become slow kept its long turns, of which none was measured.
    #[test]
    #[cfg_attr(miri, ignore = "a matter of time")]
    fn a_turn_ends_when_its_time_is_over_however_long_the_turns_before_were() {
        let mut turn = Turn { budget: BUDGET, slow: false, ..Turn::new() };
        let taken = slow_turn(&mut turn, usize::MAX);
        assert!((LOOK_FIRST..=2 * LOOK_FIRST).contains(&taken), "{taken}");
        assert_eq!(slow_turn(&mut turn, usize::MAX), 1, "of one that is this slow");
    }

    /// How many events the turn takes of as many as there are, when each takes as long as a turn may.
    fn slow_turn(turn: &mut Turn, there_are: usize) -> usize {
        turn.begin();
        while turn.taken < there_are && turn.goes_on() {
            std::thread::park_timeout(TURN);
        }
        turn.end();
        turn.taken
    }

    /// Found by a test of the window: a slow stage before which there were never more than six events was not known as slow,
    /// and showed how far it was after six.
    #[test]
    #[cfg_attr(miri, ignore = "a matter of time")]
    fn one_that_is_slow_is_known_as_slow_however_few_events_there_are_for_a_turn() {
        assert_eq!(slow_turn(&mut Turn::new(), 6), 1, "nothing is known of it yet");
        for there_are in [1, 3, LOOK_FIRST, LOOK_FIRST + 2] {
            let mut turn = Turn { slow: false, ..Turn::new() };
            for _ in 0..TIMED_EVERY {
                slow_turn(&mut turn, there_are);
                // A turn without anything in it tells nothing.
                turn.begin();
                turn.end();
            }
            assert_eq!((turn.budget, slow_turn(&mut turn, 6)), (1, 1), "there were {there_are}");
        }
    }

    #[test]
    fn one_that_is_quick_is_timed_now_and_then() {
        let mut turn = Turn::new();
        let timed = (0..20 * u32::from(TIMED_EVERY)).filter(|_| {
            turn.begin();
            let timed = turn.begun.is_some();
            assert!(turn.goes_on());
            turn.end();
            timed
        });
        assert!((20..40).contains(&timed.count()));
    }

    #[test]
    fn a_turn_of_a_slow_stage_is_short_and_of_a_fast_one_long() {
        let turns = |per_event: Duration, turns: usize| {
            (0..turns).fold(BUDGET_AT_FIRST, |budget, _| budget_after(budget, per_event * budget as u32))
        };
        assert_eq!(turns(Duration::from_nanos(100), 5), BUDGET);
        assert_eq!(turns(Duration::from_millis(20), 1), 1);
        assert!((10..=20).contains(&turns(Duration::from_micros(100), 4)));
        let fast_again =
            (0..9).fold(1, |budget, _| budget_after(budget, Duration::from_nanos(budget as u64)));
        assert_eq!(fast_again, BUDGET);
    }
}
