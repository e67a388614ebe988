//! The arguments as they are typed. Each command makes of them what it needs, and refuses what makes no sense.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Events into one total order, a durable log, stages that run in parallel, and the same result on every replay.
#[derive(Debug, Parser)]
#[command(name = "downbeat", version, after_help = EXAMPLES, arg_required_else_help = true)]
#[command(infer_long_args = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  downbeat demo                                  see it work, in a few seconds
  downbeat run --flow loan --log LOG --input bpic2012.xes.gz
  downbeat verify LOG                            is the log whole and in order?
  downbeat replay LOG --flow loan --shards 8     does the code still give the logged result?
  downbeat inspect LOG --kind loan.Decided --limit 5
  downbeat bench --html bench.html               how fast is all of it on this machine?

Exit codes:
  0 it holds   1 it does not: bad input, damage, divergence   2 usage   3 the system refused
  130 and 143 after SIGINT and SIGTERM: what was acknowledged is durable";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Submit a file of events to a flow and say what came of it
    Run(RunArgs),
    /// Make a million events, run them, and check everything that is promised
    Demo(DemoArgs),
    /// Is the log whole, in order and unaltered?
    Verify(VerifyArgs),
    /// Does the code give what the log records?
    Replay(ReplayArgs),
    /// Show events, decoded by the contracts in the log
    Inspect(InspectArgs),
    /// Show the last events, and those to come
    Tail(TailArgs),
    /// What this machine, this disk and this log are like
    Doctor(DoctorArgs),
    /// How fast this machine is, and Downbeat on it
    Bench(BenchArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  downbeat run --flow loan --log LOG --input bpic2012.xes.gz
  zcat loans.jsonl.gz | downbeat run --flow loan --log LOG --input - --json
  downbeat run --flow loan --log LOG --input loans.csv \\
    --on-bad-input dead-letter --dead-letters bad.jsonl

For the flow loan the input is XES, or JSON lines or CSV with the fields case,
activity, transition, time and, where known, resource and amount, plain or
gzipped.

Running it again on the same log and input adds nothing: every event is
recognised by its case and its place among the readable events of the case,
unless over a million others, or twice the events of the input, came in since.
An input that was repaired, or a second one about the same cases, needs a log of
its own. A digest stands for the outputs and the state of a stage, over all
events of the log.")]
pub(crate) struct RunArgs {
    /// The flow
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: String,
    /// The directory of the log, made when it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) log: PathBuf,
    /// The events; - for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// What to do with an input that cannot be read
    #[arg(long, value_enum, default_value_t = OnBadInput::Stop, value_name = "WHAT")]
    pub(crate) on_bad_input: OnBadInput,
    /// A new file for inputs that cannot be read: place, reason and up to 512 bytes of each, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) dead_letters: Option<PathBuf>,
    /// Where the flow's notifications go, one a line; exactly once, also across crashes
    #[arg(long, value_name = "FILE")]
    pub(crate) notifications: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Print one JSON object instead of a page
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw no progress bar
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// How an engine is spread over the machine. None of it changes a result.
#[derive(Args, Debug)]
pub(crate) struct EngineArgs {
    /// Shards of each keyed stage
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) shards: u32,
    /// Threads that run stages
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,
    /// What it spends in order to be fast
    #[arg(long, value_enum, default_value_t = Mode::Shared, value_name = "WHAT")]
    pub(crate) mode: Mode,
    /// What writes the log
    #[arg(long, value_enum, default_value_t = Backend::Auto, value_name = "WHAT")]
    pub(crate) backend: Backend,
    /// Size of new segment files, in MiB
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) segment_mib: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBadInput {
    /// Submit nothing, and say where it is
    Stop,
    /// Count it and go on
    Skip,
    /// Write it to the file of dead letters and go on
    DeadLetter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// io_uring, and pwritev2 where the kernel refuses it
    Auto,
    /// io_uring or nothing
    Uring,
    /// pwritev2, one write at a time
    Blocking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Threads sleep when there is nothing to do
    Shared,
    /// Threads look for work for a moment before they sleep, and batches grow larger
    Throughput,
    /// Threads never sleep, and each takes a core whole: for machines with some to spare
    Latency,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  downbeat demo
  downbeat demo --events 5000000 --log /mnt/fast/demo --keep")]
pub(crate) struct DemoArgs {
    /// How many events to make
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=500_000_000))]
    pub(crate) events: u64,
    /// The flow; by default the first that can make events
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: Option<String>,
    /// Where to put the log, which is removed at the end: a directory that is empty or not there [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) log: Option<PathBuf>,
    /// Leave the log there
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Draw no progress bar
    #[arg(long)]
    pub(crate) no_progress: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  downbeat verify LOG

What is checked: every checksum, the chain of hashes, that seqs have no gap and
times increase, that every payload is what its contract says. What cannot be
seen here: that a log was cut at its end.")]
pub(crate) struct VerifyArgs {
    /// The directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) log: PathBuf,
    /// Print one JSON object instead of a page
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw no progress bar
    #[arg(long)]
    pub(crate) no_progress: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  downbeat replay LOG --flow loan
  downbeat replay LOG --flow loan --to 100000 --shards 8 --json

One thread applies every event again, without leaves, and compares the digests
and the emitted events with those in the log. The first difference is named.")]
pub(crate) struct ReplayArgs {
    /// The directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) log: PathBuf,
    /// The flow
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: String,
    /// The last event to apply
    #[arg(long, value_name = "SEQ")]
    pub(crate) to: Option<u64>,
    /// Shards of each keyed stage; the result is the same
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) shards: u32,
    /// Memory for emitted events that are not found in the log yet, in MiB
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1048576))]
    pub(crate) command_backlog_mib: u32,
    /// Print one JSON object instead of a page
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw no progress bar
    #[arg(long)]
    pub(crate) no_progress: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  downbeat inspect LOG --limit 3
  downbeat inspect LOG --key 173688
  downbeat inspect LOG --key-of alice
  downbeat inspect LOG --kind loan.Decided --from 1000 --to 2000 --json")]
pub(crate) struct InspectArgs {
    /// The directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) log: PathBuf,
    /// The first event
    #[arg(long, value_name = "SEQ")]
    pub(crate) from: Option<u64>,
    /// The last event
    #[arg(long, value_name = "SEQ")]
    pub(crate) to: Option<u64>,
    /// Only events of the contract of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) kind: Option<String>,
    /// Only events of this transaction: up to 32 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = hex128)]
    pub(crate) correlation: Option<u128>,
    /// Only events about this entity
    #[arg(long, value_name = "N")]
    pub(crate) key: Option<u64>,
    /// Only events about the entity of this name, if the program makes its keys with `Key::of`
    #[arg(long, value_name = "NAME", conflicts_with = "key")]
    pub(crate) key_of: Option<String>,
    /// Stop after this many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  downbeat tail LOG -n 3
  downbeat tail LOG -f --json")]
pub(crate) struct TailArgs {
    /// The directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) log: PathBuf,
    /// How many events
    #[arg(short = 'n', long = "lines", default_value_t = 10, value_name = "N")]
    pub(crate) count: u64,
    /// Go on with events as they are written
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  downbeat doctor
  downbeat doctor /var/lib/loans")]
pub(crate) struct DoctorArgs {
    /// A log, or a directory on the disk where one shall be
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  downbeat bench --quick
  downbeat bench --dir /var/lib/loans --html bench.html --json bench.json
  downbeat bench --html after.html --beside bench.json
  downbeat bench --from new.json --beside old.json --html both.html

What is measured: the bare disk, the log, hops between actors, the whole way
from submit to durable and applied, and what becomes of it with more producers,
more stages and bigger payloads. Every log that an engine writes is replayed,
and the digests have to be the same. A full run writes some 74 GiB. The names in
the JSON are described in docs/bench.md.")]
pub(crate) struct BenchArgs {
    /// Where logs are written, and removed again: the disk that is measured
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// What the engines spend in order to be fast
    #[arg(long, value_enum, default_value_t = Mode::Shared, value_name = "WHAT", conflicts_with = "from")]
    pub(crate) mode: Mode,
    /// Half a minute instead of three: a glance, not to be published
    #[arg(long, conflicts_with = "from")]
    pub(crate) quick: bool,
    /// Only whether it works
    #[arg(long, hide = true, conflicts_with_all = ["from", "quick"])]
    pub(crate) smoke: bool,
    /// Measure nothing: show a run that was kept, as JSON or as a page
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    pub(crate) from: Option<PathBuf>,
    /// Lay an earlier run beside this one: what --json or --html wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) beside: Option<PathBuf>,
    /// Write a page with plots, which needs nothing but itself; a file that is there is replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the run as one JSON object, as --html does; without FILE to stdout, instead of a page
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) json: Option<PathBuf>,
    /// Draw no progress bar
    #[arg(long)]
    pub(crate) no_progress: bool,
}

fn hex128(text: &str) -> Result<u128, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parsed = u128::from_str_radix(text, 16).ok().filter(|_| digits);
    parsed.ok_or_else(|| "up to 32 hexadecimal digits, such as a W3C trace-id".to_owned())
}
