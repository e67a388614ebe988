//! The state of a leaf actor: takes values off its lanes, in the order of seq, once they are durable.

use std::sync::{Arc, PoisonError};

use downbeat_flow::{Delivery, Leaf};
use downbeat_record::{Correlation, Key, Seq, Timestamp};

use crate::faults::{Fault, Faults};
use crate::lane::{LaneIn, value_bytes};
use crate::node::Node;
use crate::order::OrderBell;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::worker::Progress;

/// Deliveries before a leaf lets others have the thread.
const BUDGET: usize = 64;

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
        if self.stopped {
            return Progress::Idle;
        }
        let mut progress = Progress::Idle;
        let Some(limit) = self.limit() else { return Progress::Idle };
        for count in 0.. {
            if count == BUDGET {
                progress = Progress::More;
                break;
            }
            match self.deliver_next(limit) {
                Ok(true) => {}
                Ok(false) => {
                    self.position = self.position.max(limit);
                    self.delivered = self.delivered.max(limit);
                    break;
                }
                Err(reason) => {
                    self.fail(reason);
                    return Progress::Idle;
                }
            }
        }
        if progress == Progress::Idle
            && let Err(error) = self.leaf.flush()
        {
            self.fail(error.to_string());
        }
        self.node.pass(self.position);
        // The window does not wait for leaves; a shutdown does, for everything.
        self.order.moved(Seq::ZERO);
        self.lanes.iter().flatten().for_each(LaneIn::relieve);
        progress
    }

    #[cold]
    fn fail(&mut self, reason: String) {
        self.stopped = true;
        self.node.pulse.end();
        self.faults.note(Fault::Leaf { leaf: self.name.to_string(), reason });
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
        if token.seq > self.delivered {
            let stage = &self.stages[usize::from(token.from.0)];
            let delivery = Delivery::new(
                (token.seq, Timestamp(place as u64)),
                Key((place >> 64) as u64),
                Correlation(correlation),
                stage,
                value_bytes(&self.values, start, token.value_len),
            );
            self.leaf.deliver(&delivery).map_err(|error| error.to_string())?;
        }
        // Another stage may have sent a value for the same event, so only what is before it is done.
        let done = Seq(token.seq.0 - 1);
        self.position = self.position.max(done);
        self.delivered = self.delivered.max(done);
        Ok(true)
    }
}

#[cfg(all(test, loom))]
#[path = "loom_leaf.rs"]
mod loom_leaf;
