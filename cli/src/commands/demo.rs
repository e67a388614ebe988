//! `downbeat demo`: the main job on generated traffic, and a check of everything that is promised about it.
//!
//! ```text
//!  generate ──► run ──► close ──► open again ──► verify ──► replay on 1 shard, on 8 ──► page
//! ```

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use downbeat::record::Checkpoint;
use downbeat::{Engine, HopLatency, probe};
use downbeat_audit::{ReplayOptions, Verified, VerifyOptions, replay, verify};
use tempfile::TempDir;

use crate::args::{DemoArgs, EngineArgs};
use crate::failure::Failure;
use crate::figures::{digests, speed, timed};
use crate::known::{Found, Known, Workload, find};
use crate::opening::{floor, notices, options};
use crate::page::{Page, bytes, number, rate, time};
use crate::progress::{bar, counter};
use crate::pump::{Pumped, pump};
use crate::signals::Signals;

/// Shards of the second replay.
const SHARDS: u32 = 8;
/// What was asked for, made sense of.
struct Demo<'a> {
    known: &'a Known,
    workload: &'a dyn Workload,
    events: u64,
    engine: EngineArgs,
    place: Place,
    progress: bool,
}

/// Where the log is, and what becomes of it.
struct Place {
    log: PathBuf,
    keep: bool,
    /// Removes itself.
    temporary: Option<TempDir>,
    /// The directory was there, and stays.
    was_there: bool,
    /// What is in it was made here: between the look at the directory and the lock somebody else may have come.
    opened: Cell<bool>,
}

/// What the first run left.
struct Ran {
    pumped: Pumped,
    found: Found,
    checkpoint: Checkpoint,
    backend: String,
    hops: Option<HopLatency>,
    floor: Option<probe::Latency>,
}

pub(crate) fn run(args: DemoArgs, flows: &[Known]) -> Result<(), Failure> {
    let demo = Demo::resolve(args, flows)?;
    let done = demo.all();
    demo.place.leave_after(done)
}

impl<'a> Demo<'a> {
    fn resolve(args: DemoArgs, flows: &'a [Known]) -> Result<Self, Failure> {
        let known = match &args.flow {
            Some(name) => Some(find(flows, name)?),
            None => flows.iter().find(|known| known.workload.is_some()),
        };
        let Some(known) = known else {
            return Err(Failure::usage("no flow of this program can make events"));
        };
        let Some(workload) = known.workload.as_deref() else {
            return Err(Failure::usage(format_args!(
                "flow `{}` cannot make events; it can be replayed",
                known.name
            )));
        };
        let place = Place::choose(args.log, args.keep)?;
        let (events, engine, progress) = (args.events, args.engine, !args.no_progress);
        Ok(Self { known, workload, events, engine, place, progress })
    }

    fn all(&self) -> Result<(), Failure> {
        let log = self.place.log.as_path();
        let mut page =
            Page::titled(format_args!("downbeat demo: {} {} events", number(self.events), self.known.name));
        let signals = Signals::listen().map_err(Failure::io)?;
        let ran = self.run(&signals)?;
        let checkpoint = &ran.checkpoint;
        let verified = self.verify();
        page.row("log", log.display());
        self.disk(&mut page, &ran, verified.0.as_ref().ok());
        page.gap();
        for (label, value) in &ran.found.rows {
            page.row(label, value);
        }
        page.gap().row("last seq", number(checkpoint.seq.0));
        digests(&mut page, &checkpoint.stages);

        page.gap();
        let mut holds = true;
        let mut check = |page: &mut Page, what: &str, took: Duration, outcome: Result<String, String>| {
            let (holds_here, said) = match outcome {
                Ok(said) => (true, said),
                Err(said) => (false, said),
            };
            page.check(holds_here, format_args!("{what:<27} {:>7}   {said}", time(took)));
            holds &= holds_here;
        };
        let (outcome, took) = verified;
        check(
            &mut page,
            "the log is whole",
            took,
            outcome.map(|_| "checksums, chain, order, payloads".to_owned()),
        );
        stop(&signals)?;
        let (outcome, took) = timed(|| self.reopen(checkpoint));
        check(&mut page, "opened again", took, outcome);
        for shards in [1, SHARDS] {
            stop(&signals)?;
            let (outcome, took) = timed(|| self.replay(checkpoint, shards));
            let what = if shards == 1 {
                "replayed on one thread".to_owned()
            } else {
                format!("replayed in {shards} shards")
            };
            check(&mut page, &what, took, outcome);
        }
        page.gap();
        match self.place.keep || !holds {
            true => page
                .line(format_args!("The log is in {}; look at it with", log.display()))
                .line(format_args!("  downbeat inspect {} --limit 3", log.display())),
            false => page.line("The log is removed now; --keep leaves it."),
        };
        let printed = page.print();
        if holds { Ok(printed?) } else { Err(Failure::printed()) }
    }

    fn run(&self, signals: &Signals) -> Result<Ran, Failure> {
        let floor = floor(&self.place.log);
        let engine =
            Engine::open(options(&self.place.log, &self.engine, self.events), self.workload.live_flow(None))?;
        self.place.opened.set(true);
        notices(&engine);
        let mut traffic = self.workload.generate(self.events);
        let pumped = pump(&engine, &mut *traffic, signals, &bar(self.progress, "submitting", self.events))?;
        engine.close()?;
        stop(signals)?;
        let found = self.workload.summary(&engine).ok_or_else(|| Failure::io("the states cannot be read"))?;
        let checkpoint = engine.checkpoint().ok_or_else(|| Failure::io("the log holds no digests"))?;
        let backend = engine.opened().backend.to_string();
        Ok(Ran { hops: engine.hop_latency(), floor, pumped, found, checkpoint, backend })
    }

    fn disk(&self, page: &mut Page, ran: &Ran, verified: Option<&Verified>) {
        let log = &self.place.log;
        let filesystem = probe::facts(log).map_or("unknown".to_owned(), |facts| facts.filesystem);
        let size = verified.map_or(String::new(), |verified| format!("{}, ", bytes(verified.bytes)));
        page.row("", format_args!("{size}{filesystem}, {}", ran.backend));
        if filesystem.starts_with("tmpfs") {
            page.row("", "in memory: nothing here is durable; --log DIR puts it on a disk");
        }
        page.gap();
        speed(page, &ran.pumped, ran.hops, ran.floor);
    }

    fn verify(&self) -> (Result<Verified, String>, Duration) {
        let counter = counter(self.progress, "verifying");
        let done = timed(|| {
            verify(&self.place.log, VerifyOptions::default(), |progress| counter.set_position(progress.seq.0))
                .map_err(|error| error.to_string())
        });
        counter.finish_and_clear();
        done
    }

    /// Opens the log as the engine does after a crash or a stop: every event is applied again, on actors.
    fn reopen(&self, checkpoint: &Checkpoint) -> Result<String, String> {
        let options = options(&self.place.log, &self.engine, self.events);
        let (engine, took) = timed(|| Engine::open(options, self.workload.live_flow(None)));
        let engine = engine.map_err(|error| error.to_string())?;
        let last = engine.opened().last_seq;
        engine.close().map_err(|error| error.to_string())?;
        if last != checkpoint.seq {
            return Err(format!("the log ends at seq {last}, not {}", checkpoint.seq));
        }
        Ok(format!("same digests, {} events/s", number(rate(last.0, took))))
    }

    fn replay(&self, checkpoint: &Checkpoint, shards: u32) -> Result<String, String> {
        let counter = counter(self.progress, "replaying");
        let options = ReplayOptions { shards, ..ReplayOptions::default() };
        let (replayed, took) = timed(|| {
            replay(&self.place.log, &(self.known.flow)(), options, |progress| {
                counter.set_position(progress.seq.0)
            })
            .map_err(|error| error.to_string())
        });
        counter.finish_and_clear();
        let replayed = replayed?;
        if replayed.stages != checkpoint.stages {
            return Err("other digests".to_owned());
        }
        Ok(format!("same digests, {} events/s", number(rate(replayed.events, took))))
    }
}

impl Place {
    fn choose(log: Option<PathBuf>, keep: bool) -> Result<Self, Failure> {
        let Some(log) = log else {
            let made = tempfile::Builder::new().prefix("downbeat-demo-").tempdir();
            let temporary =
                made.map_err(|error| Failure::io(format_args!("no temporary directory: {error}")))?;
            if keep {
                return Ok(Self::at(temporary.keep(), keep));
            }
            let log = temporary.path().to_path_buf();
            return Ok(Self { temporary: Some(temporary), ..Self::at(log, keep) });
        };
        if !is_free(&log).map_err(|error| Failure::io(format_args!("{}: {error}", log.display())))? {
            let message =
                format_args!("{} is not empty; a demo needs a fresh directory", log.display()).to_string();
            return Err(Failure::usage(message));
        }
        Ok(Self { was_there: log.exists(), ..Self::at(log, keep) })
    }

    fn at(log: PathBuf, keep: bool) -> Self {
        Self { log, keep, temporary: None, was_there: false, opened: Cell::new(false) }
    }

    /// What does not hold stays to be looked at; everything else is removed, unless it was to be kept.
    fn leave_after(mut self, done: Result<(), Failure>) -> Result<(), Failure> {
        match done {
            Err(failure) if failure.is_broken_promise() => {
                if let Some(temporary) = self.temporary.take() {
                    let _ = temporary.keep();
                }
                Err(failure.and(format_args!("the log is in {}", self.log.display())))
            }
            done => {
                let removed = self.remove();
                done.and(removed)
            }
        }
    }

    fn remove(self) -> Result<(), Failure> {
        let removed = match self.temporary {
            Some(temporary) => temporary.close(),
            None if self.keep || !self.opened.get() => Ok(()),
            None if self.was_there => empty(&self.log),
            None => fs::remove_dir_all(&self.log),
        };
        removed
            .map_err(|error| Failure::io(format_args!("{}: cannot be removed: {error}", self.log.display())))
    }
}

/// The failure of a demo that somebody asked to stop.
fn stop(signals: &Signals) -> Result<(), Failure> {
    match signals.asked() {
        Some(signal) => Err(Failure::signal(signal, format_args!("stopped by signal {signal}"))),
        None => Ok(()),
    }
}

/// Removes the files of a log, which has no directories.
fn empty(dir: &Path) -> std::io::Result<()> {
    fs::read_dir(dir)?.try_for_each(|entry| fs::remove_file(entry?.path()))
}

/// True for a directory that is empty or not there.
fn is_free(dir: &Path) -> std::io::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_stays_and_what_holds_is_removed() {
        let place = Place::choose(None, false).unwrap();
        let log = place.log.clone();
        let told = place.leave_after(Err(Failure::does_not_hold("other digests"))).unwrap_err();
        assert!(log.is_dir() && format!("{told:?}").contains(&format!("the log is in {}", log.display())));
        fs::remove_dir(&log).unwrap();
        for done in [Ok(()), Err(Failure::io("no space")), Err(Failure::signal(2, "stopped"))] {
            let place = Place::choose(Some(log.clone()), false).unwrap();
            fs::create_dir(&log).unwrap();
            place.opened.set(true);
            let holds = done.is_ok();
            assert_eq!(place.leave_after(done).is_ok(), holds);
            assert!(!log.exists());
        }
    }

    #[test]
    fn a_log_that_somebody_else_has_begun_in_its_place_stays() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        for kept in ["their.seg", "more.seg"] {
            let place = Place::choose(Some(log.clone()), false).unwrap();
            fs::create_dir_all(&log).unwrap();
            fs::write(log.join(kept), "").unwrap();
            assert!(place.leave_after(Err(Failure::io("locked"))).is_err());
            assert!(log.join(kept).exists());
            fs::remove_file(log.join(kept)).unwrap();
        }
    }
}
