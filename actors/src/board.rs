//! The board on which workers write the digests of their stages, and from which checkpoints are read.
//!
//! A barrier is a seq. Every worker, on passing it, reports the digests of its stages; nobody waits. When the
//! last report is in, the checkpoint is complete: it is compared with the one in the log for that seq, if there
//! is one, and handed to the engine to be logged otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use downbeat_flow::{StageId, StageSums};
use downbeat_record::{Checkpoint, Seq, StageDigest};

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
        let pairs = [
            ("the output digest", found.outputs, expected.outputs),
            ("the state digest", found.state, expected.state),
        ];
        if let Some((what, found_digest, logged_digest)) = pairs.into_iter().find(|(_, a, b)| a != b) {
            return Err(Divergence {
                seq: sums.seq,
                stage: found.stage.clone(),
                what,
                found: found_digest,
                logged: logged_digest,
            });
        }
    }
    Ok(())
}

struct Entry {
    sums: Vec<StageSums>,
    reported: BTreeSet<(StageId, u32)>,
}

#[derive(Default)]
struct Inner {
    open: BTreeMap<Seq, Entry>,
    complete: Vec<Sums>,
    complete_upto: Seq,
}

/// Collects digests.
pub(crate) struct Board {
    names: Vec<String>,
    /// How many reports make a checkpoint: one per stage and shard.
    reports: usize,
    interval: u64,
    logged: BTreeMap<Seq, Checkpoint>,
    /// A barrier asked for now: `u64::MAX` when none is.
    asked: AtomicU64,
    news: AtomicBool,
    inner: Mutex<Inner>,
}

impl Board {
    pub(crate) fn new(names: Vec<String>, reports: usize, interval: u64, logged: Vec<Checkpoint>) -> Self {
        Self {
            names,
            reports,
            interval,
            logged: logged.into_iter().map(|checkpoint| (checkpoint.seq, checkpoint)).collect(),
            asked: AtomicU64::new(u64::MAX),
            news: AtomicBool::new(false),
            inner: Mutex::default(),
        }
    }

    /// The first barrier after `seq`.
    pub(crate) fn next_barrier(&self, seq: Seq) -> Seq {
        let regular = Seq((seq.0 / self.interval + 1) * self.interval);
        match self.logged.range(seq.next()..).next() {
            Some((logged, _)) => regular.min(*logged),
            None => regular,
        }
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
    /// The difference from the log, when this was the last report of a barrier for which the log has digests.
    pub(crate) fn report(
        &self,
        seq: Seq,
        shard: u32,
        sums: &[(StageId, StageSums)],
    ) -> Result<(), Divergence> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if seq <= inner.complete_upto {
            return Ok(());
        }
        let stages = self.names.len();
        let entry = inner
            .open
            .entry(seq)
            .or_insert_with(|| Entry { sums: vec![StageSums::default(); stages], reported: BTreeSet::new() });
        for (stage, sum) in sums {
            if entry.reported.insert((*stage, shard)) {
                let at = &mut entry.sums[usize::from(stage.0)];
                *at = at.plus(*sum);
            }
        }
        if entry.reported.len() < self.reports {
            return Ok(());
        }
        let Some(entry) = inner.open.remove(&seq) else { return Ok(()) };
        let stages = self.names.iter().zip(entry.sums).map(|(name, sum)| StageDigest {
            stage: name.clone(),
            outputs: sum.outputs,
            state: sum.state,
        });
        let sums = Sums { seq, stages: stages.collect() };
        inner.complete_upto = inner.complete_upto.max(seq);
        let compared = match self.logged.get(&seq) {
            Some(logged) => compare(&sums, logged),
            None => {
                inner.complete.push(sums);
                Ok(())
            }
        };
        self.news.store(true, Ordering::Release);
        compared
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
