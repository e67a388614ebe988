//! Tested first: one seed is one world. A simulator that differs from run to run shows nothing.

use std::process::Command;

use downbeat_sim::run;

/// The trace of a seed, as a process of its own prints it.
fn trace_of(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_downbeat-sim"))
        .args(["--seed", &seed.to_string()])
        .output()
        .expect("the program runs");
    String::from_utf8(output.stdout).expect("a trace is text")
}

#[test]
fn one_seed_in_two_processes_gives_the_same_trace_byte_for_byte() {
    for seed in 0..12 {
        let (one, other) = (trace_of(seed), trace_of(seed));
        assert!(one.lines().count() > 10, "seed {seed}: {one}");
        assert!(one == other, "seed {seed}: two traces, {} and {} bytes", one.len(), other.len());
    }
}

#[test]
fn a_trace_is_the_same_in_any_process_and_differs_from_seed_to_seed() {
    let traces: Vec<String> = (0..12).map(|seed| run(seed, true, None).trace).collect();
    for (seed, trace) in (0..).zip(&traces) {
        assert!(*trace == trace_of(seed), "seed {seed}");
        assert!(!traces[..seed as usize].contains(trace), "seed {seed} is a seed before");
    }
}
