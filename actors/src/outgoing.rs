//! Everything that leaves a worker: values on lanes, commands to the front door.

use std::collections::VecDeque;
use std::sync::Arc;

use downbeat_flow::{Ledger, Pending, Sink, StageId, source_of};
use downbeat_record::{Fields, Record, Seq, SourceId};

use crate::faults::{Fault, Faults};
use crate::lane::LaneOut;
use crate::node::Node;
use crate::ports::{CommandRefused, Commands};

/// Where the value of one stage goes.
pub(crate) enum Route {
    /// On this lane.
    Lane(usize),
    /// On the lane of the shard that owns the event's key.
    ByKey(Vec<usize>),
    /// On this lane, which ends at a leaf.
    Leaf(usize),
}

/// The commands emitted while the log is read again.
pub(crate) struct Recall {
    ledger: Ledger,
    /// This worker's stages, each with the source of what it emits.
    stages: Vec<(SourceId, String)>,
    /// Whether this worker emits all commands of its stages; with shards, another one may have.
    alone: bool,
}

impl Recall {
    pub(crate) fn new<'a>(stages: impl Iterator<Item = &'a str>, alone: bool) -> Self {
        let stages = stages.map(|name| (source_of(name), name.to_owned())).collect();
        Self { ledger: Ledger::default(), stages, alone }
    }

    fn stage_of(&self, source: SourceId) -> Option<&str> {
        self.stages.iter().find(|(of, _)| *of == source).map(|(_, name)| &**name)
    }

    /// Compares a derived event of the log with what this worker emitted.
    pub(crate) fn compare(&mut self, record: &Record<'_>, faults: &Faults) {
        if self.stage_of(record.fields.source).is_none() {
            return;
        }
        match self.ledger.logged(record) {
            Ok(()) => {}
            Err(downbeat_flow::Mismatch::NotEmitted { .. }) if !self.alone => {}
            Err(mismatch) => faults.note(Fault::Command(mismatch)),
        }
    }

    /// What the log does not hold may not be more than `max` bytes.
    fn check(&self, max: usize, faults: &Faults) {
        if self.ledger.memory() > max
            && let Some(oldest) = self.ledger.oldest()
        {
            let stage = self.stage_of(oldest.source).unwrap_or_default().to_owned();
            faults.note(Fault::Recalled { stage, cause: oldest.causation, max });
        }
    }
}

/// A worker's lanes out and its way to the front door.
pub(crate) struct Outgoing {
    pub(crate) lanes: Vec<LaneOut>,
    /// Per stage of the flow, where its value goes.
    pub(crate) routes: Vec<Vec<Route>>,
    pub(crate) commands: Arc<dyn Commands>,
    /// There while the log is read again.
    pub(crate) ledger: Option<Recall>,
    /// Commands that the front door had no room for.
    pub(crate) backlog: VecDeque<Pending>,
    /// Bytes of memory they take, and may take.
    pub(crate) held: usize,
    pub(crate) held_max: usize,
}

impl Outgoing {
    /// True when whatever one event puts out fits on every lane.
    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        self.lanes.iter_mut().all(LaneOut::has_room)
    }

    /// Shows everyone downstream what was sent, then how far `node` is, and rings.
    #[inline]
    pub(crate) fn publish(&self, node: &Node, position: Seq) {
        self.lanes.iter().for_each(LaneOut::publish);
        node.pass(position);
        for lane in &self.lanes {
            lane.to.bell.ring();
        }
    }

    /// The log is read to its end: what was emitted and is not in it goes to the front door.
    pub(crate) fn go_live(&mut self, node: &Node, faults: &Faults) {
        if let Some(mut recall) = self.ledger.take() {
            self.held = recall.ledger.memory();
            self.backlog.extend(recall.ledger.take());
            // What a stage that is new to the log has emitted for all of it is no flood.
            self.held_max = self.held_max.saturating_add(self.held);
        }
        self.flush(node, faults);
    }

    /// Tries the front door again for what it had no room for.
    pub(crate) fn flush(&mut self, node: &Node, faults: &Faults) {
        if let Some(recall) = &self.ledger {
            // Nothing goes out until the log is through.
            return recall.check(self.held_max, faults);
        }
        self.submit_held(faults);
        if !self.backlog.is_empty() && !node.backlog.is_up() {
            node.backlog.raise();
            self.submit_held(faults);
        }
        if self.backlog.is_empty() {
            if node.backlog.is_up() {
                node.backlog.lower();
            }
        } else if self.held > self.held_max {
            faults.note(Fault::Flood { held: self.backlog.len(), max: self.held_max });
        }
    }

    fn submit_held(&mut self, faults: &Faults) {
        while let Some(pending) = self.backlog.front() {
            match self.commands.try_submit(&pending.fields, &pending.payload) {
                Ok(()) => {
                    self.held -= pending.memory();
                    self.backlog.pop_front();
                }
                Err(CommandRefused::Busy) => break,
                Err(CommandRefused::TooLarge { len, max }) => {
                    faults.note(Fault::TooLarge { cause: pending.fields.causation, len, max });
                    break;
                }
                Err(CommandRefused::Closed) => {
                    self.held = 0;
                    self.backlog.clear();
                }
            }
        }
    }
}

impl Sink for Outgoing {
    #[inline]
    fn value(&mut self, from: StageId, record: &Record<'_>, bytes: &[u8]) {
        for route in &self.routes[usize::from(from.0)] {
            match route {
                Route::Lane(lane) => self.lanes[*lane].send(from, record, bytes),
                Route::ByKey(lanes) => {
                    let shard = record.fields.key.shard(lanes.len() as u32) as usize;
                    self.lanes[lanes[shard]].send(from, record, bytes);
                }
                Route::Leaf(lane) => self.lanes[*lane].send_out(from, record, bytes),
            }
        }
    }

    fn command(&mut self, fields: &Fields, payload: &[u8]) {
        if let Some(recall) = &mut self.ledger {
            recall.ledger.emitted(*fields, payload);
            return;
        }
        if self.backlog.is_empty() {
            match self.commands.try_submit(fields, payload) {
                Ok(()) | Err(CommandRefused::Closed) => return,
                // One that is too large stops the flow when it is tried again.
                Err(CommandRefused::Busy | CommandRefused::TooLarge { .. }) => {}
            }
        }
        let pending = Pending { fields: *fields, payload: payload.to_vec() };
        self.held += pending.memory();
        self.backlog.push_back(pending);
    }
}
