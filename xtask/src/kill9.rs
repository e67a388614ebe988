//! Kill -9 at random moments, against an oracle outside of the process that dies.
//!
//! ```text
//!  parent ──spawn──► writer: engine on DIR, four threads submit n under the key n, tickets in flight
//!    ▲                  │ "n seq", written to a pipe once the receipt resolved
//!    └──── pipe ────────┘
//!  parent ──SIGKILL──► at a random moment: while opening, or under load     ── again and again
//!  parent ──last──►    a writer that submits what may have been in flight, and closes
//!  parent reads the log by itself: what was acknowledged, each n once, the model, a replay on one thread
//! ```
//!
//! The parent knows only what came through the pipe, so what a writer believed when it died cannot hide a loss.
//! What is *not* shown here: a power cut. The kernel goes on writing after a process dies; power cuts are the
//! business of [`crate::powercut`], and of the memory storage in `wal/tests`.

mod rounds;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub use rounds::Report;

use crate::crash::oracle::{self, Plant};
use crate::crash::{flow, rng};

/// How many rounds, from which seed, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Writers that are killed, on one log
    #[arg(long, default_value_t = 50)]
    pub rounds: u32,
    /// Logs, one after the other: a log gets longer with each round, and a writer reads all of it when it starts
    #[arg(long, default_value_t = 1)]
    pub logs: u32,
    /// Decides when writers are killed, and how they spread the flow; each log has the one after that of the log
    /// before. Drawn from the clock when absent
    #[arg(long)]
    pub seed: Option<u64>,
    /// The longest that a writer lives under load, in milliseconds
    #[arg(long, default_value_t = 250)]
    pub load_ms_max: u64,
    /// Where the log lies; it must be on the disk that is to be tested
    #[arg(long, default_value = "target/kill9")]
    pub dir: PathBuf,
    /// Also pretend that the log lost, doubled and moved an event, and require that the check notices
    #[arg(long)]
    pub canary: bool,
}

/// Runs the rounds and the check for every log, with `program` as the writer, and prints what was seen.
///
/// # Errors
///
/// What does not hold, with the seed. The log is left where it is then.
pub fn run(program: &Path, args: &Args) -> anyhow::Result<()> {
    let seed = args.seed.unwrap_or_else(rng::seed_of_now);
    let (mut kills, mut acknowledged) = (0, 0);
    for log in 0..args.logs {
        let report = rounds(program, &Args { seed: Some(seed.wrapping_add(log.into())), ..args.clone() })?;
        println!("{report}\n");
        kills += report.kills();
        acknowledged += report.acknowledged();
    }
    println!("{kills} kills, {acknowledged} acknowledged, none lost, in logs: {}", args.logs);
    Ok(())
}

/// The rounds and the check.
///
/// # Errors
///
/// As [`run`].
pub fn rounds(program: &Path, args: &Args) -> anyhow::Result<Report> {
    let seed = args.seed.unwrap_or_else(rng::seed_of_now);
    std::fs::create_dir_all(&args.dir).with_context(|| format!("{}", args.dir.display()))?;
    let dir = tempfile::Builder::new().prefix("kill9-").tempdir_in(&args.dir)?;
    flow::quiet_planted_panics();
    match run_in(program, args, seed, dir.path()) {
        Ok(report) => Ok(report),
        Err(error) => {
            let kept = dir.keep();
            let what = format!("seed {seed}; the log is kept in {}", kept.display());
            Err(error.context(what))
        }
    }
}

fn run_in(program: &Path, args: &Args, seed: u64, dir: &Path) -> anyhow::Result<Report> {
    let log = dir.join("log");
    let rounds = rounds::tell(program, args, seed, dir, &log)?;
    let seen = oracle::check(&log, &rounds.story, None)?;
    if args.canary {
        for plant in Plant::ALL {
            match oracle::check(&log, &rounds.story, Some(plant)) {
                Err(noticed) if plant.is_noticed(&noticed) => {
                    println!("canary {plant:?}: noticed: {noticed:#}")
                }
                Err(other) => anyhow::bail!("canary {plant:?}: the check said something else: {other:#}"),
                Ok(_) => anyhow::bail!("canary {plant:?}: the check noticed nothing"),
            }
        }
    }
    Ok(Report { seed, rounds, seen })
}
