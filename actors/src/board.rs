//! The board on which workers write the digests of their stages, and from which checkpoints are read.
//!
//! A barrier is a seq. Every worker, on passing it, reports the digests of its stages; nobody waits. When the
//! last report is in, the checkpoint is complete: it is compared with the one in the log for that seq, if there
//! is one, and handed to the engine to be logged otherwise. Leaves wait for that word ([`Gate`]).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use downbeat_flow::{StageId, StageSums};
use downbeat_record::{Checkpoint, Seq, StageDigest};

use crate::gate::Gate;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// The code gives another digest than the log has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "stage `{stage}` diverges from the log at or before seq {seq}: {what} is {found}, the log has {logged}"
)]
pub struct Divergence {
    /// The first checkpoint at which a difference shows.
    pub seq: Seq,
    /// The stage.
    pub stage: String,
    /// Outputs or state.
    pub what: &'static str,
    /// What the code gives.
    pub found: downbeat_record::Digest,
    /// What the log has.
    pub logged: downbeat_record::Digest,
}

/// The digests of a whole flow at a barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// The barrier.
    pub seq: Seq,
    /// Per stage, in the order of declaration.
    pub stages: Vec<StageDigest>,
}

/// Compares digests with a logged checkpoint of the same seq.
///
/// # Errors
///
/// The first stage that differs.
pub fn compare(sums: &Sums, logged: &Checkpoint) -> Result<(), Divergence> {
    for found in &sums.stages {
        let Some(expected) = logged.stages.iter().find(|stage| stage.stage == found.stage) else { continue };
        differs(sums.seq, found, expected)?;
    }
    Ok(())
}

fn digest(stage: &str, StageSums { outputs, state }: StageSums) -> StageDigest {
    StageDigest { stage: stage.to_owned(), outputs, state }
}

fn differs(seq: Seq, found: &StageDigest, expected: &StageDigest) -> Result<(), Divergence> {
    let pairs = [
        ("the output digest", found.outputs, expected.outputs),
        ("the state digest", found.state, expected.state),
    ];
    match pairs.into_iter().find(|(_, found, expected)| found != expected) {
        None => Ok(()),
        Some((what, digest, logged)) => {
            Err(Divergence { seq, stage: found.stage.clone(), what, found: digest, logged })
        }
    }
}

/// The digests of every stage and shard at a barrier, as far as they are in.
type Reports = BTreeMap<(StageId, u32), StageSums>;

#[derive(Default)]
struct Inner {
    open: BTreeMap<Seq, Reports>,
    complete: Vec<Sums>,
    complete_upto: Seq,
    /// What was reported there: a group that is rebuilt passes it again.
    newest: Reports,
}

/// Collects digests.
pub(crate) struct Board {
    names: Vec<String>,
    /// How many reports make a checkpoint: one per stage and shard.
    reports: usize,
    interval: u64,
    logged: BTreeMap<Seq, Checkpoint>,
    /// Told how far the code has given what the log has.
    gate: Arc<Gate>,
    /// A barrier asked for now: `u64::MAX` when none is.
    asked: AtomicU64,
    news: AtomicBool,
    inner: Mutex<Inner>,
}

impl Board {
    pub(crate) fn new(
        names: Vec<String>,
        reports: usize,
        interval: u64,
        logged: Vec<Checkpoint>,
        gate: Arc<Gate>,
    ) -> Self {
        let board = Self {
            names,
            reports,
            interval,
            logged: logged.into_iter().map(|checkpoint| (checkpoint.seq, checkpoint)).collect(),
            gate,
            asked: AtomicU64::new(u64::MAX),
            news: AtomicBool::new(false),
            inner: Mutex::default(),
        };
        board.gate.confirm(Seq::ZERO, board.next_logged(Seq::ZERO));
        board
    }

    /// The first checkpoint that the log has after `seq`.
    fn next_logged(&self, seq: Seq) -> Option<Seq> {
        self.logged.range(seq.next()..).next().map(|(logged, _)| *logged)
    }

    /// The first barrier after `seq`: as long as the log has checkpoints, those and no others.
    pub(crate) fn next_barrier(&self, seq: Seq) -> Seq {
        self.next_logged(seq).unwrap_or(Seq((seq.0 / self.interval + 1) * self.interval))
    }

    /// Asks for a checkpoint at the last seq, where every worker already is or soon will be.
    pub(crate) fn ask(&self, seq: Seq) {
        self.asked.store(seq.0, Ordering::Release);
    }

    /// The seq for which a checkpoint was asked.
    #[inline]
    pub(crate) fn asked(&self) -> Option<Seq> {
        match self.asked.load(Ordering::Acquire) {
            u64::MAX => None,
            seq => Some(Seq(seq)),
        }
    }

    /// Takes the report of one worker: its stages' digests, for one shard, at a barrier.
    ///
    /// # Errors
    ///
    /// The difference from the log, when this was the last report of a barrier for which the log has digests; or from what
    /// the group said before it was rebuilt, at the newest barrier that is complete.
    pub(crate) fn report(
        &self,
        seq: Seq,
        shard: u32,
        sums: &[(StageId, StageSums)],
    ) -> Result<(), Divergence> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if seq < inner.complete_upto {
            return Ok(());
        }
        let inner = &mut *inner;
        let is_complete = seq == inner.complete_upto;
        let reports = if is_complete { &mut inner.newest } else { inner.open.entry(seq).or_default() };
        for (stage, sum) in sums {
            let before = *reports.entry((*stage, shard)).or_insert(*sum);
            let name = &self.names[usize::from(stage.0)];
            if before != *sum {
                differs(seq, &digest(name, *sum), &digest(name, before))?;
            }
        }
        if is_complete || reports.len() < self.reports {
            return Ok(());
        }
        let Some(reports) = inner.open.remove(&seq) else { return Ok(()) };
        let sums = self.sums(seq, &reports);
        (inner.complete_upto, inner.newest) = (seq, reports);
        let compared = match self.logged.get(&seq) {
            Some(logged) => {
                compare(&sums, logged).inspect(|()| self.gate.confirm(seq, self.next_logged(seq)))
            }
            None => {
                inner.complete.push(sums);
                Ok(())
            }
        };
        self.news.store(true, Ordering::Release);
        compared
    }

    /// Shards put together, in the order of declaration.
    fn sums(&self, seq: Seq, reports: &Reports) -> Sums {
        let mut total = vec![StageSums::default(); self.names.len()];
        for ((stage, _), sum) in reports {
            let at = &mut total[usize::from(stage.0)];
            *at = at.plus(*sum);
        }
        let stages = self.names.iter().zip(total).map(|(name, sum)| digest(name, sum)).collect();
        Sums { seq, stages }
    }

    /// The digests at the newest barrier for which every report is in.
    pub(crate) fn newest(&self) -> Option<Sums> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.complete_upto > Seq::ZERO).then(|| self.sums(inner.complete_upto, &inner.newest))
    }

    /// True when a checkpoint was completed since the last take.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Ordering::Acquire)
    }

    /// The checkpoints that were completed since the last call and are not in the log.
    pub(crate) fn take(&self) -> Vec<Sums> {
        if !self.news.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner).complete)
    }

    /// The last barrier for which every report is in; with no stage there is nothing to report, ever.
    pub(crate) fn complete_upto(&self) -> Seq {
        if self.reports == 0 {
            return Seq(u64::MAX);
        }
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).complete_upto
    }
}
