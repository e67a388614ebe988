//! A crash stops one shard group, which comes back by itself; the others go on.
#![cfg(not(shuttle))]

mod common;

use std::sync::Arc;

use common::{Recorder, Rig, digests, flow, kinds, moved, serial, start};
use downbeat_actors::{Actors, Fault, Feeds, Settings};

fn publish(rig: &Arc<Rig>, actors: &Actors, feeds: &mut Feeds, from: u64, count: u64) {
    let kinds = kinds(&flow(Recorder::default()));
    for chunk in (from..from + count).collect::<Vec<_>>().chunks(20) {
        let events: Vec<_> =
            chunk.iter().map(|n| moved(&kinds, n % 11, *n as i64 * 7 % 100, "plain")).collect();
        feeds.publish(&rig.append(&events));
        rig.settle(actors, feeds);
    }
}

#[test]
fn a_crashed_group_is_rebuilt_from_the_log_and_joins_again() {
    let rig = Rig::new();
    let recorder = Recorder::default();
    let (actors, mut feeds) = start(&rig, flow(recorder.clone()), Settings::default(), Vec::new());
    publish(&rig, &actors, &mut feeds, 0, 400);
    for (round, stage) in ["account", "join", "echo"].into_iter().enumerate() {
        actors.crash(stage);
        publish(&rig, &actors, &mut feeds, 400 * (round as u64 + 1), 400);
    }
    rig.settle(&actors, &mut feeds);
    assert_eq!(actors.fault(), None);
    let found = digests(&rig, &actors, &mut feeds);
    assert_eq!(found, serial(&flow(Recorder::default()), &rig, 1).0);
    let delivered = recorder.0.lock().unwrap();
    assert_eq!(delivered.len(), 1_600, "every value is delivered once, also across rebuilds");
    assert!(delivered.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn a_group_that_crashes_for_ever_is_given_up_and_says_why() {
    let rig = Rig::new();
    let settings = Settings { rebuilds: 2, ..Settings::default() };
    let (actors, mut feeds) = start(&rig, flow(Recorder::default()), settings, Vec::new());
    for round in 0..3 {
        publish(&rig, &actors, &mut feeds, round * 40, 40);
        actors.crash("total");
        publish(&rig, &actors, &mut feeds, round * 40 + 20, 20);
    }
    while actors.fault().is_none() {
        feeds.service();
        std::thread::yield_now();
    }
    let Some(Fault::Group { times, reason, .. }) = actors.fault() else { panic!("another fault") };
    assert_eq!(times, 3);
    assert!(reason.contains("crashed on request"), "{reason}");
}

/// Found by reading: where a group was being rebuilt and had read all of the log, all seemed quiet although it held
/// commands, and a log that was closed then lacked them.
#[test]
fn nothing_is_quiet_while_a_group_that_is_built_again_holds_its_commands() {
    let rig = Rig::new();
    let (actors, mut feeds) = start(&rig, flow(Recorder::default()), Settings::default(), Vec::new());
    publish(&rig, &actors, &mut feeds, 0, 400);
    let last = rig.last();
    let emitted = rig.take_commands().len();
    assert!(emitted > 100, "{emitted}");
    actors.crash("account");
    // It reads the log and stops at its end until it is told from where on it is live, which it is not here.
    let reading = || actors.status(last, 0).iter().any(|worker| worker.cursor < last);
    for wanted in [true, false] {
        while reading() != wanted {
            std::thread::yield_now();
        }
    }
    assert!(!actors.is_quiet(last), "its commands are in no log");
    rig.settle(&actors, &mut feeds);
    assert!(actors.is_quiet(last));
    assert_eq!(rig.take_commands().len(), emitted, "the log has none of them");
}
