//! Whole flows on shuttle's scheduler, which draws lots at every atomic, lock and message: whatever it draws, the
//! result is that of one loop over the log, and nobody sleeps for ever. There is no clock in here: a wake-up that is
//! lost is a deadlock, and shuttle says so.
//!
//! `cargo xtask shuttle` builds and runs them. A failure prints its schedule, which `shuttle::replay` runs again.
#![cfg(shuttle)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Recorder, Rig, RigHistory, digests, flow, kinds, moved, serial, start};
use downbeat_actors::{Actors, CommandRefused, Commands, Fault, Feeds, Ports, Settings};
use downbeat_record::{Fields, Seq};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, Runner};

/// Schedules per scenario and scheduler; `cargo xtask shuttle --schedules` sets it.
fn schedules() -> usize {
    let given = std::env::var("DOWNBEAT_SCHEDULES").ok();
    given.map_or(100, |text| text.parse().expect("DOWNBEAT_SCHEDULES is a number"))
}

/// Runs a scenario on schedules drawn evenly, and on ones with few changes of thread, which find other things.
fn check(scenario: fn()) {
    let config = || {
        let mut config = Config::new();
        config.failure_persistence = FailurePersistence::Print;
        config.silence_warnings = true;
        config.stack_size = 256 * 1024;
        config
    };
    Runner::new(RandomScheduler::new(schedules()), config()).run(scenario);
    Runner::new(PctScheduler::new(4, schedules()), config()).run(scenario);
}

fn settings(shards: u32) -> Settings {
    Settings { shards, lane_bytes: 0, batches: 8, ..Settings::default() }
}

/// Events `from .. from + count`, of three keys.
fn events(from: u64, count: u64, memo: impl Fn(u64) -> &'static str) -> Vec<(Fields, Vec<u8>)> {
    let kinds = kinds(&flow(Recorder::default()));
    (from..from + count).map(|n| moved(&kinds, n % 3, n as i64 * 7 % 10, memo(n))).collect()
}

/// The digests of the actors are those of one loop, and the leaf heard everything once, in order.
fn expect_serial(rig: &Arc<Rig>, actors: &Actors, feeds: &mut Feeds, recorder: &Recorder) {
    assert_eq!(actors.fault(), None);
    let found = digests(rig, actors, feeds);
    assert_eq!(found, serial(&flow(Recorder::default()), rig, 1).0);
    let delivered = recorder.0.lock().unwrap();
    assert!(delivered.windows(2).all(|pair| pair[0].0 < pair[1].0), "a leaf hears in the order of seq");
}

/// Batches are published while the stages are still at the ones before.
fn fan_out_and_join(shards: u32, memo: fn(u64) -> &'static str) {
    let (rig, recorder) = (Rig::new(), Recorder::default());
    let (actors, mut feeds) = start(&rig, flow(recorder.clone()), settings(shards), Vec::new());
    for batch in 0..3 {
        feeds.publish(&rig.append(&events(batch * 2, 2, memo)));
    }
    rig.settle(&actors, &mut feeds);
    expect_serial(&rig, &actors, &mut feeds, &recorder);
}

#[test]
fn a_fan_out_and_its_join_give_what_one_loop_gives() {
    check(|| fan_out_and_join(1, |_| ""));
}

#[test]
fn two_shards_give_what_one_loop_gives() {
    check(|| fan_out_and_join(2, |_| ""));
}

#[test]
fn an_event_that_poisons_a_stage_is_rejected_and_the_others_go_on() {
    check(|| fan_out_and_join(1, |n| if n % 2 == 0 { "panic" } else { "reject" }));
}

/// A front door with room for one command.
struct Narrow {
    rig: Arc<Rig>,
    closed: shuttle::sync::atomic::AtomicBool,
}

impl Commands for Narrow {
    fn try_submit(&self, fields: &Fields, payload: &[u8]) -> Result<(), CommandRefused> {
        if self.closed.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(CommandRefused::Closed);
        }
        let mut commands = self.rig.commands.lock().unwrap();
        if commands.is_empty() {
            commands.push((*fields, payload.to_vec()));
            drop(commands);
            self.rig.wake();
            return Ok(());
        }
        Err(CommandRefused::Busy)
    }
}

/// The sequencer of an engine, in short: takes commands, sleeps when there is nothing to do, and closes the door once
/// all is quiet. What is emitted has to be in the log by then.
///
/// While it is to close it is woken by every move, before that by commands alone: `closes_at_once` says from when on.
fn cycle_through_ingress(closes_at_once: bool) {
    let (rig, recorder) = (Rig::new(), Recorder::default());
    let flow = flow(recorder.clone());
    let door = Arc::new(Narrow { rig: rig.clone(), closed: false.into() });
    let ports = Ports {
        history: Arc::new(RigHistory(rig.clone())),
        commands: door.clone(),
        recovered: Seq::ZERO,
        checkpoints: Vec::new(),
    };
    let (kinds, waker) = (kinds(&flow), rig.clone());
    let shards = if closes_at_once { 2 } else { 1 };
    let started = Actors::start(flow, kinds, settings(shards), ports, move || waker.wake());
    let (actors, mut feeds) = started.expect("the flow starts");
    // At first the door is taken by a duplicate, which gets no place: nothing is published for it.
    rig.commands.lock().unwrap().push((Fields::default(), Vec::new()));
    // Every third event of a key is answered with a command: three at once.
    feeds.publish(&rig.append(&events(0, 9, |_| "")));
    rig.sync(&actors);
    loop {
        feeds.service();
        let commands = rig.take_commands();
        if !commands.is_empty() {
            let new: Vec<_> = commands.into_iter().filter(|(fields, _)| fields.derived).collect();
            if !new.is_empty() {
                feeds.publish(&rig.append(&new));
                rig.sync(&actors);
            }
            continue;
        }
        let closes = closes_at_once || derived(&rig).len() == 3;
        feeds.arm(closes.then_some(Seq::ZERO));
        // In this order, as the engine looks: quiet, and then nothing at the door.
        if closes && actors.is_quiet(rig.last()) && rig.commands.lock().unwrap().is_empty() {
            break;
        }
        if rig.commands.lock().unwrap().is_empty() {
            rig.wait();
        }
    }
    door.closed.store(true, std::sync::atomic::Ordering::SeqCst);
    expect_serial(&rig, &actors, &mut feeds, &recorder);
    let (_, emitted) = serial(&common::flow(Recorder::default()), &rig, 1);
    let logged = derived(&rig);
    assert_eq!((logged.len(), emitted), (3, 3), "every command is in the log once");
}

/// The commands in the log, by what they are known by.
fn derived(rig: &Rig) -> BTreeSet<(Seq, u128)> {
    let batches = rig.batches.lock().unwrap();
    let records = batches.iter().flat_map(|batch| batch.records());
    let derived = records.filter(|record| record.fields.derived);
    derived.map(|record| (record.fields.causation, record.fields.idempotency_key.0)).collect()
}

#[test]
fn a_cycle_through_a_narrow_front_door_ends_and_loses_no_command() {
    check(|| cycle_through_ingress(false));
}

#[test]
fn so_does_one_whose_door_is_closed_as_soon_as_all_is_quiet() {
    check(|| cycle_through_ingress(true));
}

/// A crash while events go on: the group is rebuilt from the log and joins again.
fn restart(stage: &str) {
    let (rig, recorder) = (Rig::new(), Recorder::default());
    let (actors, mut feeds) = start(&rig, flow(recorder.clone()), settings(1), Vec::new());
    feeds.publish(&rig.append(&events(0, 2, |_| "")));
    actors.crash(stage);
    feeds.publish(&rig.append(&events(2, 2, |_| "")));
    rig.settle(&actors, &mut feeds);
    feeds.publish(&rig.append(&events(4, 2, |_| "")));
    rig.settle(&actors, &mut feeds);
    expect_serial(&rig, &actors, &mut feeds, &recorder);
}

#[test]
fn a_crashed_group_is_rebuilt_and_joins_again_whenever_it_crashes() {
    check(|| restart("account"));
}

#[test]
fn so_is_one_that_crashes_at_the_end_of_the_flow() {
    check(|| restart("echo"));
}

/// The group crashes again, which may be while it is rebuilt: then it is rebuilt once more.
fn crash_upon_crash(stages: [&str; 2]) {
    let (rig, recorder) = (Rig::new(), Recorder::default());
    let (actors, mut feeds) = start(&rig, flow(recorder.clone()), settings(1), Vec::new());
    feeds.publish(&rig.append(&events(0, 2, |_| "")));
    rig.settle(&actors, &mut feeds);
    stages.iter().for_each(|stage| actors.crash(stage));
    feeds.publish(&rig.append(&events(2, 2, |_| "")));
    rig.settle(&actors, &mut feeds);
    expect_serial(&rig, &actors, &mut feeds, &recorder);
}

#[test]
fn a_group_that_crashes_while_it_is_rebuilt_is_rebuilt_again() {
    check(|| crash_upon_crash(["account", "account"]));
    check(|| crash_upon_crash(["join", "account"]));
}

/// The flow is dropped while it works, and while a group is rebuilt.
fn dropped_at_work() {
    let rig = Rig::new();
    let (actors, mut feeds) = start(&rig, flow(Recorder::default()), settings(1), Vec::new());
    feeds.publish(&rig.append(&events(0, 2, |_| "")));
    actors.crash("join");
    drop(feeds);
    drop(actors);
}

#[test]
fn a_flow_that_is_dropped_at_work_ends() {
    check(dropped_at_work);
}

/// A group that crashes more often than it may is given up, and that is said.
fn given_up() {
    let rig = Rig::new();
    let settings = Settings { rebuilds: 0, ..settings(1) };
    let (actors, mut feeds) = start(&rig, flow(Recorder::default()), settings, Vec::new());
    actors.crash("total");
    loop {
        feeds.arm(None);
        feeds.service();
        if let Some(fault) = actors.fault() {
            assert!(matches!(fault, Fault::Group { times: 1, .. }), "{fault}");
            return;
        }
        rig.wait();
    }
}

#[test]
fn a_group_that_is_given_up_is_told_to_the_sequencer() {
    check(given_up);
}
