//! A few power cuts, so that a test run has some where they can be made. `cargo xtask powercut` makes more.
#![allow(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::path::Path;
use std::process::Command;

use xtask::powercut::missing;

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    if let Some(what) = missing() {
        eprintln!("skipped: the power cannot be cut here, for that takes {what}");
        return;
    }
    // However it ends, the mounts go with the namespace.
    let mut cut = Command::new("unshare");
    cut.args(["--mount", "--propagation", "private", "--fork", "--", env!("CARGO_BIN_EXE_xtask")]);
    cut.args(["powercut", "--in-namespace", "--rounds", "2", "--cuts", "5", "--seed", "1"]);
    cut.args(["--load-ms-max", "120", "--dir"]).arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("powercut"));
    let done = cut.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
