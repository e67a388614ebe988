//! What has to hold, checked by somebody who saw everything from outside.
//!
//! | invariant | when it is checked |
//! |---|---|
//! | acknowledged ⊆ recovered | whenever a log is opened: receipts, the watermark, and what an earlier open kept |
//! | recovered = a prefix of what was sequenced | whenever a log is opened, event by event, byte by byte |
//! | seqs dense, timestamps increasing | for every record that an open shows |
//! | nothing cut comes back | the prefix is that of the timeline that the last open has begun |
//! | groups are whole | whenever a log is opened |
//! | exactly once | no key twice in the log; a key acknowledged twice has one seq |
//! | the gate: no effect before it is durable | an effect that left is of an event that every later open finds |
//! | digests equal an obvious model | at every checkpoint in the log, and at the end |
//! | damage is refused, and nothing else is | whenever an open fails, and whenever it does not |
//! | it converges | after the last fault everything is acknowledged, applied and delivered |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use downbeat_record::{Fields, IdempotencyKey, Seq, StageDigest, Timestamp};
use downbeat_sequencer::Receipt;

use crate::model::{Consequence, Meaning, Model};

/// A promise, as the checkers name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// What was acknowledged is there.
    Acknowledged,
    /// What is there was sequenced, in this timeline, in this order.
    Prefix,
    /// Seqs have no gap, timestamps increase.
    Dense,
    /// Groups are all or nothing.
    Groups,
    /// One key, one event.
    ExactlyOnce,
    /// What left the process follows from something durable.
    Gate,
    /// States and outputs are those of the model.
    Digests,
    /// Damage is refused, by name; a crash is not.
    Refusal,
    /// When nothing fails any more, everything comes to an end.
    Convergence,
    /// The code panicked.
    Panic,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// How.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// Breaks off with a violation unless something holds.
macro_rules! hold {
    ($holds:expr, $invariant:ident, $($what:tt)*) => {
        if !$holds {
            return Err($crate::truth::Violation {
                invariant: $crate::truth::Invariant::$invariant,
                what: format!($($what)*),
            });
        }
    };
}
pub(crate) use hold;

/// An event as it was sequenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) fields: Fields,
    pub(crate) timestamp: Timestamp,
    pub(crate) payload: Vec<u8>,
    pub(crate) meaning: Meaning,
}

/// What the world knows about its log.
#[derive(Default)]
pub(crate) struct Truth {
    /// The timeline: the event at seq `n` stands at `n - 1`.
    sequenced: Vec<Entry>,
    /// Ends of timelines that recovery has cut, and where they began.
    cut: Vec<(usize, Vec<Entry>)>,
    /// How far anybody outside relies on the log, and why.
    promised: BTreeMap<Promise, Seq>,
    receipts: BTreeMap<IdempotencyKey, Seq>,
    delivered: BTreeMap<Seq, u64>,
    /// The keys of every group.
    groups: Vec<Vec<IdempotencyKey>>,
    /// Something of the timeline has become durable since it was begun.
    settled: bool,
}

/// Why somebody relies on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    Receipt,
    Watermark,
    Effect,
    Recovery,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receipt => "receipts were given",
            Self::Watermark => "the log said durable",
            Self::Effect => "effects have left",
            Self::Recovery => "an earlier open kept events",
        })
    }
}

impl Truth {
    pub(crate) fn add_group(&mut self, keys: Vec<IdempotencyKey>) {
        self.groups.push(keys);
    }

    pub(crate) fn last(&self) -> Seq {
        Seq(self.sequenced.len() as u64)
    }

    /// A batch is handed to the log: its events may be found from here on.
    pub(crate) fn sequenced(&mut self, first: Seq, entries: Vec<Entry>) -> Result<(), Violation> {
        hold!(first == self.last().next(), Dense, "a batch from {first} after {}", self.last());
        self.sequenced.extend(entries);
        Ok(())
    }

    fn promise(&mut self, promise: Promise, seq: Seq) {
        let known = self.promised.entry(promise).or_default();
        *known = seq.max(*known);
    }

    pub(crate) fn watermark(&mut self, seq: Seq) {
        self.settled |= Some(&seq) > self.promised.get(&Promise::Recovery);
        self.promise(Promise::Watermark, seq);
    }

    /// A client was told that its events, by these keys, stand at the receipt's place.
    pub(crate) fn acknowledged(
        &mut self,
        keys: &[IdempotencyKey],
        receipt: Receipt,
    ) -> Result<(), Violation> {
        for (seq, key) in (receipt.seq.0..).zip(keys) {
            let entry = self.sequenced.get(seq as usize - 1);
            let stands = entry.is_some_and(|entry| entry.fields.idempotency_key == *key);
            hold!(stands, Prefix, "a receipt says that key {key} stands at {seq}, there is {entry:?}");
            let before = *self.receipts.entry(*key).or_insert(Seq(seq));
            hold!(before == Seq(seq), ExactlyOnce, "key {key} has receipts for {before} and {seq}");
            self.promise(Promise::Receipt, Seq(seq));
        }
        Ok(())
    }

    /// An effect left the process. It may leave again, but not differ.
    pub(crate) fn delivered(&mut self, seq: Seq, value: u64) -> Result<(), Violation> {
        let before = *self.delivered.entry(seq).or_insert(value);
        hold!(before == value, Digests, "the effect of {seq} was {before:x} and is {value:x}");
        self.promise(Promise::Effect, seq);
        Ok(())
    }

    /// A log was opened and showed these events. `lost_is_explained` when damage took the end of the log in a way
    /// that nothing on the disk can tell; then the answer is false if something is missing.
    pub(crate) fn recovered(
        &mut self,
        mut entries: Vec<Entry>,
        lost_is_explained: bool,
        late_writes: bool,
    ) -> Result<bool, Violation> {
        if lost_is_explained && self.came_back(&entries).is_some() {
            return Ok(false);
        }
        let common = self.check_prefix(&entries, late_writes)?;
        self.check_keys(&entries)?;
        let last = Seq(entries.len() as u64);
        for (promise, seq) in &self.promised {
            if *seq <= last {
                continue;
            }
            if lost_is_explained {
                return Ok(false);
            }
            hold!(*promise != Promise::Effect, Gate, "effects up to {seq} have left, the log ends at {last}");
            let what = format!("{promise} up to {seq}, the log ends at {last}");
            return Err(Violation { invariant: Invariant::Acknowledged, what });
        }
        let cut = self.sequenced.split_off(common);
        if !cut.is_empty() {
            self.cut.push((common, cut));
        }
        std::mem::swap(&mut self.sequenced, &mut entries);
        self.promised.insert(Promise::Recovery, last);
        self.settled = false;
        Ok(true)
    }

    /// How far the events are those of the timeline; an error if they go on differently.
    fn check_prefix(&self, entries: &[Entry], late_writes: bool) -> Result<usize, Violation> {
        let differs = (0..entries.len()).find(|index| entries.get(*index) != self.sequenced.get(*index));
        let Some(at) = differs else { return Ok(entries.len()) };
        // A write of a killed process may land after the next process has cut it. As long as nothing of that
        // one is durable, the log may go on either way: nobody relies on the cut.
        if late_writes && !self.settled && self.came_back(entries) == Some(at) {
            return Ok(at);
        }
        let cut = self.cut.iter().any(|(base, tail)| {
            at.checked_sub(*base).and_then(|index| tail.get(index)).is_some_and(|cut| *cut == entries[at])
        });
        let (seq, came) = (at + 1, if cut { "was cut and came back" } else { "is there" });
        let (found, known) = (&entries[at], self.sequenced.get(at));
        let what = format!("at {seq} {found:?} {came}, sequenced was {known:?}");
        Err(Violation { invariant: Invariant::Prefix, what })
    }

    /// Where the events go on as something that was cut did, if they do and end with it.
    fn came_back(&self, entries: &[Entry]) -> Option<usize> {
        let at = (0..entries.len()).find(|index| entries.get(*index) != self.sequenced.get(*index))?;
        let tail = |(base, tail): &(usize, Vec<Entry>)| {
            *base <= at
                && entries[*base..].iter().zip(tail).all(|(found, known)| found == known)
                && entries.len() <= base + tail.len()
        };
        self.cut.iter().any(tail).then_some(at)
    }

    fn check_keys(&self, entries: &[Entry]) -> Result<(), Violation> {
        let mut places = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let (key, seq) = (entry.fields.idempotency_key, index + 1);
            let before = places.insert(key, seq);
            hold!(before.is_none(), ExactlyOnce, "key {key} stands at {before:?} and {seq}");
        }
        for group in &self.groups {
            let found: Vec<_> = group.iter().map(|key| places.get(key).copied()).collect();
            let absent = found.iter().all(Option::is_none);
            let whole = found.windows(2).all(|two| two[0].map(|seq| seq + 1) == two[1]) && !absent;
            hold!(absent || whole, Groups, "the events of a group stand at {found:?}");
        }
        Ok(())
    }

    /// Somebody read the log and trusts what it says to be durable.
    pub(crate) fn read(&self, entries: &[Entry]) -> Result<(), Violation> {
        let differs = (0..entries.len()).find(|index| entries.get(*index) != self.sequenced.get(*index));
        hold!(differs.is_none(), Prefix, "a reader sees another event at {differs:?}");
        let durable = self.promised.values().max().copied().unwrap_or_default();
        let seen = Seq(entries.len() as u64);
        hold!(
            seen <= durable,
            Gate,
            "a reader trusts events up to {seen}, durable are those up to {durable}"
        );
        Ok(())
    }

    /// The model after everything sequenced.
    pub(crate) fn model(&self) -> Model {
        let mut model = Model::default();
        for (entry, seq) in self.sequenced.iter().zip(1..) {
            model.apply(Seq(seq), entry.fields.key, entry.meaning);
        }
        model
    }

    /// The end of a world in which nothing fails any more.
    pub(crate) fn settled(
        &self,
        digests: &[StageDigest],
        keys: &BTreeSet<IdempotencyKey>,
    ) -> Result<(), Violation> {
        let model = self.model();
        for (stage, expected) in digests.iter().zip(model.digests()) {
            let found = stage.state;
            hold!(found == expected, Digests, "state of {}: {found}, the model has {expected}", stage.stage);
        }
        for (seq, value) in &self.delivered {
            let posted = model.posted.get(seq);
            hold!(posted == Some(value), Digests, "effect of {seq}: {value:x}, the model has {posted:x?}");
        }
        let missing = model.posted.keys().find(|seq| !self.delivered.contains_key(seq));
        hold!(missing.is_none(), Convergence, "the effect of {missing:?} was never delivered");
        self.check_consequences(&model)?;
        let acked: BTreeSet<_> = self.receipts.keys().copied().collect();
        let unheard = keys.difference(&acked).next();
        hold!(unheard.is_none(), Convergence, "key {unheard:?} was never acknowledged");
        let strange = self
            .sequenced
            .iter()
            .find(|entry| !entry.fields.derived && !keys.contains(&entry.fields.idempotency_key));
        hold!(strange.is_none(), ExactlyOnce, "nobody submitted {strange:?}");
        Ok(())
    }

    /// Every event that has to follow from another one is there, once, and no other.
    fn check_consequences(&self, model: &Model) -> Result<(), Violation> {
        let mut expected = model.consequences.clone();
        for entry in self.sequenced.iter().filter(|entry| entry.fields.derived) {
            let cause = entry.fields.causation;
            let found = match entry.meaning {
                Meaning::Credit { cents } => Consequence::Credit { to: entry.fields.key, cents },
                _ => Consequence::Rejection,
            };
            let due = expected.remove(&cause);
            hold!(due == Some(found), ExactlyOnce, "from {cause} follows {due:?}, there is {found:?}");
        }
        let missing = expected.first_key_value();
        hold!(missing.is_none(), Convergence, "{missing:?} never came to the log");
        Ok(())
    }

    /// True when the last event is that of a group, for a planted bug.
    pub(crate) fn ends_in_a_group(&self, entries: &[Entry]) -> bool {
        let last = entries.last().map(|entry| entry.fields.idempotency_key);
        self.groups.iter().any(|group| group.last().copied() == last)
    }

    /// An event that a recovery has cut, for a planted bug.
    pub(crate) fn some_cut(&self, at: usize) -> Option<Entry> {
        self.cut.iter().find(|(base, _)| *base == at).map(|(_, tail)| tail[0].clone())
    }
}
