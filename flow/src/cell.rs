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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use downbeat_record::rkyv::util::AlignedVec;
use downbeat_record::{Digest, Key};

use crate::command::stage_seed;
use crate::context::Context;
use crate::contracts::Kinds;
use crate::out::{Out, Outbox};
use crate::rows::Row;
use crate::stage::{Stage, State};

/// Why an event was parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: String,
    pub(crate) panicked: bool,
}

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
    /// Applies an event to the state at `row`, which belongs to `key`.
    fn apply(
        &mut self,
        row: Row,
        key: Key,
        event: &Context<'_>,
        outbox: &mut Outbox,
        kinds: &Kinds,
    ) -> Result<(), Fault>;
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
    pub(crate) fn new(logic: Arc<S>, name: &str, emits: Vec<TypeId>) -> Self {
        Self {
            logic,
            emits,
            seed: stage_seed(name),
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

    #[cold]
    fn grow(&mut self, row: Row) {
        let rows = row.0 as usize + 1;
        self.slots.resize_with(rows, || Slot { state: S::State::default(), mark: Mark::Untouched });
        self.digests.resize(rows, Digest::default());
    }
}

impl<S: Stage> AnyStage for Cell<S> {
    fn apply(
        &mut self,
        row: Row,
        key: Key,
        event: &Context<'_>,
        outbox: &mut Outbox,
        kinds: &Kinds,
    ) -> Result<(), Fault> {
        if row.0 as usize >= self.slots.len() {
            self.grow(row);
        }
        let slot = &mut self.slots[row.0 as usize];
        if slot.mark != Mark::Changed {
            slot.mark = Mark::Changed;
            self.changed.push((row, key));
        }
        if S::ROLLBACK {
            self.undo.clone_from(&slot.state);
        }
        let (logic, state) = (&*self.logic, &mut slot.state);
        let mut out = Out::new(outbox, kinds, &self.emits, event.key());
        let mut rejected = None;
        // A panic is caught with the state in whatever condition it is; below it is put back as it was. The reason
        // of a rejection stays here, so that what comes back for every event is a single byte.
        let outcome = catch_unwind(AssertUnwindSafe(|| match logic.apply(state, event, &mut out) {
            Ok(()) => true,
            Err(reject) => {
                rejected = Some(reject);
                false
            }
        }));
        let seed = self.seed ^ event.seq().0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let fault = match outcome {
            Ok(true) => {
                if !outbox.is_empty() {
                    self.sums.outputs = self.sums.outputs.plus(outbox.digest(seed));
                }
                return Ok(());
            }
            Ok(false) => Fault {
                reason: rejected.map(|reject| reject.reason().to_owned()).unwrap_or_default(),
                panicked: false,
            },
            Err(payload) => Fault { reason: text_of(payload), panicked: true },
        };
        if S::ROLLBACK {
            std::mem::swap(&mut slot.state, &mut self.undo);
        }
        outbox.clear();
        self.sums.outputs = self.sums.outputs.plus(Digest::of(!seed, fault.reason.as_bytes()));
        Err(fault)
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

/// What a panic said.
fn text_of(payload: Box<dyn Any + Send>) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
