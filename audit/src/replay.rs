//! Does the code give what the log records?
//!
//! Two passes: the first reads the digests that the log holds, the second applies every event and compares at
//! exactly those places. A checkpoint stands behind the events that it covers, by up to a window of events, so
//! one pass would have to remember digests that may never be asked for.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::path::Path;

use downbeat_flow::{Flow, Input, Ledger, Rejected, Shards, Sink, Stage, StageId, Unit};
use downbeat_record::{
    Batch, BatchKind, Checkpoint, ContractTable, Fields, Key, Kind, Record, Seq, StageDigest,
};
use downbeat_wal::Trust;
use downbeat_wal::reader::{ReadOptions, Reader};

use crate::error::{AuditError, Diverged};
use crate::verify::Progress;

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
    unit: Unit,
}

impl Replayed {
    /// Calls `visit` with every key and state of a stage; false when the flow has no such stage, or it is not
    /// an `S`.
    pub fn each_state<S: Stage>(&self, stage: &str, visit: impl FnMut(Key, &S::State)) -> bool {
        self.unit.each_state::<S>(stage, visit)
    }
}

/// Replays a log through a flow, on this thread, without leaves.
///
/// # Errors
///
/// [`AuditError::Diverged`] naming the first difference; [`AuditError::Contract`] when an event type of the flow
/// has another shape than in the log; otherwise as [`crate::verify`], of which checksums and chain are checked.
pub fn replay(
    dir: &Path,
    flow: &Flow,
    options: ReplayOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Replayed, AuditError> {
    let recorded = Recorded::read(dir)?;
    let mut contracts = recorded.contracts;
    let kinds = flow.bind(|contract| contracts.register(contract))?;
    let stages: Vec<StageId> = flow.stages().iter().map(|stage| stage.id).collect();
    let mut replayer = Replayer {
        unit: flow.unit(&stages, Shards::All(options.shards.max(1)), &kinds),
        names: flow.stages().iter().map(|stage| stage.name.to_string()).collect(),
        sink: Emitted {
            ledger: Ledger::default(),
            rejected_kind: kinds.of(TypeId::of::<Rejected>()).unwrap_or_default(),
            rejected: 0,
        },
        checkpoints: recorded.checkpoints,
        agreed: Seq::ZERO,
        compared: 0,
        events: 0,
        derived: 0,
        last: Seq::ZERO,
    };
    let to = options.to.unwrap_or(Seq(u64::MAX));
    let mut done = Progress::default();
    for_each_batch(dir, false, |batch| {
        done.batches += 1;
        done.bytes += batch.padded_len() as u64;
        if batch.kind() != BatchKind::Data {
            return Ok(true);
        }
        for record in batch.records().take_while(|record| record.seq <= to) {
            replayer.apply(&record)?;
        }
        done.seq = replayer.last;
        progress(done);
        Ok(replayer.last < to)
    })?;
    Ok(replayer.finish())
}

/// What the log itself says about its events.
struct Recorded {
    contracts: ContractTable,
    checkpoints: BTreeMap<Seq, Checkpoint>,
}

impl Recorded {
    fn read(dir: &Path) -> Result<Self, AuditError> {
        let mut recorded = Self { contracts: ContractTable::new(), checkpoints: BTreeMap::new() };
        for_each_batch(dir, true, |batch| {
            match batch.kind() {
                BatchKind::Contracts => {
                    let table = ContractTable::from_json(batch.body())?;
                    table.continues(&recorded.contracts)?;
                    recorded.contracts = table;
                }
                BatchKind::Checkpoint => {
                    if let Ok(checkpoint) = Checkpoint::from_json(batch.body()) {
                        recorded.checkpoints.insert(checkpoint.seq, checkpoint);
                    }
                }
                _ => {}
            }
            Ok(true)
        })?;
        Ok(recorded)
    }
}

/// Shows every batch to `visit` until it says false.
fn for_each_batch(
    dir: &Path,
    verify_chain: bool,
    mut visit: impl FnMut(&Batch) -> Result<bool, AuditError>,
) -> Result<(), AuditError> {
    let options = ReadOptions { from: Seq(1), trust: Trust::Everything, verify_chain };
    let mut last = Seq::ZERO;
    let failed = |intact, source| AuditError::Log { intact, source };
    let mut reader = Reader::open_with(dir, options).map_err(|source| failed(last, source))?;
    while let Some(located) = reader.next_batch().map_err(|source| failed(last, source))? {
        if !visit(&located.batch)? {
            break;
        }
        last = Seq(located.batch.next_seq().0 - 1);
    }
    Ok(())
}

/// Takes commands; values go to nobody, since every stage is in the one unit and leaves are not called.
struct Emitted {
    ledger: Ledger,
    rejected_kind: Kind,
    rejected: u64,
}

impl Sink for Emitted {
    fn value(&mut self, _: StageId, _: &Record<'_>, _: &[u8]) {}

    fn command(&mut self, fields: &Fields, payload: &[u8]) {
        self.rejected += u64::from(fields.kind == self.rejected_kind);
        self.ledger.emitted(*fields, payload);
    }
}

struct Replayer {
    unit: Unit,
    names: Vec<String>,
    sink: Emitted,
    checkpoints: BTreeMap<Seq, Checkpoint>,
    /// The last checkpoint that agreed.
    agreed: Seq,
    compared: u64,
    events: u64,
    derived: u64,
    last: Seq,
}

impl Replayer {
    #[inline]
    fn apply(&mut self, record: &Record<'_>) -> Result<(), Diverged> {
        if record.fields.derived {
            self.sink.ledger.logged(record)?;
            self.derived += 1;
        }
        self.unit.apply(record, &[] as &[Input<'_>], &mut self.sink);
        self.events += 1;
        self.last = record.seq;
        if self.checkpoints.first_key_value().is_some_and(|(seq, _)| *seq == record.seq) {
            self.compare()?;
        }
        Ok(())
    }

    #[cold]
    fn compare(&mut self) -> Result<(), Diverged> {
        let Some((seq, logged)) = self.checkpoints.pop_first() else { return Ok(()) };
        for found in self.digests() {
            let Some(expected) = logged.stages.iter().find(|stage| stage.stage == found.stage) else {
                continue;
            };
            let pairs = [
                ("the output digest", found.outputs, expected.outputs),
                ("the state digest", found.state, expected.state),
            ];
            if let Some((what, found_digest, logged)) = pairs.into_iter().find(|(_, a, b)| a != b) {
                let (stage, after) = (found.stage, self.agreed);
                return Err(Diverged::Digest { stage, what, after, seq, found: found_digest, logged });
            }
        }
        self.agreed = seq;
        self.compared += 1;
        Ok(())
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
            rejected: self.sink.rejected,
            last_seq: self.last,
            stages: self.digests(),
            checkpoints: self.compared,
            pending: self.sink.ledger.len() as u64,
            unit: self.unit,
        }
    }
}
