//! One run over all cells: where, how much, who watches, and how much of the time of a part is left.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use downbeat::Mode;

use super::plan::{Part, before, budget};
use super::trouble::Trouble;
use crate::run::{Scale, Scratch};

/// Sees what a run is at.
pub trait Watch {
    /// `seconds` of [`super::seconds`] are over; false to stop.
    fn at(&self, part: &'static str, seconds: f64) -> bool;
}

/// How much is measured, and of what.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// How much.
    pub scale: Scale,
    /// What the engines spend in order to be fast.
    pub mode: Mode,
}

/// One run over all cells.
pub struct Bench<'a> {
    dir: PathBuf,
    how: How,
    watch: &'a dyn Watch,
    begun: Instant,
    part: Cell<(Part, Instant)>,
}

impl<'a> Bench<'a> {
    /// A run with its logs in `dir`.
    pub fn new(dir: &Path, how: How, watch: &'a dyn Watch) -> Self {
        let begun = Instant::now();
        Self { dir: dir.to_owned(), how, watch, begun, part: Cell::new((Part::FloorBefore, begun)) }
    }

    /// Where logs are written.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How much is measured.
    pub fn scale(&self) -> Scale {
        self.how.scale
    }

    /// What the engines spend.
    pub fn mode(&self) -> Mode {
        self.how.mode
    }

    /// One of three, by the scale.
    pub fn pick<T>(&self, test: T, quick: T, full: T) -> T {
        match self.how.scale {
            Scale::Test => test,
            Scale::Quick => quick,
            Scale::Full => full,
        }
    }

    /// Since the run began.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// A directory for one log, removed with the value.
    pub fn scratch(&self, name: &str) -> Scratch {
        Scratch::new(self.dir.join(name))
    }

    pub(crate) fn begin(&self, part: Part) -> Result<(), Trouble> {
        self.part.set((part, Instant::now()));
        self.step()
    }

    /// Between two measurements: whoever watches is told, and may end it.
    pub(crate) fn step(&self) -> Result<(), Trouble> {
        let (part, begun) = self.part.get();
        let within = begun.elapsed().as_secs_f64().min(budget(part, self.how.scale));
        let go_on = self.watch.at(part.name(), before(part, self.how.scale) + within);
        if go_on { Ok(()) } else { Err(Trouble::Stopped) }
    }

    /// True while one more round, as long as those before, fits into the time of the part.
    pub(crate) fn has_time(&self, rounds: usize) -> bool {
        let (part, begun) = self.part.get();
        let elapsed = begun.elapsed().as_secs_f64();
        elapsed + elapsed / rounds.max(1) as f64 <= budget(part, self.how.scale)
    }
}
