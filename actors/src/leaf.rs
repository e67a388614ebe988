//! The state of a leaf actor: takes values off its lanes, in the order of seq, once the gate is open for them.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use downbeat_flow::{Delivery, EventType, Leaf, STAGES_MAX};
use downbeat_record::{Correlation, Key, Seq, Timestamp};

use crate::faults::{Fault, Faults};
use crate::gate::Gate;
use crate::lane::{LaneIn, PREFIX_WORDS, value_bytes};
use crate::node::Node;
use crate::order::OrderBell;
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::token::Token;
use crate::worker::{Progress, TURN};

/// Deliveries before a leaf lets others have the thread, if they take no longer than a turn of a stage; few under Miri.
const BUDGET: usize = if cfg!(miri) { 16 } else { 64 };
/// Deliveries after which a leaf that always has more at hand is to flush; few under Miri.
const GATHERED_MAX: usize = if cfg!(miri) { 50 } else { 1_000 };
/// Time after which it is to: how much comes again after a crash does not depend on how slow it is.
const GATHERED_FOR: Duration = Duration::from_millis(100);
/// Time is no input of a schedule that is to be run again, and says nothing where an interpreter runs.
const TIMED: bool = !cfg!(any(loom, shuttle, miri));

// There is a bit for every stage.
const _: () = assert!(STAGES_MAX <= u64::BITS as usize);

/// Lanes from workers that were built anew, waiting for the leaf to take them over.
#[derive(Default)]
pub(crate) struct NewLanes {
    any: AtomicBool,
    waiting: Mutex<Vec<(usize, LaneIn)>>,
}

impl NewLanes {
    pub(crate) fn put(&self, index: usize, lane: LaneIn) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((index, lane));
        self.any.store(true, Ordering::Release);
    }

    fn take(&self) -> Vec<(usize, LaneIn)> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The state of a leaf actor.
pub(crate) struct LeafWorker {
    pub(crate) node: Arc<Node>,
    pub(crate) name: Arc<str>,
    pub(crate) leaf: Box<dyn Leaf>,
    /// One per upstream worker; `None` until the first incarnation has handed over its lane.
    pub(crate) lanes: Vec<Option<Arriving>>,
    pub(crate) new_lanes: Arc<NewLanes>,
    pub(crate) gate: Arc<Gate>,
    /// Bytes that may be held back before the gate.
    pub(crate) kept_max: usize,
    /// Everything up to here needs no delivery: it was delivered, in this life or an earlier one, or nothing was sent for it.
    pub(crate) delivered: Seq,
    /// The event of the last delivery, and the stages whose value for it was delivered, a bit for each: a group that is
    /// built again sends them again.
    pub(crate) partly: (Seq, u64),
    pub(crate) gathered: Gathered,
    /// The last turn took its time.
    pub(crate) lingered: bool,
    /// Of every stage of the flow, its name and what it sends.
    pub(crate) stages: Arc<[(Arc<str>, EventType)]>,
    pub(crate) values: Vec<u128>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) order: Arc<OrderBell>,
    pub(crate) stopped: bool,
}

/// What one worker sends.
pub(crate) struct Arriving {
    lane: LaneIn,
    /// Taken off the lane before it may leave, so that there is room for what comes up to the checkpoint that decides on it;
    /// all of it older than what is on the lane.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

/// A value that waits for its checkpoint.
struct Kept {
    token: Token,
    prefix: [u128; PREFIX_WORDS],
    value: Box<[u128]>,
}

impl From<LaneIn> for Arriving {
    fn from(lane: LaneIn) -> Self {
        Self { lane, kept: VecDeque::new(), kept_bytes: 0 }
    }
}

impl Arriving {
    fn head(&mut self) -> Option<Token> {
        self.kept.front().map(|kept| kept.token).or_else(|| self.lane.head())
    }

    /// As [`LaneIn::take_out`].
    fn take_out(&mut self, values: &mut Vec<u128>) -> Option<(Token, [u128; PREFIX_WORDS], usize)> {
        let Some(kept) = self.kept.pop_front() else { return self.lane.take_out(values) };
        self.kept_bytes -= kept.bytes();
        let start = values.len();
        values.extend(kept.value);
        Some((kept.token, kept.prefix, start))
    }

    /// Takes off the lane what follows from events after `upto`, as long as the gate stands there: when it has moved, some of it
    /// can be delivered, and what comes then waits on the lane. Up to `delivered` nothing needs a delivery.
    fn keep(&mut self, gate: &Gate, upto: Seq, delivered: Seq, values: &mut Vec<u128>) {
        values.clear();
        while self.lane.head().is_some_and(|token| token.seq > upto)
            && gate.upto() == upto
            && let Some((token, prefix, _)) = self.lane.take_out(values)
        {
            if token.seq > delivered {
                let kept = Kept { token, prefix, value: values.as_slice().into() };
                self.kept_bytes += kept.bytes();
                self.kept.push_back(kept);
            }
            values.clear();
        }
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.value)
    }
}

/// What was delivered since the last flush.
#[derive(Default)]
pub(crate) struct Gathered {
    deliveries: usize,
    /// When the turn of the first of them began.
    since: Option<Instant>,
}

impl Gathered {
    /// True when a flush is due although there is more at hand.
    fn is_enough(&self) -> bool {
        let long = |since: Instant| TIMED && since.elapsed() >= GATHERED_FOR;
        self.deliveries + BUDGET > GATHERED_MAX || self.since.is_some_and(long)
    }
}

impl LeafWorker {
    /// Delivers what may leave, up to a budget.
    pub(crate) fn pump(&mut self) -> Progress {
        for (index, lane) in self.new_lanes.take() {
            self.lanes[index] = Some(lane.into());
        }
        if !self.stopped {
            // A leaf that panics has stopped like one that says so. What it was at may have been done or not, so
            // nothing is built again that could do it twice.
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn()));
            match turn.unwrap_or_else(|panic| Err(format!("it panicked: {}", said(&*panic)))) {
                Ok(progress) => return progress,
                Err(reason) => self.fail(reason),
            }
        }
        self.discard();
        Progress::Idle
    }

    fn turn(&mut self) -> Result<Progress, String> {
        let begun = Instant::now();
        self.lingered = false;
        let mut progress = Progress::Idle;
        let Some(limit) = self.limit() else { return Ok(Progress::Idle) };
        for count in 0.. {
            self.lingered = count > 0 && TIMED && begun.elapsed() > TURN;
            if count == BUDGET || self.lingered {
                progress = Progress::More;
                break;
            }
            if !self.deliver_next(limit)? {
                self.delivered = self.delivered.max(limit);
                break;
            }
        }
        if self.gathered.deliveries > 0 {
            self.gathered.since.get_or_insert(begun);
        }
        if progress == Progress::Idle || self.gathered.is_enough() {
            self.leaf.flush().map_err(|error| error.to_string())?;
            self.gathered = Gathered::default();
            // Only now: what a leaf has gathered dies with the process, and a checkpoint says how far it is.
            self.node.pass(self.delivered);
        }
        // The window does not wait for leaves; a shutdown does, for everything.
        self.order.moved(Seq::ZERO);
        if self.gate.awaits_checkpoint() {
            self.keep()?;
        }
        self.lanes.iter().flatten().for_each(|from| from.lane.relieve());
        Ok(progress)
    }

    /// Makes room for what is sent up to the next checkpoint in the log: until that is reached nothing else can be delivered.
    #[cold]
    fn keep(&mut self) -> Result<(), String> {
        let (delivered, upto, max) = (self.delivered, self.gate.upto(), self.kept_max);
        for from in self.lanes.iter_mut().flatten() {
            from.keep(&self.gate, upto, delivered, &mut self.values);
        }
        let kept: usize = self.lanes.iter().flatten().map(|from| from.kept_bytes).sum();
        if kept <= max {
            return Ok(());
        }
        Err(format!(
            "it has delivered what follows from seq {delivered}, the code is known to be that of the log up to seq {upto}, and what \
             it would get before the next checkpoint takes more than the {max} bytes that may be held back: open the log with a \
             larger `backlog_bytes`"
        ))
    }

    #[cold]
    fn fail(&mut self, reason: String) {
        self.stopped = true;
        self.node.pulse.end();
        self.faults.note(Fault::Leaf { leaf: self.name.to_string(), reason });
    }

    /// Nothing of it is delivered any more, and nobody must wait for that. The cursor stays, so the next opening
    /// delivers it.
    fn discard(&mut self) {
        for from in self.lanes.iter_mut().flatten() {
            self.values.clear();
            while from.take_out(&mut self.values).is_some() {
                self.values.clear();
            }
            from.lane.relieve();
        }
    }

    /// The last seq whose values may leave: every upstream worker has passed it, and the gate is open for it.
    fn limit(&self) -> Option<Seq> {
        let passed = |from: &Option<Arriving>| from.as_ref().map(|from| from.lane.passed());
        let passed = self.lanes.iter().map(passed).min().flatten()?;
        let mut upto = self.gate.upto();
        if upto < passed {
            self.node.gated.raise();
            upto = self.gate.upto();
        }
        Some(passed.min(upto))
    }

    /// Delivers the next value up to `limit`; false when there is none.
    fn deliver_next(&mut self, limit: Seq) -> Result<bool, String> {
        let lanes = self.lanes.iter_mut().flatten();
        let next =
            lanes.filter_map(|lane| lane.head().map(|token| (token.seq, lane))).min_by_key(|(seq, _)| *seq);
        let Some((_, lane)) = next.filter(|(seq, _)| *seq <= limit) else { return Ok(false) };
        self.values.clear();
        let Some((token, [place, correlation], start)) = lane.take_out(&mut self.values) else {
            return Ok(false);
        };
        let bit = 1_u64 << token.from.0;
        let before = if self.partly.0 == token.seq { self.partly.1 } else { 0 };
        if token.seq > self.delivered && before & bit == 0 {
            let (stage, output) = &self.stages[usize::from(token.from.0)];
            let delivery = Delivery::new(
                (token.seq, Timestamp(place as u64)),
                Key((place >> 64) as u64),
                Correlation(correlation),
                (stage, *output),
                value_bytes(&self.values, start, token.value_len),
            );
            self.leaf.deliver(&delivery).map_err(|error| error.to_string())?;
            self.partly = (token.seq, before | bit);
            self.gathered.deliveries += 1;
        }
        // Another stage may have sent a value for the same event, so only what is before it is done.
        self.delivered = self.delivered.max(Seq(token.seq.0 - 1));
        Ok(true)
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it said nothing")
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use downbeat_flow::{LeafError, Nothing, StageId};
    use downbeat_record::{Batch, Fields};

    use super::*;
    use crate::lane::lane;

    struct Recording(Arc<std::sync::Mutex<Vec<(Seq, String)>>>);

    impl Leaf for Recording {
        fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError> {
            self.0.lock().unwrap().push((delivery.seq, delivery.stage.to_owned()));
            Ok(())
        }
    }

    fn batch_of(events: u64) -> Batch {
        let mut batch = Batch::with_capacity(4096 + events as usize * 128, 0);
        batch.open(Seq(1));
        for seq in 1..=events {
            batch.push(&Fields::default(), Timestamp(seq), &[]).unwrap();
        }
        batch
    }

    fn worker(node: &Arc<Node>, leaf: impl Leaf, lane: LaneIn, upto: Seq) -> LeafWorker {
        let gate = Arc::new(Gate::new(Seq::ZERO, Vec::new()));
        gate.set(upto);
        let order = Arc::new(OrderBell::new(|| ()));
        let nothing = EventType::of::<Nothing>();
        LeafWorker {
            node: node.clone(),
            name: "leaf".into(),
            leaf: Box::new(leaf),
            lanes: vec![Some(lane.into())],
            new_lanes: Arc::new(NewLanes::default()),
            gate,
            kept_max: 0,
            delivered: Seq::ZERO,
            partly: (Seq::ZERO, 0),
            gathered: Gathered::default(),
            lingered: false,
            stages: Arc::new([("one".into(), nothing), ("other".into(), nothing)]),
            values: Vec::new(),
            faults: Arc::new(Faults::new(order.clone())),
            order,
            stopped: false,
        }
    }

    /// A group that is built again sends everything again, also for the event at which the leaf had stopped.
    #[test]
    fn a_value_is_delivered_once_however_often_its_group_is_built_again() {
        let events = BUDGET as u64 + 10;
        let batch = batch_of(events);
        let (from, node) = (Arc::new(Node::new()), Arc::new(Node::new()));
        from.pass(Seq(events));
        let arriving = || {
            let (mut out, arrive) = lane(8 << 10, 2, &from, &node);
            for record in batch.records() {
                out.send_out(StageId(0), &record, &[]);
                if record.seq.0.is_multiple_of(2) {
                    out.send_out(StageId(1), &record, &[]);
                }
            }
            out.publish();
            arrive
        };
        let delivered = Arc::default();
        let mut leaf = worker(&node, Recording(Arc::clone(&delivered)), arriving(), Seq(events));
        // It stops between two events, then between the two values of one.
        for _ in 0..2 {
            assert_eq!(leaf.pump(), Progress::More);
            assert_eq!(node.cursor(), Seq::ZERO, "nothing was flushed");
            leaf.new_lanes.put(0, arriving());
        }
        while leaf.pump() == Progress::More {}
        let expected = (1..=events).flat_map(|seq| {
            let other = seq.is_multiple_of(2).then(|| (Seq(seq), "other".to_owned()));
            std::iter::once((Seq(seq), "one".to_owned())).chain(other)
        });
        assert_eq!(*delivered.lock().unwrap(), expected.collect::<Vec<_>>());
        assert_eq!(node.cursor(), Seq(events));
    }

    /// Off the lane, nothing would stop who sends it.
    #[test]
    fn what_is_not_durable_yet_stays_on_the_lane() {
        let (from, node) = (Arc::new(Node::new()), Arc::new(Node::new()));
        let (mut out, arrive) = lane(8 << 10, 1, &from, &node);
        batch_of(5).records().for_each(|record| out.send_out(StageId(0), &record, &[]));
        out.publish();
        from.pass(Seq(5));
        let mut leaf = worker(&node, Recording(Arc::default()), arrive, Seq(3));
        assert_eq!(leaf.pump(), Progress::Idle);
        let from = leaf.lanes[0].as_mut().unwrap();
        assert_eq!((from.lane.head().unwrap().seq, from.kept.len()), (Seq(4), 0));
        // Nor is it taken off when the gate has moved since somebody looked.
        from.keep(&leaf.gate, Seq(2), Seq::ZERO, &mut Vec::new());
        assert_eq!(from.kept.len(), 0);
        from.keep(&leaf.gate, Seq(3), Seq::ZERO, &mut Vec::new());
        assert_eq!(from.kept.len(), 2);
    }

    /// Writes what it is told only when it is asked to flush.
    #[derive(Default)]
    struct Gathering {
        takes: Duration,
        gathered: Vec<Seq>,
        written: Arc<std::sync::Mutex<Vec<Seq>>>,
    }

    impl Leaf for Gathering {
        fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError> {
            std::thread::park_timeout(self.takes);
            self.gathered.push(delivery.seq);
            assert!(self.gathered.len() <= GATHERED_MAX, "it is never asked to flush");
            Ok(())
        }

        fn flush(&mut self) -> Result<(), LeafError> {
            self.written.lock().unwrap().append(&mut self.gathered);
            Ok(())
        }
    }

    /// Found by reading: a checkpoint said that what a leaf had only gathered was delivered, and a crash lost it.
    #[test]
    fn what_is_gathered_counts_as_delivered_when_it_is_flushed() {
        let events = 3 * GATHERED_MAX as u64;
        let (mut leaf, node, written) = gathering(events, Duration::ZERO);
        let mut turns_without = 0;
        while leaf.pump() == Progress::More {
            let written = written.lock().unwrap().last().copied().unwrap_or_default();
            assert!(node.cursor() <= written, "{} counts, {written} is written", node.cursor());
            turns_without += u64::from(node.cursor() == Seq::ZERO);
        }
        assert!(turns_without > 1, "it is asked at every turn");
        assert_eq!(*written.lock().unwrap(), (1..=events).map(Seq).collect::<Vec<_>>());
        assert_eq!(node.cursor(), Seq(events));
    }

    /// Found by reading: one that takes a tenth of a second for a delivery and always has more at hand flushed after a minute
    /// and a half, and all of it would have come again after a crash.
    #[test]
    #[cfg_attr(miri, ignore = "a matter of time")]
    fn one_that_is_slow_flushes_before_it_has_gathered_a_thousand() {
        let (mut leaf, node, _) = gathering(3 * GATHERED_MAX as u64, 2 * TURN);
        let begun = Instant::now();
        let mut turns = 0;
        while node.cursor() == Seq::ZERO {
            assert_eq!(leaf.pump(), Progress::More);
            turns += 1;
        }
        assert!(begun.elapsed() >= GATHERED_FOR, "after {turns} turns");
        assert!(turns <= GATHERED_FOR.as_millis(), "after {turns} turns");
        leaf.pump();
        assert!(leaf.gathered.deliveries > 0, "that was not the last word for a while");
    }

    /// A leaf that takes so long for a delivery and has so many at hand; and what it has written.
    fn gathering(events: u64, takes: Duration) -> (LeafWorker, Arc<Node>, Arc<std::sync::Mutex<Vec<Seq>>>) {
        let batch = batch_of(events);
        let (from, node) = (Arc::new(Node::new()), Arc::new(Node::new()));
        from.pass(Seq(events));
        let (mut out, arrive) = lane(events as usize * 64, 1, &from, &node);
        batch.records().for_each(|record| out.send_out(StageId(0), &record, &[]));
        out.publish();
        let leaf = Gathering { takes, ..Gathering::default() };
        let written = leaf.written.clone();
        (worker(&node, leaf, arrive, Seq(events)), node, written)
    }
}

#[cfg(all(test, loom))]
#[path = "loom_leaf.rs"]
mod loom_leaf;
