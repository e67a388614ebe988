//! The same work through Downbeat and through what one would otherwise pick, in one run.
//!
//! ```sh
//! cargo run --release --manifest-path benches/compare/Cargo.toml -- all [--quick] [--only NAME] [--json FILE]
//! ```
//!
//! `log`: events made durable. `hop`: a token through five stages. `ingress`: from a producer to a place in the
//! order. Rows of a table are measured in turn, round after round; ratios are taken round by round.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use downbeat_benches::machine::Machine;
use downbeat_benches::run::{Run, Scale};
use mimalloc::MiMalloc;
use serde_json::{Value, json};

use crate::compare::Standing;
use crate::report::Table;

mod compare;
mod event;
mod hop;
mod ingress;
mod load;
mod log;
mod report;
mod server;
mod stats;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The same work through Downbeat and through what one would otherwise pick, in one run.
///
/// Tables go to stdout, progress to stderr. Logs are written below DOWNBEAT_BENCH_DIR, or where temporary files go;
/// choose a directory on the disk that is meant. Servers that are not installed are skipped, and their rows say
/// what to install.
#[derive(Debug, Parser)]
#[command(name = "downbeat-compare", version, max_term_width = 110)]
struct Arguments {
    /// What is compared.
    what: What,
    /// A glance: two rounds of short samples.
    #[arg(long)]
    quick: bool,
    /// Only whether it works: everything once, in seconds; logs are opened again and counted.
    #[arg(long, conflicts_with = "quick")]
    test: bool,
    /// Only rows whose name contains this, in any case, beside those of Downbeat; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only this shape of commits of `log` (one, threads, 64k, 64k-8, 1m); may be given several times.
    #[arg(long, value_name = "CELL")]
    cell: Vec<String>,
    /// Writes everything that was measured to this file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Events made durable.
    Log,
    /// A token through five stages.
    Hop,
    /// From a producer to a place in the order.
    Ingress,
    /// All of them.
    All,
}

/// One run of the comparison.
struct Session {
    run: Run,
    only: Vec<String>,
    cells: Vec<String>,
    tables: Vec<Value>,
    /// Rows that have been explained.
    told: BTreeSet<String>,
}

impl Session {
    /// Whether a row was asked for. Downbeat's always are: the others stand beside it.
    fn wants_row(&self, name: &str, standing: &Standing) -> bool {
        let name = name.to_lowercase();
        *standing == Standing::Ours
            || self.only.is_empty()
            || self.only.iter().any(|only| name.contains(only))
    }

    fn wants_cell(&self, name: &str) -> bool {
        self.cells.is_empty() || self.cells.iter().any(|cell| cell == name)
    }

    /// Prints a table and keeps it.
    fn show(&mut self, table: &Table<'_, '_>) {
        let text = table.text(&mut self.told);
        self.run.say(text.trim_end());
        self.tables.push(table.json());
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Some(walrus) = std::env::var_os(WALRUS_DATA_DIR) else { return Err(again()) };
    let outcome = measure(&arguments);
    // Nobody else writes there.
    drop(std::fs::remove_dir_all(walrus));
    outcome
}

fn measure(arguments: &Arguments) -> Result<()> {
    let mut run = Run::start("compare");
    run.scale = match (arguments.test, arguments.quick) {
        (true, _) => Scale::Test,
        (_, true) => Scale::Quick,
        _ => Scale::Full,
    };
    // It takes what is compared for the name of a benchmark.
    run.only_criterion = false;
    for cell in &arguments.cell {
        let all = log::cells(&run);
        if !all.contains(&cell.as_str()) {
            bail!("no cell is called {cell}; there are {}", all.join(", "));
        }
    }
    let machine = Machine::look(run.dir()).to_string();
    run.say(format_args!("# compare\n\n{machine}\ncommand    {}", command()));
    let only = arguments.only.iter().map(|name| name.to_lowercase()).collect();
    let mut session =
        Session { run, only, cells: arguments.cell.clone(), tables: Vec::new(), told: BTreeSet::new() };
    let wants = |what| arguments.what == What::All || arguments.what == what;
    if wants(What::Log) {
        log::compare(&mut session)?;
    }
    if wants(What::Hop) {
        hop::compare(&mut session);
    }
    if wants(What::Ingress) {
        ingress::compare(&mut session);
    }
    if let Some(file) = &arguments.json {
        let machine: Vec<&str> = machine.lines().collect();
        let report = json!({ "machine": machine, "command": command(), "tables": session.tables });
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Where walrus-rust reads which directory to write to.
const WALRUS_DATA_DIR: &str = "WALRUS_DATA_DIR";

/// Runs this program again in the same process, with what walrus-rust reads from its environment: it has no other
/// way to be told its directory, and prints every write unless it is told not to.
fn again() -> anyhow::Error {
    let dir = std::env::var_os("DOWNBEAT_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("downbeat-bench-{}-walrus", std::process::id()));
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1)).env(WALRUS_DATA_DIR, dir).env("WALRUS_QUIET", "1");
    anyhow::Error::from(again.exec()).context("running again with an environment for walrus-rust")
}

fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo run --release --manifest-path benches/compare/Cargo.toml -- {}", arguments.join(" "))
}

/// Says on stderr what is being done.
#[allow(clippy::print_stderr, reason = "progress is printed")]
fn progress(what: std::fmt::Arguments<'_>) {
    eprintln!("{what}");
}
