//! Does the code give what the log records?
//!
//! ```text
//!  batch ──► bytes, chain ──► contracts, checkpoints       what the log says about its events
//!    │ held until it is known which checkpoints it covers
//!    └─► event ──► Unit, every stage, one thread ──► commands   compared with the derived events of the log
//!                     └── sums, at the checkpoints' seqs ──►    compared with the checkpoints
//! ```
//!
//! A checkpoint stands behind the events that it covers by up to a window of events, and digests cannot be taken at
//! every place for which one may come: so applying goes behind verifying, far enough to know. Where that was not far
//! enough, and wherever anything does not agree, the log is gone through once more with everything known. What is said
//! about a log is thus always the word of a replay that knew all of it; only that everything agrees may be said by the
//! first pass alone ([`Trial`]).

use std::path::Path;

use downbeat_flow::{Flow, Stage, Unit};
use downbeat_record::{BatchKind, Checkpoint, ContractTable, Key, Seq, StageDigest};
use downbeat_wal::Trust;

use crate::error::AuditError;
use crate::verify::{Progress, State, Verified, VerifyOptions};
use crate::walk::{Step, Walk};

mod replayer;
mod trial;

use replayer::Replayer;
use trial::Trial;

/// How a log is replayed.
#[derive(Clone, Copy, Debug)]
pub struct ReplayOptions {
    /// The last event to apply; `None` for all.
    pub to: Option<Seq>,
    /// Into how many shards keyed stages are split. It changes no result.
    pub shards: u32,
    /// Bytes of commands, each counted with 384 besides its payload, that may be held until the log is found to hold them.
    /// Default 256 MiB. What a stage emits that is new to a long log comes behind all of that. An engine counts them for
    /// each of its workers, a replay for all stages together.
    pub command_backlog_bytes: usize,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self { to: None, shards: 1, command_backlog_bytes: 256 << 20 }
    }
}

/// What a replay gave.
pub struct Replayed {
    /// Events applied.
    pub events: u64,
    /// Of them, events that stages emitted; each equals what the code emits, but for those of stages that are retired.
    pub derived: u64,
    /// Events that a stage rejected.
    pub rejected: u64,
    /// The last event applied.
    pub last_seq: Seq,
    /// The digests after it, in the order in which the flow declares its stages.
    pub stages: Vec<StageDigest>,
    /// Checkpoints of the log that were compared, and agree.
    pub checkpoints: u64,
    /// Events that the code emits and the log does not hold: it ended before they got in.
    pub pending: u64,
    /// The event types of the log, in the order of their numbers there.
    pub kinds: Vec<KindCount>,
    unit: Unit,
}

/// How often an event type was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindCount {
    /// The name of its contract.
    pub name: String,
    /// The version of its contract.
    pub version: u16,
    /// Events of it that were applied.
    pub events: u64,
    /// Whether a stage of the flow is on it. Events that no stage is on say nothing about the code.
    pub applied: bool,
}

impl Replayed {
    /// Calls `visit` with every key and state of a stage; false when the flow has no such stage, or it is not
    /// an `S`.
    pub fn each_state<S: Stage>(&self, stage: &str, visit: impl FnMut(Key, &S::State)) -> bool {
        self.unit.each_state::<S>(stage, visit)
    }
}

/// Replays a log through a flow, on this thread, without leaves. Bytes, chain and end of the log are verified as it
/// is read; an error in them comes before any difference.
///
/// What is held of the log in memory is what stands between the event being applied and the last checkpoint known, at
/// most 32 MiB of batches. [`Progress::seq`] is the last event applied. When something does not agree, or a checkpoint
/// stands further behind its event than that, the log is replayed a second time with everything known that it says,
/// and [`Progress::bytes_total`] doubles.
///
/// Where the log ends, commands may be missing that stages emitted for its last events: [`Replayed::pending`].
///
/// # Errors
///
/// [`AuditError::Diverged`] naming the first difference; [`AuditError::Contract`] when an event type of the flow
/// has another shape than in the log; [`AuditError::Recalled`] when too much is held of what stages emit and the log does
/// not hold; otherwise as [`crate::verify`], of which payloads are not decoded.
pub fn replay(
    dir: &Path,
    flow: &Flow,
    options: ReplayOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Replayed, AuditError> {
    let mut done = Progress::default();
    let mut trial = Trial::new(flow, options);
    let recorded = Recorded::read(dir, &mut trial, &mut done, &mut progress)?;
    if let Some(replayed) = trial.finish(&recorded) {
        return Ok(replayed);
    }
    drop(trial);
    again(dir, flow, options, recorded, done, progress)
}

/// The second pass: everything is known that the log says about itself.
fn again(
    dir: &Path,
    flow: &Flow,
    options: ReplayOptions,
    recorded: Recorded,
    mut done: Progress,
    mut progress: impl FnMut(Progress),
) -> Result<Replayed, AuditError> {
    let to = options.to.unwrap_or(Seq(u64::MAX)).min(recorded.last);
    let settled = recorded.settled && to == recorded.last;
    let Recorded { contracts, mut checkpoints, .. } = recorded;
    checkpoints.sort_by_key(|checkpoint| checkpoint.seq);
    let mut replayer = Replayer::new(flow, options, contracts, checkpoints.into())?;
    done.bytes_total *= 2;
    // What a writer has added since the first pass is not looked at: nothing is known about it.
    let mut walk = Walk::open(dir, None, Trust::Everything, false)?;
    while replayer.last < to {
        let Some(located) = walk.next()? else { break };
        done.pass(&located.batch);
        if located.batch.kind() == BatchKind::Data {
            replayer.apply_batch(&located.batch, to)?;
        }
        done.seq = replayer.last;
        progress(done);
    }
    if settled {
        replayer.commands.settle()?;
    }
    Ok(replayer.finish())
}

/// What the log itself says about its events.
struct Recorded {
    contracts: ContractTable,
    /// In the order in which they stand in the log.
    checkpoints: Vec<Checkpoint>,
    last: Seq,
    /// Nothing that the last event leads to can be missing.
    settled: bool,
}

impl Recorded {
    fn read(
        dir: &Path,
        trial: &mut Trial<'_>,
        done: &mut Progress,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Self, AuditError> {
        let mut walk = Walk::open(dir, Some(Seq(1)), Trust::Everything, true)?;
        let mut state = State::new(VerifyOptions { payloads: false }, walk.reader().log_id());
        done.bytes_total = walk.directory.bytes();
        let end = loop {
            match walk.step()? {
                Step::End(end) => break end,
                Step::Batch(located) => {
                    let known = state.found.checkpoints.len();
                    state.take(&located)?;
                    done.pass(&located.batch);
                    trial.take(located.batch, &state.found.contracts, state.found.checkpoints.get(known));
                    done.seq = trial.last();
                    progress(*done);
                }
            }
        };
        let Verified { contracts, checkpoints, last_seq: last, closed, .. } = state.finish(end);
        // An engine closes its log when nothing is on its way any more, behind a checkpoint of the last event.
        let settled = closed && checkpoints.iter().any(|checkpoint| checkpoint.seq == last);
        Ok(Self { contracts, checkpoints, last, settled })
    }
}
