//! The stages of one process at work: real units of the flow, moved one by one in any order.
//!
//! ```text
//!  feed (the batches the log has) ──► book 0, book 1, … (a shard each) ──lane──► ledger ──► effects
//!                                       └──► commands, for the derived door
//! ```
//!
//! Invariants, which are those of the actors: a stage applies every event in the order of its seq; the ledger
//! applies an event only when all shards of the book have passed it; a value waits in the lane under its seq.
//! The interleaving of the workers is the seed's; that it cannot show is what the checkers look for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use downbeat_flow::{Flow, Input, Kinds, Ledger as Commands, Shards, Sink, StageId, StageSums, Unit};
use downbeat_record::{Batch, BatchKind, Checkpoint, Event, Fields, Record, Seq, StageDigest, encoded_here};
use downbeat_wal::Reader;
use rkyv::util::AlignedVec;

use crate::bank::Posted;
use crate::bug::Bug;

const BOOK: StageId = StageId(0);
const LEDGER: StageId = StageId(1);

/// A value for whoever is outside, and the event it follows from.
pub(crate) type Effect = (Seq, u64);

pub(crate) struct Stages {
    flow: Arc<Flow>,
    pub(crate) kinds: Arc<Kinds>,
    /// The shards of the book, then the ledger.
    workers: Vec<Worker>,
    /// Values of the book that the ledger has not read.
    lane: BTreeMap<Seq, AlignedVec>,
    feed: VecDeque<Arc<Batch>>,
    /// Digests are taken at every multiple of this.
    every: u64,
    bug: Option<Bug>,
    /// Crashed; rebuilt from the log once it is durable up to here.
    down_until: Option<Seq>,
    pub(crate) commands: VecDeque<(Fields, Vec<u8>)>,
    pub(crate) effects: VecDeque<Effect>,
}

struct Worker {
    unit: Unit,
    cursor: Seq,
    sums: BTreeMap<Seq, StageSums>,
}

#[derive(Default)]
struct Taken {
    value: Option<AlignedVec>,
    commands: Vec<(Fields, Vec<u8>)>,
}

impl Sink for Taken {
    fn value(&mut self, _: StageId, _: &Record<'_>, bytes: &[u8]) {
        let mut value = AlignedVec::new();
        value.extend_from_slice(bytes);
        self.value = Some(value);
    }

    fn command(&mut self, fields: &Fields, payload: &[u8]) {
        self.commands.push((*fields, payload.to_vec()));
    }
}

impl Stages {
    pub(crate) fn new(
        flow: &Arc<Flow>,
        kinds: &Arc<Kinds>,
        shards: u32,
        every: u64,
        bug: Option<Bug>,
    ) -> Self {
        let mut stages = Self {
            flow: flow.clone(),
            kinds: kinds.clone(),
            workers: Vec::new(),
            lane: BTreeMap::new(),
            feed: VecDeque::new(),
            every,
            bug,
            down_until: None,
            commands: VecDeque::new(),
            effects: VecDeque::new(),
        };
        stages.begin(shards);
        stages
    }

    fn begin(&mut self, shards: u32) {
        let worker = |stage, shards| Worker {
            unit: self.flow.unit(&[stage], shards, &self.kinds),
            cursor: Seq::ZERO,
            sums: BTreeMap::new(),
        };
        let book = (0..shards).map(|shard| worker(BOOK, Shards::One(shard, shards)));
        self.workers = book.chain([worker(LEDGER, Shards::All(1))]).collect();
        self.lane.clear();
        self.effects.clear();
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The event that every stage has passed.
    pub(crate) fn slowest(&self) -> Seq {
        self.workers.iter().map(|worker| worker.cursor).min().unwrap_or_default()
    }

    /// True when nothing waits to leave.
    pub(crate) fn is_quiet(&self) -> bool {
        self.commands.is_empty() && self.effects.is_empty()
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down_until.is_some()
    }

    /// Takes a batch that was handed to the log.
    pub(crate) fn publish(&mut self, batch: &Arc<Batch>) {
        self.feed.push_back(batch.clone());
    }

    /// Moves one worker by at most so many events; says by how many it moved.
    pub(crate) fn step(&mut self, worker: usize, events: usize) -> usize {
        let mut moved = 0;
        while moved < events && self.down_until.is_none() && self.commands.is_empty() {
            let next = self.workers[worker].cursor.next();
            if worker == self.workers.len() - 1 && !self.is_passed(next) {
                break;
            }
            let Some(batch) = self.feed.iter().find(|batch| next < batch.next_seq()).cloned() else { break };
            let index = next.0 - batch.first_seq().0;
            let Some(record) = batch.records().nth(index as usize) else { break };
            self.apply(worker, &record);
            if self.bug == Some(Bug::AppliedTwice) && next.0.is_multiple_of(16) {
                self.apply(worker, &record);
            }
            moved += 1;
        }
        let slowest = self.slowest();
        while self.feed.front().is_some_and(|batch| batch.next_seq() <= slowest.next()) {
            self.feed.pop_front();
        }
        moved
    }

    /// True when the book has passed the event, so that there is nothing to wait for.
    fn is_passed(&self, seq: Seq) -> bool {
        let (_, book) = self.workers.split_last().expect("there is a ledger");
        self.bug == Some(Bug::UnorderedJoin) || book.iter().all(|worker| worker.cursor >= seq)
    }

    fn apply(&mut self, index: usize, record: &Record<'_>) {
        let is_ledger = index == self.workers.len() - 1;
        let value = if is_ledger { self.lane.remove(&record.seq) } else { None };
        let input = value.as_ref().map(|bytes| Input { from: BOOK, bytes });
        let mut taken = Taken::default();
        let worker = &mut self.workers[index];
        worker.unit.apply(record, input.as_slice(), &mut taken);
        worker.cursor = record.seq;
        if record.seq.0.is_multiple_of(self.every) {
            let sums = worker.unit.sums();
            worker.sums.insert(record.seq, sums[0].1);
        }
        self.commands.extend(taken.commands);
        match taken.value {
            Some(value) if is_ledger => {
                let trail = Posted::view(encoded_here(&value)).map(|posted| posted.trail.to_native());
                self.effects.push_back((record.seq, trail.unwrap_or(u64::MAX)));
            }
            Some(value) => drop(self.lane.insert(record.seq, value)),
            None => {}
        }
    }

    /// Applies an event that is in the log, to all stages at once; what they emit is held against the log.
    pub(crate) fn replay(&mut self, record: &Record<'_>, commands: &mut Commands) -> Result<(), String> {
        if record.fields.derived {
            commands.logged(record).map_err(|mismatch| mismatch.to_string())?;
        }
        for worker in 0..self.workers.len() {
            self.apply(worker, record);
        }
        self.commands.drain(..).for_each(|(fields, payload)| commands.emitted(fields, &payload));
        Ok(())
    }

    /// What was emitted and is not in the log goes to the door.
    pub(crate) fn resume(&mut self, commands: &mut Commands) {
        self.commands.extend(commands.take().map(|pending| (pending.fields, pending.payload)));
    }

    /// All states are lost; what is in lanes and bells too.
    pub(crate) fn crash(&mut self) {
        let furthest = self.workers.iter().map(|worker| worker.cursor).max().unwrap_or_default();
        self.down_until = Some(furthest.max(self.down_until.unwrap_or_default()));
        self.commands.clear();
    }

    /// Rebuilds from the log, if it is durable as far as that needs. A read error is no end: it is tried again.
    pub(crate) fn mend(
        &mut self,
        durable: Seq,
        reader: impl FnOnce() -> Option<Reader>,
    ) -> Result<bool, String> {
        let Some(until) = self.down_until.filter(|until| *until <= durable) else { return Ok(false) };
        let Some(mut reader) = reader() else { return Ok(false) };
        self.begin(self.workers.len() as u32 - 1);
        let mut commands = Commands::default();
        let mut last = Seq::ZERO;
        while last < until {
            let Ok(Some(located)) = reader.next_batch() else { return Ok(false) };
            if located.batch.kind() != BatchKind::Data {
                continue;
            }
            for record in located.batch.records().take_while(|record| record.seq <= until) {
                self.replay(&record, &mut commands)?;
                last = record.seq;
            }
        }
        self.down_until = None;
        self.resume(&mut commands);
        Ok(true)
    }

    /// The digests at `seq`, if every stage has passed it and it is a place where they are taken.
    pub(crate) fn digests_at(&self, seq: Seq) -> Option<Vec<StageDigest>> {
        let sums: Option<Vec<StageSums>> =
            self.workers.iter().map(|one| one.sums.get(&seq).copied()).collect();
        sums.map(|sums| digests(&sums))
    }

    /// The digests after everything that was applied.
    pub(crate) fn digests(&mut self) -> Vec<StageDigest> {
        let sums: Vec<StageSums> = self.workers.iter_mut().map(|worker| worker.unit.sums()[0].1).collect();
        digests(&sums)
    }

    /// The next checkpoint after `last` that is complete.
    pub(crate) fn checkpoint(&self, last: Seq) -> Option<Checkpoint> {
        let seq = Seq((last.0 / self.every + 1) * self.every);
        let stages = self.digests_at(seq)?;
        Some(Checkpoint { seq, flow: self.flow.name().to_owned(), stages, leaves: Vec::new() })
    }
}

fn digests(sums: &[StageSums]) -> Vec<StageDigest> {
    let (ledger, book) = sums.split_last().expect("there is a ledger");
    let book = book.iter().fold(StageSums::default(), |sum, one| sum.plus(*one));
    let digest = |stage: &str, sums: StageSums| StageDigest {
        stage: stage.to_owned(),
        outputs: sums.outputs,
        state: sums.state,
    };
    vec![digest("book", book), digest("ledger", *ledger)]
}
