//! Commands during a replay: each must come back as the logged event it equals, and none may be passed over.
//!
//! A log may end at any time, so a command that was emitted and is not logged is no fault by itself. It is one
//! when something behind it in its queue is in the log: the commands that a stage emits for events about one key
//! take one way, and nothing on that way overtakes. And it is one when the log was closed after everything was in.

use std::collections::{BTreeSet, HashMap};

use downbeat_flow::{Flow, Ledger, Sink, StageId, source_of};
use downbeat_record::{Fields, IdempotencyKey, Key, Kind, Record, Seq, SourceId};

use crate::error::{AuditError, Diverged};

/// The commands emitted so far, and those that are still owed.
pub(crate) struct Commands {
    ledger: Ledger,
    owed: HashMap<IdempotencyKey, Owed>,
    /// Per stage and key of the cause, what is owed, in the order in which it was emitted.
    queues: HashMap<(SourceId, Key), BTreeSet<(Seq, IdempotencyKey)>>,
    names: HashMap<SourceId, String>,
    /// What these emitted is in the log and is not compared.
    retired: Vec<SourceId>,
    rejected_kind: Kind,
    /// Events that a stage rejected.
    pub(crate) rejected: u64,
    /// The key of the event being applied.
    pub(crate) key: Key,
}

/// What stands in two maps besides the ledger for each, about.
const OWED_BYTES: usize = 128;

/// The queue that an owed command stands in.
struct Owed {
    key: Key,
    source: SourceId,
}

impl Commands {
    pub(crate) fn new(flow: &Flow, rejected_kind: Kind) -> Self {
        let names = flow.stages().iter().map(|stage| (source_of(&stage.name), stage.name.to_string()));
        Self {
            ledger: Ledger::default(),
            owed: HashMap::new(),
            queues: HashMap::new(),
            names: names.collect(),
            retired: flow.retired().iter().map(|name| source_of(name)).collect(),
            rejected_kind,
            rejected: 0,
            key: Key::NONE,
        }
    }

    /// Compares a derived event of the log with what was emitted.
    pub(crate) fn logged(&mut self, record: &Record<'_>) -> Result<(), Diverged> {
        if self.retired.contains(&record.fields.source) {
            return Ok(());
        }
        self.ledger.logged(record)?;
        let (seq, fields) = (record.seq, &record.fields);
        let cause = fields.causation;
        let Some(owed) = self.owed.remove(&fields.idempotency_key) else { return Ok(()) };
        let Some(queue) = self.queues.get_mut(&(owed.source, owed.key)) else { return Ok(()) };
        queue.remove(&(cause, fields.idempotency_key));
        let overtaken = queue.first().map(|(first, _)| *first).filter(|first| *first < cause);
        if queue.is_empty() {
            self.queues.remove(&(owed.source, owed.key));
        }
        match overtaken {
            Some(cause) => Err(self.not_logged(owed.source, cause, Some(seq))),
            None => Ok(()),
        }
    }

    /// Bytes of memory that what is owed takes, about.
    pub(crate) fn memory(&self) -> usize {
        self.ledger.memory() + self.owed.len() * OWED_BYTES
    }

    /// More of it is held than may be.
    #[cold]
    pub(crate) fn too_much(&self, max: usize) -> AuditError {
        let oldest = self.ledger.oldest().copied().unwrap_or_default();
        AuditError::Recalled { stage: self.name(oldest.source), cause: oldest.causation, max }
    }

    fn name(&self, source: SourceId) -> String {
        self.names.get(&source).cloned().unwrap_or_else(|| source.to_string())
    }

    /// How many commands are owed.
    pub(crate) fn pending(&self) -> u64 {
        self.ledger.len() as u64
    }

    /// The first command owed by a log that was closed when nothing could be owed any more.
    pub(crate) fn settle(&self) -> Result<(), Diverged> {
        let first = self.queues.iter().filter_map(|((source, _), queue)| Some((queue.first()?.0, *source)));
        match first.min() {
            Some((cause, source)) => Err(self.not_logged(source, cause, None)),
            None => Ok(()),
        }
    }

    fn not_logged(&self, source: SourceId, cause: Seq, by: Option<Seq>) -> Diverged {
        Diverged::NotLogged { stage: self.name(source), cause, by }
    }
}

/// Values go to nobody: every stage is in the one unit, and leaves are not called.
impl Sink for Commands {
    #[inline]
    fn value(&mut self, _: StageId, _: &Record<'_>, _: &[u8]) {}

    fn command(&mut self, fields: &Fields, payload: &[u8]) {
        self.rejected += u64::from(fields.kind == self.rejected_kind);
        self.ledger.emitted(*fields, payload);
        let Fields { source, idempotency_key, causation, .. } = *fields;
        self.owed.insert(idempotency_key, Owed { key: self.key, source });
        self.queues.entry((source, self.key)).or_default().insert((causation, idempotency_key));
    }
}
