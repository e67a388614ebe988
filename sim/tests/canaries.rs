//! Every checker notices the bug that was planted for it, within a bounded number of seeds; without a bug the same
//! seeds are silent (that is `seeds.rs`). A checker without its canary does not count.

use downbeat_sim::{Bug, Invariant, quiet_panics, run};

/// The bug breaks one of these invariants under one of the first seeds. It may break others before.
fn expect(bug: Bug, seeds: u64, invariants: &[Invariant]) {
    quiet_panics();
    let mut others = Vec::new();
    for seed in 0..seeds {
        match run(seed, false, Some(bug)).violation {
            Some(violation) if invariants.contains(&violation.invariant) => return,
            Some(violation) => others.push((seed, violation.invariant)),
            None => {}
        }
    }
    panic!("{bug:?} was not noticed within {seeds} seeds; others were: {others:?}");
}

#[test]
fn receipts_before_the_sync_are_noticed() {
    expect(Bug::EarlyReceipt, 100, &[Invariant::Acknowledged]);
}

#[test]
fn effects_before_the_sync_are_noticed() {
    expect(Bug::EarlyEffect, 100, &[Invariant::Gate]);
}

#[test]
fn a_device_that_lies_about_syncs_is_noticed() {
    expect(Bug::LyingSync, 100, &[Invariant::Acknowledged, Invariant::Gate]);
}

#[test]
fn a_recovery_that_drops_the_last_event_is_noticed() {
    expect(Bug::LastEventDropped, 20, &[Invariant::Acknowledged, Invariant::Gate]);
}

#[test]
fn a_recovery_that_skips_a_seq_is_noticed() {
    expect(Bug::SeqSkipped, 20, &[Invariant::Prefix]);
}

#[test]
fn an_event_that_was_cut_and_comes_back_is_noticed() {
    expect(Bug::Resurrection, 200, &[Invariant::Prefix]);
}

#[test]
fn idempotency_keys_that_a_crash_forgets_are_noticed() {
    expect(Bug::KeysForgotten, 50, &[Invariant::ExactlyOnce]);
}

#[test]
fn an_event_that_a_stage_applies_twice_is_noticed() {
    expect(Bug::AppliedTwice, 20, &[Invariant::Digests]);
}

#[test]
fn a_stage_that_does_not_wait_for_its_inputs_is_noticed() {
    expect(Bug::UnorderedJoin, 50, &[Invariant::Digests]);
}

#[test]
fn damage_that_is_wiped_away_is_noticed() {
    expect(Bug::DamageWiped, 300, &[Invariant::Acknowledged, Invariant::Gate]);
}

#[test]
fn an_emitted_event_that_is_lost_is_noticed() {
    expect(Bug::CommandLost, 20, &[Invariant::Convergence]);
}

#[test]
fn a_group_of_which_a_part_is_lost_is_noticed() {
    expect(Bug::GroupTorn, 200, &[Invariant::Groups]);
}

#[test]
fn a_log_that_is_refused_without_a_reason_is_noticed() {
    expect(Bug::RefusedForNothing, 20, &[Invariant::Refusal]);
}

#[test]
fn time_that_stands_is_noticed() {
    expect(Bug::TimeStands, 20, &[Invariant::Dense]);
}

#[test]
fn a_reader_that_leaves_out_an_event_is_noticed() {
    expect(Bug::ReaderShort, 20, &[Invariant::Prefix]);
}

#[test]
fn a_reader_that_shows_what_is_not_durable_is_noticed() {
    expect(Bug::ReaderAhead, 200, &[Invariant::Gate]);
}

#[test]
fn there_is_a_canary_for_every_bug() {
    let this = include_str!("canaries.rs");
    for bug in Bug::ALL {
        assert!(this.contains(&format!("expect(Bug::{bug:?},")), "{bug:?} has no canary");
    }
}
