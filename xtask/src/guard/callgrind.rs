//! The program with the paths, built as it ships and run under callgrind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail, ensure};
use cargo_metadata::Message;

/// A path as the program lists it.
pub(super) struct HotPath {
    pub(super) name: String,
    /// How often it is gone in the shorter of two runs.
    count: u64,
}

/// The program, and where it and callgrind put what they write.
pub(super) struct Program {
    file: PathBuf,
    dir: PathBuf,
}

/// What one run counted.
struct Counted {
    instructions: u64,
    gone: u64,
}

impl Program {
    /// Builds it.
    pub(super) fn build(root: &Path) -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .current_dir(root)
            .args(["build", "--release", "--package", "downbeat-benches", "--bin", "guard"])
            .args(["--quiet", "--message-format", "json-render-diagnostics"])
            .stderr(std::process::Stdio::inherit())
            .output()
            .context("cargo build")?;
        ensure!(output.status.success(), "the program of the guard does not build: {}", output.status);
        let built = Message::parse_stream(&output.stdout[..]).filter_map(Result::ok).find_map(|message| {
            let Message::CompilerArtifact(artifact) = message else { return None };
            artifact.executable.filter(|_| artifact.target.name == "guard")
        });
        let file = built.context("cargo built no program `guard`")?.into_std_path_buf();
        let dir = root.join("target/guard");
        fs::create_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
        Ok(Self { file, dir })
    }

    /// What decides a count besides our source.
    pub(super) fn made_with(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let version = said(valgrind().arg("--version"));
        let version = version.context("callgrind is a tool of valgrind, which has to be installed")?;
        let machine = said(valgrind().args(["--tool=none", "--quiet"]).arg(&self.file).arg("machine"))?;
        // Not every libc says.
        let libc =
            said(Command::new("getconf").arg("GNU_LIBC_VERSION")).unwrap_or_else(|_| "unknown".to_owned());
        let compiler = said(Command::new(rustc).arg("--version"))?;
        let all = [("compiler", compiler), ("valgrind", version), ("libc", libc), ("processor", machine)];
        Ok(all.into_iter().map(|(what, value)| (what.to_owned(), value)).collect())
    }

    /// What it can run.
    pub(super) fn paths(&self) -> anyhow::Result<Vec<HotPath>> {
        let list = said(Command::new(&self.file).arg("list"))?;
        list.lines()
            .map(|line| {
                let (name, count) = line.split_once('\t').with_context(|| format!("no tab in `{line}`"))?;
                Ok(HotPath { name: name.to_owned(), count: count.parse()? })
            })
            .collect()
    }

    /// Instructions per event of a path: two runs, at the same time.
    pub(super) fn count(&self, path: &HotPath) -> anyhow::Result<f64> {
        let (once, twice) = std::thread::scope(|scope| {
            let once = scope.spawn(|| self.run(path, path.count));
            let twice = self.run(path, 2 * path.count);
            (once.join().expect("a run does not panic"), twice)
        });
        let (once, twice) = (once?, twice?);
        ensure!(
            twice.gone > once.gone,
            "{}: {} events in twice as many as {}",
            path.name,
            twice.gone,
            once.gone
        );
        let instructions = twice.instructions.checked_sub(once.instructions);
        let instructions =
            instructions.with_context(|| format!("{}: the longer run took less", path.name))?;
        Ok(instructions as f64 / (twice.gone - once.gone) as f64)
    }

    fn run(&self, path: &HotPath, count: u64) -> anyhow::Result<Counted> {
        let suffix = if count == path.count { "half" } else { "out" };
        let out = self.dir.join(format!("{}.{suffix}", path.name.replace('/', "-")));
        let mut command = valgrind();
        command.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", out.display()));
        command.arg(&self.file).args(["run", &path.name, &count.to_string()]).arg(self.log(count));
        let gone = said(&mut command)?;
        let gone = gone.parse().with_context(|| format!("{} printed `{gone}`", path.name))?;
        let text = fs::read_to_string(&out).with_context(|| format!("{}", out.display()))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let Some(total) = total else { bail!("{} has no line `totals:`", out.display()) };
        Ok(Counted { instructions: total.trim().parse()?, gone })
    }

    /// Makes the logs that the reading paths read.
    pub(super) fn make_logs(&self, paths: &[HotPath]) -> anyhow::Result<()> {
        let counts: BTreeSet<u64> = paths.iter().flat_map(|path| [path.count, 2 * path.count]).collect();
        for count in counts {
            let dir = self.log(count);
            if dir.exists() {
                fs::remove_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
            }
            said(Command::new(&self.file).arg("log").arg(&dir).arg(count.to_string()))?;
        }
        Ok(())
    }

    /// The log of so many events.
    fn log(&self, events: u64) -> PathBuf {
        self.dir.join(format!("log-{events}"))
    }
}

/// Without the environment: it moves the stack, and how a copy is aligned is worth some instructions.
fn valgrind() -> Command {
    let mut command = Command::new("valgrind");
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// What a command prints, when it ends well.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr).trim());
    Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
}
