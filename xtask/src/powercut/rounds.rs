//! The rounds: a writer is recorded, and its disk cut at some places of the recording.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Args;
use super::disk::{Disk, Manner, Op, cut};
use super::machine::Machine;
use crate::crash::oracle;
use crate::crash::pipe::{Line, Start};
use crate::crash::rng::Rng;
use crate::crash::story::{Story, Told};

/// Rounds that a log outlives: a longer one takes longer to check.
const ROUNDS_OF_A_LOG: u32 = 4;

/// A fault that loses data at a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Receipts are given before anything is on disk.
    AckedEarly,
    /// The file system syncs without flushing the disk.
    NoBarrier,
    /// The disk says that it flushed.
    LyingDisk,
}

impl Fault {
    pub(crate) const ALL: [Self; 3] = [Self::AckedEarly, Self::NoBarrier, Self::LyingDisk];
}

/// What does not hold.
pub(crate) struct Failure {
    pub(crate) error: anyhow::Error,
    /// It was found after a cut, rather than while the writer lived.
    pub(crate) after_cut: bool,
}

/// Cuts the power, again and again.
pub(crate) struct Cutter {
    machine: Machine,
    start: Start,
    rng: Rng,
    cuts: u32,
    load: Duration,
    /// A disk with an empty file system.
    formatted: Disk,
    /// The disk that the next writer finds, and what was said by the writers before it.
    disk: Disk,
    story: Story,
    rounds_of_log: u32,
    opening: Duration,
    seen: Report,
}

/// A writer's life.
struct Recording {
    ops: Vec<Op>,
    /// Operations before the writer was born.
    born: usize,
    lines: Vec<Line>,
    /// What may have been in flight at any time of it.
    frontier: Vec<u64>,
}

/// What was seen.
#[derive(Clone, Default)]
pub(crate) struct Report {
    rounds: u32,
    cuts: u32,
    cuts_while_opening: u32,
    /// Cuts that left something of what was not flushed to choose from.
    undecided: u32,
    pending_max: usize,
    /// Acknowledged events, once for each cut after which they were looked for.
    looked_for: u64,
    recovered: u64,
    events: u64,
    flushes: usize,
    manners: BTreeMap<Manner, u32>,
    rows: BTreeMap<String, u32>,
    took: Duration,
}

impl Cutter {
    pub(crate) fn new(dir: &Path, start: Start, args: &Args, seed: u64) -> anyhow::Result<Self> {
        let machine = Machine::build(dir, seed)?;
        let formatted = machine.formatted()?;
        Ok(Self {
            machine,
            start,
            rng: Rng::new(seed),
            cuts: args.cuts,
            load: Duration::from_millis(args.load_ms_max),
            disk: formatted.clone(),
            formatted,
            story: Story::new(),
            rounds_of_log: 0,
            opening: Duration::from_millis(20),
            seen: Report::default(),
        })
    }

    /// The next writer makes a log on an empty disk.
    pub(crate) fn begin_log(&mut self) {
        self.disk = self.formatted.clone();
        self.story = Story::new();
        self.rounds_of_log = 0;
    }

    /// Records one writer, cuts, and checks what each cut left. The next writer finds what the last one left.
    pub(crate) fn round(&mut self, fault: Option<Fault>) -> Result<(), Failure> {
        let begun = Instant::now();
        if self.rounds_of_log == ROUNDS_OF_A_LOG {
            self.begin_log();
        }
        self.rounds_of_log += 1;
        let recording = self.record(fault).map_err(|error| Failure { error, after_cut: false })?;
        self.seen.rounds += 1;
        self.seen.flushes += recording.ops.iter().filter(|op| matches!(op, Op::Flush { .. })).count();
        let before = self.disk.clone();
        let told_before = self.story.clone();
        for nth in 0..self.cuts {
            let at = self.place(&recording);
            let manner = Manner::ALL[self.rng.below(Manner::ALL.len() as u64) as usize];
            let (left, pending) = cut(&before, &recording.ops[..at], manner, &mut self.rng);
            (self.disk, self.story) = (left, recording.story_at(at, &told_before));
            let opened = recording.lines.first().is_some_and(|line| line.at <= at);
            self.seen.cut(manner, pending, opened, &self.story);
            let of = recording.ops.len();
            let what = || {
                format!("cut {nth}: after {at} of {of} operations, {pending} not flushed, left {manner:?}")
            };
            self.check().with_context(what).map_err(|error| Failure { error, after_cut: true })?;
        }
        self.seen.took += begun.elapsed();
        Ok(())
    }

    /// Lets a writer live on the disk, and writes down what is asked of the disk and what the writer says.
    fn record(&mut self, fault: Option<Fault>) -> anyhow::Result<Recording> {
        let more = if fault == Some(Fault::NoBarrier) { ",barrier=0" } else { "" };
        let lies = fault == Some(Fault::LyingDisk);
        let mounted = self.machine.start(self.disk.clone(), lies, more)?;
        let layer = &self.machine.layer;
        let born = layer.hour()();
        let mut start = self.start.clone();
        start.ack_early = fault == Some(Fault::AckedEarly);
        let writer = start.writer(&self.story, None, &mut self.rng, layer.hour())?;
        // One in four dies somewhere between its birth and a little after it can have opened the log.
        let while_opening = fault.is_none() && self.rng.below(4) == 0;
        let life = if while_opening { self.opening * 3 / 2 } else { self.load };
        let life = Duration::from_micros(self.rng.below(1 + life.as_micros() as u64));
        let (mut lines, mut story) = (Vec::new(), self.story.clone());
        let opened = writer.live(life, while_opening, |line| {
            let told = story.take(&line.text);
            lines.push(line);
            told
        });
        self.opening =
            opened.with_context(|| format!("see {}", self.start.errors.display()))?.unwrap_or(self.opening);
        let ops = layer.ops();
        mounted.stop()?;
        story.died();
        Ok(Recording { ops, born, lines, frontier: story.frontier })
    }

    /// Where to cut: anywhere, or where something has just been said.
    fn place(&mut self, recording: &Recording) -> usize {
        let (born, end) = (recording.born, recording.ops.len());
        let said =
            (self.rng.below(2) == 0).then(|| self.rng.below(recording.lines.len().max(1) as u64) as usize);
        match said.and_then(|nth| recording.lines.get(nth)) {
            Some(line) => line.at.clamp(born, end),
            None => born + self.rng.below(1 + (end - born) as u64) as usize,
        }
    }

    /// Switches on with what the cut left, and holds the log against the story.
    fn check(&mut self) -> anyhow::Result<()> {
        let mounted = self.machine.start(self.disk.clone(), false, "").context("the file system is lost")?;
        debug_assert!(self.start.log.starts_with(mounted.path()), "the log lies on the disk");
        let mut story = self.story.clone();
        let before = story.rows.clone();
        self.start.finish(&mut story, &mut self.rng)?;
        let seen = oracle::check(&self.start.log, &story, None)?;
        mounted.stop()?;
        self.seen.events += seen.events;
        self.seen.recovered += story.recovered - self.story.recovered;
        for (row, times) in story.rows {
            *self.seen.rows.entry(row.clone()).or_default() +=
                times - before.get(&row).copied().unwrap_or_default();
        }
        Ok(())
    }

    /// Keeps the disk of the last cut, as it was before it was switched on again.
    pub(crate) fn keep_last(&self, image: &Path) -> anyhow::Result<()> {
        const PIECE: usize = 1 << 20;
        let file = File::create(image).with_context(|| format!("{}", image.display()))?;
        file.set_len(self.disk.len())?;
        for offset in (0..self.disk.len()).step_by(PIECE) {
            let bytes = self.disk.read(offset, PIECE);
            if bytes.iter().any(|byte| *byte != 0) {
                file.write_all_at(&bytes, offset)?;
            }
        }
        Ok(())
    }

    /// What was seen up to now.
    pub(crate) fn report(&self) -> &Report {
        &self.seen
    }
}

impl Recording {
    /// What had been said when this many operations were done. What was in flight is bounded by the end of the
    /// recording: lines come out of the pipe a little later than they go in.
    fn story_at(&self, at: usize, before: &Story) -> Story {
        let mut story = before.clone();
        for line in self.lines.iter().take_while(|line| line.at <= at) {
            // It was understood when the writer said it.
            let _: Option<Told> = story.take(&line.text).ok();
        }
        story.frontier.clone_from(&self.frontier);
        story
    }
}

impl Report {
    fn cut(&mut self, manner: Manner, pending: usize, opened: bool, story: &Story) {
        self.cuts += 1;
        self.cuts_while_opening += u32::from(!opened);
        self.undecided += u32::from(pending > 0);
        self.pending_max = self.pending_max.max(pending);
        self.looked_for += story.count();
        *self.manners.entry(manner).or_default() += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manners: Vec<_> =
            self.manners.iter().map(|(manner, times)| format!("{manner:?} {times}")).collect();
        let rows: Vec<_> = self.rows.iter().map(|(row, times)| format!("{row} {times}")).collect();
        writeln!(f, "recordings     {}, with {} flushes", self.rounds, self.flushes)?;
        writeln!(f, "power cuts     {} ({} while opening)", self.cuts, self.cuts_while_opening)?;
        writeln!(
            f,
            "  not flushed  something at {} of them, up to {} writes",
            self.undecided, self.pending_max
        )?;
        writeln!(f, "  of it left   {}", manners.join(", "))?;
        writeln!(f, "opens by row   {} (- cut nothing)", rows.join(", "))?;
        writeln!(
            f,
            "looked for     {} times an event that was acknowledged before the cut, none lost",
            self.looked_for
        )?;
        writeln!(f, "recovered      {}, in the log though not acknowledged before the cut", self.recovered)?;
        writeln!(
            f,
            "checked        {} events, against the model and by a replay on one thread",
            self.events
        )?;
        write!(f, "took           {:.1} s", self.took.as_secs_f64())
    }
}
