//! What stands on the layer: a loop device, a file system on it, mounted. And what has to be there for that.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::disk::Disk;
use super::layer::{Layer, pause};

/// Room for the logs of a few rounds.
const DISK_BYTES: u64 = 256 << 20;
/// A file system that is busy for longer is held by somebody.
const BUSY_MAX: Duration = Duration::from_secs(20);
const PROGRAMS: [&str; 5] = ["unshare", "mkfs.ext4", "mount", "umount", "losetup"];

/// What is missing for cutting the power here, if anything is; `None` when it can be done.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("root: file systems are mounted".to_owned());
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open(device) {
            return Some(format!("{device}: {error}"));
        }
    }
    for program in PROGRAMS {
        if output(Command::new(program).arg("--version")).is_err() && !exists(program) {
            return Some(format!("the program {program}"));
        }
    }
    if let Err(error) = output(Command::new("unshare").args(["--mount", "--propagation", "private", "true"]))
    {
        return Some(format!("a mount namespace: {error:#}"));
    }
    if let Err(error) = output(Command::new("losetup").arg("--find")) {
        return Some(format!("a free loop device: {error:#}"));
    }
    None
}

/// `mkfs.ext4` knows no `--version` that succeeds everywhere.
fn exists(program: &str) -> bool {
    let started =
        Command::new(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    started.is_ok()
}

/// A directory with the layer, and a place where the file system on it is mounted.
pub(crate) struct Machine {
    pub(crate) layer: Layer,
    at: PathBuf,
}

/// A file system that is mounted until this is dropped.
pub(crate) struct Mounted<'a> {
    at: &'a Path,
}

impl Machine {
    /// Mounts the layer below a directory.
    pub(crate) fn build(dir: &Path, seed: u64) -> anyhow::Result<Self> {
        let (layer, at) = (dir.join("layer"), dir.join("disk"));
        std::fs::create_dir(&layer)?;
        std::fs::create_dir(&at)?;
        Ok(Self { layer: Layer::mount(&layer, seed)?, at })
    }

    /// A disk with an empty file system.
    pub(crate) fn formatted(&self) -> anyhow::Result<Disk> {
        let file = self.layer.insert(Disk::new(DISK_BYTES), false);
        let mut mkfs = Command::new("mkfs.ext4");
        mkfs.args(["-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]);
        output(mkfs.arg(file))?;
        Ok(self.layer.disk())
    }

    /// Switches on with this disk in: the file system does its own recovery.
    pub(crate) fn start(&self, disk: Disk, lies: bool, more: &str) -> anyhow::Result<Mounted<'_>> {
        let file = self.layer.insert(disk, lies);
        let options = format!("loop,noatime,nodiscard{more}");
        output(Command::new("mount").args(["-t", "ext4", "-o", &options]).arg(file).arg(&self.at))?;
        Ok(Mounted { at: &self.at })
    }
}

impl Mounted<'_> {
    /// Where the file system is.
    pub(crate) fn path(&self) -> &Path {
        self.at
    }

    /// Unmounts; says so when that cannot be done.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        let stopped = unmount(self.at);
        std::mem::forget(self);
        stopped
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // On the way out of an error, which is what is told.
        let _ = unmount(self.at);
    }
}

/// The kernel takes the ring of a dead process down a little after its end, and until then the file system is busy.
fn unmount(at: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match output(Command::new("umount").arg(at)) {
            Err(_) if begun.elapsed() < BUSY_MAX => pause(Duration::from_millis(20)),
            ended => return ended,
        }
    }
}

fn output(command: &mut Command) -> anyhow::Result<()> {
    let name = Path::new(command.get_program()).display().to_string();
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let what = format!("{name} {}", words.join(" "));
    let done = command.stdin(Stdio::null()).output().with_context(|| what.clone())?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{what}: {}, {}", done.status, said.trim());
    Ok(())
}
