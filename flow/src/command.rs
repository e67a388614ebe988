//! Commands: events that stages emit. How they are named, and how a replay compares them with the log.

use std::collections::BTreeMap;

use downbeat_record::{Correlation, Digest, Fields, IdempotencyKey, Key, Kind, Record, Seq, SourceId};

use crate::out::Command;

/// The name under which a command enters the order: it follows from the stage, the event and the index alone,
/// so emitting it again after a crash changes nothing.
pub fn key_of(stage: &str, cause: Seq, index: u8) -> IdempotencyKey {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&cause.0.to_le_bytes());
    name[8] = index;
    IdempotencyKey(xxhash_rust::xxh3::xxh3_128_with_seed(&name, stage_seed(stage)).max(1))
}

/// What keeps the digests and keys of different stages apart.
pub(crate) fn stage_seed(stage: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(stage.as_bytes())
}

/// The source of events that a stage emits: it follows from the stage's name, so that stages may be added and
/// moved, and lies above all numbers an application may choose.
pub fn source_of(stage: &str) -> SourceId {
    SourceId(SourceId::OF_STAGES.0 | stage_seed(stage) as u32)
}

/// The header fields of a command.
pub fn fields_of(stage: &str, cause: &Record<'_>, command: &Command<'_>) -> Fields {
    Fields {
        kind: command.kind,
        source: source_of(stage),
        key: command.key,
        correlation: cause.fields.correlation,
        causation: cause.seq,
        idempotency_key: key_of(stage, cause.seq, command.index),
        derived: true,
    }
}

/// A command that was emitted and is not in the log yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its header.
    pub fields: Fields,
    /// Its archived payload.
    pub payload: Vec<u8>,
}

impl Pending {
    /// Bytes of memory besides the payload: header, allocation, and a place in a map.
    const OVERHEAD: usize = 256;

    /// Bytes of memory it takes, about.
    pub fn memory(&self) -> usize {
        Self::OVERHEAD + self.payload.len()
    }
}

/// Log and code do not agree about a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The log holds an event that the stage, run again, did not emit.
    #[error("seq {seq}: the log holds an event emitted for seq {cause}, which the code does not emit")]
    NotEmitted {
        /// The derived event.
        seq: Seq,
        /// The event that is said to have caused it.
        cause: Seq,
    },
    /// The log holds other bytes than the code emits.
    #[error("seq {seq}: the event emitted for seq {cause} differs: logged {logged}, emitted {emitted}")]
    Differs {
        /// The derived event.
        seq: Seq,
        /// The event that caused it.
        cause: Seq,
        /// What the log has.
        logged: Box<CommandDigest>,
        /// What the code emits.
        emitted: Box<CommandDigest>,
    },
}

/// A command in short, for comparing and showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandDigest {
    /// Its contract.
    pub kind: Kind,
    /// The stage that emits it.
    pub source: SourceId,
    /// The entity it is about.
    pub key: Key,
    /// The transaction it belongs to.
    pub correlation: Correlation,
    /// Its payload.
    pub payload: Digest,
}

impl std::fmt::Display for CommandDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, source, key, correlation, payload } = self;
        write!(f, "kind {kind} source {source} key {key} correlation {correlation} payload {payload}")
    }
}

impl CommandDigest {
    fn of(fields: &Fields, payload: &[u8]) -> Self {
        let Fields { kind, source, key, correlation, .. } = *fields;
        Self { kind, source, key, correlation, payload: Digest::of(0, payload) }
    }
}

/// The commands emitted while a log is read again, each waiting for the logged event it must equal.
///
/// What is left when the log ends was emitted but not logged before the end; a live engine submits it.
#[derive(Default)]
pub struct Ledger {
    /// Each with its number in the order of emission.
    pending: BTreeMap<(Seq, IdempotencyKey), (u64, Pending)>,
    emitted: u64,
    memory: usize,
}

impl Ledger {
    /// Notes that a stage emitted a command.
    pub fn emitted(&mut self, fields: Fields, payload: &[u8]) {
        let pending = Pending { fields, payload: payload.to_vec() };
        self.memory += pending.memory();
        self.pending.insert((fields.causation, fields.idempotency_key), (self.emitted, pending));
        self.emitted += 1;
    }

    /// Compares a derived event of the log with what was emitted.
    ///
    /// # Errors
    ///
    /// [`Mismatch`], naming the first event that differs.
    pub fn logged(&mut self, record: &Record<'_>) -> Result<(), Mismatch> {
        let (seq, cause) = (record.seq, record.fields.causation);
        let Some((_, pending)) = self.pending.remove(&(cause, record.fields.idempotency_key)) else {
            return Err(Mismatch::NotEmitted { seq, cause });
        };
        self.memory -= pending.memory();
        let logged = CommandDigest::of(&record.fields, record.payload().bytes());
        let emitted = CommandDigest::of(&pending.fields, &pending.payload);
        if logged == emitted {
            Ok(())
        } else {
            Err(Mismatch::Differs { seq, cause, logged: logged.into(), emitted: emitted.into() })
        }
    }

    /// How many commands wait for their event.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// True when none waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Bytes of memory they take, about.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// The header of the one that has waited longest.
    pub fn oldest(&self) -> Option<&Fields> {
        self.pending.values().next().map(|(_, pending)| &pending.fields)
    }

    /// Takes the commands that are not in the log, in the order in which they were emitted.
    pub fn take(&mut self) -> impl Iterator<Item = Pending> + use<> {
        self.memory = 0;
        let mut left: Vec<_> = std::mem::take(&mut self.pending).into_values().collect();
        left.sort_unstable_by_key(|(number, _)| *number);
        left.into_iter().map(|(_, pending)| pending)
    }
}
