//! The check: the log as the parent reads it, held against what came through the pipes, the model, and a replay.
//!
//! 1. Every batch is read with its checksums and its chain. Seqs are dense.
//! 2. Every put is what its `n` says, stands there once, and, if it was acknowledged, at the seq that was told.
//! 3. Every `n` below the frontier is there: what was in flight at a kill was submitted again under its key.
//! 4. Every milestone and rejection follows from one put, once, and none is missing.
//! 5. The audit verifies the log, and its replay on one thread gives every digest and every emitted event.
//! 6. The states of the replay, and of an engine that opens the log once more, are those of the model.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use downbeat::record::rkyv::rancor;
use downbeat::record::{BatchKind, Contract, ContractTable, Event, Kind, Record};
use downbeat::{Engine, Fields, Key, Rejected, Seq};
use downbeat_audit::{ReplayOptions, VerifyOptions};
use downbeat_wal::Reader;

use super::flow::{Account, Balance, Book, Ledger, Milestone, Put, Risk, flow, idempotency_key_of, key_of};
use super::model::{Derived, Model};
use super::story::Story;
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
    #[error("the state of {what} is {found}, the model says {expected}")]
    State { what: String, found: String, expected: String },
}

/// Checks the log of a story that has come to its end; with a planted fault, as far as that must be noticed.
pub(crate) fn check(log: &Path, story: &Story, plant: Option<Plant>) -> anyhow::Result<Seen> {
    let start = Instant::now();
    let mut check = Check::new(story, plant);
    for located in Reader::open(log)?.batches() {
        let batch = located?.batch;
        match batch.kind() {
            BatchKind::Contracts => check.bind(ContractTable::from_json(batch.body())?)?,
            BatchKind::Data => batch.records().try_for_each(|record| check.record(&record))?,
            _ => {}
        }
    }
    check.end()?;
    let (batches, checkpoints) = check.audited(log)?;
    check.opened_again(log)?;
    Ok(Seen {
        events: check.last.0,
        batches,
        emitted: check.emitted,
        rejected: check.rejected,
        checkpoints,
        accounts: check.model.accounts.len(),
        took: start.elapsed(),
    })
}

struct Check<'a> {
    story: &'a Story,
    plant: Option<Plant>,
    put: Kind,
    milestone: Kind,
    last: Seq,
    /// Where each n stands.
    found: Vec<Seq>,
    model: Model,
    emitted: u64,
    rejected: u64,
}

impl<'a> Check<'a> {
    fn new(story: &'a Story, plant: Option<Plant>) -> Self {
        Self {
            story,
            plant,
            put: Kind::default(),
            milestone: Kind::default(),
            last: Seq::ZERO,
            found: vec![Seq::ZERO; usize::try_from(story.until()).unwrap_or(usize::MAX)],
            model: Model::default(),
            emitted: 0,
            rejected: 0,
        }
    }

    /// The contracts come before the first event, and the log knows all of them.
    fn bind(&mut self, mut contracts: ContractTable) -> anyhow::Result<()> {
        let known = contracts.len();
        self.put = contracts.register(Contract::of::<Put>())?;
        self.milestone = contracts.register(Contract::of::<Milestone>())?;
        ensure!(contracts.len() == known, "the log does not explain the events in it");
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
        Ok(())
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
        if put != Put::nth(n) || record.fields != as_submitted || n >= self.story.until() {
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

    /// What can only be said when the whole log was seen.
    fn end(&self) -> anyhow::Result<()> {
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
        ensure!(self.last == closed_at, "the log ends at {}, the writer closed it at {closed_at}", self.last);
        Ok(())
    }

    /// What the audit says about the log: batches, and checkpoints that one thread gives again.
    fn audited(&self, log: &Path) -> anyhow::Result<(u64, u64)> {
        let verified = downbeat_audit::verify(log, VerifyOptions::default(), drop)?;
        let replayed = downbeat_audit::replay(log, &flow(), ReplayOptions::default(), drop)?;
        let derived = self.emitted + self.rejected;
        ensure!(verified.last_seq == self.last && replayed.last_seq == self.last, "the audit ends elsewhere");
        ensure!(
            replayed.derived == derived,
            "{} derived events, the audit says {}",
            derived,
            replayed.derived
        );
        ensure!(replayed.pending == 0, "{} emitted events are not in the log", replayed.pending);
        let last = verified.checkpoints.last().context("the log has no checkpoint")?;
        ensure!(
            last.seq == self.last && last.stages == replayed.stages,
            "the last checkpoint is not the end"
        );
        let (mut accounts, mut scores, mut books) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        replayed.each_state::<Balance>("balance", |key, account| accounts.extend([(key, account.clone())]));
        replayed.each_state::<Risk>("risk", |key, score| scores.extend([(key, *score)]));
        replayed.each_state::<Ledger>("ledger", |_, book| books.push(book.clone()));
        self.same("the replay", accounts, scores, books)?;
        Ok((verified.batches, replayed.checkpoints))
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
