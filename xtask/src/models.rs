//! The models: loom for the lock-free parts, shuttle for flows on actors, each in a build of its own.
//!
//! Both swap the atomics by a `cfg`, so they are compiled into target directories of their own and never into an
//! ordinary test run. Loom goes through every interleaving that memory orders allow, of a few accesses; and for each
//! ordering that a proof rests on through a mutant that lacks it, which must fail. Shuttle draws lots over whole
//! flows.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;

/// The packages that have loom models, all in tests whose path contains `loom`.
const LOOM: [&str; 2] = ["downbeat-sequencer", "downbeat-actors"];
/// In each of them, the module of the mutants: one test for each ordering, named after it.
const MUTANTS: &str = "loom_mutants::";

/// How many schedules to draw.
#[derive(Args)]
pub struct ShuttleArgs {
    /// Schedules per scenario and scheduler
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    schedules: u32,
}

/// What a run of tests said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    models: usize,
    mutants: usize,
    failed: Vec<String>,
}

/// Runs the models and the mutants of every package that has some.
///
/// # Errors
///
/// The models that do not hold and the mutants that survived, or the package that does not compile.
pub fn loom(root: &Path) -> anyhow::Result<()> {
    for package in LOOM {
        let start = Instant::now();
        let mut cargo = cargo(root, "loom", &["--lib", "--package", package]);
        let output = cargo.args(["--", "loom"]).stderr(Stdio::inherit()).output().context("cargo")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Outcome { models, mutants, failed } = read(&text);
        if !output.status.success() {
            print!("{text}");
        }
        ensure!(failed.is_empty(), "{package}: {}", failed.join("; "));
        ensure!(output.status.success(), "the loom models of {package}: {}", output.status);
        ensure!(models > 0 && mutants > 0, "{package} has {models} models and {mutants} mutants");
        let seconds = start.elapsed().as_secs_f64();
        println!("loom: {package}: {models} models hold, {mutants} mutants are caught, {seconds:.1} s");
    }
    Ok(())
}

/// Runs flows on shuttle's scheduler.
///
/// # Errors
///
/// When one of them fails.
pub fn shuttle(root: &Path, args: &ShuttleArgs) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut cargo = cargo(root, "shuttle", &["--package", "downbeat-actors", "--test", "interleavings"]);
    let status = cargo.env("DOWNBEAT_SCHEDULES", args.schedules.to_string()).status().context("cargo")?;
    ensure!(status.success(), "flows on shuttle's scheduler: {status}");
    println!("shuttle: holds, {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// `cargo test` of a build in which `--cfg name` holds.
fn cargo(root: &Path, name: &str, what: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["test", "--release"]).args(what);
    cargo.env("RUSTFLAGS", format!("--cfg {name}")).env("CARGO_TARGET_DIR", root.join("target").join(name));
    cargo
}

/// Reads what the test harness prints: `test NAME[ - should panic] ... ok`.
fn read(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let results = text.lines().filter_map(|line| line.strip_prefix("test ")?.rsplit_once(" ... "));
    for (name, result) in results.filter(|(_, result)| ["ok", "FAILED"].contains(result)) {
        let name = name.trim_end_matches(" - should panic");
        match name.split_once(MUTANTS) {
            Some((_, site)) if result == "ok" => outcome.mutants += usize::from(!site.is_empty()),
            Some((_, site)) => outcome.failed.push(format!("the mutant {site} survived or failed otherwise")),
            None if result == "ok" => outcome.models += 1,
            None => outcome.failed.push(format!("the model {name} does not hold")),
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_fail_and_mutants_that_survive_are_told_apart() {
        let text = "running 4 tests\n\
                    test ring::loom_ring::a_lap ... ok\n\
                    test loom_mutants::RingHead - should panic ... ok\n\
                    test loom_mutants::BellArm - should panic ... FAILED\n\
                    test ring::loom_ring::other ... FAILED\n\
                    test result: FAILED. 2 passed; 2 failed; 0 ignored; finished in 0.1s\n";
        let failed = vec![
            "the mutant BellArm survived or failed otherwise".to_owned(),
            "the model ring::loom_ring::other does not hold".to_owned(),
        ];
        assert_eq!(read(text), Outcome { models: 1, mutants: 1, failed });
    }
}
