//! The world: one thread that picks, step by step, who of all its actors moves next.
//!
//! ```text
//!  safety:    clients · order and log · stages · disk · clock · crashes ── everything fails, as the seed says
//!  liveness:  nothing fails any more ── everything has to come to an end, and is compared with the model
//! ```
//!
//! All randomness comes from one seed, through generators forked in a fixed order; nothing here looks at a
//! clock, a thread or an address. Two runs of a seed are the same run, line by line of their traces.

use std::collections::BTreeSet;

use downbeat_record::{BatchNo, IdempotencyKey, Seq, Timestamp};
use downbeat_wal::{OpenError, ScanError, Trust};
use fastrand::Rng;

use crate::bug::Bug;
use crate::client::{Around, Client};
use crate::disk::Disk;
use crate::fault::{Fault, Injected, Odds};
use crate::plan::Plan;
use crate::process::{Opened, Process, Program, Round};
use crate::trace::{Trace, note};
use crate::truth::{Truth, Violation, hold};

/// Steps in which a world that nothing disturbs has to come to its end.
const CALM_STEPS: u64 = 60_000;
/// A year, in nanoseconds.
const YEAR: u64 = 365 * 24 * 3_600 * 1_000_000_000;
/// Where the clock begins: late enough to go back by years.
const BEGIN: u64 = 50 * YEAR;

pub(crate) struct World {
    rng: Rng,
    program: Program,
    process: Option<Process>,
    failed: bool,
    clients: Vec<Client>,
    keys: BTreeSet<IdempotencyKey>,
    truth: Truth,
    trace: Trace,
    injected: Injected,
    odds: Odds,
    /// The clock of the machine, and how long it stands.
    now: u64,
    frozen_until: u64,
    slow: Option<(usize, u64)>,
    /// A copy was put back: like a late write, it can bring what an open has cut and nobody relies on.
    repaired: bool,
    /// Before opens that did not come to their end: something was damaged, and what they have taken of what the platter said.
    interrupted: (bool, BatchNo),
    /// A damaged log was opened, with a cut, while a dead process still had writes on their way: one of them may come and
    /// tell that what was lost had been durable. There is no copy of that any more. An open that finds no such write ends it.
    late_witness: bool,
    pub(crate) counts: Counts,
}

/// What a world went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps.
    pub steps: u64,
    /// Times a log was opened, and by how many a recovery cut something.
    pub opens: u64,
    /// Opens that found something to cut.
    pub cuts: u64,
    /// Times a log was refused because of damage.
    pub refused: u64,
    /// Events in the log at the end.
    pub events: u64,
    /// Worlds that ended early: damage had taken what was acknowledged last, and nothing on the disk told of it, or told in
    /// time.
    pub untold: u64,
}

/// Whether a world goes on.
enum Next {
    Go,
    End,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace, bug: Option<Bug>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::draw(&mut rng);
        let disk = Disk::new(rng.fork(), plan.odds.clone());
        if bug == Some(Bug::LyingSync) {
            disk.lie_about_syncs();
        }
        note!(trace, "seed {seed}: {plan:?}");
        let odds = plan.odds.clone();
        let program = Program::new(plan, disk, bug);
        let mut draw = rng.fork();
        let clients: Vec<Client> =
            (0..program.plan.clients).map(|name| Client::draw(name, &program, &mut draw)).collect();
        let keys = clients.iter().flat_map(Client::keys).collect();
        let mut truth = Truth::default();
        clients.iter().flat_map(Client::groups).for_each(|group| truth.add_group(group));
        Self {
            rng,
            program,
            process: None,
            failed: false,
            clients,
            keys,
            truth,
            trace,
            injected: Injected::default(),
            odds,
            now: BEGIN,
            frozen_until: 0,
            slow: None,
            repaired: false,
            interrupted: Default::default(),
            late_witness: false,
            counts: Counts::default(),
        }
    }

    /// What went wrong, in all parts of the world.
    pub(crate) fn injected(&self) -> Injected {
        let mut injected = self.injected.clone();
        injected.merge(&self.program.disk.injected());
        injected
    }

    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        for _ in 0..self.program.plan.steps {
            self.pass_time();
            if matches!(self.step()?, Next::End) {
                return Ok(());
            }
        }
        self.settle()
    }

    fn hit(&mut self, fault: Fault) -> bool {
        let hit = self.odds.hit(fault, &mut self.rng);
        if hit {
            self.injected.add(fault);
        }
        hit
    }

    fn pass_time(&mut self) {
        self.counts.steps += 1;
        self.program.disk.step();
        let tick = self.program.disk.tick();
        if self.hit(Fault::ClockAhead) {
            self.now += self.rng.u64(1..YEAR) >> self.rng.u32(..40);
        }
        if self.hit(Fault::ClockBack) {
            self.now -= (self.rng.u64(1..YEAR) >> self.rng.u32(..40)).min(self.now);
        }
        if self.hit(Fault::ClockFrozen) {
            self.frozen_until = tick + self.rng.u64(1..100);
        }
        if tick >= self.frozen_until {
            self.now += self.rng.u64(..50_000);
        }
        self.program.clock.set(Timestamp(self.now));
    }

    /// One actor moves.
    fn step(&mut self) -> Result<Next, Violation> {
        if !self.program.disk.has_power() {
            note!(self.trace, "{} the power is gone", self.program.disk.tick());
            self.end_process();
            return Ok(Next::Go);
        }
        let Some(mut process) = self.process.take() else {
            return if self.rng.u8(..4) == 0 { self.open() } else { Ok(Next::Go) };
        };
        let outcome = self.move_one(&mut process);
        self.process = Some(process);
        outcome?;
        if self.odds.hit(Fault::SecondOpener, &mut self.rng) {
            self.open_again()?;
        }
        if self.rng.u8(..64) == 0 {
            self.follow()?;
        }
        self.crash();
        Ok(Next::Go)
    }

    fn move_one(&mut self, process: &mut Process) -> Result<(), Violation> {
        let tick = self.program.disk.tick();
        match self.rng.u8(..10) {
            0..4 => {
                let Self { rng, odds, injected, truth, trace, clients, .. } = self;
                let index = rng.usize(..clients.len());
                let around = Around { rng, odds, injected, truth, trace, tick };
                clients[index].step(&process.ingress, around)?;
            }
            4..7 => {
                if !self.failed {
                    self.round(process)?;
                }
            }
            7..9 => self.move_stage(process)?,
            _ => {
                process.emit();
                // Without power nothing leaves.
                if self.program.disk.has_power() {
                    process.deliver(&mut self.truth)?;
                }
            }
        }
        Ok(())
    }

    fn round(&mut self, process: &mut Process) -> Result<(), Violation> {
        let before = (self.truth.last(), process.durable());
        if let Round::Failed = process.round(&mut self.truth)? {
            self.failed = true;
            note!(self.trace, "{} the log has failed", self.program.disk.tick());
        }
        let after = (self.truth.last(), process.durable());
        if after != before {
            note!(self.trace, "{} ordered {} durable {}", self.program.disk.tick(), after.0, after.1);
        }
        Ok(())
    }

    fn move_stage(&mut self, process: &mut Process) -> Result<(), Violation> {
        let tick = self.program.disk.tick();
        if process.stages.is_down() {
            if process.mend()? {
                note!(self.trace, "{tick} the stages are rebuilt");
            }
            return Ok(());
        }
        if self.hit(Fault::StagesCrash) {
            note!(self.trace, "{tick} the stages crash");
            process.stages.crash();
            return Ok(());
        }
        let worker = self.rng.usize(..process.stages.workers());
        if self.hit(Fault::SlowStage) {
            self.slow = Some((worker, tick + 100));
        }
        if self.slow.is_none_or(|(slow, until)| slow != worker || tick >= until) {
            let events = self.rng.usize(1..=8);
            let moved = process.stages.step(worker, events);
            if moved > 0 {
                note!(self.trace, "{tick} stage {worker} moves by {moved}");
            }
        }
        Ok(())
    }

    /// Kills the process or lights the fuse of a power cut, now and then; and fills and empties the disk.
    fn crash(&mut self) {
        let tick = self.program.disk.tick();
        if self.failed && self.rng.u8(..8) == 0 {
            self.kill();
        } else if self.rng.u64(..self.program.plan.crash_every) == 0 {
            if self.odds.can(Fault::PowerCut) && (self.rng.bool() || !self.odds.can(Fault::Kill)) {
                let operations = self.rng.u64(..20);
                note!(self.trace, "{tick} the power goes in {operations} operations");
                self.program.disk.light_fuse(operations);
            } else if self.odds.can(Fault::Close) && self.rng.u8(..3) == 0 {
                self.close();
            } else if self.odds.can(Fault::Kill) {
                self.kill();
            }
        }
        let full = self.program.disk.is_full();
        if full && self.rng.u8(..20) == 0 {
            self.program.disk.set_full(false);
        } else if !full && self.odds.hit(Fault::DiskFull, &mut self.rng) {
            note!(self.trace, "{tick} the disk is full");
            self.program.disk.set_full(true);
        }
    }

    fn kill(&mut self) {
        note!(self.trace, "{} the process is killed", self.program.disk.tick());
        self.injected.add(Fault::Kill);
        self.end_process();
    }

    /// The process ends in order, whatever is on its way; that may fail.
    fn close(&mut self) {
        let closed = self.process.take().map(Process::close);
        note!(self.trace, "{} the process closes: {closed:?}", self.program.disk.tick());
        self.injected.add(Fault::Close);
        self.end_process();
    }

    /// Somebody else opens the log, and must be told that it is taken.
    fn open_again(&mut self) -> Result<(), Violation> {
        self.injected.add(Fault::SecondOpener);
        let opened = self.program.open()?.err().map(|refusal| refusal.to_string());
        let locked = opened.as_ref().is_some_and(|refusal| refusal.contains("another writer"));
        hold!(locked || !self.program.disk.has_power(), Refusal, "a second opener was told {opened:?}");
        Ok(())
    }

    /// Somebody reads what is durable, from the bytes alone, while it is being written.
    fn follow(&mut self) -> Result<(), Violation> {
        // The log may know of more than it had time to say, and its batches tell.
        if let Some(process) = &self.process {
            self.truth.watermark(process.log_durable());
        }
        let read = self.program.read(Trust::Durable);
        let explained = self.program.disk.was_damaged() || self.program.disk.gave_errors();
        match read {
            Ok(entries) => self.truth.read(&entries),
            Err(_) if explained || !self.program.disk.has_power() => Ok(()),
            Err(error) => {
                hold!(self.truth.last() == Seq::ZERO, Refusal, "a reader is refused: {error}");
                Ok(())
            }
        }
    }

    fn end_process(&mut self) {
        self.clients.iter_mut().for_each(Client::disconnect);
        self.process = None;
        self.failed = false;
        self.program.disk.restart();
    }

    /// Opens the log, in a world where that may fail as well.
    fn open(&mut self) -> Result<Next, Violation> {
        self.program.disk.rot();
        if self.hit(Fault::CutWhileOpening) {
            let operations = self.rng.u64(..60);
            self.program.disk.light_fuse(operations);
        }
        let tick = self.program.disk.tick();
        let word = self.program.disk.durable_by_word();
        let damaged = self.program.disk.is_damaged();
        let opened = self.program.open()?;
        if !self.program.disk.has_power() {
            note!(self.trace, "{tick} the power goes while the log is opened");
            drop(opened);
            self.note_interrupted(damaged, word);
            self.end_process();
            return Ok(Next::Go);
        }
        match opened {
            Ok(opened) => self.take_over(opened, word),
            Err(refusal) => {
                if matches!(refusal, OpenError::Scan(ScanError::Io { .. })) {
                    self.note_interrupted(damaged, word);
                }
                self.refused(&refusal)
            }
        }
    }

    /// An open did not come to its end; it may have removed what was damaged, and what would have told. What still tells
    /// afterwards speaks for itself, until the device takes that too.
    fn note_interrupted(&mut self, damaged: bool, word: BatchNo) {
        let (before, told) = self.interrupted;
        let taken = if self.program.disk.durable_by_word() < word { word } else { BatchNo::ZERO };
        self.interrupted = (before || damaged, told.max(taken));
    }

    fn take_over(&mut self, opened: Opened, word: BatchNo) -> Result<Next, Violation> {
        let Opened { process, entries, recovered } = opened;
        let entries = self.program.tamper(entries, &self.truth);
        let (damaged_before, told) = std::mem::take(&mut self.interrupted);
        let (damaged, word) = (self.program.disk.is_damaged() || damaged_before, word.max(told));
        // What the platter says in more than one place cannot be lost silently.
        let unsaid = damaged && word < recovered.last_batch.next();
        let late = self.repaired || self.program.disk.injected().of(Fault::Lingering) > 0;
        note!(
            self.trace,
            "{} open: row {} epoch {} last {} batch {} bytes {:016x}{}",
            self.program.disk.tick(),
            recovered.row,
            recovered.epoch,
            entries.len(),
            recovered.last_batch,
            self.program.disk.hash(),
            if damaged { ", damaged" } else { "" }
        );
        self.counts.opens += 1;
        self.counts.cuts += u64::from(recovered.cut.is_some());
        if !self.truth.recovered(entries, unsaid, late)? {
            note!(self.trace, "the end of the log is lost, and nothing on the disk can tell");
            self.counts.untold += 1;
            return Ok(Next::End);
        }
        self.late_witness = self.program.disk.has_lingering() && (damaged || self.late_witness);
        self.program.disk.accept();
        self.process = Some(process);
        Ok(Next::Go)
    }

    /// A refusal has to be explained by what the world did, and to say what it found.
    fn refused(&mut self, refusal: &OpenError) -> Result<Next, Violation> {
        let tick = self.program.disk.tick();
        note!(self.trace, "{tick} refused: {refusal}");
        let disk = &self.program.disk;
        let (damaged, errors) = (disk.was_damaged() || self.interrupted.0, disk.gave_errors());
        if self.late_witness && !damaged && matches!(refusal, OpenError::Scan(ScanError::Damaged { .. })) {
            note!(self.trace, "{tick} a write of a dead process came late and told of what is lost");
            self.counts.untold += 1;
            return Ok(Next::End);
        }
        let explained = match refusal {
            OpenError::Scan(ScanError::Io { .. } | ScanError::Unreadable { .. }) => errors,
            OpenError::Scan(_) => damaged,
            _ => false,
        };
        hold!(explained, Refusal, "{refusal} (damaged: {damaged}, errors: {errors})");
        self.counts.refused += u64::from(damaged);
        match (self.program.bug, refusal) {
            (Some(Bug::DamageWiped), OpenError::Scan(ScanError::Damaged { path, offset, .. })) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                self.program.disk.wipe(&name.unwrap_or_default(), *offset as usize);
            }
            // Only a refusal that speaks of damage makes somebody look for a copy.
            (_, OpenError::Scan(scan)) if damaged && scan.row().is_some() => {
                note!(self.trace, "{tick} what is damaged is restored from a copy");
                self.program.disk.repair();
                self.repaired = true;
            }
            _ => {}
        }
        self.program.disk.restart();
        Ok(Next::Go)
    }

    /// Nothing fails any more.
    fn settle(&mut self) -> Result<(), Violation> {
        note!(self.trace, "{} calm", self.program.disk.tick());
        self.odds = Odds::NONE;
        self.program.plan.crash_every = u64::MAX;
        self.program.disk.calm();
        self.repaired |= self.program.disk.is_damaged();
        self.program.disk.repair();
        self.end_process();
        let mut left = CALM_STEPS;
        while !self.is_settled() {
            hold!(left > 0, Convergence, "not at its end after {CALM_STEPS} steps: {}", self.whereabouts());
            left -= 1;
            self.pass_time();
            if matches!(self.step()?, Next::End) {
                return Ok(());
            }
        }
        self.finish()
    }

    fn is_settled(&self) -> bool {
        let last = self.truth.last();
        let quiet = self.process.as_ref().is_some_and(|process| process.is_quiet(last));
        quiet && self.clients.iter().all(Client::is_done)
    }

    fn whereabouts(&self) -> String {
        let clients: Vec<bool> = self.clients.iter().map(Client::is_done).collect();
        let process = self.process.as_ref().map(|process| process.whereabouts());
        format!("last {}, clients {clients:?}, {process:?}", self.truth.last())
    }

    /// Everything is at its end: compares with the model, closes, and reads the log again, in both ways.
    fn finish(&mut self) -> Result<(), Violation> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let digests = process.stages.digests();
        self.truth.settled(&digests, &self.keys)?;
        let closed = process.close();
        hold!(closed.is_ok(), Convergence, "a log that nothing disturbs does not close: {closed:?}");
        self.end_process();

        let opened = self.program.open()?;
        let refusal = opened.as_ref().err().map(ToString::to_string);
        let Ok(Opened { mut process, entries, recovered }) = opened else {
            hold!(false, Refusal, "a closed log is refused: {refusal:?}");
            return Ok(());
        };
        let bytes = self.program.disk.hash();
        note!(self.trace, "closed and open: row {} last {} bytes {bytes:016x}", recovered.row, entries.len());
        let again = process.stages.digests();
        hold!(again == digests, Digests, "live {digests:?}, read again {again:?}");
        self.counts.events = entries.len() as u64;
        hold!(
            self.truth.last() == Seq(entries.len() as u64),
            Acknowledged,
            "{} events are left",
            entries.len()
        );
        self.truth.recovered(entries, false, false)?;
        self.check_reader()
    }

    /// A reader, which takes no lock and changes nothing, sees what recovery saw; also one that trusts nothing but what was
    /// durable, since the log was closed and opened.
    fn check_reader(&self) -> Result<(), Violation> {
        for trust in [Trust::Everything, Trust::Durable] {
            let read = self.program.read(trust);
            // A log without events may have no segment.
            hold!(read.is_ok() || self.truth.last() == Seq::ZERO, Refusal, "a reader is refused: {read:?}");
            let Ok(entries) = read else { continue };
            let (seen, last) = (entries.len() as u64, self.truth.last());
            hold!(seen == last.0, Prefix, "a reader ({trust:?}) sees {seen} of {last} events");
            self.truth.read(&entries)?;
        }
        Ok(())
    }
}
