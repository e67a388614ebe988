//! The program, built with what the compiler learned from runs of it.
//!
//! ```text
//!  build, with counters ──► demo, run, replay, verify ──► *.profraw ──► llvm-profdata ──► build ──► target/pgo/downbeat
//! ```
//!
//! What it gains, and why it is not the build of everyone, stands in
//! `docs/decisions/0019-what-a-release-is-built-with.md`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// What the program does while it is watched: what it is there for, with the stages on one thread and on two.
const RUNS: [&[&str]; 3] = [
    &["demo", "--no-progress", "--events", "400000"],
    &["demo", "--no-progress", "--events", "400000", "--threads", "2", "--shards", "2"],
    &["bench", "--no-progress", "--quick"],
];

/// Builds it, and says where it is.
///
/// # Errors
///
/// A step that fails, and what is missing for it.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let profdata = profdata()?;
    let (at, host) = (root.join("target/pgo"), host()?);
    let raw = at.join("raw");
    // Counters of another build do not fit this one.
    let _ = std::fs::remove_dir_all(&raw);
    let logs = at.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("{}", logs.display()))?;

    let watched = build(root, &host, &at.join("watched"), &format!("-Cprofile-generate={}", raw.display()))?;
    for arguments in RUNS {
        step(Command::new(&watched).args(arguments).current_dir(&logs).env("TMPDIR", &logs))?;
    }
    let profile = at.join("downbeat.profdata");
    step(Command::new(profdata).arg("merge").arg("-o").arg(&profile).arg(&raw))?;

    let built = build(root, &host, &at.join("built"), &format!("-Cprofile-use={}", profile.display()))?;
    let program = at.join("downbeat");
    std::fs::copy(&built, &program).with_context(|| format!("{}", program.display()))?;
    println!("{}", program.display());
    Ok(())
}

/// With a target named, cargo gives the flags to the program alone, and not to what runs while it is built.
fn build(root: &Path, host: &str, into: &Path, flags: &str) -> anyhow::Result<PathBuf> {
    step(
        cargo()
            .args(["build", "--release", "--package", "downbeat-cli", "--target", host, "--target-dir"])
            .arg(into)
            .env("RUSTFLAGS", flags)
            .current_dir(root),
    )?;
    Ok(into.join(host).join("release/downbeat"))
}

fn step(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The tool that merges counters, of the compiler's own LLVM: others may not read them.
fn profdata() -> anyhow::Result<PathBuf> {
    let sysroot = said("rustc", &["--print", "sysroot"])?;
    let tool = Path::new(&sysroot).join("lib/rustlib").join(host()?).join("bin/llvm-profdata");
    ensure!(
        tool.is_file(),
        "{}: not there; `rustup component add llvm-tools` installs it for this compiler",
        tool.display()
    );
    Ok(tool)
}

fn host() -> anyhow::Result<String> {
    let version = said("rustc", &["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn said(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from(program));
    let output = Command::new(&program).args(arguments).output().with_context(|| format!("{program:?}"))?;
    ensure!(output.status.success(), "{program:?} {arguments:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout).context("what the compiler says is text")?.trim().to_owned())
}
