//! `downbeat run`: a file of events goes through a flow, and a summary says what came of it.
//!
//! ```text
//!  read all of the input ──► open ──► pump ──► close: durable, applied, delivered ──► states, digests ──► page
//!   bad? nothing is opened             └─ a signal? stop submitting, go on from here
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use downbeat::record::{Checkpoint, Digest, StageDigest};
use downbeat::{BackendChoice, Engine, Options, Seq, probe};
use serde_json::{Map, Value, json};

use crate::args::{Backend, EngineArgs, OnBadInput, RunArgs};
use crate::failure::Failure;
use crate::known::{Bad, Found, Known, Loaded, Workload};
use crate::page::{Page, number, rate, time};
use crate::progress::{bar, spinner};
use crate::pump::{IN_FLIGHT_MAX, Pumped, pump};
use crate::signals::Signals;

/// Bare durable writes that are measured for the page.
const FLOOR_SAMPLES: usize = 64;

/// What was asked for, made sense of.
struct Job<'a> {
    name: &'static str,
    workload: &'a dyn Workload,
    log: PathBuf,
    input: PathBuf,
    bad: OnBad,
    notifications: Option<PathBuf>,
    engine: EngineArgs,
    json: bool,
    progress: bool,
}

enum OnBad {
    Stop,
    Skip,
    Keep(PathBuf),
}

pub(crate) fn run(args: RunArgs, flows: &[Known]) -> Result<(), Failure> {
    let job = Job::resolve(args, flows)?;
    let Loaded { mut traffic, bad, dead_letters } = job.read()?;
    if let OnBad::Keep(file) = &job.bad {
        write_whole(file, &dead_letters)?;
    }
    let events = traffic.events();
    let signals = Signals::listen().map_err(Failure::io)?;
    let engine = Engine::open(job.options(events), job.workload.live_flow(job.notifications.clone()))?;
    notices(&engine);

    let pumped = pump(&engine, &mut *traffic, &signals, &bar(job.progress, "submitting", events))?;
    engine.close()?;
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
    let report = Report { events, bad, pumped, last: engine.last_seq(), found, checkpoint };
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
        let bad = match (args.on_bad_input, args.dead_letters) {
            (OnBadInput::DeadLetter, Some(file)) => OnBad::Keep(file),
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
            bad,
            notifications: args.notifications,
            engine: args.engine,
            json: args.json,
            progress: !args.no_progress,
        })
    }

    fn read(&self) -> Result<Loaded, Failure> {
        let reading = spinner(self.progress, "reading the input");
        let keep_bad = match self.bad {
            OnBad::Stop => None,
            OnBad::Skip => Some(false),
            OnBad::Keep(_) => Some(true),
        };
        let loaded = self.workload.read(&self.input, keep_bad);
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

/// The flow of this name.
pub(crate) fn find<'a>(flows: &'a [Known], name: &str) -> Result<&'a Known, Failure> {
    flows.iter().find(|known| known.name == name).ok_or_else(|| {
        let names: Vec<_> = flows.iter().map(|known| format!("{} ({})", known.name, known.about)).collect();
        Failure::usage(format_args!("there is no flow `{name}`; this program knows {}", names.join(", ")))
    })
}

/// How the engine is opened to take this many events, all of which it must recognise when they come again.
pub(crate) fn options(log: &Path, args: &EngineArgs, events: u64) -> Options {
    let mut options = Options::new(log).shards(args.shards).threads(usize::from(args.threads));
    options.log.backend = match args.backend {
        Backend::Auto => BackendChoice::Auto,
        Backend::Uring => BackendChoice::Uring,
        Backend::Blocking => BackendChoice::Blocking,
    };
    options.log.segment_bytes = u64::from(args.segment_mib) << 20;
    // Events that stages emit have keys too, and an input may come again after a day.
    let wanted = usize::try_from(events.saturating_mul(2)).unwrap_or(usize::MAX);
    options.order.idempotency.keys = wanted.max(options.order.idempotency.keys);
    options.order.idempotency.age_ns = u64::MAX;
    options
}

/// Says on stderr what opening found, if it is worth a person's time.
pub(crate) fn notices(engine: &Engine) {
    for notice in &engine.opened().notices {
        // Nobody is there to be told that stderr is closed.
        let _ = writeln!(io::stderr(), "downbeat: note: {notice}");
    }
}

/// One digest for a stage: xxh3-128 of its output digest and its state digest, 16 bytes little endian each.
pub(crate) fn combined(stage: &StageDigest) -> Digest {
    let mut both = [0; 32];
    both[..16].copy_from_slice(&stage.outputs.0.to_le_bytes());
    both[16..].copy_from_slice(&stage.state.0.to_le_bytes());
    Digest::of(0, &both)
}

/// Writes lines to a file that is there whole or not at all.
fn write_whole(file: &Path, lines: &[String]) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::io(format_args!("{}: cannot be written: {error}", file.display()));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    for line in lines {
        writeln!(temporary, "{line}").map_err(failed)?;
    }
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(file).map_err(|error| failed(error.error))?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// What came of a run.
struct Report {
    events: u64,
    bad: u64,
    pumped: Pumped,
    last: Seq,
    found: Found,
    checkpoint: Checkpoint,
}

impl Report {
    fn json(self) -> Map<String, Value> {
        let us = |quantile: f64| self.pumped.ack(quantile).as_nanos() as f64 / 1e3;
        let stages = self.checkpoint.stages.iter();
        let digests: Map<_, _> =
            stages.map(|stage| (stage.stage.clone(), combined(stage).to_string().into())).collect();
        let mut json = Map::new();
        json.insert("events".to_owned(), self.events.into());
        json.insert("duplicates".to_owned(), self.pumped.duplicates.into());
        json.insert("last_seq".to_owned(), self.last.0.into());
        let ack = json!({ "p50": us(0.5), "p99": us(0.99), "p999": us(0.999) });
        let rate = rate(self.events, self.pumped.took);
        json.extend(self.found.json);
        json.insert("digests".to_owned(), digests.into());
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
        speed(&mut page, pumped, engine);
        if let Ok(floor) = probe::disk_floor(&job.log, FLOOR_SAMPLES) {
            page.row("fdatasync floor", format_args!("p50 {}   p99 {}", time(floor.p50), time(floor.p99)));
            page.row("", "a bare 4 KiB durable write on this disk");
        }
        page.gap();
        for (label, value) in &self.found.rows {
            page.row(label, value);
        }
        page.gap().row("last seq", number(self.last.0));
        digests(&mut page, &self.checkpoint.stages);
        page
    }
}

/// How fast it went.
pub(crate) fn speed(page: &mut Page, pumped: &Pumped, engine: &Engine) {
    let per_second = number(rate(pumped.acknowledged, pumped.took));
    page.row("rate", format_args!("{per_second} events/s, {} in all", time(pumped.took)));
    let ack = [0.5, 0.99, 0.999].map(|quantile| time(pumped.ack(quantile)));
    page.row("submit to durable", format_args!("p50 {}   p99 {}   p99.9 {}", ack[0], ack[1], ack[2]));
    page.row("", format_args!("with up to {} in flight", number(IN_FLIGHT_MAX as u64)));
    if let Some(hop) = engine.hop_latency() {
        let [p50, p99, p999] = [hop.p50_ns, hop.p99_ns, hop.p999_ns].map(|ns| time(Duration::from_nanos(ns)));
        page.row("stage to stage", format_args!("p50 {p50}   p99 {p99}   p99.9 {p999}"));
        page.row("", format_args!("a value's wait under load, {} sampled", number(hop.samples)));
    }
}

/// One digest per stage.
pub(crate) fn digests(page: &mut Page, stages: &[StageDigest]) {
    for (index, stage) in stages.iter().enumerate() {
        let label = if index == 0 { "digests" } else { "" };
        page.row(label, format_args!("{:<13}{}", stage.stage, combined(stage)));
    }
}

/// How long something took, and what it gave.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = work();
    (done, begun.elapsed())
}
