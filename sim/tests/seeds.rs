//! Many seeds, every promise: `cargo xtask sim` runs more of them.

use downbeat_sim::{Fault, Injected, quiet_panics, run};

/// What a run of the tests can afford; people run more.
const SEEDS: u64 = 2_400;
/// Of these, run twice.
const TWICE: u64 = 200;

#[test]
fn no_seed_breaks_a_promise_and_every_fault_was_there() {
    quiet_panics();
    let mut injected = Injected::default();
    let (mut events, mut opens, mut cuts, mut refused, mut untold) = (0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let outcome = run(seed, false, None);
        assert_eq!(outcome.violation, None, "cargo xtask sim --seed {seed}");
        injected.merge(&outcome.injected);
        events += outcome.counts.events;
        opens += outcome.counts.opens;
        cuts += outcome.counts.cuts;
        refused += outcome.counts.refused;
        untold += outcome.counts.untold;
    }
    for fault in Fault::ALL {
        assert!(injected.of(*fault) > 0, "{fault:?} never happened in {SEEDS} seeds");
    }
    assert!(
        injected.total() >= 100_000 && opens >= 2_000,
        "{} faults, {opens} crash images",
        injected.total()
    );
    assert!(events > 20 * SEEDS && cuts > SEEDS / 20 && refused > SEEDS / 20, "{events} {cuts} {refused}");
    // Worlds in which nothing on the disk tells of what was lost are not checked any further: they are to be few.
    assert!(untold < SEEDS / 100, "{untold} of {SEEDS} ended early");
}

#[test]
fn every_seed_is_deterministic() {
    quiet_panics();
    for seed in 0..TWICE {
        let (one, other) = (run(seed, false, None), run(seed, false, None));
        assert_eq!((one.trace_hash, one.injected), (other.trace_hash, other.injected), "seed {seed}");
    }
}
