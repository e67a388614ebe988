//! The state of a leaf actor: takes values off its lanes, in the order of seq, once they are durable.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use downbeat_flow::{Delivery, Leaf, STAGES_MAX};
use downbeat_record::{Correlation, Key, Seq, Timestamp};

use crate::faults::{Fault, Faults};
use crate::lane::{LaneIn, value_bytes};
use crate::node::Node;
use crate::order::OrderBell;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::worker::Progress;

/// Deliveries before a leaf lets others have the thread.
const BUDGET: usize = 64;

// There is a bit for every stage.
const _: () = assert!(STAGES_MAX <= u64::BITS as usize);

/// The last durable seq, as the actors know it.
#[derive(Default)]
pub(crate) struct Watermark(AtomicU64);

impl Watermark {
    pub(crate) fn get(&self) -> Seq {
        Seq(self.0.load(Ordering::Acquire))
    }

    pub(crate) fn set(&self, seq: Seq) {
        self.0.store(seq.0, Ordering::Release);
    }
}

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
    pub(crate) lanes: Vec<Option<LaneIn>>,
    pub(crate) new_lanes: Arc<NewLanes>,
    pub(crate) durable: Arc<Watermark>,
    /// Everything up to here was delivered before, in this life or an earlier one.
    pub(crate) delivered: Seq,
    /// Everything up to here needs no delivery: delivered, or nothing was sent for it.
    pub(crate) position: Seq,
    /// The event of the last delivery, and the stages whose value for it was delivered, a bit for each: a group that is
    /// built again sends them again.
    pub(crate) partly: (Seq, u64),
    pub(crate) stages: Arc<[Arc<str>]>,
    pub(crate) values: Vec<u128>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) order: Arc<OrderBell>,
    pub(crate) stopped: bool,
}

impl LeafWorker {
    /// Delivers what may leave, up to a budget.
    pub(crate) fn pump(&mut self) -> Progress {
        for (index, lane) in self.new_lanes.take() {
            self.lanes[index] = Some(lane);
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
        let mut progress = Progress::Idle;
        let Some(limit) = self.limit() else { return Ok(Progress::Idle) };
        for count in 0.. {
            if count == BUDGET {
                progress = Progress::More;
                break;
            }
            if !self.deliver_next(limit)? {
                self.position = self.position.max(limit);
                self.delivered = self.delivered.max(limit);
                break;
            }
        }
        if progress == Progress::Idle {
            self.leaf.flush().map_err(|error| error.to_string())?;
        }
        self.node.pass(self.position);
        // The window does not wait for leaves; a shutdown does, for everything.
        self.order.moved(Seq::ZERO);
        self.lanes.iter().flatten().for_each(LaneIn::relieve);
        Ok(progress)
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
        for lane in self.lanes.iter_mut().flatten() {
            self.values.clear();
            while lane.take_out(&mut self.values).is_some() {
                self.values.clear();
            }
            lane.relieve();
        }
    }

    /// The last seq whose values may leave: every upstream worker has passed it, and it is durable.
    fn limit(&self) -> Option<Seq> {
        let passed = self.lanes.iter().map(|lane| lane.as_ref().map(LaneIn::passed)).min().flatten()?;
        let mut durable = self.durable.get();
        if durable < passed {
            self.node.gated.raise();
            durable = self.durable.get();
        }
        Some(passed.min(durable))
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
            let stage = &self.stages[usize::from(token.from.0)];
            let delivery = Delivery::new(
                (token.seq, Timestamp(place as u64)),
                Key((place >> 64) as u64),
                Correlation(correlation),
                stage,
                value_bytes(&self.values, start, token.value_len),
            );
            self.leaf.deliver(&delivery).map_err(|error| error.to_string())?;
            self.partly = (token.seq, before | bit);
        }
        // Another stage may have sent a value for the same event, so only what is before it is done.
        let done = Seq(token.seq.0 - 1);
        self.position = self.position.max(done);
        self.delivered = self.delivered.max(done);
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
    use downbeat_flow::{LeafError, StageId};
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

    /// A group that is built again sends everything again, also for the event at which the leaf had stopped.
    #[test]
    fn a_value_is_delivered_once_however_often_its_group_is_built_again() {
        let events = BUDGET as u64 + 10;
        let mut batch = Batch::with_capacity(64 << 10, 0);
        batch.open(Seq(1));
        for seq in 1..=events {
            batch.push(&Fields::default(), Timestamp(seq), &[]).unwrap();
        }
        let (from, node) = (Arc::new(Node::new()), Arc::new(Node::new()));
        from.pass(Seq(events));
        let arriving = || {
            let (mut out, arrive) = lane(64 << 10, 2, &from, &node);
            for record in batch.records() {
                out.send_out(StageId(0), &record, &[]);
                if record.seq.0.is_multiple_of(2) {
                    out.send_out(StageId(1), &record, &[]);
                }
            }
            out.publish();
            arrive
        };
        let durable = Arc::new(Watermark::default());
        durable.set(Seq(events));
        let delivered = Arc::default();
        let order = Arc::new(OrderBell::new(|| ()));
        let mut leaf = LeafWorker {
            node: node.clone(),
            name: "recording".into(),
            leaf: Box::new(Recording(Arc::clone(&delivered))),
            lanes: vec![Some(arriving())],
            new_lanes: Arc::new(NewLanes::default()),
            durable,
            delivered: Seq::ZERO,
            position: Seq::ZERO,
            partly: (Seq::ZERO, 0),
            stages: Arc::new(["one".into(), "other".into()]),
            values: Vec::new(),
            faults: Arc::new(Faults::new(order.clone())),
            order,
            stopped: false,
        };
        // It stops between two events, then between the two values of one.
        for _ in 0..2 {
            assert_eq!(leaf.pump(), Progress::More);
            leaf.new_lanes.put(0, arriving());
        }
        while leaf.pump() == Progress::More {}
        let expected = (1..=events).flat_map(|seq| {
            let other = seq.is_multiple_of(2).then(|| (Seq(seq), "other".to_owned()));
            std::iter::once((Seq(seq), "one".to_owned())).chain(other)
        });
        assert_eq!(*delivered.lock().unwrap(), expected.collect::<Vec<_>>());
    }
}

#[cfg(all(test, loom))]
#[path = "loom_leaf.rs"]
mod loom_leaf;
