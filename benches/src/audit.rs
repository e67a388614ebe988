//! The same log again, on one thread and without actors: a figure counts only when both give the same digests.

use std::path::Path;

use downbeat_flow::{Flow, Shards, Sink, StageId};
use downbeat_record::{BatchKind, Checkpoint, ContractTable, Fields, Record, Seq, StageDigest};
use downbeat_wal::reader::Reader;

/// Drops what stages put out; the digests know it.
struct Nowhere;

impl Sink for Nowhere {
    fn value(&mut self, _: StageId, _: &Record<'_>, _: &[u8]) {}
    fn command(&mut self, _: &Fields, _: &[u8]) {}
}

/// Replays the closed log in `dir` and compares the digests with those that the live run logged at its end; the
/// events it holds.
///
/// # Panics
///
/// When they differ, when the last checkpoint does not cover the last event, and when the log cannot be read.
pub fn replay(dir: &Path, flow: &Flow) -> u64 {
    let mut contracts = ContractTable::new();
    let mut unit = None;
    let (mut last, mut logged) = (Seq::ZERO, None);
    let mut reader = Reader::open(dir).expect("the log opens for reading");
    for located in reader.batches() {
        let batch = located.expect("the log reads well").batch;
        match batch.kind() {
            BatchKind::Contracts => {
                contracts = ContractTable::from_json(batch.body()).expect("contracts are readable");
            }
            BatchKind::Checkpoint => {
                logged = Some(Checkpoint::from_json(batch.body()).expect("a checkpoint is readable"));
            }
            BatchKind::Data => {
                let unit = unit.get_or_insert_with(|| {
                    let all: Vec<StageId> = flow.stages().iter().map(|stage| stage.id).collect();
                    let kinds = flow.bind(|contract| contracts.register(contract));
                    flow.unit(&all, Shards::All(1), &kinds.expect("the log has these contracts"))
                });
                for record in batch.records() {
                    unit.apply(&record, &[], &mut Nowhere);
                }
                last = Seq(batch.next_seq().0 - 1);
            }
            BatchKind::Heartbeat | BatchKind::Recovery => {}
        }
    }
    let logged = logged.expect("a closed log ends with a checkpoint");
    assert_eq!(logged.seq, last, "the last checkpoint covers the last event");
    let sums = unit.as_mut().expect("the log has events").sums();
    let replayed: Vec<StageDigest> = sums
        .into_iter()
        .map(|(id, sums)| {
            let stage = flow.stage(id).name.to_string();
            StageDigest { stage, outputs: sums.outputs, state: sums.state }
        })
        .collect();
    assert_eq!(replayed, logged.stages, "a replay on one thread gives the digests of the live run");
    last.0
}
