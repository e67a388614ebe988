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
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use downbeat_record::rkyv::util::AlignedVec;
use downbeat_record::{Digest, Key};

use crate::command::stage_seed;
use crate::context::Context;
use crate::contracts::Kinds;
use crate::out::{Out, Outbox};
use crate::stage::{Reject, Stage, State};

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
    fn apply(&mut self, event: &Context<'_>, outbox: &mut Outbox, kinds: &Kinds) -> Result<(), Fault>;
    fn sums(&mut self) -> StageSums;
    fn states(&self) -> &dyn Any;
}

/// What the table holds of one key. Events reach it in any order, so the smaller it is, the more of it is in a cache:
/// the digest, which only a checkpoint looks at, lies elsewhere.
struct Slot<T> {
    state: T,
    /// The place of its digest.
    index: u32,
    changed: bool,
}

pub(crate) struct Cell<S: Stage> {
    logic: Arc<S>,
    keyed: bool,
    emits: Vec<TypeId>,
    seed: u64,
    states: HashMap<Key, Slot<S::State>, BuildHasherDefault<KeyHasher>>,
    /// Of every key, in the order in which keys came.
    digests: Vec<Digest>,
    changed: Vec<Key>,
    undo: S::State,
    sums: StageSums,
    scratch: AlignedVec,
}

impl<S: Stage> Cell<S> {
    pub(crate) fn new(logic: Arc<S>, name: &str, keyed: bool, emits: Vec<TypeId>) -> Self {
        Self {
            logic,
            keyed,
            emits,
            seed: stage_seed(name),
            states: HashMap::default(),
            digests: Vec::new(),
            changed: Vec::new(),
            undo: S::State::default(),
            sums: StageSums::default(),
            scratch: AlignedVec::new(),
        }
    }

    /// The states of this shard, in the order of their keys.
    pub(crate) fn sorted(&self) -> Vec<(Key, &S::State)> {
        let mut states: Vec<_> = self.states.iter().map(|(key, slot)| (*key, &slot.state)).collect();
        states.sort_unstable_by_key(|(key, _)| *key);
        states
    }
}

impl<S: Stage> AnyStage for Cell<S> {
    fn apply(&mut self, event: &Context<'_>, outbox: &mut Outbox, kinds: &Kinds) -> Result<(), Fault> {
        let key = if self.keyed { event.key() } else { Key::NONE };
        let digests = &mut self.digests;
        let slot = self.states.entry(key).or_insert_with(|| {
            let index = u32::try_from(digests.len()).expect("a shard has less than 2^32 keys");
            digests.push(Digest::default());
            Slot { state: S::State::default(), index, changed: false }
        });
        if !slot.changed {
            slot.changed = true;
            self.changed.push(key);
        }
        if S::ROLLBACK {
            self.undo.clone_from(&slot.state);
        }
        let (logic, state) = (&*self.logic, &mut slot.state);
        let mut out = Out::new(outbox, kinds, &self.emits, event.key());
        // A panic is caught with the state in whatever condition it is; below it is put back as it was.
        let outcome = catch_unwind(AssertUnwindSafe(|| logic.apply(state, event, &mut out)));
        let seed = self.seed ^ event.seq().0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let fault = match outcome {
            Ok(Ok(())) => {
                if !outbox.is_empty() {
                    self.sums.outputs = self.sums.outputs.plus(outbox.digest(seed));
                }
                return Ok(());
            }
            Ok(Err(Reject { .. })) | Err(_) if S::ROLLBACK => {
                std::mem::swap(&mut slot.state, &mut self.undo);
                fault_of(outcome)
            }
            _ => fault_of(outcome),
        };
        outbox.clear();
        self.sums.outputs = self.sums.outputs.plus(Digest::of(!seed, fault.reason.as_bytes()));
        Err(fault)
    }

    fn sums(&mut self) -> StageSums {
        for key in self.changed.drain(..) {
            let Some(slot) = self.states.get_mut(&key) else { continue };
            self.scratch.clear();
            let bytes = slot.state.write(std::mem::take(&mut self.scratch));
            let digest = Digest::of(self.seed.wrapping_add(key.0), &bytes);
            let before = std::mem::replace(&mut self.digests[slot.index as usize], digest);
            self.sums.state = self.sums.state.minus(before).plus(digest);
            slot.changed = false;
            self.scratch = bytes;
        }
        self.sums
    }

    fn states(&self) -> &dyn Any {
        self
    }
}

fn fault_of(outcome: Result<Result<(), Reject>, Box<dyn Any + Send>>) -> Fault {
    match outcome {
        Ok(Ok(())) => unreachable!("an accepted event has no fault"),
        Ok(Err(reject)) => Fault { reason: reject.reason().to_owned(), panicked: false },
        Err(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "a panic without a message".to_owned());
            Fault { reason: text, panicked: true }
        }
    }
}

/// Spreads 64-bit keys over a table; nothing depends on the order it gives.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    #[inline]
    fn write_u64(&mut self, key: u64) {
        let product = u128::from(key ^ 0x9E37_79B9_7F4A_7C15) * 0xA076_1D64_78BD_642F;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}
