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
    sources: Vec<SourceId>,
    /// Whether this worker emits all commands of its stages; with shards, another one may have.
    alone: bool,
}

impl Recall {
    pub(crate) fn new<'a>(stages: impl Iterator<Item = &'a str>, alone: bool) -> Self {
        Self { ledger: Ledger::default(), sources: stages.map(source_of).collect(), alone }
    }

    /// Compares a derived event of the log with what this worker emitted.
    pub(crate) fn compare(&mut self, record: &Record<'_>, faults: &Faults) {
        if !self.sources.contains(&record.fields.source) {
            return;
        }
        match self.ledger.logged(record) {
            Ok(()) => {}
            Err(downbeat_flow::Mismatch::NotEmitted { .. }) if !self.alone => {}
            Err(mismatch) => faults.note(Fault::Command(mismatch)),
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
    pub(crate) backlog_max: usize,
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
            self.backlog.extend(recall.ledger.take());
            // A stage that is new to a long log may have emitted any number; that is no flood.
            self.backlog_max += self.backlog.len();
        }
        self.flush(node, faults);
    }

    /// Tries the front door again for what it had no room for.
    pub(crate) fn flush(&mut self, node: &Node, faults: &Faults) {
        self.submit_held(faults);
        if !self.backlog.is_empty() && !node.backlog.is_up() {
            node.backlog.raise();
            self.submit_held(faults);
        }
        if self.backlog.is_empty() {
            // What is in the ledger is held back too.
            if node.backlog.is_up() && self.ledger.is_none() {
                node.backlog.lower();
            }
        } else if self.backlog.len() > self.backlog_max {
            faults.note(Fault::Flood { held: self.backlog.len() });
        }
    }

    fn submit_held(&mut self, faults: &Faults) {
        while let Some(pending) = self.backlog.front() {
            match self.commands.try_submit(&pending.fields, &pending.payload) {
                Ok(()) => drop(self.backlog.pop_front()),
                Err(CommandRefused::Busy) => break,
                Err(CommandRefused::TooLarge { len, max }) => {
                    faults.note(Fault::TooLarge { cause: pending.fields.causation, len, max });
                    break;
                }
                Err(CommandRefused::Closed) => self.backlog.clear(),
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
        self.backlog.push_back(Pending { fields: *fields, payload: payload.to_vec() });
    }
}
