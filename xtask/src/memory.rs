//! Miri and the sanitizers: what the compiler can say about memory and races while the tests run.
//!
//! | | finds | runs on | needs |
//! |---|---|---|---|
//! | Miri | undefined behaviour, races, leaks | tests without system calls | a nightly toolchain with `miri` and `rust-src` |
//! | address | reads and writes outside of what was allocated | all tests below | the compiler in use |
//! | thread | races, also those through a fence that it does not understand | the same | `rust-src` of the compiler in use |
//!
//! Each builds into a target directory of its own.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};

/// What runs under Miri: everything that makes no system call.
const MIRI: [&[&str]; 5] = [
    &["--package", "downbeat-record", "--lib", "--tests"],
    &["--package", "downbeat-sequencer", "--lib"],
    &["--package", "downbeat-flow", "--lib", "--tests"],
    &["--package", "downbeat-actors", "--lib"],
    &[
        "--package",
        "downbeat-wal",
        "--lib",
        "--",
        "--skip",
        "storage::",
        "--skip",
        "probe::",
        "--skip",
        "copies::",
    ],
];

/// What runs under a sanitizer.
const SANITIZED: [&str; 5] =
    ["downbeat-record", "downbeat-sequencer", "downbeat-actors", "downbeat-wal", "downbeat"];

/// Which sanitizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sanitizer {
    /// Memory that is not there, or not any more
    Address,
    /// Races
    Thread,
}

/// What to run under a sanitizer.
#[derive(Args)]
pub struct SanitizeArgs {
    /// Which one
    sanitizer: Sanitizer,
    /// Only this package
    #[arg(long, value_parser = SANITIZED)]
    package: Option<String>,
}

/// Runs the tests without system calls under Miri.
///
/// # Errors
///
/// When Miri is not there, or a test fails under it.
pub fn miri(root: &Path) -> anyhow::Result<()> {
    for what in MIRI {
        let start = Instant::now();
        // Not the cargo that runs this: the toolchain is chosen by rustup, from the first argument.
        let mut cargo = Command::new("cargo");
        cargo.current_dir(root).args(["+nightly", "miri", "test"]).args(what);
        cargo.env_remove("RUSTUP_TOOLCHAIN").env("CARGO_TARGET_DIR", root.join("target/miri"));
        // Isolation would hide the clock of the machine, which some tests read; nothing else of it is used. An archive points
        // from one part of itself to another, which rkyv's authors hold to Tree Borrows and not to Stacked Borrows (rkyv#436).
        cargo.env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-tree-borrows");
        let status = cargo.status().context("cargo +nightly miri")?;
        let install = "rustup toolchain install nightly --profile minimal -c miri -c rust-src";
        ensure!(status.success(), "{}: {status}; where Miri is not there: `{install}`", what[1]);
        println!("miri: {} holds, {:.1} s", what[1], start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Runs tests under a sanitizer, one package after the other.
///
/// # Errors
///
/// When the sanitizer has something to say.
pub fn sanitize(root: &Path, args: &SanitizeArgs) -> anyhow::Result<()> {
    let name = match args.sanitizer {
        Sanitizer::Address => "address",
        Sanitizer::Thread => "thread",
    };
    let host = host()?;
    let packages = SANITIZED.iter().filter(|package| args.package.as_ref().is_none_or(|one| one == *package));
    for package in packages {
        let start = Instant::now();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root).args(["test", "--target", &host, "--lib", "--tests", "--package", package]);
        cargo.env("CARGO_TARGET_DIR", root.join("target").join(name));
        cargo.env("RUSTC_BOOTSTRAP", "1");
        let flags = format!("-Zsanitizer={name} -Cunsafe-allow-abi-mismatch=sanitizer");
        cargo.env("RUSTFLAGS", flags);
        // A test that stands for a process that died forgets what that held; Miri looks for leaks.
        cargo.env("ASAN_OPTIONS", "detect_leaks=0");
        if args.sanitizer == Sanitizer::Thread {
            // Without it, locks and channels of the standard library would look like races.
            cargo.arg("-Zbuild-std");
            let suppressions = root.join("xtask/tsan.txt");
            cargo.env("TSAN_OPTIONS", format!("suppressions={}", suppressions.display()));
        }
        // What a sanitizer keeps of the memory that was given back is memory as well.
        cargo.env("DOWNBEAT_SANITIZED", "1");
        let status = cargo.status().context("cargo test")?;
        ensure!(status.success(), "{package} under the {name} sanitizer: {status}");
        println!("{name}: {package} holds, {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The target of this machine: a sanitizer is for the program alone, so it has to be named.
fn host() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output().context("rustc -vV")?;
    let version = String::from_utf8(version.stdout).context("rustc -vV")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(ToOwned::to_owned).context("rustc -vV has no host")
}
