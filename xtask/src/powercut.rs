//! A power cut under a writer: real engine, real ext4, on a disk that loses what was not flushed.
//!
//! ```text
//!  writer: engine on ext4 ──"a N SEQ"──► pipe ──► story: what was acknowledged, and when
//!             │ loop device
//!             ▼
//!  layer: a FUSE file in memory; every write and every flush is written down, in order ──► recording
//!
//!  recording ──cut anywhere──► what the last flush covers, and any part of the rest, torn
//!     ── mount (ext4 recovers), open (the log recovers), submit again what may have been in flight, close
//!     ── oracle: nothing lost that was acknowledged by then, each n once, dense seqs, the model, a replay
//! ```
//!
//! One recording gives many crash images. A log outlives some cuts, so a writer also dies while it recovers from
//! the cut before. What is shown holds for disks that keep what they say they flushed, sector by sector; that a
//! given disk is one is not shown here (`docs/durability.md`).

mod disk;
mod layer;
mod machine;
mod rounds;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

pub use machine::missing;

use crate::crash::oracle::Finding;
use crate::crash::pipe::{Start, errors_in};
use crate::crash::{flow, rng};
use rounds::{Cutter, Fault};

/// Recordings that a canary is given.
const CANARY_ROUNDS: u32 = 3;

/// How many rounds, from which seed, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Writers whose disk is recorded
    #[arg(long, default_value_t = 10)]
    pub rounds: u32,
    /// Power cuts at places of each recording
    #[arg(long, default_value_t = 4)]
    pub cuts: u32,
    /// Decides where the power is cut and what that leaves. What a writer does meanwhile is up to the machine, so the
    /// image of a failure is kept. Drawn from the clock when absent
    #[arg(long)]
    pub seed: Option<u64>,
    /// The longest that a writer lives under load, in milliseconds
    #[arg(long, default_value_t = 250)]
    pub load_ms_max: u64,
    /// Where mounts and the images of failures go; the disk itself is in memory
    #[arg(long, default_value = "target/powercut")]
    pub dir: PathBuf,
    /// Also plant faults that lose data at a power cut, and require that the check notices each
    #[arg(long)]
    pub canary: bool,
    /// This process has a mount namespace of its own already
    #[arg(long, hide = true)]
    pub in_namespace: bool,
}

/// Runs the rounds, with `program` as the writer, and prints what was seen.
///
/// # Errors
///
/// What is missing on this machine; or what does not hold, with the seed and the image.
pub fn run(program: &Path, args: &Args) -> anyhow::Result<()> {
    if let Some(what) = missing() {
        bail!("the power cannot be cut here, for that takes {what}");
    }
    if !args.in_namespace {
        return in_namespace(program);
    }
    let seed = args.seed.unwrap_or_else(rng::seed_of_now);
    std::fs::create_dir_all(&args.dir).with_context(|| format!("{}", args.dir.display()))?;
    // What was mounted is named by its absolute path.
    let dir = args.dir.canonicalize()?;
    let work = tempfile::Builder::new().prefix("powercut-").tempdir_in(&dir)?;
    flow::quiet_planted_panics();
    let start = Start {
        program: program.to_owned(),
        log: work.path().join("disk/log"),
        errors: errors_in(&dir),
        ack_early: false,
    };
    let mut cutter = Cutter::new(work.path(), start, args, seed)?;
    for round in 0..args.rounds {
        if let Err(failure) = cutter.round(None) {
            let image = dir.join(format!("failed-{seed}-{round}.img"));
            cutter.keep_last(&image)?;
            let kept =
                format!("seed {seed}, round {round}; the disk after the cut is kept in {}", image.display());
            return Err(failure.error.context(kept));
        }
    }
    println!("seed           {seed}");
    println!("{}", cutter.report());
    if args.canary {
        for fault in Fault::ALL {
            canary(&mut cutter, fault)?;
        }
    }
    Ok(())
}

/// Plants a fault, and requires that it is found out as a loss.
fn canary(cutter: &mut Cutter, fault: Fault) -> anyhow::Result<()> {
    let (mut noticed, mut first) = (0, None);
    for _ in 0..CANARY_ROUNDS {
        cutter.begin_log();
        let Err(failure) = cutter.round(Some(fault)) else { continue };
        ensure!(failure.after_cut, "canary {fault:?}: the writer failed: {:#}", failure.error);
        noticed += 1;
        if matches!(failure.error.downcast_ref(), Some(Finding::Lost { .. })) {
            first.get_or_insert(failure.error);
        }
    }
    let lost =
        first.with_context(|| format!("canary {fault:?}: no loss was noticed in {CANARY_ROUNDS} rounds"))?;
    println!("canary {fault:?}: noticed in {noticed} of {CANARY_ROUNDS} rounds: {lost:#}");
    Ok(())
}

/// Runs this command in a mount namespace of its own: however it ends, no mount and no loop device is left. The
/// namespace belongs to `unshare`, which outlives the command: a process that takes the layer with it must not be
/// the one that has to unmount what stands on it.
fn in_namespace(program: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--fork", "--"]).arg(program);
    let status =
        command.args(std::env::args_os().skip(1)).arg("--in-namespace").status().context("unshare")?;
    ensure!(status.success(), "in a mount namespace of its own: {status}");
    Ok(())
}
