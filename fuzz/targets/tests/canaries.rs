//! With a planted fault each target finds it in its corpus: a target that cannot find anything is worth nothing.
#![allow(missing_docs)]

mod common;

use std::panic;

use common::corpus;
use downbeat_fuzz_targets::{TARGETS, plant_canary};

/// The inputs in the tree do not reach the planted fault of these; whether a run of the fuzzer does is not shown here.
const NOT_REACHED: [&str; 5] = ["batch", "contracts", "scan", "recovery", "order"];

#[test]
fn a_target_finds_its_canary() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    plant_canary(true);
    let finds = |run: fn(&[u8]), input: &[u8]| panic::catch_unwind(|| run(input)).is_err();
    let blind =
        TARGETS.iter().filter(|target| !corpus(target).iter().any(|(_, input)| finds(target.run, input)));
    let blind: Vec<_> = blind.map(|target| target.name).collect();
    plant_canary(false);
    panic::set_hook(loud);
    assert_eq!(blind, NOT_REACHED, "these find nothing");
}
