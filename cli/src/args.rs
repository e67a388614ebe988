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

Exit codes:
  0 it holds   1 it does not: bad input, damage, divergence   2 usage   3 the system refused
  130 and 143 after SIGINT and SIGTERM: what was acknowledged is durable";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Submit a file of events to a flow and say what came of it
    Run(RunArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  downbeat run --flow loan --log LOG --input bpic2012.xes.gz
  zcat loans.jsonl.gz | downbeat run --flow loan --log LOG --input - --json
  downbeat run --flow loan --log LOG --input loans.csv --on-bad-input dead-letter --dead-letters bad.jsonl

Running it again on the same log and input adds nothing: every event is recognised by its case and its
place in the case. A digest stands for the outputs and the state of a stage, over all events of the log.")]
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
    /// Where inputs that cannot be read go, as JSON lines
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
