//! `cargo xtask`: see the library for what each command holds the tree to.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand};
use xtask::{Finding, arrows, crash, guard, kill9, loan, memory, models, pgo, powercut, root, tidy};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What developers of Downbeat run", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that has to pass before a change is merged: .ci/run
    Ci,
    /// Style rules that a machine can see
    Tidy,
    /// Who may import whom, and what nobody may know
    Arrows,
    /// The models of the lock-free parts, and for each ordering in them a mutant that must fail
    Loom,
    /// Flows on actors, on a scheduler that draws lots
    Shuttle(models::ShuttleArgs),
    /// The tests without system calls under Miri; needs a nightly toolchain
    Miri,
    /// Tests under a sanitizer
    Sanitize(memory::SanitizeArgs),
    /// Count the instructions of the hot paths, and hold them against the baseline; needs valgrind
    Guard(guard::Args),
    /// Kill a writer at random moments, and hold its log against what it acknowledged
    Kill9(kill9::Args),
    /// Build the program with what the compiler learns from runs of it; needs llvm-tools
    Pgo,
    /// Run the worlds of many seeds, or one again with its trace: `--seeds N --from S`, `--seed S`
    Sim {
        /// What the simulator is told; `--help` says what it knows
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Cut the power under a writer at random moments, and hold its log against what it acknowledged; needs root
    Powercut(powercut::Args),
    /// The writer that dies in kill9 and powercut
    #[command(hide = true)]
    CrashWriter(crash::WriterArgs),
    /// Check the summary that `downbeat run --flow loan --json` gives for the real loan log
    CheckLoan {
        /// The JSON
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Ci => ci(),
        Task::Tidy => tidy::check(&root()).and_then(|findings| report("tidy", &findings)),
        Task::Arrows => arrows::check(&root()).and_then(|findings| report("arrows", &findings)),
        Task::Loom => models::loom(&root()),
        Task::Shuttle(args) => models::shuttle(&root(), &args),
        Task::Miri => memory::miri(&root()),
        Task::Sanitize(args) => memory::sanitize(&root(), &args),
        Task::Guard(args) => guard::run(&root(), &args),
        Task::Kill9(_) if cfg!(debug_assertions) => again_in_release(),
        Task::Powercut(args) if cfg!(debug_assertions) && !args.in_namespace => again_in_release(),
        Task::Kill9(args) => this_program().and_then(|program| kill9::run(&program, &args)),
        Task::Pgo => pgo::run(&root()),
        Task::Sim { arguments } => sim(&arguments),
        Task::Powercut(args) => this_program().and_then(|program| powercut::run(&program, &args)),
        Task::CrashWriter(args) => crash::write(&args),
        Task::CheckLoan { file } => loan::check(&file),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ci() -> anyhow::Result<()> {
    let script = root().join(".ci/run");
    let status = Command::new(&script).status().with_context(|| format!("{}", script.display()))?;
    ensure!(status.success(), ".ci/run: {status}");
    Ok(())
}

/// With optimization: seeds are what counts.
fn sim(arguments: &[OsString]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = ["run", "--release", "--quiet", "-p", "downbeat-sim", "--"];
    let status = Command::new(cargo).args(run).args(arguments).current_dir(root()).status();
    let status = status.context("cargo run -p downbeat-sim")?;
    ensure!(status.success(), "the simulator: {status}");
    Ok(())
}

fn report(task: &str, findings: &[Finding]) -> anyhow::Result<()> {
    for finding in findings {
        eprintln!("{finding}");
    }
    ensure!(findings.is_empty(), "{task}: {} found", findings.len());
    println!("{task}: nothing found");
    Ok(())
}

/// What is killed is what a user would run; and a log is gone through at every start, which takes a debug build long.
fn again_in_release() -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--release", "--quiet", "--package", "xtask", "--"]).args(std::env::args_os().skip(1));
    let status = cargo.status().context("cargo run --release")?;
    ensure!(status.success(), "the release build of this command: {status}");
    Ok(())
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("the path of this program")
}
