//! One run of a bench: how big it is, what it says before and after, and how criterion is set.

use std::cell::Cell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(feature = "criterion")]
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, measurement::WallTime};
use downbeat_wal::probe;

use crate::machine::{Load, Machine};
use crate::table::Sample;

/// How long a run waits for a quiet machine, all in all.
const PATIENCE: Duration = Duration::from_secs(45);

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Only whether it works: `cargo test`.
    Test,
    /// A glance: `--quick`.
    Quick,
    /// What may be published.
    Full,
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Test => "test",
            Self::Quick => "quick",
            Self::Full => "full",
        })
    }
}

/// One run of a bench.
pub struct Run {
    /// How much is measured.
    pub scale: Scale,
    /// Criterion was asked for some benchmarks by name, or for their list: no tables then.
    pub only_criterion: bool,
    dir: PathBuf,
    /// How much longer it will wait for a quiet machine.
    patience: Cell<Duration>,
}

impl Run {
    /// Reads the command line, and prints what the machine is. Logs are written under `DOWNBEAT_BENCH_DIR`, or
    /// where temporary files go.
    pub fn start(bench: &str) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let scale = match (has("--bench") && !has("--test"), has("--quick")) {
            (false, _) => Scale::Test,
            (true, true) => Scale::Quick,
            (true, false) => Scale::Full,
        };
        let named = arguments.iter().any(|argument| !argument.starts_with('-'));
        let only_criterion = named || has("--list");
        let dir = std::env::var_os("DOWNBEAT_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let run = Self { scale, only_criterion, dir, patience: Cell::new(PATIENCE) };
        if run.shows() {
            say(format_args!("# {bench}\n\n{}", Machine::look(&run.dir)));
        }
        run
    }

    /// True when tables are wanted.
    pub fn shows(&self) -> bool {
        !self.only_criterion
    }

    /// One of three numbers, by the scale.
    pub fn pick<T>(&self, test: T, quick: T, full: T) -> T {
        match self.scale {
            Scale::Test => test,
            Scale::Quick => quick,
            Scale::Full => full,
        }
    }

    /// How often each cell is measured.
    pub fn rounds(&self) -> usize {
        self.pick(1, 2, 5)
    }

    /// Prints a line of a report.
    pub fn say(&self, line: impl fmt::Display) {
        if self.shows() {
            say(format_args!("{line}"));
        }
    }

    /// Prints the floor of the disk: bare durable writes of 4 KiB, one at a time.
    pub fn floor(&self, when: &str) {
        if self.shows() {
            match probe::disk_floor(&self.dir, self.pick(10, 200, 1_000)) {
                Ok(floor) => say(format_args!("disk floor {when}: {floor}")),
                Err(error) => say(format_args!("disk floor {when}: not measured, {error}")),
            }
        }
    }

    /// A directory for a log, removed with the value.
    pub fn scratch(&self, name: &str) -> Scratch {
        Scratch::new(self.dir.join(format!("downbeat-bench-{}-{name}", std::process::id())))
    }

    /// Where logs are written.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Measures until nothing else used more than `share` of the cores meanwhile, a few times at most.
    pub fn quiet(&self, share: f64, mut cell: impl FnMut() -> Sample) -> Sample {
        let tries = self.pick(1, 1, 3);
        let mut least: Option<Sample> = None;
        for _ in 0..tries {
            self.await_quiet(share);
            let before = Load::now();
            let mut sample = cell();
            sample.others = before.others_since();
            if least.is_none_or(|least| sample.others < least.others) {
                least = Some(sample);
            }
            if sample.others <= share {
                break;
            }
        }
        least.expect("at least one try")
    }

    /// Waits until others leave the cores alone, as long as the patience of the run lasts.
    pub fn await_quiet(&self, share: f64) {
        let look = Duration::from_millis(100);
        while self.patience.get() > look && self.scale == Scale::Full {
            let before = Load::now();
            std::thread::park_timeout(look);
            if before.others_since() <= share {
                return;
            }
            self.patience.set(self.patience.get() - look);
        }
    }

    #[cfg(feature = "criterion")]
    /// Criterion, set so that a bench takes a minute at most.
    pub fn criterion(&self) -> Criterion {
        Criterion::default()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_secs(1))
            .without_plots()
            .configure_from_args()
    }
}

#[cfg(feature = "criterion")]
/// Measures a cell with criterion; one iteration is one run of the cell, of `elements` elements.
pub fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    elements: u64,
    mut cell: impl FnMut() -> Sample,
) {
    group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(elements));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| cell().time).sum());
    });
}

/// A directory that is removed when dropped.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A directory at `path`, which is not made.
    pub fn new(path: PathBuf) -> Self {
        // What an earlier run with this process number left would be taken for a log.
        let _ = std::fs::remove_dir_all(&path);
        Self { path }
    }

    /// The directory; it may not exist yet.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is in the place for temporary files; who cleans that up cleans this up.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[allow(clippy::print_stdout, reason = "a report is printed")]
fn say(line: fmt::Arguments<'_>) {
    println!("{line}");
}
