//! A unit: some stages of a flow, run to completion for one event at a time.
//!
//! An actor runs the unit of its stages and shard; an audit runs one unit that holds every stage and every
//! shard. Both call [`Unit::apply`] with the events in the order of their seq, so both do the same.
//!
//! ```text
//!  record ──kind──► due = { stages on that kind, if the key is ours }
//!  inputs ────────► due ∪ { stages after the sender }
//!  while due is not empty: take the first (declaration order is topological)
//!      apply ──► value: due ∪ { its successors here }, sink.value if it has successors elsewhere
//!             ├─► commands: sink.command
//!             └─► rejected, or it panicked: parked, sink.command says so
//! ```
//!
//! A panic is caught around all stages that are due, once an event: catching costs at every event, and hardly any
//! panics. The ones that are still due run after it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use arrayvec::ArrayVec;
use downbeat_record::{Event, Fields, Key, Record};

use crate::cell::{AnyStage, Cell, StageSums};
use crate::command::fields_of;
use crate::context::{Context, Input, StageId};
use crate::contracts::Kinds;
use crate::events::{PANICKED, Rejected};
use crate::flow::STAGES_MAX;
use crate::out::{Command, Outbox};
use crate::rows::{Row, Rows};
use crate::stage::{Reject, Stage};

/// Which of how many shards a unit owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// All of this many: keyed stages hold their states in as many parts, on one thread.
    All(u32),
    /// One, as `(index, count)`.
    One(u32, u32),
}

/// Takes what a unit puts out.
pub trait Sink {
    /// A value for the stages and leaves after `from` that are not in this unit.
    fn value(&mut self, from: StageId, record: &Record<'_>, bytes: &[u8]);
    /// An event that a stage emitted, or the rejection of one.
    fn command(&mut self, fields: &Fields, payload: &[u8]);
}

/// One stage within a unit.
pub(crate) struct Running {
    pub(crate) id: StageId,
    pub(crate) name: Arc<str>,
    pub(crate) keyed: bool,
    /// One per shard this unit owns; a stage that is not keyed has one.
    pub(crate) cells: Vec<Box<dyn AnyStage>>,
    pub(crate) after: Box<[Before]>,
    /// The stages of this unit that come after it, as a bit set of places in the unit.
    pub(crate) successors: u64,
    /// Whether stages elsewhere, or leaves, come after it.
    pub(crate) exported: bool,
    pub(crate) outbox: Outbox,
}

/// A stage that comes before another one of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    pub(crate) id: StageId,
    /// Its place, when it is in the same unit.
    pub(crate) place: Option<u8>,
}

/// Some stages of a flow with their states.
pub struct Unit {
    pub(crate) stages: Vec<Running>,
    pub(crate) shards: Shards,
    /// Per kind, the stages on it.
    pub(crate) on: Vec<u64>,
    /// The stages that are keyed.
    pub(crate) keyed: u64,
    /// Per stage of the flow, the stages of this unit that come after it.
    pub(crate) fed: [u64; STAGES_MAX],
    pub(crate) kinds: Arc<Kinds>,
    /// Per shard it owns, where the states of keyed stages lie.
    pub(crate) rows: Vec<Rows>,
}

/// Where the states of an event's key lie.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    shard: u32,
    row: Row,
}

impl Spot {
    /// Of a stage that is not keyed: it has one state.
    const ONLY: Self = Self { shard: 0, row: Row(0) };
}

/// How far the stages are with one event.
struct Round {
    /// The places of those that are to run, as a bit set; and of those that have sent a value.
    due: u64,
    sent: u64,
    /// The one that runs, or ran last.
    place: usize,
    /// Where the states of keyed stages lie; none looked it up yet.
    keyed: Option<Spot>,
}

/// The index under which the rejection of an event is named among the commands of a stage.
const REJECTION_INDEX: u8 = u8::MAX - 1;

impl Unit {
    /// Applies one event; `inputs` are the values that stages of other units sent for it.
    ///
    /// # Panics
    ///
    /// When the sink does. A stage that panics rejects the event.
    #[inline]
    pub fn apply(&mut self, record: &Record<'_>, inputs: &[Input<'_>], sink: &mut impl Sink) {
        let mut due = self.on.get(usize::from(record.fields.kind.0)).copied().unwrap_or(0);
        if due & self.keyed != 0 && !self.owns(record.fields.key) {
            due &= !self.keyed;
        }
        for input in inputs {
            due |= self.fed[usize::from(input.from.0)];
        }
        if due == 0 {
            return;
        }
        let mut round = Round { due, sent: 0, place: 0, keyed: None };
        while let Err(panic) =
            catch_unwind(AssertUnwindSafe(|| self.run_due(&mut round, record, inputs, sink)))
        {
            self.panicked(&round, record, panic, sink);
        }
    }

    /// Runs the stages that are due, and those that become so.
    #[inline]
    fn run_due(
        &mut self,
        round: &mut Round,
        record: &Record<'_>,
        inputs: &[Input<'_>],
        sink: &mut impl Sink,
    ) {
        while round.due != 0 {
            let place = round.due.trailing_zeros() as usize;
            round.due &= round.due - 1;
            round.place = place;
            self.run(round, record, inputs, sink);
        }
    }

    /// True when events of this kind can concern the unit even without inputs.
    #[inline]
    pub fn is_on_anything(&self) -> bool {
        self.on.iter().any(|stages| *stages != 0)
    }

    /// The digests of its stages, in their order.
    pub fn sums(&mut self) -> Vec<(StageId, StageSums)> {
        self.stages
            .iter_mut()
            .map(|stage| {
                let sums = stage.cells.iter_mut().map(|cell| cell.sums());
                (stage.id, sums.fold(StageSums::default(), StageSums::plus))
            })
            .collect()
    }

    /// Its stages.
    pub fn stages(&self) -> impl Iterator<Item = StageId> + '_ {
        self.stages.iter().map(|stage| stage.id)
    }

    /// Calls `visit` with every key and state of the stage named `stage`, in the order of the keys within each
    /// shard; false when the unit has no such stage, or it is not an `S`.
    pub fn each_state<S: Stage>(&self, stage: &str, mut visit: impl FnMut(Key, &S::State)) -> bool {
        let Some(running) = self.stages.iter().find(|running| &*running.name == stage) else { return false };
        running.cells.iter().enumerate().all(|(shard, cell)| match cell.states().downcast_ref::<Cell<S>>() {
            Some(cell) => {
                let keys = if running.keyed { self.rows[shard].keys() } else { &[Key::NONE] };
                cell.sorted(keys).into_iter().for_each(|(key, state)| visit(key, state));
                true
            }
            None => false,
        })
    }

    #[inline]
    fn owns(&self, key: Key) -> bool {
        match self.shards {
            Shards::All(_) | Shards::One(_, 1) => true,
            Shards::One(index, count) => shard_of(key, count) == index,
        }
    }

    /// Runs one stage; if it sends a value, those after it become due.
    #[inline]
    fn run(&mut self, round: &mut Round, record: &Record<'_>, inputs: &[Input<'_>], sink: &mut impl Sink) {
        if let Err(reject) = self.apply_one(round, record, inputs) {
            self.park(round, record, reject.reason(), false, sink);
            return;
        }
        let stage = &self.stages[round.place];
        for command in stage.outbox.commands() {
            sink.command(&fields_of(&stage.name, record, &command), command.payload);
        }
        if let Some(value) = stage.outbox.value() {
            round.sent |= 1 << round.place;
            round.due |= stage.successors;
            if stage.exported {
                sink.value(stage.id, record, value);
            }
        }
    }

    /// Applies the event by one stage, with what those before it have sent.
    #[inline]
    fn apply_one(
        &mut self,
        round: &mut Round,
        record: &Record<'_>,
        inputs: &[Input<'_>],
    ) -> Result<(), Reject> {
        let (before, rest) = self.stages.split_at_mut(round.place);
        let stage = &mut rest[0];
        let mut seen = ArrayVec::<Input<'_>, STAGES_MAX>::new();
        for Before { id, place } in &*stage.after {
            let bytes = match place {
                Some(place) if round.sent >> place & 1 != 0 => before[usize::from(*place)].outbox.value(),
                Some(_) => None,
                None => inputs.iter().find(|input| input.from == *id).map(|input| input.bytes),
            };
            if let Some(bytes) = bytes {
                seen.push(Input { from: *id, bytes });
            }
        }
        let spot = if stage.keyed {
            *round.keyed.get_or_insert_with(|| find(&mut self.rows, self.shards, record.fields.key))
        } else {
            Spot::ONLY
        };
        let context = Context::new(record, &seen, &stage.after, &self.kinds);
        stage.cells[spot.shard as usize].apply(spot.row, &context, &mut stage.outbox)
    }

    /// Parks the event for the stage that panicked on it; if it was not a stage that did, the panic goes on.
    #[cold]
    fn panicked(&mut self, round: &Round, record: &Record<'_>, panic: Panic, sink: &mut impl Sink) {
        if !self.stages[round.place].outbox.is_at_work() {
            resume_unwind(panic);
        }
        self.park(round, record, PANICKED, true, sink);
    }

    /// Puts the stage back to where it was before the event, and the rejection into the order; unless the event is a
    /// rejection itself: a stage that fails on those too would never come to an end.
    #[cold]
    fn park(
        &mut self,
        round: &Round,
        record: &Record<'_>,
        reason: &str,
        panicked: bool,
        sink: &mut impl Sink,
    ) {
        let stage = &mut self.stages[round.place];
        let spot = round.keyed.filter(|_| stage.keyed).unwrap_or(Spot::ONLY);
        stage.cells[spot.shard as usize].park(spot.row, record.seq, &mut stage.outbox, reason);
        if record.fields.kind == self.kinds.rejected {
            return;
        }
        let reason = reason.chars().take(REASON_CHARS_MAX).collect();
        let event = Rejected { stage: stage.name.to_string(), reason, panicked };
        let mut bytes = downbeat_record::AlignedBuf::zeroed(event.encoded_len_max());
        let len = event.encode(&mut bytes).expect("a buffer of encoded_len_max holds the event");
        let command = Command {
            kind: self.kinds.rejected,
            key: record.fields.key,
            index: REJECTION_INDEX,
            payload: &bytes[..len],
        };
        sink.command(&fields_of(&stage.name, record, &command), command.payload);
    }
}

/// Not inlined: it would be computed ahead, also where there is one shard.
#[inline(never)]
fn shard_of(key: Key, shards: u32) -> u32 {
    key.shard(shards)
}

/// Where the states of a key lie.
#[inline]
fn find(rows: &mut [Rows], shards: Shards, key: Key) -> Spot {
    let shard = match shards {
        Shards::All(count) if count > 1 => shard_of(key, count),
        _ => 0,
    };
    Spot { shard, row: rows[shard as usize].of(key) }
}

/// What a panic carries.
type Panic = Box<dyn Any + Send>;

/// The most of a reason that is logged, in characters.
const REASON_CHARS_MAX: usize = 512;
