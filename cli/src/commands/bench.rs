//! `downbeat bench`: what this machine does, measured in one go, as a page on the terminal, as JSON and as HTML.
//!
//! ```text
//!  resolve: place, space, outputs, the run beside ──► measure ──► write ──► page
//! ```
//!
//! Everything that can be refused is refused before anything is measured.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use downbeat::probe;
use downbeat_benches::Scale;
use downbeat_benches::cells::stamp::{Program, RunStamp};
use downbeat_benches::cells::{How, Measured, Trouble, Watch, bytes_needed, measure, seconds};
use indicatif::ProgressBar;
use tempfile::{NamedTempFile, TempDir};

use super::doctor::holds_log;
use crate::args::BenchArgs;
use crate::failure::Failure;
use crate::page::{Page, bytes, number};
use crate::progress::share;
use crate::report::figure::{figure, ratio, spread};
use crate::report::html::{self, Beside, facts};
use crate::report::read;
use crate::report::summary::{Answer, GROUPS, Row, better};
use crate::signals::Signals;

/// What was asked for, made sense of.
struct Asked {
    source: Source,
    beside: Option<Beside>,
    html: Option<Output>,
    json: Option<Output>,
    json_to_stdout: bool,
}

/// Where the figures come from.
enum Source {
    /// They are measured, with logs in a directory that removes itself.
    Machine { place: TempDir, dir: PathBuf, how: How, progress: bool },
    /// They were measured before.
    Run(Box<Measured>),
}

/// A file that is there once all of it is.
struct Output {
    file: NamedTempFile,
    path: PathBuf,
}

pub(crate) fn run(args: BenchArgs, allocator: &str) -> Result<(), Failure> {
    let asked = Asked::resolve(args)?;
    let measured = match asked.source {
        Source::Run(run) => *run,
        Source::Machine { place, dir, how, progress } => {
            let measured = measured(place.path(), &dir, how, progress, allocator);
            let removed = place.close();
            let measured = measured?;
            removed.map_err(|error| Failure::io(format_args!("{}: {error}", dir.display())))?;
            measured
        }
    };
    let mut written = Vec::new();
    if let Some(output) = asked.html {
        written.push(output.write(&html::page(&measured, asked.beside.as_ref()))?);
    }
    if let Some(output) = asked.json {
        written.push(output.write(&(html::json(&measured) + "\n"))?);
    }
    if asked.json_to_stdout {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", html::json(&measured))?;
        return Ok(out.flush()?);
    }
    Ok(page(&measured, asked.beside.as_ref(), &written).print()?)
}

impl Asked {
    fn resolve(args: BenchArgs) -> Result<Self, Failure> {
        let json_to_stdout = args.json.as_deref() == Some(Path::new("-"));
        let beside = match &args.beside {
            Some(path) => Some(Beside::new(path, read::measured(path)?)),
            None => None,
        };
        let source = match &args.from {
            Some(path) => Source::Run(Box::new(read::measured(path)?)),
            None => {
                let scale = match (args.smoke, args.quick) {
                    (true, _) => Scale::Test,
                    (false, true) => Scale::Quick,
                    (false, false) => Scale::Full,
                };
                let place = place(&args.dir, scale)?;
                let how = How { scale, mode: args.mode.into() };
                Source::Machine { place, dir: args.dir, how, progress: !args.no_progress }
            }
        };
        if args.html.as_deref() == Some(Path::new("-")) {
            return Err(Failure::usage(
                "--html - would be a file of that name; give a page a name that ends in .html",
            ));
        }
        if args.html.is_some() && args.html == args.json {
            return Err(Failure::usage("--html and --json name the same file"));
        }
        let html = args.html.map(Output::begin).transpose()?;
        let json = args.json.filter(|_| !json_to_stdout).map(Output::begin).transpose()?;
        Ok(Self { source, beside, html, json, json_to_stdout })
    }
}

/// A directory of its own in `dir`, which must have room and must not be a log.
fn place(dir: &Path, scale: Scale) -> Result<TempDir, Failure> {
    let io = |what: &dyn std::fmt::Display| Failure::io(format_args!("{}: {what}", dir.display()));
    if !dir.exists() {
        return Err(io(&"no such directory"));
    }
    if !dir.is_dir() {
        return Err(io(&"is a file, expected a directory"));
    }
    if holds_log(dir) {
        let what = "holds a log; give another directory, on the disk that is to be measured";
        return Err(Failure::usage(format_args!("{}: {what}", dir.display())));
    }
    let made = tempfile::Builder::new().prefix("downbeat-bench-").tempdir_in(dir);
    let place = made.map_err(|error| io(&format_args!("cannot be written: {}", without_path(&error))))?;
    let facts = probe::facts(dir).map_err(|error| io(&format_args!("cannot be probed: {error}")))?;
    let needed = bytes_needed(scale);
    if facts.free_bytes < needed {
        let quick = match scale {
            Scale::Full => format!("; --quick needs {}", bytes(bytes_needed(Scale::Quick))),
            _ => String::new(),
        };
        let (free, needed) = (bytes(facts.free_bytes), bytes(needed));
        return Err(io(&format_args!("{free} are free, a run needs {needed}{quick}")));
    }
    Ok(place)
}

/// The words of the system, without the path that `tempfile` adds: it is one that nobody gave.
fn without_path(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" at path ").next().unwrap_or_default().to_owned()
}

fn measured(
    place: &Path,
    dir: &Path,
    how: How,
    progress: bool,
    allocator: &str,
) -> Result<Measured, Failure> {
    let called = RunStamp {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        seconds: 0.0,
        others: 0.0,
        written_bytes: None,
        command: command(),
        scale: how.scale.to_string(),
        mode: how.mode.to_string(),
        dir: dir.display().to_string(),
    };
    let program = Program { version: env!("CARGO_PKG_VERSION").to_owned(), allocator: allocator.to_owned() };
    let signals = Signals::listen().map_err(Failure::io)?;
    let watcher = Watcher { bar: share(progress, seconds(how.scale)), signals };
    let measured = measure(place, how, called, program, &watcher);
    watcher.bar.finish_and_clear();
    measured.map_err(|trouble| failure(trouble, &watcher.signals))
}

/// The command line as somebody might type it again.
fn command() -> String {
    let quoted = |argument: String| {
        if argument.contains(char::is_whitespace) { format!("'{argument}'") } else { argument }
    };
    let arguments =
        std::env::args_os().skip(1).map(|argument| quoted(argument.to_string_lossy().into_owned()));
    ["downbeat".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

struct Watcher {
    bar: ProgressBar,
    signals: Signals,
}

impl Watch for Watcher {
    fn at(&self, part: &'static str, seconds: f64) -> bool {
        self.bar.set_message(part);
        self.bar.set_position((seconds * 10.0) as u64);
        self.signals.asked().is_none()
    }
}

fn failure(trouble: Trouble, signals: &Signals) -> Failure {
    match trouble {
        Trouble::Stopped => {
            let signal = signals.asked().unwrap_or_default();
            Failure::signal(signal, format_args!("stopped by signal {signal}, nothing was written"))
        }
        Trouble::Engine(error) => error.into(),
        trouble @ (Trouble::Replay { .. } | Trouble::Digests { .. }) => Failure::does_not_hold(trouble),
        trouble => Failure::io(trouble),
    }
}

impl Output {
    /// Takes its place, before anything else is done.
    fn begin(path: PathBuf) -> Result<Self, Failure> {
        let refused = |what: &dyn std::fmt::Display| {
            Failure::io(format_args!("{}: cannot be written: {what}", path.display()))
        };
        if path.is_dir() {
            return Err(refused(&"is a directory"));
        }
        // An earlier run is replaced; a device, a pipe or a link is none.
        if path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
            return Err(refused(&"is not a regular file"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let readable = Permissions::from_mode(0o666);
        let made = tempfile::Builder::new().permissions(readable).tempfile_in(folder);
        let file = made.map_err(|error| refused(&without_path(&error)))?;
        Ok(Self { file, path })
    }

    fn write(mut self, text: &str) -> Result<PathBuf, Failure> {
        let refused = |error: io::Error| {
            Failure::io(format_args!("{}: cannot be written: {error}", self.path.display()))
        };
        self.file.write_all(text.as_bytes()).map_err(refused)?;
        self.file.persist(&self.path).map_err(|error| refused(error.error))?;
        Ok(self.path)
    }
}

/// What two runs have to have in common to be compared.
const COMPARABLE: [&str; 5] = ["machine", "kernel", "filesystem", "compiler", "mode"];

/// The page on the terminal.
fn page(run: &Measured, beside: Option<&Beside>, written: &[PathBuf]) -> Page {
    let mut page = Page::titled(format_args!("downbeat bench: {} run", run.run.scale));
    for (label, value) in facts(run) {
        wrapped(&mut page, label, &value);
    }
    if !run.build.optimised {
        page.gap().line("Built without optimisation: no figure says anything about speed.");
    }
    for group in &GROUPS {
        let rows: Vec<_> = group.rows.iter().filter_map(|row| Some((row, row.of(run)?))).collect();
        if rows.is_empty() {
            continue;
        }
        page.gap().line(group.title);
        for (row, answer) in rows {
            let beside = beside.and_then(|beside| row.of(&beside.run));
            page.line(line(row, &answer, beside.as_ref()));
        }
    }
    let (logs, events) = (number(run.replays.logs), number(run.replays.events));
    page.gap()
        .check(true, format_args!("{logs} logs were replayed, {events} events: digests as in the live run"));
    if let Some(beside) = beside {
        page.line(format_args!(
            "In the last column: {}, and how many times as good this run is.",
            beside.name
        ));
        let (here, there) = (facts(run), facts(&beside.run));
        let mut differ: Vec<_> =
            here.iter().filter(|fact| !there.contains(fact)).map(|(label, _)| *label).collect();
        differ.retain(|label| COMPARABLE.contains(label));
        if run.run.scale != beside.run.run.scale {
            differ.push("scale");
        }
        if !differ.is_empty() {
            wrapped(&mut page, "they differ in", &differ.join(", "));
        }
    }
    for path in written {
        page.line(format_args!("Written: {}", path.display()));
    }
    if written.is_empty() {
        page.line("--html FILE makes a page with plots of it, --json FILE keeps it to compare with.");
    }
    page
}

/// A row of figures: its name, the median, the extremes, and what it is set against.
fn line(row: &Row, answer: &Answer, beside: Option<&Answer>) -> String {
    let median = figure(answer.value, answer.unit);
    let spread = spread(answer.low, answer.high, answer.rounds, answer.unit);
    let last = match (beside, answer.against) {
        (Some(other), _) => {
            format!(
                "{} {}",
                figure(other.value, other.unit),
                ratio(better(answer.unit, answer.value, other.value))
            )
        }
        (None, Some((times, called))) => format!("{} {called}", ratio(times)),
        (None, None) => String::new(),
    };
    format!(" {:<30} {median:>9}  {spread:<18} {last}", row.name).trim_end().to_owned()
}

/// A row whose value may need more than one line.
fn wrapped(page: &mut Page, label: &str, value: &str) {
    const ROOM: usize = 58;
    let (mut label, mut line) = (label, String::new());
    for word in value.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > ROOM {
            page.row(label, &line);
            (label, line) = ("", String::new());
        }
        line = if line.is_empty() { word.to_owned() } else { line + " " + word };
    }
    page.row(label, &line);
}
