//! The loom models: every interleaving of the lock-free parts, in a build of their own.
//!
//! They need `--cfg loom`, which swaps the atomics, so they are compiled into another target directory and
//! never into an ordinary test run.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};

/// The packages that have models, all in tests whose path contains `loom`.
const PACKAGES: [&str; 2] = ["downbeat-sequencer", "downbeat-actors"];

/// Runs the models of every package that has some.
///
/// # Errors
///
/// The package whose models do not compile or do not hold.
pub fn run(root: &Path) -> anyhow::Result<()> {
    for package in PACKAGES {
        let start = Instant::now();
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(root)
            .args(["test", "--quiet", "--package", package, "--release", "--lib", "loom"])
            .env("RUSTFLAGS", "--cfg loom")
            .env("CARGO_TARGET_DIR", root.join("target/loom"))
            .status()
            .context("cargo")?;
        ensure!(status.success(), "the loom models of {package} do not hold: {status}");
        println!("loom: {package} holds, {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}
