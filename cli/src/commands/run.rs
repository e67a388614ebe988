//! `downbeat run`: a file of events goes through a flow, and a summary says what came of it.
//!
//! ```text
//!  read all of the input ──► open ──► pump ──► close: durable, applied, delivered ──► states, digests ──► page
//!   bad? nothing is opened             └─ a signal? stop submitting, go on from here
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use downbeat::record::Checkpoint;
use downbeat::{Engine, Options, Seq, probe};
use serde_json::{Map, Value, json};

use crate::args::{EngineArgs, OnBadInput, RunArgs};
use crate::failure::Failure;
use crate::figures::{digests, digests_json, speed};
use crate::known::{Bad, Found, Known, Loaded, OnBad, Workload, find};
use crate::opening::{floor, note, notices, options};
use crate::page::{Page, count, number, rate};
use crate::progress::{bar, spinner};
use crate::pump::{Pumped, pump};
use crate::signals::Signals;
use crate::watch::watched;

/// What was asked for, made sense of.
struct Job<'a> {
    name: &'static str,
    workload: &'a dyn Workload,
    log: PathBuf,
    input: PathBuf,
    on_bad: OnBad,
    /// There exactly when bad inputs are kept.
    dead_letters: Option<PathBuf>,
    notifications: Option<PathBuf>,
    engine: EngineArgs,
    json: bool,
    progress: bool,
}

pub(crate) fn run(args: RunArgs, flows: &[Known]) -> Result<(), Failure> {
    let job = Job::resolve(args, flows)?;
    let Loaded { mut traffic, bad, dead_letters } = job.read()?;
    if let Some(file) = &job.dead_letters {
        write_whole(file, &dead_letters)?;
    }
    let events = traffic.events();
    if events == 0 {
        let bad =
            if bad == 0 { String::new() } else { format!(", and {}", count(bad, "bad input", "bad inputs")) };
        let message = format_args!("{}: no events to submit{bad}", job.input.display()).to_string();
        return Err(Failure::does_not_hold(message));
    }
    let floor = if job.json { None } else { floor(&job.log) };
    let signals = Signals::listen().map_err(Failure::io)?;
    let engine = Engine::open(job.options(events), job.workload.live_flow(job.notifications.clone()))?;
    notices(&engine);

    let progress = bar(job.progress, "submitting", events);
    let say = |line: &str| progress.suspend(|| note(line));
    let pumped = watched(&engine, say, || {
        let pumped = pump(&engine, &mut *traffic, &signals, &progress)?;
        engine.close()?;
        Ok::<_, Failure>(pumped)
    })?;
    if let Some(signal) = pumped.signal {
        return Err(Failure::signal(
            signal,
            format_args!(
                "stopped by signal {signal}: {} of {events} events are durable in {}, the log ends at seq {}; \
                 run the same command again to go on",
                pumped.acknowledged,
                job.log.display(),
                engine.last_seq()
            ),
        ));
    }
    // Everything went through before the close returned, so the states are those of the last seq.
    let found = job.workload.summary(&engine).ok_or_else(|| Failure::io("the states cannot be read"))?;
    let checkpoint = engine.checkpoint().ok_or_else(|| Failure::io("the log holds no digests"))?;
    let report = Report { events, bad, floor, pumped, last: engine.last_seq(), found, checkpoint };
    if job.json {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", Value::Object(report.json()))?;
        return Ok(out.flush()?);
    }
    Ok(report.page(&job, &engine).print()?)
}

impl<'a> Job<'a> {
    fn resolve(args: RunArgs, flows: &'a [Known]) -> Result<Self, Failure> {
        let known = find(flows, &args.flow)?;
        let workload = known.workload.as_deref().ok_or_else(|| {
            Failure::usage(format_args!("flow `{}` cannot read an input; it can be replayed", known.name))
        })?;
        let on_bad = match (args.on_bad_input, &args.dead_letters) {
            (OnBadInput::DeadLetter, Some(_)) => OnBad::Keep,
            (OnBadInput::DeadLetter, None) => {
                return Err(Failure::usage("--on-bad-input dead-letter needs --dead-letters FILE"));
            }
            (_, Some(_)) => {
                return Err(Failure::usage("--dead-letters FILE needs --on-bad-input dead-letter"));
            }
            (OnBadInput::Stop, None) => OnBad::Stop,
            (OnBadInput::Skip, None) => OnBad::Skip,
        };
        Ok(Self {
            name: known.name,
            workload,
            log: args.log,
            input: args.input,
            on_bad,
            dead_letters: args.dead_letters,
            notifications: args.notifications,
            engine: args.engine,
            json: args.json,
            progress: !args.no_progress,
        })
    }

    fn read(&self) -> Result<Loaded, Failure> {
        let reading = spinner(self.progress, "reading the input");
        let loaded = self.workload.read(&self.input, self.on_bad);
        reading.finish_and_clear();
        loaded.map_err(|bad| match bad {
            Bad::Content(message) => Failure::does_not_hold(message),
            Bad::Unreadable(message) => Failure::io(message),
        })
    }

    fn options(&self, events: u64) -> Options {
        options(&self.log, &self.engine, events)
    }
}

/// Writes lines to a file that is there whole or not at all. What another run, or somebody else, has left there stays.
fn write_whole(file: &Path, lines: &[String]) -> Result<(), Failure> {
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    if file.exists() {
        let same =
            file.is_file() && fs::read(file).is_ok_and(|found| found.is_empty() || found == text.as_bytes());
        if !same {
            let what = "holds something else than the dead letters of this input; name a new file";
            return Err(Failure::usage(format_args!("{}: {what}", file.display())));
        }
    }
    let failed = |error: io::Error| {
        // In full it names the temporary file, which says nothing to whoever reads it.
        Failure::io(format_args!("{}: cannot be written: {}", file.display(), error.kind()))
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    temporary.write_all(text.as_bytes()).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(file).map_err(|error| failed(error.error))?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// What came of a run.
struct Report {
    events: u64,
    bad: u64,
    floor: Option<probe::Latency>,
    pumped: Pumped,
    last: Seq,
    found: Found,
    checkpoint: Checkpoint,
}

impl Report {
    fn json(self) -> Map<String, Value> {
        let us = |quantile: f64| self.pumped.ack(quantile).as_nanos() as f64 / 1e3;
        let mut json = Map::new();
        json.insert("events".to_owned(), self.events.into());
        json.insert("duplicates".to_owned(), self.pumped.duplicates.into());
        json.insert("bad".to_owned(), self.bad.into());
        json.insert("last_seq".to_owned(), self.last.0.into());
        let ack = json!({ "p50": us(0.5), "p99": us(0.99), "p999": us(0.999) });
        let rate = rate(self.events, self.pumped.took);
        json.extend(self.found.json);
        json.insert("digests".to_owned(), digests_json(&self.checkpoint.stages));
        json.insert("events_per_second".to_owned(), rate.into());
        json.insert("ack_us".to_owned(), ack);
        json
    }

    fn page(&self, job: &Job<'_>, engine: &Engine) -> Page {
        let pumped = &self.pumped;
        let mut page =
            Page::titled(format_args!("{}: {} → {}", job.name, job.input.display(), job.log.display()));
        let new = number(pumped.acknowledged - pumped.duplicates);
        page.row(
            "events",
            format_args!("{}: {new} new, {} known", number(self.events), number(pumped.duplicates)),
        );
        if self.bad > 0 {
            page.row("bad input", format_args!("{} passed over", number(self.bad)));
        }
        speed(&mut page, pumped, engine.hop_latency(), self.floor);
        page.gap();
        for (label, value) in &self.found.rows {
            page.row(label, value);
        }
        page.gap().row("last seq", number(self.last.0));
        digests(&mut page, &self.checkpoint.stages);
        page
    }
}
