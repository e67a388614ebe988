//! The check: the log as the parent reads it, held against what came through the pipes, the model, and a replay.
//!
//! 1. Every batch is read with its checksums and its chain. Seqs are dense, times increase.
//! 2. Every put is what its `n` says, stands there once, and, if it was acknowledged, at the seq that was told.
//! 3. Every `n` below the frontier is there: what was in flight at a kill was submitted again under its key.
//! 4. Every milestone and rejection follows from one put, once, and none is missing.
//! 5. One unit on one thread gives the digest of every checkpoint in the log.
//! 6. Its states, and those of an engine that opens the log once more, are those of the model.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use downbeat::record::rkyv::rancor;
use downbeat::record::{BatchKind, Checkpoint, Contract, ContractTable, Event, Kind, Record, StageDigest};
use downbeat::{Engine, Fields, Key, Rejected, Seq};
use downbeat_flow::{Flow, Input, Kinds, Shards, Sink, StageId, StageSums, Unit};
use downbeat_wal::Reader;

use super::flow::{Account, Balance, Book, Ledger, Milestone, Put, Risk, flow, idempotency_key_of, key_of};
use super::model::{Derived, Model};
use super::rounds::Story;
use super::writer::options;

/// What the check saw, when everything holds.
pub(crate) struct Seen {
    pub(crate) events: u64,
    pub(crate) batches: u64,
    pub(crate) emitted: u64,
    pub(crate) rejected: u64,
    pub(crate) checkpoints: u64,
    pub(crate) accounts: usize,
    pub(crate) took: Duration,
}

/// A fault that the check is made to see although the log is sound: it must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// An acknowledged event is not there.
    Lost,
    /// An acknowledged event is there twice.
    Doubled,
    /// An acknowledged event stands where another one was told to stand.
    Moved,
}

impl Plant {
    pub(crate) const ALL: [Self; 3] = [Self::Lost, Self::Doubled, Self::Moved];

    /// True when this is what the check must say about it.
    pub(crate) fn is_noticed(self, error: &anyhow::Error) -> bool {
        let finding = error.downcast_ref::<Finding>();
        finding.is_some_and(|finding| match self {
            Self::Lost => matches!(finding, Finding::Lost { .. }),
            Self::Doubled => matches!(finding, Finding::Doubled { .. }),
            Self::Moved => matches!(finding, Finding::Moved { .. }),
        })
    }
}

/// What does not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Finding {
    #[error("n {n} was acknowledged as seq {seq}, and is not in the log")]
    Lost { n: u64, seq: Seq },
    #[error("n {n} was submitted, and is not in the log")]
    Missing { n: u64 },
    #[error("n {n} stands at seq {first} and again at seq {second}")]
    Doubled { n: u64, first: Seq, second: Seq },
    #[error("n {n} was acknowledged as seq {told}, and stands at seq {found}")]
    Moved { n: u64, told: Seq, found: Seq },
    #[error("seq {seq} says it is n {n}, and is not what was submitted as that")]
    Changed { n: u64, seq: Seq },
    #[error("seq {found} comes after seq {before}")]
    Gap { before: Seq, found: Seq },
    #[error("seq {seq}: caused by seq {cause}, from which it does not follow: {what}")]
    NotDue { seq: Seq, cause: Seq, what: String },
    #[error("seq {cause} should have caused {what}, which is not in the log")]
    NeverCame { cause: Seq, what: String },
    #[error("stage `{stage}` at seq {seq}: the log has {logged:?}, one thread gives {found:?}")]
    Digest { stage: String, seq: Seq, logged: StageDigest, found: StageSums },
    #[error("the state of {what} is {found}, the model says {expected}")]
    State { what: String, found: String, expected: String },
}

/// Checks the log of a story that has come to its end.
pub(crate) fn check(log: &Path, story: &Story, plant: Option<Plant>) -> anyhow::Result<Seen> {
    let start = Instant::now();
    let checkpoints = checkpoints(log)?;
    let mut check = Check::new(story, plant, &checkpoints);
    let mut batches = 0;
    let mut reader = Reader::open(log)?;
    for located in reader.batches() {
        let batch = located?.batch;
        batches += 1;
        match batch.kind() {
            BatchKind::Contracts => {
                check.bind(ContractTable::from_json(batch.body())?)?;
            }
            BatchKind::Data => batch.records().try_for_each(|record| check.record(&record))?,
            _ => {}
        }
    }
    let mut seen = check.end()?;
    seen.batches = batches;
    seen.took = start.elapsed();
    if plant.is_none() {
        check.opened_again(log)?;
    }
    Ok(seen)
}

/// The digests in the log, by the seq they stand for: they are written behind the events they cover.
fn checkpoints(log: &Path) -> anyhow::Result<BTreeMap<Seq, Checkpoint>> {
    let mut checkpoints = BTreeMap::new();
    for located in Reader::open(log)?.batches() {
        let batch = located?.batch;
        if batch.kind() == BatchKind::Checkpoint {
            let checkpoint = Checkpoint::from_json(batch.body())?;
            checkpoints.insert(checkpoint.seq, checkpoint);
        }
    }
    Ok(checkpoints)
}

struct Check<'a> {
    story: &'a Story,
    plant: Option<Plant>,
    checkpoints: &'a BTreeMap<Seq, Checkpoint>,
    flow: Flow,
    kinds: Arc<Kinds>,
    put: Kind,
    milestone: Kind,
    unit: Option<Unit>,
    last: Seq,
    /// Where each n stands.
    found: Vec<Seq>,
    model: Model,
    emitted: u64,
    rejected: u64,
    compared: u64,
}

/// Commands of the replay are in the log already; that they are the right ones is the model's business.
struct Ignore;

impl Sink for Ignore {
    fn value(&mut self, _: StageId, _: &Record<'_>, _: &[u8]) {}
    fn command(&mut self, _: &Fields, _: &[u8]) {}
}

impl<'a> Check<'a> {
    fn new(story: &'a Story, plant: Option<Plant>, checkpoints: &'a BTreeMap<Seq, Checkpoint>) -> Self {
        Self {
            story,
            plant,
            checkpoints,
            flow: flow(),
            kinds: Arc::default(),
            put: Kind::default(),
            milestone: Kind::default(),
            unit: None,
            last: Seq::ZERO,
            found: vec![Seq::ZERO; usize::try_from(story.until).unwrap_or(usize::MAX)],
            model: Model::default(),
            emitted: 0,
            rejected: 0,
            compared: 0,
        }
    }

    /// The contracts come before the first event; later tables say the same.
    fn bind(&mut self, mut contracts: ContractTable) -> anyhow::Result<()> {
        let known = contracts.len();
        let kinds = self.flow.bind(|contract| contracts.register(contract))?;
        self.put = contracts.register(Contract::of::<Put>())?;
        self.milestone = contracts.register(Contract::of::<Milestone>())?;
        ensure!(contracts.len() == known, "the log does not explain the events in it");
        if self.unit.is_none() {
            let stages: Vec<StageId> = self.flow.stages().iter().map(|stage| stage.id).collect();
            self.unit = Some(self.flow.unit(&stages, Shards::All(1), &kinds));
            self.kinds = kinds;
        }
        Ok(())
    }

    fn record(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        if record.seq != self.last.next() {
            return Err(Finding::Gap { before: self.last, found: record.seq }.into());
        }
        self.last = record.seq;
        let plant = self.plant.filter(|_| self.is_planted(record));
        match plant {
            Some(Plant::Lost) => {
                self.input(record, record.seq)?;
                self.found[owned::<Put>(record)?.n as usize] = Seq::ZERO;
            }
            Some(Plant::Doubled) => {
                self.input(record, record.seq)?;
                self.input(record, record.seq)?;
            }
            Some(Plant::Moved) => self.input(record, record.seq.next())?,
            None => self.input(record, record.seq)?,
        }
        let unit = self.unit.as_mut().context("events come before their contracts")?;
        unit.apply(record, &[] as &[Input<'_>], &mut Ignore);
        self.compare(record.seq)
    }

    /// The event that a planted fault concerns: the first acknowledged put.
    fn is_planted(&self, record: &Record<'_>) -> bool {
        let first = self.story.acknowledged.iter().copied().find(|seq| *seq != Seq::ZERO);
        self.plant.is_some() && first == Some(record.seq)
    }

    /// Holds an event against the pipes and the model.
    fn input(&mut self, record: &Record<'_>, seq: Seq) -> anyhow::Result<()> {
        if record.fields.kind == self.put {
            return self.is_put(record, seq);
        }
        let derived = if record.fields.kind == self.milestone {
            self.emitted += 1;
            Derived::Milestone(owned::<Milestone>(record)?)
        } else {
            self.rejected += 1;
            let Rejected { reason, panicked, .. } = owned::<Rejected>(record)?;
            Derived::Rejected { reason, panicked }
        };
        let cause = record.fields.causation;
        if !record.fields.derived || !self.model.derived(cause, record.fields.key, &derived) {
            return Err(Finding::NotDue { seq, cause, what: format!("{derived:?}") }.into());
        }
        Ok(())
    }

    fn is_put(&mut self, record: &Record<'_>, seq: Seq) -> anyhow::Result<()> {
        let put = owned::<Put>(record)?;
        let n = put.n;
        let as_submitted = Fields {
            kind: self.put,
            key: key_of(n),
            idempotency_key: idempotency_key_of(n),
            ..Fields::default()
        };
        if put != Put::nth(n) || record.fields != as_submitted || n >= self.story.until {
            return Err(Finding::Changed { n, seq }.into());
        }
        let place = &mut self.found[n as usize];
        if *place != Seq::ZERO {
            return Err(Finding::Doubled { n, first: *place, second: seq }.into());
        }
        *place = seq;
        let told = self.story.acknowledged.get(n as usize).copied().unwrap_or_default();
        if told != Seq::ZERO && told != seq {
            return Err(Finding::Moved { n, told, found: seq }.into());
        }
        self.model.put(record.seq, record.fields.key, &put);
        Ok(())
    }

    /// Holds the digests of the replay against those in the log.
    fn compare(&mut self, seq: Seq) -> anyhow::Result<()> {
        let (Some(checkpoint), Some(unit)) = (self.checkpoints.get(&seq), &mut self.unit) else {
            return Ok(());
        };
        for (logged, (_, found)) in checkpoint.stages.iter().zip(unit.sums()) {
            if (found.outputs, found.state) != (logged.outputs, logged.state) {
                let (stage, logged) = (logged.stage.clone(), logged.clone());
                return Err(Finding::Digest { stage, seq, logged, found }.into());
            }
        }
        self.compared += 1;
        Ok(())
    }

    /// What can only be said when the whole log was seen.
    fn end(&mut self) -> anyhow::Result<Seen> {
        if let Some(at) = self.found.iter().position(|place| *place == Seq::ZERO) {
            let (n, told) = (at as u64, self.story.acknowledged.get(at).copied().unwrap_or_default());
            return Err(match told {
                Seq::ZERO => Finding::Missing { n }.into(),
                seq => Finding::Lost { n, seq }.into(),
            });
        }
        if let Some((cause, derived)) = self.model.due.first_key_value() {
            return Err(Finding::NeverCame { cause: *cause, what: format!("{derived:?}") }.into());
        }
        let closed_at = self.story.closed_at;
        ensure!(
            self.last == closed_at,
            "the log ends at seq {}, the writer closed it at {closed_at}",
            self.last
        );
        ensure!(self.checkpoints.contains_key(&closed_at), "no checkpoint stands for the last seq");
        ensure!(
            self.compared == self.checkpoints.len() as u64,
            "a checkpoint stands for a seq that is not there"
        );
        self.states()?;
        Ok(Seen {
            events: self.last.0,
            batches: 0,
            emitted: self.emitted,
            rejected: self.rejected,
            checkpoints: self.compared,
            accounts: self.model.accounts.len(),
            took: Duration::ZERO,
        })
    }

    /// The states of the replay are those of the model.
    fn states(&self) -> anyhow::Result<()> {
        let unit = self.unit.as_ref().context("the log is empty")?;
        let (mut accounts, mut scores, mut books) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        unit.each_state::<Balance>("balance", |key, account| accounts.extend([(key, account.clone())]));
        unit.each_state::<Risk>("risk", |key, score| scores.extend([(key, *score)]));
        unit.each_state::<Ledger>("ledger", |_, book| books.push(book.clone()));
        self.same("the replay", accounts, scores, books)
    }

    /// An engine that opens the log once more, with other shards, has the states of the model too.
    fn opened_again(&self, log: &Path) -> anyhow::Result<()> {
        let engine = Engine::open(options(log.to_path_buf(), 5, 2), flow())?;
        ensure!(engine.last_seq() == self.last, "opened again, the log ends at seq {}", engine.last_seq());
        let accounts = fold(&engine, "balance", |key, state: &Account| (key, state.clone()), Balance)?;
        let scores = fold(&engine, "risk", |key, score: &u64| (key, *score), Risk)?;
        let books = fold(&engine, "ledger", |key, book: &Book| (key, book.clone()), Ledger)?;
        engine.close()?;
        self.same("the engine", accounts, scores, books.into_values().collect())
    }

    fn same(
        &self,
        whose: &str,
        accounts: BTreeMap<Key, Account>,
        scores: BTreeMap<Key, u64>,
        books: Vec<Book>,
    ) -> anyhow::Result<()> {
        let differs = |what: &str, found: String, expected: String| {
            let what = format!("{what} in {whose}");
            Err(Finding::State { what, found, expected }.into())
        };
        for (key, expected) in &self.model.accounts {
            if accounts.get(key) != Some(expected) {
                let found = format!("{:?}", accounts.get(key));
                return differs(&format!("account {key}"), found, format!("{expected:?}"));
            }
        }
        if accounts.len() != self.model.accounts.len() || scores != self.model.scores {
            return differs("the scores", format!("{scores:?}"), format!("{:?}", self.model.scores));
        }
        if books != [self.model.book.clone()] {
            return differs("the book", format!("{books:?}"), format!("{:?}", self.model.book));
        }
        Ok(())
    }
}

/// The states of one stage of an engine.
fn fold<S: downbeat::Stage, T: Send + 'static>(
    engine: &Engine,
    stage: &str,
    one: impl Fn(Key, &S::State) -> (Key, T) + Send + Sync + 'static,
    _: S,
) -> anyhow::Result<BTreeMap<Key, T>> {
    let add = move |mut all: BTreeMap<Key, T>, key: Key, state: &S::State| {
        let (key, state) = one(key, state);
        all.insert(key, state);
        all
    };
    engine.fold_states::<S, _>(stage, BTreeMap::new(), add).with_context(|| format!("stage {stage}"))
}

/// The payload as a value of its own.
fn owned<E>(record: &Record<'_>) -> anyhow::Result<E>
where
    E: Event,
    downbeat::rkyv::Archived<E>:
        downbeat::rkyv::Deserialize<E, downbeat::rkyv::api::high::HighDeserializer<rancor::Error>>,
{
    let archived = E::view(record.payload()).with_context(|| format!("seq {}", record.seq))?;
    Ok(downbeat::rkyv::deserialize::<E, rancor::Error>(archived)?)
}
