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
//!             └─► commands: sink.command
//! ```

use std::sync::Arc;

use arrayvec::ArrayVec;
use downbeat_record::{Event, Fields, Key, Record};

use crate::cell::{AnyStage, Cell, Fault, StageSums};
use crate::command::fields_of;
use crate::context::{Context, Input, StageId};
use crate::contracts::Kinds;
use crate::events::Rejected;
use crate::flow::STAGES_MAX;
use crate::out::{Command, Outbox};
use crate::rows::{Row, Rows};
use crate::stage::Stage;

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
    pub(crate) after: ArrayVec<StageId, STAGES_MAX>,
    /// The stages of this unit that come after it, as a bit set of places in the unit.
    pub(crate) successors: u64,
    /// Whether stages elsewhere, or leaves, come after it.
    pub(crate) exported: bool,
    pub(crate) outbox: Outbox,
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
    /// The place of each stage of the flow in this unit.
    pub(crate) places: [Option<u8>; STAGES_MAX],
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

/// The index under which the rejection of an event is named among the commands of a stage.
const REJECTION_INDEX: u8 = u8::MAX - 1;

impl Unit {
    /// Applies one event; `inputs` are the values that stages of other units sent for it.
    #[inline]
    pub fn apply(&mut self, record: &Record<'_>, inputs: &[Input<'_>], sink: &mut impl Sink) {
        let mut due = self.on.get(usize::from(record.fields.kind.0)).copied().unwrap_or(0);
        if due & self.keyed != 0 && !self.owns(record.fields.key) {
            due &= !self.keyed;
        }
        for input in inputs {
            due |= self.fed[usize::from(input.from.0)];
        }
        let (mut sent, mut known) = (0u64, None);
        while due != 0 {
            let place = due.trailing_zeros() as usize;
            due &= due - 1;
            let spot = if self.keyed >> place & 1 != 0 {
                *known.get_or_insert_with(|| self.find(record.fields.key))
            } else {
                Spot::ONLY
            };
            if self.run(place, sent, spot, record, inputs, sink) {
                sent |= 1 << place;
                due |= self.stages[place].successors;
            }
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
            Shards::One(index, count) => key.shard(count) == index,
        }
    }

    /// Where the states of a key lie.
    #[inline]
    fn find(&mut self, key: Key) -> Spot {
        let shard = match self.shards {
            Shards::All(count) if count > 1 => key.shard(count),
            _ => 0,
        };
        Spot { shard, row: self.rows[shard as usize].of(key) }
    }

    /// Runs one stage; true when it sent a value.
    #[inline]
    fn run(
        &mut self,
        place: usize,
        sent: u64,
        spot: Spot,
        record: &Record<'_>,
        inputs: &[Input<'_>],
        sink: &mut impl Sink,
    ) -> bool {
        let (before, rest) = self.stages.split_at_mut(place);
        let Running { id, name, keyed, cells, after, exported, outbox, .. } = &mut rest[0];
        let mut seen = ArrayVec::<Input<'_>, STAGES_MAX>::new();
        for from in after.iter() {
            let local = self.places[usize::from(from.0)].map(usize::from);
            let bytes = match local {
                Some(at) if sent & 1 << at != 0 => before[at].outbox.value(),
                Some(_) => None,
                None => inputs.iter().find(|input| input.from == *from).map(|input| input.bytes),
            };
            if let Some(bytes) = bytes {
                seen.push(Input { from: *from, bytes });
            }
        }
        let key = if *keyed { record.fields.key } else { Key::NONE };
        let context = Context::new(record, &seen, &self.kinds);
        outbox.clear();
        match cells[spot.shard as usize].apply(spot.row, key, &context, outbox, &self.kinds) {
            Ok(()) => {
                for command in outbox.commands() {
                    sink.command(&fields_of(name, record, &command), command.payload);
                }
                let Some(value) = outbox.value() else { return false };
                if *exported {
                    sink.value(*id, record, value);
                }
                true
            }
            Err(fault) => {
                reject(name, record, fault, &self.kinds, sink);
                false
            }
        }
    }
}

/// Puts the rejection of an event into the order, unless that event is a rejection itself: a stage that fails
/// on those too would never come to an end.
#[cold]
fn reject(name: &str, record: &Record<'_>, fault: Fault, kinds: &Kinds, sink: &mut impl Sink) {
    if record.fields.kind == kinds.rejected {
        return;
    }
    let reason = fault.reason.chars().take(REASON_CHARS_MAX).collect();
    let event = Rejected { stage: name.to_owned(), reason, panicked: fault.panicked };
    let mut bytes = downbeat_record::AlignedBuf::zeroed(event.encoded_len_max());
    let len = event.encode(&mut bytes).expect("a buffer of encoded_len_max holds the event");
    let command = Command {
        kind: kinds.rejected,
        key: record.fields.key,
        index: REJECTION_INDEX,
        payload: &bytes[..len],
    };
    sink.command(&fields_of(name, record, &command), command.payload);
}

/// The most of a reason that is logged, in characters.
const REASON_CHARS_MAX: usize = 512;
