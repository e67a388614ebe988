//! The `downbeat` program as a library, so that a program of your own gets the same commands on its own flow.
//!
//! ```text
//!  args ──parse──► commands: run, demo ──► pump ──► downbeat (engine)     writes a log
//!                            verify, replay, inspect, tail ──► audit      reads one
//!                            doctor ──► downbeat::probe                   asks the disk
//!                            bench ──► downbeat-benches ──► report        measures
//! ```
//!
//! ```no_run
//! use downbeat_cli::Known;
//! # use downbeat::{Context, Event, Flow, Nothing, Out, Reject, Stage, record};
//! # #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
//! # #[event(name = "bank.Deposited", version = 1, crate = downbeat::record)]
//! # struct Deposited { cents: i64 }
//! # struct Balance;
//! # impl Stage for Balance {
//! #     type State = i64;
//! #     type Output = Nothing;
//! #     fn apply(&self, _: &mut i64, _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> { Ok(()) }
//! # }
//!
//! fn bank() -> Flow {
//!     Flow::named("bank").stage("balance", Balance).on::<Deposited>().build().expect("a sound flow")
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     downbeat_cli::main(&[Known::new("bank", "accounts and their balances", bank)])
//! }
//! ```
//!
//! Results go to stdout, everything else to stderr; an error is one line, but for one in the arguments. Exit codes: 0 it holds, 1 it does not,
//! 2 usage, 3 the system refused; 130 and 143 after a signal.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod failure;
mod figures;
mod known;
mod loan;
mod opening;
mod page;
mod progress;
mod pump;
mod report;
mod signals;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

pub use known::{Bad, Found, Known, Loaded, OnBad, Traffic, Workload};
pub use loan::loan;

/// Runs the program with the arguments of the process, on the flows it is to know.
pub fn main(flows: &[Known]) -> ExitCode {
    main_with(flows, "not named by the program")
}

/// As [`main`], for a program that has an allocator of its own: `bench` names it beside its figures.
pub fn main_with(flows: &[Known], allocator: &str) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are not errors and go to stdout; when that is closed there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    let done = match arguments.command {
        Command::Run(args) => commands::run::run(args, flows),
        Command::Demo(args) => commands::demo::run(args, flows),
        Command::Verify(args) => commands::verify::run(args),
        Command::Replay(args) => commands::replay::run(args, flows),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Tail(args) => commands::tail::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Bench(args) => commands::bench::run(args, allocator),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
