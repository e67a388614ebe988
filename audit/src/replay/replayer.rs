//! The code at work: every stage, one thread, event after event, and what the log says beside it.

use std::any::TypeId;
use std::collections::VecDeque;

use downbeat_flow::{Flow, Input, Rejected, Shards, StageId, Unit};
use downbeat_record::{Batch, Checkpoint, Contract, ContractTable, Record, Seq, StageDigest};

use super::{KindCount, ReplayOptions, Replayed};
use crate::commands::Commands;
use crate::error::{AuditError, Diverged};

/// Applies events, and compares digests and commands with those of the log.
pub(super) struct Replayer {
    unit: Unit,
    names: Vec<String>,
    /// Stages that the log may know and the flow has no longer.
    retired: Vec<String>,
    pub(super) commands: Commands,
    checkpoints: VecDeque<Checkpoint>,
    /// The seq of the next checkpoint, or none that there is.
    next_checkpoint: Seq,
    /// The last checkpoint that agreed.
    agreed: Seq,
    compared: u64,
    kinds: Vec<KindCount>,
    events: u64,
    derived: u64,
    pub(super) last: Seq,
    /// Bytes of commands that may be owed.
    held_max: usize,
}

impl Replayer {
    /// At the first event, knowing the contracts of a log and some of its checkpoints, in the order of their seqs.
    pub(super) fn new(
        flow: &Flow,
        options: ReplayOptions,
        mut contracts: ContractTable,
        checkpoints: VecDeque<Checkpoint>,
    ) -> Result<Self, AuditError> {
        let logged: Vec<Contract> = contracts.iter().map(|(_, contract)| contract.clone()).collect();
        let kinds = flow.bind(|contract| contracts.register(contract))?;
        let stages: Vec<StageId> = flow.stages().iter().map(|stage| stage.id).collect();
        let on = |name: &str, version: u16| {
            let mut types = flow.stages().iter().flat_map(|stage| &stage.on);
            types.any(|one| one.name == name && one.version == version)
        };
        let kind_counts = logged.into_iter().map(|Contract { name, version, .. }| {
            let applied = on(&name, version);
            KindCount { name, version, events: 0, applied }
        });
        let mut replayer = Self {
            unit: flow.unit(&stages, Shards::All(options.shards.max(1)), &kinds),
            names: flow.stages().iter().map(|stage| stage.name.to_string()).collect(),
            retired: flow.retired().to_vec(),
            commands: Commands::new(flow, kinds.of(TypeId::of::<Rejected>()).unwrap_or_default()),
            checkpoints,
            next_checkpoint: Seq::ZERO,
            agreed: Seq::ZERO,
            compared: 0,
            kinds: kind_counts.collect(),
            events: 0,
            derived: 0,
            last: Seq::ZERO,
            held_max: options.command_backlog_bytes,
        };
        replayer.compare()?;
        Ok(replayer)
    }

    /// Takes in a checkpoint that was not known before; false when its place is passed, and nothing can be compared
    /// with it any more.
    pub(super) fn learn(&mut self, checkpoint: Checkpoint) -> Result<bool, Diverged> {
        if checkpoint.seq < self.last {
            return Ok(false);
        }
        let place = self.checkpoints.partition_point(|known| known.seq <= checkpoint.seq);
        self.checkpoints.insert(place, checkpoint);
        self.compare().map(|()| true)
    }

    pub(super) fn apply_batch(&mut self, batch: &Batch, to: Seq) -> Result<(), AuditError> {
        for record in batch.records().take_while(|record| record.seq <= to) {
            self.apply(&record)?;
            if self.commands.memory() > self.held_max {
                return Err(self.commands.too_much(self.held_max));
            }
        }
        Ok(())
    }

    #[inline]
    fn apply(&mut self, record: &Record<'_>) -> Result<(), Diverged> {
        if record.fields.derived {
            self.commands.logged(record)?;
            self.derived += 1;
        }
        self.commands.key = record.fields.key;
        self.unit.apply(record, &[] as &[Input<'_>], &mut self.commands);
        if let Some(kind) = self.kinds.get_mut(usize::from(record.fields.kind.0).wrapping_sub(1)) {
            kind.events += 1;
        }
        self.events += 1;
        self.last = record.seq;
        if record.seq == self.next_checkpoint { self.compare() } else { Ok(()) }
    }

    /// Compares the digests with every checkpoint of this place, and says where the next one is.
    #[cold]
    fn compare(&mut self) -> Result<(), Diverged> {
        while self.checkpoints.front().is_some_and(|next| next.seq <= self.last) {
            let Some(logged) = self.checkpoints.pop_front() else { break };
            self.compare_with(&logged)?;
            self.agreed = logged.seq;
            self.compared += 1;
        }
        self.next_checkpoint = self.checkpoints.front().map_or(Seq::ZERO, |checkpoint| checkpoint.seq);
        Ok(())
    }

    fn compare_with(&mut self, logged: &Checkpoint) -> Result<(), Diverged> {
        let found = self.digests();
        let (seq, after) = (logged.seq, self.agreed);
        for StageDigest { stage, outputs, state } in &found {
            // A stage that was added later has no digest in older checkpoints.
            let Some(expected) = logged.stages.iter().find(|logged| logged.stage == *stage) else { continue };
            let pairs = [
                ("the output digest", outputs, expected.outputs),
                ("the state digest", state, expected.state),
            ];
            if let Some((what, found, logged)) = pairs.into_iter().find(|(_, a, b)| **a != *b) {
                return Err(Diverged::Digest {
                    stage: stage.clone(),
                    what,
                    after,
                    seq,
                    found: *found,
                    logged,
                });
            }
        }
        let unknown = |logged: &&StageDigest| {
            !self.names.contains(&logged.stage) && !self.retired.contains(&logged.stage)
        };
        match logged.stages.iter().find(unknown) {
            Some(StageDigest { stage, .. }) => {
                Err(Diverged::NoStage { stage: stage.clone(), flow: logged.flow.clone(), seq })
            }
            None => Ok(()),
        }
    }

    fn digests(&mut self) -> Vec<StageDigest> {
        let sums = self.unit.sums().into_iter();
        sums.map(|(id, sums)| StageDigest {
            stage: self.names[usize::from(id.0)].clone(),
            outputs: sums.outputs,
            state: sums.state,
        })
        .collect()
    }

    pub(super) fn finish(mut self) -> Replayed {
        Replayed {
            events: self.events,
            derived: self.derived,
            rejected: self.commands.rejected,
            last_seq: self.last,
            stages: self.digests(),
            checkpoints: self.compared,
            pending: self.commands.pending(),
            kinds: self.kinds,
            unit: self.unit,
        }
    }
}
