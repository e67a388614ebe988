//! The pass that verifies a log and applies it on the way, as long as nothing speaks against it.
//!
//! ```text
//!  verified ──► held: batches behind the last checkpoint known ──► applied, compared
//! ```
//!
//! Invariants: events are applied in their order, each once; a batch is applied when a checkpoint of its last event or a
//! later one is known, or when more is held than [`HELD_BYTES_MAX`]; a checkpoint of an event that others have followed
//! already ends the trial, and so does anything that does not agree. A trial that has ended says nothing, so what it
//! did not know can make a replay slower, never wrong.

use std::collections::VecDeque;
use std::sync::Arc;

use downbeat_flow::Flow;
use downbeat_record::{Batch, BatchKind, Checkpoint, ContractTable, Seq};

use super::{Recorded, ReplayOptions, Replayed, Replayer};
use crate::error::AuditError;

/// Batches held, in bytes: more than an engine with default settings has between an event and its checkpoint, which
/// is at most 64 batches of 256 KiB.
const HELD_BYTES_MAX: usize = 32 << 20;

pub(super) struct Trial<'a> {
    flow: &'a Flow,
    options: ReplayOptions,
    to: Seq,
    /// From the first event applied on; the contracts it knows are those of the log up to there.
    replayer: Option<Replayer>,
    contracts: ContractTable,
    /// Known before there is a replayer.
    checkpoints: VecDeque<Checkpoint>,
    /// Which events checkpoints are known for: up to here.
    covered: Seq,
    held: VecDeque<Arc<Batch>>,
    held_bytes: usize,
    over: bool,
}

impl<'a> Trial<'a> {
    pub(super) fn new(flow: &'a Flow, options: ReplayOptions) -> Self {
        Self {
            flow,
            options,
            to: options.to.unwrap_or(Seq(u64::MAX)),
            replayer: None,
            contracts: ContractTable::new(),
            checkpoints: VecDeque::new(),
            covered: Seq::ZERO,
            held: VecDeque::new(),
            held_bytes: 0,
            over: false,
        }
    }

    /// The last event applied.
    pub(super) fn last(&self) -> Seq {
        self.replayer.as_ref().map_or(Seq::ZERO, |replayer| replayer.last)
    }

    /// Takes a batch that was verified; `contracts` are those of the log up to it, `checkpoint` is what it holds.
    pub(super) fn take(
        &mut self,
        batch: Arc<Batch>,
        contracts: &ContractTable,
        checkpoint: Option<&Checkpoint>,
    ) {
        if self.over {
            return;
        }
        let went = match batch.kind() {
            BatchKind::Data => {
                self.held_bytes += batch.padded_len();
                self.held.push_back(batch);
                self.apply()
            }
            BatchKind::Contracts => {
                // An event type that came later may have the number under which the flow knows another.
                let same = self.replayer.is_none() || self.contracts == *contracts;
                self.contracts.clone_from(contracts);
                Ok(same)
            }
            _ => checkpoint.map_or(Ok(true), |checkpoint| self.learn(checkpoint.clone())),
        };
        if !matches!(went, Ok(true)) {
            self.give_up();
        }
    }

    fn learn(&mut self, checkpoint: Checkpoint) -> Result<bool, AuditError> {
        self.covered = self.covered.max(checkpoint.seq);
        match &mut self.replayer {
            // The last event to be applied is behind us; what comes later is not compared.
            Some(replayer) if replayer.last >= self.to && checkpoint.seq > self.to => {}
            Some(replayer) => {
                if !replayer.learn(checkpoint)? {
                    return Ok(false);
                }
            }
            None => {
                let place = self.checkpoints.partition_point(|known| known.seq <= checkpoint.seq);
                self.checkpoints.insert(place, checkpoint);
            }
        }
        self.apply()
    }

    /// Applies what is held and covered, or too much.
    fn apply(&mut self) -> Result<bool, AuditError> {
        while let Some(batch) = self.held.front() {
            if batch.next_seq().0 - 1 > self.covered.0 && self.held_bytes <= HELD_BYTES_MAX {
                break;
            }
            self.apply_first()?;
        }
        Ok(true)
    }

    fn apply_first(&mut self) -> Result<(), AuditError> {
        let Some(batch) = self.held.pop_front() else { return Ok(()) };
        self.held_bytes -= batch.padded_len();
        let to = self.to;
        self.replayer()?.apply_batch(&batch, to)
    }

    fn replayer(&mut self) -> Result<&mut Replayer, AuditError> {
        if self.replayer.is_none() {
            let checkpoints = std::mem::take(&mut self.checkpoints);
            let replayer = Replayer::new(self.flow, self.options, self.contracts.clone(), checkpoints)?;
            self.replayer = Some(replayer);
        }
        Ok(self.replayer.as_mut().expect("it has just been made"))
    }

    fn give_up(&mut self) {
        self.over = true;
        self.replayer = None;
        self.held.clear();
    }

    /// What the replay gave, if the whole log was applied and everything agreed.
    pub(super) fn finish(&mut self, recorded: &Recorded) -> Option<Replayed> {
        while !self.over && !self.held.is_empty() {
            if self.apply_first().is_err() {
                self.give_up();
            }
        }
        if self.over {
            return None;
        }
        self.replayer().ok()?;
        let replayer = self.replayer.take()?;
        let to = self.to.min(recorded.last);
        let settled = !recorded.settled || to != recorded.last || replayer.commands.settle().is_ok();
        (replayer.last == to && settled).then(|| replayer.finish())
    }
}

#[cfg(test)]
mod tests;
