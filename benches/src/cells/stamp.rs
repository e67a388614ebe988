//! On what, with what, when and by which command: without it no figure means anything.

use std::fs;
use std::io;
use std::path::Path;

use downbeat_wal::probe;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// When a run was, and what was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStamp {
    /// When it began, in UTC.
    pub date: String,
    /// How long it took.
    pub seconds: f64,
    /// The share of all cores that others used meanwhile, 0 to 1; what the kernel did for this process on threads of
    /// its own is counted with them.
    pub others: f64,
    /// What it wrote to the disk, zeros that fill segments included, in bytes.
    pub written_bytes: Option<u64>,
    /// The command line.
    pub command: String,
    /// `full`, `quick`, or `test`, which says nothing about speed.
    pub scale: String,
    /// What the engines spend: `shared`, `throughput` or `latency`. Runs from before there was a choice were `shared`.
    #[serde(default = "shared")]
    pub mode: String,
    /// Where logs were written.
    pub dir: String,
}

fn shared() -> String {
    downbeat::Mode::Shared.to_string()
}

/// The machine and the disk of the logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineStamp {
    /// The processor.
    pub cpu: String,
    /// Its cores, as far as this process may use them.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// The release of Linux.
    pub kernel: String,
    /// The averages over one, five and fifteen minutes, at the beginning.
    pub load: String,
    /// The filesystem of the logs.
    pub filesystem: String,
    /// The cache of its device, as the kernel says it.
    pub write_cache: Option<String>,
    /// Whether a single write can be made durable without flushing all.
    pub fua: Option<bool>,
    /// Whether files bypass the page cache.
    pub direct_io: bool,
    /// Whether `io_uring` is allowed; otherwise logs are written with `pwritev2`.
    pub io_uring: bool,
}

/// The program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildStamp {
    /// Its version.
    pub version: String,
    /// What it was built from.
    pub commit: String,
    /// What built it.
    pub compiler: String,
    /// Whether it was built for speed.
    pub optimised: bool,
    /// Its allocator.
    pub allocator: String,
}

/// What a program knows about itself.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// Its allocator.
    pub allocator: String,
}

/// What can be seen from here.
pub(crate) struct Stamp {
    pub(crate) machine: MachineStamp,
    pub(crate) build: BuildStamp,
}

impl Stamp {
    pub(crate) fn look(dir: &Path, program: Program) -> io::Result<Self> {
        let facts = probe::facts(dir)?;
        let Machine { cpu, cores, kernel, load, .. } = Machine::look(dir);
        let machine = MachineStamp {
            cpu,
            cores,
            memory_bytes: memory_bytes(),
            kernel,
            load: averages(&load),
            filesystem: facts.filesystem,
            write_cache: facts.write_cache,
            fua: facts.fua,
            direct_io: facts.direct,
            io_uring: facts.io_uring.is_ok(),
        };
        let Program { version, allocator } = program;
        let [commit, compiler] =
            [env!("DOWNBEAT_BUILD_COMMIT"), env!("DOWNBEAT_BUILD_COMPILER")].map(str::to_owned);
        let build = BuildStamp { version, commit, compiler, optimised: !cfg!(debug_assertions), allocator };
        Ok(Self { machine, build })
    }
}

/// What this process has written to disks so far.
pub(crate) fn written_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes:")?.trim().parse().ok())
}

/// The three averages, without what follows them.
fn averages(load: &str) -> String {
    load.split_whitespace().take(3).collect::<Vec<_>>().join(", ")
}

fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}
