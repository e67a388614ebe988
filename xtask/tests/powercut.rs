//! A few power cuts, so that a test run has some where they can be made. `cargo xtask powercut` makes more.
#![allow(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::path::Path;

use xtask::powercut::{Args, missing, run};

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    if let Some(what) = missing() {
        eprintln!("skipped: the power cannot be cut here, for that takes {what}");
        return;
    }
    let args = Args {
        rounds: 2,
        cuts: 5,
        seed: Some(1),
        load_ms_max: 120,
        dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("powercut"),
        canary: false,
        // A file system that a failure leaves mounted is unmounted when it is dropped.
        in_namespace: true,
    };
    run(Path::new(env!("CARGO_BIN_EXE_xtask")), &args).unwrap();
}
