//! One stage with its states: what a flow holds behind a type-erased door.
//!
//! The states of all keys and the two digests belong together: a state changes only here, and whenever it does
//! its key is marked, so that a checkpoint costs one hash per key that changed, not one per key there is.
//!
//! ```text
//! state digest = Σ over keys of H(stage, key, bytes of the state)     wrapping sum: shard counts do not matter
//! output digest = Σ over events of H(stage, seq, everything put out)
//! ```

use std::any::{Any, TypeId};
use std::sync::Arc;

use downbeat_record::rkyv::util::AlignedVec;
use downbeat_record::{Digest, Key, Seq};

use crate::command::stage_seed;
use crate::context::Context;
use crate::flow::StageDef;
use crate::out::{Out, Outbox};
use crate::rows::Row;
use crate::stage::{Reject, Stage, State};

/// The digests of a stage, over all keys of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageSums {
    /// Over everything it put out.
    pub outputs: Digest,
    /// Over its state.
    pub state: Digest,
}

impl StageSums {
    /// Puts another shard's digests in.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { outputs: self.outputs.plus(other.outputs), state: self.state.plus(other.state) }
    }
}

/// A stage without its types.
pub(crate) trait AnyStage: Send {
    /// Applies an event to the state at `row`, which belongs to its key. While the stage is at it, the outbox says so;
    /// unless it accepts the event, whether it rejects or panics, [`AnyStage::park`] has to follow.
    fn apply(&mut self, row: Row, event: &Context<'_>, outbox: &mut Outbox) -> Result<(), Reject>;
    /// The event at `seq` is not accepted: puts the state at `row` back to what it was before, and drops what was
    /// put out.
    fn park(&mut self, row: Row, seq: Seq, outbox: &mut Outbox, reason: &str);
    fn sums(&mut self) -> StageSums;
    fn states(&self) -> &dyn Any;
}

/// What is held of one key. Events reach it in any order, so the smaller it is, the more of it is in a cache: the
/// digest, which only a checkpoint looks at, lies elsewhere.
struct Slot<T> {
    state: T,
    mark: Mark,
}

/// What a checkpoint has to know about a state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// No event has reached it.
    Untouched,
    /// It is as at the last checkpoint.
    Kept,
    /// It may have changed since.
    Changed,
}

pub(crate) struct Cell<S: Stage> {
    logic: Arc<S>,
    emits: Vec<TypeId>,
    keyed: bool,
    seed: u64,
    /// By row; rows of keys that only other stages of the unit know are untouched.
    slots: Vec<Slot<S::State>>,
    /// By row.
    digests: Vec<Digest>,
    changed: Vec<(Row, Key)>,
    undo: S::State,
    sums: StageSums,
    scratch: AlignedVec,
}

impl<S: Stage> Cell<S> {
    pub(crate) fn new(logic: Arc<S>, def: &StageDef, emits: Vec<TypeId>) -> Self {
        Self {
            logic,
            emits,
            keyed: def.keyed,
            seed: stage_seed(&def.name),
            slots: Vec::new(),
            digests: Vec::new(),
            changed: Vec::new(),
            undo: S::State::default(),
            sums: StageSums::default(),
            scratch: AlignedVec::new(),
        }
    }

    /// The states of this shard, in the order of their keys, which are given by row.
    pub(crate) fn sorted(&self, keys: &[Key]) -> Vec<(Key, &S::State)> {
        let known = self.slots.iter().zip(keys).filter(|(slot, _)| slot.mark != Mark::Untouched);
        let mut states: Vec<_> = known.map(|(slot, key)| (*key, &slot.state)).collect();
        states.sort_unstable_by_key(|(key, _)| *key);
        states
    }

    /// Tells the outputs of an event from those of others.
    #[inline]
    fn seed_at(&self, seq: Seq) -> u64 {
        self.seed ^ seq.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[cold]
    fn grow(&mut self, row: Row) {
        let rows = row.0 as usize + 1;
        self.slots.resize_with(rows, || Slot { state: S::State::default(), mark: Mark::Untouched });
        self.digests.resize(rows, Digest::default());
    }
}

impl<S: Stage> AnyStage for Cell<S> {
    fn apply(&mut self, row: Row, event: &Context<'_>, outbox: &mut Outbox) -> Result<(), Reject> {
        if row.0 as usize >= self.slots.len() {
            self.grow(row);
        }
        let slot = &mut self.slots[row.0 as usize];
        if slot.mark != Mark::Changed {
            slot.mark = Mark::Changed;
            self.changed.push((row, if self.keyed { event.key() } else { Key::NONE }));
        }
        if S::ROLLBACK {
            self.undo.clone_from(&slot.state);
        }
        outbox.begin();
        let mut out = Out::new(outbox, &self.emits, event);
        self.logic.apply(&mut slot.state, event, &mut out)?;
        outbox.end();
        if !outbox.is_empty() {
            self.sums.outputs = self.sums.outputs.plus(outbox.digest(self.seed_at(event.seq())));
        }
        Ok(())
    }

    fn park(&mut self, row: Row, seq: Seq, outbox: &mut Outbox, reason: &str) {
        if S::ROLLBACK {
            std::mem::swap(&mut self.slots[row.0 as usize].state, &mut self.undo);
        }
        outbox.clear();
        self.sums.outputs = self.sums.outputs.plus(Digest::of(!self.seed_at(seq), reason.as_bytes()));
    }

    fn sums(&mut self) -> StageSums {
        for (row, key) in self.changed.drain(..) {
            let slot = &mut self.slots[row.0 as usize];
            self.scratch.clear();
            let bytes = slot.state.write(std::mem::take(&mut self.scratch));
            let digest = Digest::of(self.seed.wrapping_add(key.0), &bytes);
            let before = std::mem::replace(&mut self.digests[row.0 as usize], digest);
            self.sums.state = self.sums.state.minus(before).plus(digest);
            slot.mark = Mark::Kept;
            self.scratch = bytes;
        }
        self.sums
    }

    fn states(&self) -> &dyn Any {
        self
    }
}
