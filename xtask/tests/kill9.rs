//! A few rounds of kill -9, so that every test run has some. `cargo xtask kill9` runs more.

use std::path::Path;

use xtask::kill9::{Args, rounds};

#[test]
fn a_killed_writer_loses_nothing_it_acknowledged_and_doubles_nothing() {
    let args = Args {
        rounds: 20,
        logs: 1,
        seed: Some(1),
        load_ms_max: 120,
        dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("kill9"),
        canary: true,
    };
    let report = rounds(Path::new(env!("CARGO_BIN_EXE_xtask")), &args).unwrap();
    assert_eq!(report.kills(), 20);
    assert!(report.acknowledged() > 0);
}
