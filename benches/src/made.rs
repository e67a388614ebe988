//! A log that is made for reading: the same events every time, as an engine leaves them when it closes.
//!
//! The digests of its checkpoint come from the flow on this thread, so a replay has something to agree with. What
//! differs from log to log is its id and its salts, and no reader does more or less for those.

use std::sync::Arc;
use std::time::Duration;

use downbeat_flow::{Flow, Kinds, Shards, Sink, StageId, Unit};
use downbeat_record::{
    Batch, BatchKind, Checkpoint, ContractTable, Event, Fields, Record, Seq, StageDigest, Timestamp,
};
use downbeat_wal::{Log, Options};

use crate::flow::{Posted, fields};

/// Batches that go round.
const BATCHES: u16 = 16;

/// Drops what stages put out; the digests know it.
pub struct Nowhere;

impl Sink for Nowhere {
    #[inline]
    fn value(&mut self, _: StageId, _: &Record<'_>, _: &[u8]) {}
    #[inline]
    fn command(&mut self, _: &Fields, _: &[u8]) {}
}

/// A unit with all stages of a flow.
pub fn whole(flow: &Flow, kinds: &Arc<Kinds>) -> Unit {
    let all: Vec<StageId> = flow.stages().iter().map(|stage| stage.id).collect();
    flow.unit(&all, Shards::All(1), kinds)
}

/// What stands in a log that was made.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Events.
    pub events: u64,
    /// Bytes of their batches.
    pub bytes: u64,
}

/// Makes a log of `events` events of 64 bytes in `options.dir`, in full batches, as `flow` would leave it.
///
/// # Panics
///
/// When the disk refuses, and when `flow` is not on [`Posted`].
pub fn log(options: &Options, flow: &Flow, events: u64) -> Made {
    let mut table = ContractTable::new();
    let kinds = flow.bind(|contract| table.register(contract)).expect("no two contracts are in conflict");
    let mut unit = whole(flow, &kinds);
    let (mut log, _) = Log::open(options, |_| Ok(())).expect("a new log opens");
    let batch = |index| Arc::new(Batch::with_capacity(options.batch_bytes, index));
    let mut batches: Vec<_> = (0..BATCHES).map(batch).collect();
    log.register(&batches);
    log.append_control(BatchKind::Contracts, Timestamp(1), &table.to_json()).expect("there is room");
    let (mut number, mut bytes, mut slot) = (0, 0, 0);
    while number < events {
        log.poll().expect("the log goes on");
        let free = Arc::get_mut(&mut batches[slot]);
        let Some(batch) = free.filter(|_| log.ready().is_ok()) else {
            log.wait(Some(Duration::from_millis(10))).expect("the log goes on");
            continue;
        };
        batch.open(log.next_seq());
        number += fill(batch, &kinds, number, events - number);
        batch.records().for_each(|record| unit.apply(&record, &[], &mut Nowhere));
        bytes += batch.padded_len() as u64;
        log.append(&mut batches[slot]).expect("there is room");
        slot = (slot + 1) % batches.len();
    }
    // A reader looks at segments that hold nothing too: there are always the same.
    while log.spare_segments() < options.spare_segments {
        log.wait(Some(Duration::from_millis(10))).expect("segments are made");
    }
    let checkpoint = checkpoint(flow, &mut unit, events);
    let last = Timestamp(events + 2);
    log.append_control(BatchKind::Checkpoint, last, &checkpoint.to_json()).expect("there is room");
    log.close(last).expect("everything becomes durable");
    Made { events, bytes }
}

/// Fills a batch with events from number `first` on, `most` of them at most; how many it took.
///
/// # Panics
///
/// When no stage of the flow is on [`Posted`].
pub fn fill(batch: &mut Batch, kinds: &Kinds, first: u64, most: u64) -> u64 {
    let mut payload = [0; 64];
    for number in first..first.saturating_add(most) {
        let (event, key) = Posted::nth(0, number);
        let len = event.encode(&mut payload).expect("64 bytes");
        if batch.push(&fields(kinds, key), Timestamp(number + 2), &payload[..len]).is_err() {
            return number - first;
        }
    }
    most
}

fn checkpoint(flow: &Flow, unit: &mut Unit, events: u64) -> Checkpoint {
    let stages = unit.sums().into_iter().map(|(id, sums)| StageDigest {
        stage: flow.stage(id).name.to_string(),
        outputs: sums.outputs,
        state: sums.state,
    });
    let (flow, stages) = (flow.name().to_owned(), stages.collect());
    Checkpoint { seq: Seq(events), flow, stages, leaves: Vec::new() }
}
