//! With a planted fault each target finds it in its corpus: a target that cannot find anything is worth nothing.
#![allow(missing_docs)]

mod common;

use std::panic;

use common::corpus;
use downbeat_fuzz_targets::{TARGETS, plant_canary};

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
    assert!(blind.is_empty(), "these find nothing: {blind:?}");
}
