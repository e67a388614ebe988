//! What the figures were measured on, and who else used it meanwhile.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Instant;

use downbeat_wal::probe;

use crate::checkout;

/// What a report says about its machine.
pub struct Machine {
    /// The processor.
    pub cpu: String,
    /// Its cores, as far as this process may use them.
    pub cores: usize,
    /// The release of Linux.
    pub kernel: String,
    disk: String,
    build: String,
    /// Of the tree as it is, when that is another one.
    checkout: Option<String>,
    /// How busy it was.
    pub load: String,
}

impl Machine {
    /// Looks at this machine, and at the filesystem of `dir`.
    pub fn look(dir: &Path) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
        let disk = match probe::facts(dir) {
            Ok(facts) => {
                let cache = facts.write_cache.as_deref().unwrap_or("unknown cache");
                let fua = facts.fua.map_or("unknown", |fua| if fua { "yes" } else { "no" });
                let uring = if facts.io_uring.is_ok() { "yes" } else { "no" };
                let direct = if facts.direct { "yes" } else { "no" };
                format!("{}, {cache}, FUA {fua}, O_DIRECT {direct}, io_uring {uring}", facts.filesystem)
            }
            Err(error) => format!("not known: {error}"),
        };
        Self {
            cpu: model.map_or_else(|| "unknown".to_owned(), |model| model.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            disk,
            build: format!("{BUILT_FROM}, {}", env!("DOWNBEAT_BUILD_COMPILER")),
            checkout: another_checkout(),
            load: first_line("/proc/loadavg"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine    {}, {} cores, Linux {}", self.cpu, self.cores, self.kernel)?;
        writeln!(f, "filesystem {}", self.disk)?;
        writeln!(f, "build      {}", self.build)?;
        if let Some(checkout) = &self.checkout {
            writeln!(f, "checkout   {checkout}, which is not what was built")?;
        }
        write!(f, "load       {}", self.load)
    }
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// The commit that this program was built from.
const BUILT_FROM: &str = env!("DOWNBEAT_BUILD_COMMIT");

/// The tree that was built may be gone, or another one may have taken its place.
fn another_checkout() -> Option<String> {
    let checkout = checkout::commit(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")));
    (checkout != BUILT_FROM && checkout != checkout::UNKNOWN).then_some(checkout)
}

/// What this process holds of the machine, as of when it was looked at; 0 where the system does not say.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Memory that is really there.
    pub resident_bytes: u64,
    /// Open files, sockets and the like.
    pub descriptors: usize,
    /// Its threads; those that the kernel runs for it count as well.
    pub threads: usize,
}

impl Process {
    /// As of now.
    pub fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        let entries = |dir: &str| fs::read_dir(dir).map_or(0, Iterator::count);
        Self {
            resident_bytes: kib.unwrap_or(0) * 1024,
            // The look itself holds one.
            descriptors: entries("/proc/self/fd").saturating_sub(1),
            threads: entries("/proc/self/task"),
        }
    }
}

/// How much processor time was used, by everyone and by this process, in clock ticks.
pub struct Load {
    at: Instant,
    all: f64,
    own: f64,
}

/// Clock ticks a second: the same on every Linux this runs on.
const TICKS: f64 = 100.0;

impl Load {
    /// As of now.
    pub fn now() -> Self {
        Self { at: Instant::now(), all: ticks_of_all().unwrap_or(0.0), own: ticks_of_own().unwrap_or(0.0) }
    }

    /// The share of all cores that others have used since: 0 to 1. What the kernel does for this process on threads
    /// of its own counts as others.
    pub fn others_since(&self) -> f64 {
        let now = Self::now();
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let seconds = (now.at - self.at).as_secs_f64();
        let used = (now.all - self.all) - (now.own - self.own);
        (used / TICKS / (seconds * cores)).clamp(0.0, 1.0)
    }
}

/// The first line of `/proc/stat` without idle and waiting.
fn ticks_of_all() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    Some(ticks.iter().take(8).sum::<f64>() - ticks.get(3)? - ticks.get(4)?)
}

/// User and system time of this process.
fn ticks_of_own() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold spaces; what follows its parenthesis does not.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
}
