//! Rows that do the same work, measured in turn, round after round.
//!
//! ```text
//!  round:  row ─► row ─► row ─► …      each: prepare, wait for quiet, floor, measure, floor
//! ```
//!
//! A sample counts as disturbed when others used the cores meanwhile, or when a bare durable write beside it took a
//! multiple of what it takes at best. It is then taken again, a few times at most; the least disturbed one stays.
//! A row that fails says so and is measured no more; the others go on.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context as _, Result};
use downbeat_benches::Sample;
use downbeat_benches::latency::Latencies;
use downbeat_benches::run::{Run, Scale};
use downbeat_wal::probe::{Floor, Latency};

use crate::load::Load;
use crate::progress;

/// Bare writes before and after a sample.
const PROBES: usize = 15;
/// How often the best floor of a table may go into that of a sample.
const SLOW: f64 = 2.5;

/// How a row stands to Downbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Downbeat itself.
    Ours,
    /// Gives the same promise.
    Same,
    /// Gives less; the reason stands beside it and it is not compared with.
    Less(String),
}

/// What is measured.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) sample: Sample,
    /// Of each commit, or of each token, where that is asked for.
    pub(crate) latencies: Latencies,
}

/// Something that does the work of a row.
pub(crate) trait Subject {
    /// Before a sample, not timed: what the last one left behind is put away.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// One sample.
    fn measure(&mut self) -> Result<Measured>;

    /// The server that works for it, whose processor time is not that of others.
    fn server(&self) -> Option<u32> {
        None
    }

    /// At the end, at the smallest scale: closes it, opens it again, and checks that it holds what it took.
    fn verify(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A closure as a subject.
pub(crate) struct Timed<F>(pub(crate) F);

impl<F: FnMut() -> Measured> Subject for Timed<F> {
    fn measure(&mut self) -> Result<Measured> {
        Ok((self.0)())
    }
}

/// A row of a table.
pub(crate) struct Row<'a> {
    pub(crate) name: String,
    pub(crate) standing: Standing,
    /// In a word: what it promises, or what it is.
    pub(crate) word: &'static str,
    /// In full, with the settings that it is so by.
    pub(crate) says: String,
    /// Measured, or why not.
    state: Result<Box<dyn Subject + 'a>, String>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) latencies: Latencies,
    /// The most that a bare write took beside a kept sample.
    pub(crate) floor: Duration,
    /// Samples that were kept although they were disturbed.
    pub(crate) disturbed: usize,
}

impl<'a> Row<'a> {
    /// A row, or with an error one that says why it is not measured.
    pub(crate) fn new(
        name: impl Into<String>,
        standing: Standing,
        word: &'static str,
        says: impl Into<String>,
        subject: Result<Box<dyn Subject + 'a>>,
    ) -> Self {
        Self {
            name: name.into(),
            standing,
            word,
            says: says.into(),
            state: subject.map_err(|error| format!("{error:#}")),
            samples: Vec::new(),
            latencies: Latencies::default(),
            floor: Duration::ZERO,
            disturbed: 0,
        }
    }

    /// Why there is nothing to show.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.state.as_ref().err().map(String::as_str)
    }

    /// A figure of each round.
    pub(crate) fn figures(&self, figure: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(figure).collect()
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.state = Err(format!("failed: {error:#}"));
        self.samples.clear();
    }
}

/// How rounds are measured.
pub(crate) struct Rounds<'a> {
    pub(crate) run: &'a Run,
    /// The share of the cores that may go to others.
    pub(crate) others: f64,
    /// The disk, where the rows use it.
    pub(crate) disk: Option<Disk>,
    /// How many times as many rounds as the run has: where samples are short and the machine has moods.
    pub(crate) times: usize,
    /// Samples that may be taken again, all in all: a machine that is never quiet is told of, not waited for.
    pub(crate) again: usize,
}

/// What the disk does without anyone's log.
pub(crate) struct Disk {
    floor: Floor,
    best: Duration,
    dir: File,
}

impl Disk {
    /// Of the filesystem that `run` writes to.
    pub(crate) fn of(run: &Run) -> Result<Self> {
        let dir = run.dir();
        let floor = Floor::new(dir, true).with_context(|| format!("a probe in {}", dir.display()))?;
        Ok(Self { floor, best: Duration::MAX, dir: File::open(dir)? })
    }

    /// What others have left in memory goes to the disk before the next one is measured.
    fn settle(&self) -> Result<()> {
        rustix::fs::syncfs(&self.dir).context("syncing the filesystem")
    }

    /// The median of a few bare writes.
    fn probe(&mut self) -> Result<Duration> {
        let mut times = (0..PROBES).map(|_| self.floor.measure()).collect::<Result<Vec<_>, _>>()?;
        let median = Latency::of(&mut times).map_or(Duration::ZERO, |latency| latency.p50);
        self.best = self.best.min(median);
        Ok(median)
    }

    fn is_slow(&self, floor: Duration) -> bool {
        floor.as_secs_f64() > SLOW * self.best.as_secs_f64()
    }
}

impl Rounds<'_> {
    /// Measures every row once for nothing, and then in turn.
    pub(crate) fn measure(&mut self, title: &str, rows: &mut [Row<'_>]) {
        let warm_up = usize::from(self.run.rounds() > 1);
        let rounds = self.run.rounds() * self.times + warm_up;
        for round in 0..rounds {
            for row in &mut *rows {
                let Ok(subject) = &mut row.state else { continue };
                progress(format_args!("{title}: round {} of {rounds}: {}", round + 1, row.name));
                match self.sample(subject.as_mut()) {
                    Ok(_) if round < warm_up => {}
                    Ok(kept) => {
                        row.samples.push(kept.measured.sample);
                        row.latencies.merge(&kept.measured.latencies);
                        row.floor = row.floor.max(kept.floor);
                        row.disturbed += usize::from(kept.disturbed);
                    }
                    Err(error) => row.fail(&error),
                }
            }
        }
        for row in &mut *rows {
            if let (Ok(subject), Scale::Test) = (&mut row.state, self.run.scale)
                && let Err(error) = subject.verify()
            {
                row.fail(&error);
            }
        }
    }

    fn sample(&mut self, subject: &mut dyn Subject) -> Result<Kept> {
        let mut least = self.try_sample(subject)?;
        for _ in 0..self.run.pick(0, 0, 2) {
            if !least.disturbed || self.again == 0 {
                break;
            }
            self.again -= 1;
            let kept = self.try_sample(subject)?;
            if kept.badness < least.badness {
                least = kept;
            }
        }
        Ok(least)
    }

    fn try_sample(&mut self, subject: &mut dyn Subject) -> Result<Kept> {
        subject.prepare()?;
        let mut floor = Duration::ZERO;
        if let Some(disk) = &mut self.disk {
            disk.settle()?;
            floor = disk.probe()?;
        }
        self.run.await_quiet(self.others);
        let load = Load::now(subject.server());
        let mut measured = subject.measure()?;
        let others = load.others_since();
        measured.sample.others = others;
        let mut is_slow = false;
        let mut badness = others / self.others;
        if let Some(disk) = &mut self.disk {
            floor = floor.max(disk.probe()?);
            is_slow = disk.is_slow(floor);
            badness = badness.max(floor.as_secs_f64() / (SLOW * disk.best.as_secs_f64()));
        }
        Ok(Kept { measured, floor, disturbed: is_slow || others > self.others, badness })
    }
}

/// A sample, and what went on beside it.
struct Kept {
    measured: Measured,
    floor: Duration,
    disturbed: bool,
    /// 1 is what counts as disturbed.
    badness: f64,
}
