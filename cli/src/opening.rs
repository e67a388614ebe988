//! How `run` and `demo` open an engine.

use std::io::{self, Write};
use std::path::Path;

use downbeat::{BackendChoice, Engine, Options, probe};

use crate::args::{Backend, EngineArgs, Mode};

/// How the engine is opened to take this many events, all of which it must recognise when they come again at once.
pub(crate) fn options(log: &Path, args: &EngineArgs, events: u64) -> Options {
    let mut options =
        Options::new(log).shards(args.shards).threads(usize::from(args.threads)).mode(args.mode.into());
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

impl From<Mode> for downbeat::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Shared => Self::Shared,
            Mode::Throughput => Self::Throughput,
            Mode::Latency => Self::Latency,
        }
    }
}

/// Says on stderr what opening found, if it is worth a person's time.
pub(crate) fn notices(engine: &Engine) {
    engine.opened().notices.iter().for_each(|notice| note(notice));
}

/// Says on stderr what nobody asked for.
pub(crate) fn note(line: &str) {
    // Nobody is there to be told that stderr is closed.
    let _ = writeln!(io::stderr(), "downbeat: note: {line}");
}

/// The floor of the disk on which a log is, or will be: measured before a run, while the disk has nothing else
/// to do.
pub(crate) fn floor(log: &Path) -> Option<probe::Latency> {
    let place = log.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("."));
    probe::disk_floor(place, FLOOR_SAMPLES).ok()
}

/// Bare durable writes that are measured.
const FLOOR_SAMPLES: usize = 64;
