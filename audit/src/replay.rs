//! Does the code give what the log records?
//!
//! ```text
//!  pass 1: bytes, chain, end ──► contracts, checkpoints           what the log says about its events
//!  pass 2: event ──► Unit, every stage, one thread ──► commands   compared with the derived events of the log
//!                      └── sums, at the checkpoints' seqs ──►     compared with the checkpoints
//! ```
//!
//! Two passes, since a checkpoint stands behind the events that it covers by up to a window of events: with one
//! pass, digests would have to be taken at every place for which one may come.

use std::any::TypeId;
use std::collections::VecDeque;
use std::path::Path;

use downbeat_flow::{Flow, Input, Rejected, Shards, Stage, StageId, Unit};
use downbeat_record::{
    Batch, BatchKind, Checkpoint, Contract, ContractTable, Key, Record, RecoveryNote, Seq, StageDigest,
};
use downbeat_wal::Trust;
use downbeat_wal::reader::Located;

use crate::commands::Commands;
use crate::error::{AuditError, Diverged, Finding};
use crate::verify::Progress;
use crate::walk::{Step, Walk};

/// How a log is replayed.
#[derive(Clone, Copy, Debug)]
pub struct ReplayOptions {
    /// The last event to apply; `None` for all.
    pub to: Option<Seq>,
    /// Into how many shards keyed stages are split. It changes no result.
    pub shards: u32,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self { to: None, shards: 1 }
    }
}

/// What a replay gave.
pub struct Replayed {
    /// Events applied.
    pub events: u64,
    /// Of them, events that stages emitted; each equals what the code emits.
    pub derived: u64,
    /// Events that a stage rejected.
    pub rejected: u64,
    /// The last event applied.
    pub last_seq: Seq,
    /// The digests after it, in the order in which the flow declares its stages.
    pub stages: Vec<StageDigest>,
    /// Checkpoints of the log that were compared, and agree.
    pub checkpoints: u64,
    /// Events that the code emits and the log does not hold: it ended before they got in.
    pub pending: u64,
    /// The event types of the log, in the order of their numbers there.
    pub kinds: Vec<KindCount>,
    unit: Unit,
}

/// How often an event type was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindCount {
    /// The name of its contract.
    pub name: String,
    /// The version of its contract.
    pub version: u16,
    /// Events of it that were applied.
    pub events: u64,
    /// Whether a stage of the flow is on it. Events that no stage is on say nothing about the code.
    pub applied: bool,
}

impl Replayed {
    /// Calls `visit` with every key and state of a stage; false when the flow has no such stage, or it is not
    /// an `S`.
    pub fn each_state<S: Stage>(&self, stage: &str, visit: impl FnMut(Key, &S::State)) -> bool {
        self.unit.each_state::<S>(stage, visit)
    }
}

/// Replays a log through a flow, on this thread, without leaves. Bytes, chain and end of the log are verified
/// first. Progress is reported over both passes.
///
/// Where the log ends, commands may be missing that stages emitted for its last events: [`Replayed::pending`].
///
/// # Errors
///
/// [`AuditError::Diverged`] naming the first difference; [`AuditError::Contract`] when an event type of the flow
/// has another shape than in the log; otherwise as [`crate::verify`], of which payloads are not decoded.
pub fn replay(
    dir: &Path,
    flow: &Flow,
    options: ReplayOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Replayed, AuditError> {
    let mut done = Progress::default();
    let recorded = Recorded::read(dir, &mut done, &mut progress)?;
    let to = options.to.unwrap_or(Seq(u64::MAX)).min(recorded.last);
    let settled = recorded.settled && to == recorded.last;
    let mut replayer = Replayer::new(flow, options.shards, recorded)?;
    // What a writer has added since the first pass is not looked at: nothing is known about it.
    let mut walk = Walk::open(dir, None, Trust::Everything, false)?;
    while replayer.last < to {
        let Some(located) = walk.next()? else { break };
        done.pass(&located.batch);
        if located.batch.kind() == BatchKind::Data {
            replayer.apply_batch(&located.batch, to)?;
        }
        done.seq = replayer.last;
        progress(done);
    }
    if settled {
        replayer.commands.settle()?;
    }
    Ok(replayer.finish())
}

/// What the log itself says about its events.
struct Recorded {
    contracts: ContractTable,
    /// In the order of their seqs.
    checkpoints: VecDeque<Checkpoint>,
    last: Seq,
    /// Nothing that the last event leads to can be missing.
    settled: bool,
}

impl Recorded {
    fn read(
        dir: &Path,
        done: &mut Progress,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Self, AuditError> {
        let mut walk = Walk::open(dir, Some(Seq(1)), Trust::Everything, true)?;
        let mut contracts = ContractTable::new();
        let mut checkpoints = Vec::new();
        done.bytes_total = 2 * walk.directory.bytes();
        let end = loop {
            match walk.step()? {
                Step::End(end) => break end,
                Step::Batch(located) => {
                    let content = |finding| content(&located, walk.intact(), finding);
                    note(&located.batch, &mut contracts, &mut checkpoints).map_err(content)?;
                    done.pass(&located.batch);
                    progress(*done);
                }
            }
        };
        let last = walk.intact();
        // An engine closes its log when nothing is on its way any more, behind a checkpoint of the last event.
        let last_checkpoint: Option<&Checkpoint> = checkpoints.last();
        let settled = end.closed && last_checkpoint.is_some_and(|checkpoint| checkpoint.seq == last);
        checkpoints.sort_by_key(|checkpoint| checkpoint.seq);
        Ok(Self { contracts, checkpoints: checkpoints.into(), last, settled })
    }
}

/// Takes in what a batch without events says.
fn note(
    batch: &Batch,
    contracts: &mut ContractTable,
    checkpoints: &mut Vec<Checkpoint>,
) -> Result<(), Finding> {
    match batch.kind() {
        BatchKind::Data | BatchKind::Heartbeat => {}
        BatchKind::Contracts => {
            let table = ContractTable::from_json(batch.body()).map_err(Finding::Contracts)?;
            table.continues(contracts).map_err(Finding::Contracts)?;
            *contracts = table;
        }
        BatchKind::Checkpoint => {
            let read = Checkpoint::from_json(batch.body());
            let checkpoint = read.map_err(|source| Finding::Control { what: "checkpoint", source })?;
            let (seq, last) = (checkpoint.seq, Seq(batch.first_seq().0 - 1));
            if seq > last {
                return Err(Finding::CheckpointAhead { seq, last });
            }
            checkpoints.push(checkpoint);
        }
        BatchKind::Recovery => {
            let read = serde_json::from_slice::<RecoveryNote>(batch.body());
            read.map_err(|source| Finding::Control { what: "recovery note", source })?;
        }
    }
    Ok(())
}

fn content(located: &Located, intact: Seq, finding: Finding) -> AuditError {
    AuditError::Content {
        path: located.path.to_path_buf(),
        offset: located.offset,
        intact,
        finding: Box::new(finding),
    }
}

struct Replayer {
    unit: Unit,
    names: Vec<String>,
    commands: Commands,
    checkpoints: VecDeque<Checkpoint>,
    /// The seq of the next checkpoint, or none that there is.
    next_checkpoint: Seq,
    /// The last checkpoint that agreed.
    agreed: Seq,
    compared: u64,
    kinds: Vec<KindCount>,
    events: u64,
    derived: u64,
    last: Seq,
}

impl Replayer {
    fn new(flow: &Flow, shards: u32, recorded: Recorded) -> Result<Self, AuditError> {
        let Recorded { mut contracts, checkpoints, .. } = recorded;
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
            unit: flow.unit(&stages, Shards::All(shards.max(1)), &kinds),
            names: flow.stages().iter().map(|stage| stage.name.to_string()).collect(),
            commands: Commands::new(flow, kinds.of(TypeId::of::<Rejected>()).unwrap_or_default()),
            checkpoints,
            next_checkpoint: Seq::ZERO,
            agreed: Seq::ZERO,
            compared: 0,
            kinds: kind_counts.collect(),
            events: 0,
            derived: 0,
            last: Seq::ZERO,
        };
        replayer.compare()?;
        Ok(replayer)
    }

    fn apply_batch(&mut self, batch: &Batch, to: Seq) -> Result<(), AuditError> {
        for record in batch.records().take_while(|record| record.seq <= to) {
            self.apply(&record)?;
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
        let unknown = |logged: &&StageDigest| !self.names.contains(&logged.stage);
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

    fn finish(mut self) -> Replayed {
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
