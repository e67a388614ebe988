//! A flow with every shape of edge, and a rig that runs it on actors without an engine.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::Arc;
#[cfg(not(shuttle))]
use std::sync::{Condvar, Mutex};

use downbeat_actors::{Actors, CommandRefused, Commands, Feeds, History, HistoryError, Ports, Settings};
use downbeat_flow::{
    Context, Flow, Input, Kinds, Leaf, LeafError, Out, Reject, Shards, Sink, Stage, StageId, Unit,
};
use downbeat_record::{
    Batch, BatchNo, Checkpoint, ContractTable, Epoch, Event, Fields, Key, Record, Root, Seq, StageDigest,
    Stamp, Timestamp, rkyv,
};
#[cfg(shuttle)]
use shuttle::sync::{Condvar, Mutex};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Moved", version = 1)]
pub struct Moved {
    pub amount: i64,
    pub memo: String,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Flagged", version = 1)]
pub struct Flagged {
    pub total: i64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Sum", version = 1)]
pub struct Sum {
    pub sum: i64,
    pub trail: Vec<u8>,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Score", version = 1)]
pub struct Score {
    pub score: u64,
}

/// Sums up per key; sends the sum, emits `Flagged` at every third event of a key, rejects and panics on request.
pub struct Account;

#[derive(Default, Clone, rkyv::Archive, rkyv::Serialize)]
pub struct Balance {
    pub sum: i64,
    pub events: u64,
    pub flags: u64,
}

impl Stage for Account {
    type State = Balance;
    type Output = Sum;

    fn apply(&self, state: &mut Balance, event: &Context<'_>, out: &mut Out<'_, Sum>) -> Result<(), Reject> {
        if let Some(moved) = event.event::<Moved>()? {
            state.events += 1;
            state.sum = state.sum.wrapping_mul(31).wrapping_add(moved.amount.to_native());
            if moved.memo.as_str() == "reject" {
                return Err(Reject::new("rejected on request"));
            }
            assert!(moved.memo.as_str() != "panic", "panicked on request");
            let trail = vec![7; (state.sum.unsigned_abs() % 40) as usize];
            out.send(&Sum { sum: state.sum, trail })?;
            if state.events.is_multiple_of(3) {
                out.emit(&Flagged { total: state.sum })?;
            }
        } else if event.event::<Flagged>()?.is_some() {
            state.flags += 1;
        }
        Ok(())
    }
}

/// Scores events without a state.
pub struct Scorer;

impl Stage for Scorer {
    type State = ();
    type Output = Score;

    fn apply(&self, (): &mut (), event: &Context<'_>, out: &mut Out<'_, Score>) -> Result<(), Reject> {
        let Some(moved) = event.event::<Moved>()? else { return Ok(()) };
        if moved.amount.to_native() % 2 == 0 {
            out.send(&Score { score: event.seed() })?;
        }
        Ok(())
    }
}

/// Joins both: its state depends on which inputs came for which event.
pub struct Join;

impl Stage for Join {
    type State = u64;
    type Output = Score;

    fn apply(&self, state: &mut u64, event: &Context<'_>, out: &mut Out<'_, Score>) -> Result<(), Reject> {
        let sum = event.input::<Sum>()?.map_or(1, |sum| sum.sum.to_native() as u64 + sum.trail.len() as u64);
        let score = event.input::<Score>()?.map_or(2, |score| score.score.to_native());
        *state = state.wrapping_mul(1_000_003).wrapping_add(sum ^ score);
        out.send(&Score { score: *state })
    }
}

/// One state for all keys: depends on the order of everything.
pub struct Total;

impl Stage for Total {
    type State = u64;
    type Output = Score;

    fn apply(&self, state: &mut u64, event: &Context<'_>, out: &mut Out<'_, Score>) -> Result<(), Reject> {
        let Some(score) = event.input_from::<Score>("join")? else { return Ok(()) };
        *state = state.wrapping_mul(1_000_003).wrapping_add(score.score.to_native());
        out.send(&Score { score: *state })
    }
}

/// Hears from the global stage again, by key.
pub struct Echo;

impl Stage for Echo {
    type State = u64;
    type Output = Score;

    fn apply(&self, state: &mut u64, event: &Context<'_>, _: &mut Out<'_, Score>) -> Result<(), Reject> {
        let Some(score) = event.input_from::<Score>("total")? else { return Ok(()) };
        *state = state.wrapping_mul(31).wrapping_add(score.score.to_native());
        Ok(())
    }
}

/// Remembers what it was told.
#[derive(Clone, Default)]
pub struct Recorder(pub Arc<Mutex<Vec<(Seq, u64)>>>);

impl Leaf for Recorder {
    fn deliver(&mut self, delivery: &downbeat_flow::Delivery<'_>) -> Result<(), LeafError> {
        let score = delivery.value::<Score>().map_err(|error| LeafError::new(error.to_string()))?;
        self.0.lock().unwrap().push((delivery.seq, score.score.to_native()));
        Ok(())
    }
}

pub fn flow(recorder: Recorder) -> Flow {
    Flow::named("test")
        .stage("account", Account)
        .on::<Moved>()
        .on::<Flagged>()
        .emits::<Flagged>()
        .stage("scorer", Scorer)
        .on::<Moved>()
        .stage("join", Join)
        .after(["account", "scorer"])
        .stage("total", Total)
        .global()
        .after(["join"])
        .stage("echo", Echo)
        .after(["total"])
        .leaf("recorder", recorder)
        .after(["total"])
        .build()
        .expect("the flow is sound")
}

/// A log in memory, and a front door that appends to it.
pub struct Rig {
    pub batches: Mutex<Vec<Arc<Batch>>>,
    pub commands: Mutex<Vec<(Fields, Vec<u8>)>>,
    durable: Mutex<Seq>,
    woken: (Mutex<bool>, Condvar),
}

impl Rig {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            batches: Mutex::default(),
            commands: Mutex::default(),
            durable: Mutex::default(),
            woken: Default::default(),
        })
    }

    pub fn last(&self) -> Seq {
        self.batches.lock().unwrap().last().map_or(Seq::ZERO, |batch| Seq(batch.next_seq().0 - 1))
    }

    /// Makes a batch of events and puts it behind the log.
    pub fn append(&self, events: &[(Fields, Vec<u8>)]) -> Arc<Batch> {
        let mut batches = self.batches.lock().unwrap();
        let next = batches.last().map_or(Seq(1), |batch| batch.next_seq());
        let mut batch = Batch::with_capacity(256 * 1024, 0);
        batch.open(next);
        for (index, (fields, payload)) in events.iter().enumerate() {
            let timestamp = Timestamp((next.0 + index as u64) * 1_000);
            batch.push(fields, timestamp, payload).expect("a test batch is small");
        }
        batch.seal(&Stamp {
            batch_no: BatchNo(batches.len() as u64 + 1),
            epoch: Epoch(1),
            salt: 1,
            prev_root: Root::default(),
            durable: BatchNo::ZERO,
            clock_error_ns: 0,
        });
        let batch = Arc::new(batch);
        batches.push(batch.clone());
        batch
    }

    pub fn take_commands(&self) -> Vec<(Fields, Vec<u8>)> {
        std::mem::take(&mut *self.commands.lock().unwrap())
    }

    pub fn wake(&self) {
        *self.woken.0.lock().unwrap() = true;
        self.woken.1.notify_all();
    }

    pub fn wait(&self) {
        let mut woken = self.woken.0.lock().unwrap();
        while !*woken {
            woken = self.woken.1.wait(woken).unwrap();
        }
        *woken = false;
    }

    /// Everything in the log is durable; it was published before.
    pub fn sync(&self, actors: &Actors) {
        let last = self.last();
        *self.durable.lock().unwrap() = last;
        actors.durable(last);
    }

    /// Serves the feeds until every stage and leaf has passed the end of the log.
    pub fn settle(&self, actors: &Actors, feeds: &mut Feeds) {
        let last = self.last();
        self.sync(actors);
        loop {
            feeds.arm(Some(Seq::ZERO));
            feeds.service();
            if actors.is_quiet(last) || actors.fault().is_some() {
                return;
            }
            self.wait();
        }
    }

    /// Publishes commands as new events until nothing more comes of them.
    pub fn run_dry(&self, actors: &Actors, feeds: &mut Feeds) {
        loop {
            self.settle(actors, feeds);
            let commands = self.take_commands();
            if commands.is_empty() {
                return;
            }
            for chunk in commands.chunks(100) {
                feeds.publish(&self.append(chunk));
                self.settle(actors, feeds);
            }
        }
    }
}

pub struct RigHistory(pub Arc<Rig>);

impl History for RigHistory {
    fn durable(&self) -> Seq {
        *self.0.durable.lock().unwrap()
    }

    fn read(
        &self,
        from: Seq,
        upto: Seq,
        take: &mut dyn FnMut(Arc<Batch>) -> bool,
    ) -> Result<(), HistoryError> {
        let batches = self.0.batches.lock().unwrap().clone();
        for batch in batches {
            if batch.first_seq() >= from && batch.first_seq() <= upto && !take(batch) {
                break;
            }
        }
        Ok(())
    }
}

pub struct RigCommands(pub Arc<Rig>);

impl Commands for RigCommands {
    fn try_submit(&self, fields: &Fields, payload: &[u8]) -> Result<(), CommandRefused> {
        self.0.commands.lock().unwrap().push((*fields, payload.to_vec()));
        Ok(())
    }
}

pub fn kinds(flow: &Flow) -> Arc<Kinds> {
    let mut table = ContractTable::new();
    flow.bind(|contract| table.register(contract)).expect("no contract is in conflict")
}

pub fn start(
    rig: &Arc<Rig>,
    flow: Flow,
    settings: Settings,
    checkpoints: Vec<Checkpoint>,
) -> (Actors, Feeds) {
    let kinds = kinds(&flow);
    *rig.durable.lock().unwrap() = rig.last();
    let ports = Ports {
        history: Arc::new(RigHistory(rig.clone())),
        commands: Arc::new(RigCommands(rig.clone())),
        recovered: rig.last(),
        checkpoints,
    };
    let waker = rig.clone();
    Actors::start(flow, kinds, settings, ports, move || waker.wake()).expect("the flow starts")
}

pub fn moved(kinds: &Kinds, key: u64, amount: i64, memo: &str) -> (Fields, Vec<u8>) {
    let event = Moved { amount, memo: memo.to_owned() };
    let kind = kinds.of(std::any::TypeId::of::<Moved>()).expect("the flow is on it");
    let mut bytes = downbeat_record::AlignedBuf::zeroed(event.encoded_len_max());
    let len = event.encode(&mut bytes).expect("it fits");
    (Fields { kind, key: Key(key), ..Fields::default() }, bytes[..len].to_vec())
}

/// What a replay on one thread gives: digests and emitted commands.
pub fn serial(flow: &Flow, rig: &Rig, shards: u32) -> (Vec<StageDigest>, usize) {
    #[derive(Default)]
    struct Count(usize);
    impl Sink for Count {
        fn value(&mut self, _: StageId, _: &Record<'_>, _: &[u8]) {}
        fn command(&mut self, _: &Fields, _: &[u8]) {
            self.0 += 1;
        }
    }
    let all: Vec<StageId> = flow.stages().iter().map(|stage| stage.id).collect();
    let mut unit: Unit = flow.unit(&all, Shards::All(shards), &kinds(flow));
    let mut count = Count::default();
    for batch in rig.batches.lock().unwrap().iter() {
        for record in batch.records() {
            unit.apply(&record, &[] as &[Input<'_>], &mut count);
        }
    }
    let names: BTreeMap<StageId, String> =
        flow.stages().iter().map(|stage| (stage.id, stage.name.to_string())).collect();
    let digests = unit.sums().into_iter().map(|(id, sums)| StageDigest {
        stage: names[&id].clone(),
        outputs: sums.outputs,
        state: sums.state,
    });
    (digests.collect(), count.0)
}

/// The digests that the actors give at the end of the log.
pub fn digests(rig: &Rig, actors: &Actors, feeds: &mut Feeds) -> Vec<StageDigest> {
    actors.ask_checkpoint(rig.last());
    let mut found = Vec::new();
    while found.is_empty() {
        feeds.arm(Some(Seq::ZERO));
        found = actors.checkpoints().into_iter().filter(|sums| sums.seq == rig.last()).collect();
        if found.is_empty() {
            rig.wait();
        }
    }
    found.remove(0).stages
}
