//! Instructions per event of the hot paths, held against a baseline that is committed.
//!
//! Times on a shared machine differ by more than a change that matters; the number of instructions does not. So
//! each path of `benches/guard/` runs under callgrind, once for so many events and once for twice as many, and the
//! difference, by event, is compared with `benches/guard.json`.
//!
//! ```text
//!  build ──► guard log DIR ──► guard run PATH n ─┐ callgrind
//!                              guard run PATH 2n ┴──► (I₂ₙ - Iₙ) / (gone₂ₙ - goneₙ) ──► baseline ± tolerance
//! ```
//!
//! What an instruction costs is not seen here: a cache miss counts as one. That is what the benches are for.
//! `docs/decisions/0016-instructions-are-counted-by-callgrind.md` says why it is done this way.

mod baseline;
mod callgrind;

use std::path::{Path, PathBuf};

use anyhow::ensure;

pub use baseline::{Baseline, Change};
use callgrind::Program;

/// What is counted, and held against what.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Writes what was counted to the baseline, instead of holding it against it
    #[arg(long)]
    pub update: bool,
    /// The baseline, from the root of the workspace
    #[arg(long, default_value = "benches/guard.json")]
    pub baseline: PathBuf,
    /// Only the paths whose name begins so; may stand more than once
    #[arg(long, conflicts_with = "update")]
    pub only: Vec<String>,
}

/// Counts, and compares or writes.
///
/// # Errors
///
/// What is dearer than the baseline allows; what cannot be built or counted.
pub fn run(root: &Path, args: &Args) -> anyhow::Result<()> {
    let file = root.join(&args.baseline);
    let program = Program::build(root)?;
    let made_with = program.made_with()?;
    let paths = program.paths()?;
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| name.starts_with(only));
    let paths: Vec<_> = paths.into_iter().filter(|path| wanted(&path.name)).collect();
    ensure!(!paths.is_empty(), "no path begins with {}", args.only.join(" or "));
    program.make_logs(&paths)?;
    if args.update {
        let mut counted = Baseline::new(made_with);
        for path in &paths {
            let instructions = program.count(path)?;
            println!("{:<28}{instructions:>10.2}", path.name);
            counted.set(&path.name, instructions);
        }
        counted.write(&file)?;
        println!("guard: {} written", args.baseline.display());
        return Ok(());
    }
    let baseline = Baseline::read(&file)?;
    let differences = baseline.differences(&made_with);
    for difference in &differences {
        println!("guard: the baseline was made with another {difference}");
    }
    println!("{:<28}{:>10}{:>10}{:>10}", "instructions per event", "baseline", "now", "change");
    let mut dearer = Vec::new();
    let mut cheaper = false;
    for path in &paths {
        let now = program.count(path)?;
        let change = baseline.change(&path.name, now);
        println!("{}", change.line(&path.name, now));
        cheaper |= matches!(change, Change::Cheaper { .. });
        if change.fails() {
            dearer.push(path.name.as_str());
        }
    }
    if args.only.is_empty() {
        let counted: Vec<&str> = paths.iter().map(|path| path.name.as_str()).collect();
        let gone = baseline.names().find(|name| !counted.contains(name));
        ensure!(
            gone.is_none(),
            "the baseline has `{}`, which is no path any more: --update",
            gone.unwrap_or("")
        );
    }
    if cheaper {
        println!("guard: some is cheaper; `cargo xtask guard --update` holds it there");
    }
    ensure!(dearer.is_empty(), "{}", explain(&dearer, &differences, baseline.tolerance_percent));
    println!("guard: no path is more than {} % dearer than its baseline", baseline.tolerance_percent);
    Ok(())
}

fn explain(dearer: &[&str], differences: &[String], tolerance: f64) -> String {
    let mut text = format!(
        "dearer by more than {tolerance} %, or without a baseline: {}\n\
         Where it goes: callgrind_annotate target/guard/NAME.out\n\
         If it is worth it: cargo xtask guard --update, and why in the message of the commit",
        dearer.join(", ")
    );
    if !differences.is_empty() {
        text.push_str(
            "\nThe baseline was made with something else, as said above, and that may be all. To know: on the commit \
             before yours, `cargo xtask guard --update --baseline target/guard.json`, then on yours the same without \
             --update",
        );
    }
    text
}
