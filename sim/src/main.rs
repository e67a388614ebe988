//! `downbeat-sim`: runs the worlds of many seeds, or one again with its trace.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use downbeat_sim::{Counts, Fault, Injected, Outcome, quiet_panics, run};

/// Failures that are told before the rest is only counted.
const TOLD_MAX: usize = 10;

#[derive(Parser)]
#[command(name = "downbeat-sim", about = "The world from one seed", max_term_width = 100)]
struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this one, with its trace
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Threads; by default as many as the machine runs at once
    #[arg(long)]
    jobs: Option<usize>,
    /// Runs every seed twice and compares the traces
    #[arg(long)]
    twice: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    quiet_panics();
    match args.seed {
        Some(seed) => one(seed),
        None => many(&args),
    }
}

fn one(seed: u64) -> ExitCode {
    let outcome = run(seed, true, None);
    print!("{}", outcome.trace);
    match outcome.violation {
        Some(violation) => {
            eprintln!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

#[derive(Default)]
struct Sum {
    counts: Counts,
    injected: Injected,
    broken: Vec<(u64, String)>,
}

fn many(args: &Args) -> ExitCode {
    let (begun, next) = (Instant::now(), AtomicU64::new(args.from));
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (end, sum) = (args.from + args.seeds, Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let mut outcome = run(seed, false, None);
                    if args.twice && outcome.violation.is_none() {
                        compare(&mut outcome, seed);
                    }
                    sum.lock().unwrap_or_else(PoisonError::into_inner).add(seed, outcome);
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.broken.sort();
    for (seed, what) in sum.broken.iter().take(TOLD_MAX) {
        eprintln!("seed {seed}: {what}");
    }
    let seconds = begun.elapsed().as_secs_f64();
    let Counts { steps, opens, cuts, refused, events, untold } = sum.counts;
    println!(
        "{} seeds from {} in {seconds:.1} s, {:.0} a second",
        args.seeds,
        args.from,
        args.seeds as f64 / seconds
    );
    println!(
        "{steps} steps, {events} events; {opens} opens, {cuts} with a cut, {refused} refused for damage"
    );
    println!(
        "{untold} ended early: what was acknowledged last was damaged, and nothing on the disk told of it, or told in time"
    );
    println!("{} faults injected:", sum.injected.total());
    for fault in Fault::ALL {
        println!("  {:<18} {}", format!("{fault:?}"), sum.injected.of(*fault));
    }
    println!("{} seeds broke a promise", sum.broken.len());
    if sum.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(outcome: &mut Outcome, seed: u64) {
    let again = run(seed, false, None);
    if again.trace_hash != outcome.trace_hash {
        let what = format!("two traces: {:x} and {:x}", outcome.trace_hash, again.trace_hash);
        outcome.violation = Some(downbeat_sim::Violation { invariant: downbeat_sim::Invariant::Panic, what });
    }
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.injected.merge(&outcome.injected);
        let (sum, one) = (&mut self.counts, outcome.counts);
        sum.steps += one.steps;
        sum.opens += one.opens;
        sum.cuts += one.cuts;
        sum.refused += one.refused;
        sum.events += one.events;
        sum.untold += one.untold;
        if let Some(violation) = outcome.violation {
            self.broken.push((seed, violation.to_string()));
        }
    }
}
