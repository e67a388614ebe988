//! One process: the sequencer, the log and the stages that ship, driven round by round on one thread.
//!
//! The round is that of `engine/src/driver.rs`, which itself owns threads and cannot run here: told what became
//! durable, give places, hand over the batch, write checkpoints and heartbeats. A process ends by being dropped;
//! what it had in flight is the disk's to decide.

use std::any::TypeId;
use std::collections::VecDeque;
use std::sync::Arc;

use downbeat_flow::{Flow, Kinds, Ledger as Commands, Rejected};
use downbeat_record::{
    BatchKind, BatchNo, Checkpoint, ContractTable, Epoch, Event, Kind, Record, SegmentId, Seq, Timestamp,
    WholeBatch,
};
use downbeat_sequencer::{
    Cause, Clock, Idempotency, IdempotencyWindow, Ingress, ManualClock, Sequencer, Settings, Start, Stop,
    sequencer,
};
use downbeat_wal::{
    BackendChoice, Log, LogError, NotReady, OpenError, Options, ReadOptions, Reader, Recovered, ScanError,
    Trust,
};

use crate::bank::{Credited, Deposited, Moved};
use crate::bug::Bug;
use crate::disk::Disk;
use crate::model::Meaning;
use crate::plan::{BATCH_BYTES, Plan};
use crate::stages::{Effect, Stages};
use crate::truth::{Entry, Truth, Violation, hold};

/// Rounds without anything to do after which an idle log gets its heartbeat.
const QUIET_ROUNDS: u32 = 3;

/// What does not change over the life of a world.
pub(crate) struct Program {
    pub(crate) plan: Plan,
    pub(crate) disk: Disk,
    pub(crate) clock: ManualClock,
    pub(crate) flow: Arc<Flow>,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) contracts: ContractTable,
    pub(crate) bug: Option<Bug>,
}

pub(crate) struct Process {
    log: Log,
    pub(crate) sequencer: Sequencer,
    pub(crate) ingress: Ingress,
    pub(crate) stages: Stages,
    clock: ManualClock,
    disk: Disk,
    bug: Option<Bug>,
    depth: usize,
    batch_bytes_min: usize,
    /// The contract table, until it is in the log.
    undeclared: Option<Vec<u8>>,
    durable: Seq,
    /// The first batch that it writes, and its epoch.
    own: (BatchNo, Epoch),
    checkpointed: Seq,
    refusing: bool,
    quiet: u32,
    effects: VecDeque<Effect>,
}

/// What opening a log showed.
pub(crate) struct Opened {
    pub(crate) process: Process,
    pub(crate) entries: Vec<Entry>,
    pub(crate) recovered: Recovered,
}

impl Program {
    pub(crate) fn new(plan: Plan, disk: Disk, bug: Option<Bug>) -> Self {
        let flow = Arc::new(crate::bank::flow());
        let mut contracts = ContractTable::new();
        let kinds =
            flow.bind(|contract| contracts.register(contract)).expect("a new table takes any contract");
        Self { plan, disk, clock: ManualClock::default(), flow, kinds, contracts, bug }
    }

    pub(crate) fn kind<E: Event>(&self) -> Kind {
        self.kinds.of(TypeId::of::<E>()).unwrap_or_default()
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            segment_bytes: self.plan.segment_bytes,
            spare_segments: self.plan.spare_segments,
            depth: self.plan.depth,
            batch_bytes: BATCH_BYTES,
            backend: BackendChoice::Storage(Arc::new(self.disk.clone())),
            ..Options::new("sim:")
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            ring_bytes: 32 << 10,
            derived_ring_bytes: 32 << 10,
            tickets: 64,
            batch_bytes: BATCH_BYTES,
            batches: self.plan.depth + 4,
            window_events: self.plan.window_events,
            idempotency: Idempotency { keys: 4096, age_ns: u64::MAX },
        }
    }

    /// Opens the log and takes in what is in it, as an engine does. An error of the inner kind is a refusal by
    /// the log; one of the outer kind is a promise that was broken.
    pub(crate) fn open(&self) -> Result<Result<Opened, OpenError>, Violation> {
        let settings = self.settings();
        let mut intake = Intake {
            stages: Stages::new(
                &self.flow,
                &self.kinds,
                self.plan.shards,
                self.plan.checkpoint_every,
                self.bug,
            ),
            commands: Commands::default(),
            window: IdempotencyWindow::new(settings.idempotency),
            contracts: ContractTable::new(),
            entries: Vec::new(),
            last: Timestamp::default(),
            checkpointed: Seq::ZERO,
            bug: self.bug,
        };
        let mut broken = None;
        let opened = Log::open(&self.options(), |batch| {
            intake.batch(batch).map_err(|violation| {
                let text = violation.to_string();
                broken = Some(violation);
                text.into()
            })
        });
        if let Some(violation) = broken {
            return Err(violation);
        }
        let (log, recovered) = match opened {
            Ok(opened) => opened,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Intake { mut stages, mut commands, window, contracts, entries, last, checkpointed, .. } = intake;
        stages.resume(&mut commands);
        // What follows from events that are in the log has left before, or leaves now: at least once.
        let next_seq = log.next_seq();
        let seen = Seq(entries.len() as u64);
        hold!(seen.next() == next_seq, Dense, "{seen} events were shown, the next seq is {next_seq}");
        if self.bug == Some(Bug::RefusedForNothing) && entries.len() > 3 {
            let path = "sim:/00000000000000000001.seg".into();
            return Ok(Err(ScanError::MissingSegment { path, segment: SegmentId(1) }.into()));
        }
        let known = Some(Arc::new(self.contracts.clone()));
        let start = Start { next_seq, last_timestamp: last, window, contracts: known };
        let (ingress, sequencer) = sequencer(&settings, self.clock.clone(), start);
        let undeclared = (contracts != self.contracts).then(|| self.contracts.to_json());
        let process = Process {
            log,
            sequencer,
            ingress,
            stages,
            clock: self.clock.clone(),
            disk: self.disk.clone(),
            bug: self.bug,
            depth: self.plan.depth,
            batch_bytes_min: self.plan.batch_bytes_min,
            undeclared,
            durable: seen,
            own: (recovered.last_batch.next(), recovered.epoch),
            checkpointed,
            refusing: false,
            quiet: 0,
            effects: VecDeque::new(),
        };
        Ok(Ok(Opened { process, entries, recovered }))
    }
}

impl Program {
    /// What a reader sees of the log, whoever writes it.
    pub(crate) fn read(&self, trust: Trust) -> Result<Vec<Entry>, String> {
        let trust = if self.bug == Some(Bug::ReaderAhead) { Trust::Everything } else { trust };
        let options = ReadOptions { from: Seq(1), trust, verify_chain: true, own: None };
        let mut reader =
            Reader::on(Arc::new(self.disk.clone()), options).map_err(|error| error.to_string())?;
        let mut entries = Vec::new();
        while let Some(located) = reader.next_batch().map_err(|error| error.to_string())? {
            if located.batch.kind() == BatchKind::Data {
                entries.extend(located.batch.records().map(|record| entry(&self.kinds, &record)));
            }
        }
        if self.bug == Some(Bug::ReaderShort) {
            entries.pop();
        }
        Ok(entries)
    }

    /// What recovery found, as a planted bug changes it.
    pub(crate) fn tamper(&self, mut entries: Vec<Entry>, truth: &Truth) -> Vec<Entry> {
        match self.bug {
            Some(Bug::LastEventDropped) => drop(entries.pop()),
            Some(Bug::SeqSkipped) if entries.len() > 2 => drop(entries.remove(entries.len() / 2)),
            Some(Bug::GroupTorn) if truth.ends_in_a_group(&entries) => drop(entries.pop()),
            Some(Bug::Resurrection) => entries.extend(truth.some_cut(entries.len())),
            _ => {}
        }
        entries
    }
}

/// Takes in batches while a log is opened.
struct Intake {
    stages: Stages,
    commands: Commands,
    window: IdempotencyWindow,
    contracts: ContractTable,
    entries: Vec<Entry>,
    last: Timestamp,
    checkpointed: Seq,
    bug: Option<Bug>,
}

impl Intake {
    fn batch(&mut self, batch: &WholeBatch<'_>) -> Result<(), Violation> {
        match batch.kind() {
            BatchKind::Data => batch.records().try_for_each(|record| self.record(&record)),
            BatchKind::Contracts => {
                let table = ContractTable::from_json(batch.body());
                let table = table.map_err(|error| error.to_string());
                hold!(table.is_ok(), Prefix, "a contract table: {table:?}");
                self.contracts = table.unwrap_or_default();
                Ok(())
            }
            BatchKind::Checkpoint => self.checkpoint(batch),
            BatchKind::Heartbeat | BatchKind::Recovery => Ok(()),
        }
    }

    fn record(&mut self, record: &Record<'_>) -> Result<(), Violation> {
        let (seq, expected) = (record.seq, Seq(self.entries.len() as u64 + 1));
        hold!(seq == expected, Dense, "seq {seq} stands where {expected} belongs");
        let before = self.last;
        let stands = self.bug == Some(Bug::TimeStands) && seq > Seq(2);
        let time = if stands { before } else { record.timestamp };
        hold!(time > before, Dense, "seq {seq} is of {time}, the event before of {before}");
        self.last = time;
        if self.bug != Some(Bug::KeysForgotten) {
            self.window.insert_record(record);
        }
        self.entries.push(entry(&self.stages.kinds, record));
        let replayed = self.stages.replay(record, &mut self.commands);
        hold!(replayed.is_ok(), Digests, "{replayed:?}");
        Ok(())
    }

    fn checkpoint(&mut self, batch: &WholeBatch<'_>) -> Result<(), Violation> {
        let read = Checkpoint::from_json(batch.body()).map_err(|error| error.to_string());
        hold!(read.is_ok(), Prefix, "a checkpoint: {read:?}");
        let Ok(logged) = read else { return Ok(()) };
        let found = self.stages.digests_at(logged.seq);
        let (seq, expected) = (logged.seq, &logged.stages);
        hold!(
            found.as_ref() == Some(expected),
            Digests,
            "at {seq} {expected:?} is logged, replayed {found:?}"
        );
        self.checkpointed = seq;
        Ok(())
    }
}

fn entry(kinds: &Kinds, record: &Record<'_>) -> Entry {
    let is = |type_id| kinds.of(type_id) == Some(record.fields.kind);
    let meaning = if is(TypeId::of::<Deposited>()) {
        Deposited::view(record.payload()).map(|event| Meaning::Deposit { cents: event.cents.to_native() })
    } else if is(TypeId::of::<Moved>()) {
        let view = Moved::view(record.payload());
        view.map(|event| Meaning::Move { to: event.to.to_native(), cents: event.cents.to_native() })
    } else if is(TypeId::of::<Credited>()) {
        Credited::view(record.payload()).map(|event| Meaning::Credit { cents: event.cents.to_native() })
    } else {
        Rejected::view(record.payload()).map(|_| Meaning::Rejection)
    };
    Entry {
        fields: record.fields,
        timestamp: record.timestamp,
        payload: record.payload().bytes().to_vec(),
        meaning: meaning.unwrap_or(Meaning::Rejection),
    }
}

/// How a round ended.
pub(crate) enum Round {
    /// Nothing stands in its way.
    Went,
    /// The log has failed; the process has told everyone and can only end.
    Failed,
}

impl Process {
    /// One round of the thread that orders and writes.
    pub(crate) fn round(&mut self, truth: &mut Truth) -> Result<Round, Violation> {
        match self.try_round(truth) {
            Ok(went) => went.map(|_| Round::Went),
            Err(cause) => {
                self.sequencer.fail(cause);
                self.sequencer.fill(self.stages.slowest());
                Ok(Round::Failed)
            }
        }
    }

    fn try_round(&mut self, truth: &mut Truth) -> Result<Result<bool, Violation>, Cause> {
        let mut busy = self.settle(truth)?;
        if !self.declare()? {
            return Ok(Ok(busy));
        }
        busy |= self.order()?;
        match self.write(truth)? {
            Ok(wrote) => busy |= wrote,
            Err(violation) => return Ok(Err(violation)),
        }
        busy |= self.checkpoint()?;
        self.quiet = if busy { 0 } else { self.quiet + 1 };
        if self.quiet >= QUIET_ROUNDS && self.log.heartbeat_due().is_some() && self.log.ready().is_ok() {
            self.log.heartbeat(self.clock.now()).map_err(cause)?;
        }
        Ok(Ok(busy))
    }

    fn settle(&mut self, truth: &mut Truth) -> Result<bool, Cause> {
        let durable = self.log.poll().map_err(cause)?.seq;
        let moved = durable > self.durable;
        // A process that has no power has told nobody.
        if moved && self.disk.has_power() {
            self.durable = durable;
            truth.watermark(durable);
            if self.bug != Some(Bug::EarlyReceipt) {
                self.sequencer.durable(durable);
            }
        }
        Ok(moved)
    }

    /// Writes the contracts before the first event; false while there is no room.
    fn declare(&mut self) -> Result<bool, Cause> {
        if self.undeclared.is_none() {
            return Ok(true);
        }
        if !self.has_room()? {
            return Ok(false);
        }
        let Some(body) = self.undeclared.take() else { return Ok(true) };
        self.log.append_control(BatchKind::Contracts, self.clock.now(), &body).map_err(cause)?;
        Ok(true)
    }

    fn has_room(&mut self) -> Result<bool, Cause> {
        match self.log.ready() {
            Ok(()) => {
                if std::mem::take(&mut self.refusing) {
                    self.sequencer.refuse(None);
                }
                Ok(true)
            }
            Err(NotReady::Preparing { .. }) => Ok(false),
            Err(full) if full.is_temporary() => {
                if !std::mem::replace(&mut self.refusing, true) {
                    self.sequencer.refuse(Some(cause(full)));
                }
                Ok(false)
            }
            Err(poisoned) => Err(cause(poisoned)),
        }
    }

    fn order(&mut self) -> Result<bool, Cause> {
        if self.sequencer.open_batch().0 == 0 && !self.has_room()? {
            return Ok(false);
        }
        Ok(self.sequencer.fill(self.stages.slowest()) > 0)
    }

    fn write(&mut self, truth: &mut Truth) -> Result<Result<bool, Violation>, Cause> {
        let (events, bytes) = self.sequencer.open_batch();
        let worth_it = self.sequencer.stopped() == Stop::BatchFull || bytes >= self.batch_bytes_min;
        let in_flight = self.log.in_flight();
        if events == 0 || !(in_flight == 0 || (worth_it && in_flight < self.depth)) {
            return Ok(Ok(false));
        }
        let Some(batch) = self.sequencer.close_batch() else { return Ok(Ok(false)) };
        let entries = batch.records().map(|record| entry(&self.stages.kinds, &record)).collect();
        if let Err(violation) = truth.sequenced(batch.first_seq(), entries) {
            return Ok(Err(violation));
        }
        self.log.append(batch).map_err(cause)?;
        self.stages.publish(batch);
        if self.bug == Some(Bug::EarlyReceipt) {
            let last = Seq(batch.next_seq().0 - 1);
            self.sequencer.durable(last);
        }
        Ok(Ok(true))
    }

    fn checkpoint(&mut self) -> Result<bool, Cause> {
        if self.log.in_flight() >= self.depth {
            return Ok(false);
        }
        let Some(checkpoint) = self.stages.checkpoint(self.checkpointed) else { return Ok(false) };
        if !self.has_room()? {
            return Ok(false);
        }
        let (kind, now) = (BatchKind::Checkpoint, self.clock.now());
        self.log.append_control(kind, now, &checkpoint.to_json()).map_err(cause)?;
        self.checkpointed = checkpoint.seq;
        Ok(true)
    }

    /// Lets what the stages emitted through the derived door; what finds it full stays.
    pub(crate) fn emit(&mut self) {
        let door = self.sequencer.derived();
        while let Some((fields, payload)) = self.stages.commands.front() {
            if self.bug == Some(Bug::CommandLost) && fields.causation.0.is_multiple_of(8) {
                self.stages.commands.pop_front();
                continue;
            }
            if door.try_send_bytes(fields, payload).is_err() {
                break;
            }
            self.stages.commands.pop_front();
        }
    }

    /// Lets effects out that follow from what is durable.
    pub(crate) fn deliver(&mut self, truth: &mut Truth) -> Result<(), Violation> {
        self.effects.append(&mut self.stages.effects);
        let early = self.bug == Some(Bug::EarlyEffect);
        while let Some((seq, value)) =
            self.effects.front().copied().filter(|one| early || one.0 <= self.durable)
        {
            truth.delivered(seq, value)?;
            self.effects.pop_front();
        }
        Ok(())
    }

    /// Rebuilds crashed stages from the log; true when that is done.
    pub(crate) fn mend(&mut self) -> Result<bool, Violation> {
        let own = Some(self.own);
        let options = ReadOptions { from: Seq(1), trust: Trust::Everything, verify_chain: true, own };
        let disk = Arc::new(self.disk.clone());
        let mended = self.stages.mend(self.durable, || Reader::on(disk, options).ok());
        if mended == Ok(true) {
            // Everything is emitted anew, in order; what was kept of before would stand in the way.
            self.effects.clear();
        }
        hold!(mended.is_ok(), Digests, "stages were rebuilt: {mended:?}");
        Ok(mended == Ok(true))
    }

    /// True when nothing is on its way.
    pub(crate) fn is_quiet(&self, last: Seq) -> bool {
        let told = self.durable == last && self.log.unsettled() == 0;
        let applied = self.stages.slowest() == last && !self.stages.is_down();
        told && applied && self.sequencer.is_idle() && self.stages.is_quiet() && self.effects.is_empty()
    }

    /// How far the log itself is, which may not have said so yet: without power nothing ends.
    pub(crate) fn log_durable(&self) -> Seq {
        if self.disk.has_power() { self.log.durable().seq } else { self.durable }
    }

    /// How far the log is known to be durable.
    pub(crate) fn durable(&self) -> Seq {
        self.durable
    }

    /// Where it stands, for a message.
    pub(crate) fn whereabouts(&self) -> String {
        let (slowest, down) = (self.stages.slowest(), self.stages.is_down());
        let (durable, stopped) = (self.durable, self.sequencer.stopped());
        let (flying, commands, effects) =
            (self.log.unsettled(), self.stages.commands.len(), self.effects.len());
        format!("durable {durable} applied {slowest} down {down} {stopped:?} {flying} {commands} {effects}")
    }

    /// Ends in order.
    pub(crate) fn close(self) -> Result<(), LogError> {
        let Self { log, mut clock, .. } = self;
        log.close(clock.now()).map(drop)
    }
}

fn cause(error: impl std::error::Error + Send + Sync + 'static) -> Cause {
    Arc::new(error)
}
