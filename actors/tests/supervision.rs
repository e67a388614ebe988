//! A crash stops one shard group, which comes back by itself; the others go on.
#![cfg(not(shuttle))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{
    Account, Flagged, Moved, Recorder, Rig, RigCommands, RigHistory, digests, flow, kinds, moved, serial,
    start,
};
use downbeat_actors::{Actors, Fault, Feeds, History, HistoryError, Ports, Settings};
use downbeat_flow::{Context, Flow, Nothing, Out, Reject, Stage};
use downbeat_record::{Batch, Checkpoint, LeafProgress, Seq, rkyv};

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

/// Gives the log to nobody while the gate is held.
struct Gated(RigHistory, Arc<Mutex<()>>);

impl History for Gated {
    fn durable(&self) -> Seq {
        self.0.durable()
    }

    fn read(
        &self,
        from: Seq,
        upto: Seq,
        take: &mut dyn FnMut(Arc<Batch>) -> bool,
    ) -> Result<(), HistoryError> {
        let _held = self.1.lock().unwrap();
        self.0.read(from, upto, take)
    }
}

/// Found by reading: while a group was rebuilt nothing slowed producers down, and where they were faster than the group it
/// never got to the end of the log, and held all of its commands.
#[test]
fn the_order_goes_on_without_a_group_that_is_rebuilt_and_not_for_ever() {
    let rig = Rig::new();
    let gate = Arc::new(Mutex::new(()));
    let (flow_here, flow_there) = (flow(Recorder::default()), flow(Recorder::default()));
    let kinds = kinds(&flow_here);
    let ports = Ports {
        history: Arc::new(Gated(RigHistory(rig.clone()), gate.clone())),
        commands: Arc::new(RigCommands(rig.clone())),
        recovered: Seq::ZERO,
        checkpoints: Vec::new(),
    };
    let (settings, waker) = (Settings { absent_events: 1_000, ..Settings::default() }, rig.clone());
    let (actors, mut feeds) =
        Actors::start(flow_here, kinds.clone(), settings, ports, move || waker.wake()).unwrap();
    publish(&rig, &actors, &mut feeds, 0, 400);
    let held = gate.lock().unwrap();
    actors.crash("account");
    while actors.status(Seq(400), 0).iter().all(|worker| worker.cursor == Seq(400)) {
        std::thread::yield_now();
    }
    feeds.service();
    assert_eq!(feeds.slowest(), Seq(400));
    for (published, slowest) in [(1_000, 1_000), (1_400, 1_400), (1_800, 1_400), (2_400, 1_400)] {
        while feeds.published() < Seq(published) {
            let events: Vec<_> =
                (0..20).map(|n| moved(&kinds, n % 11, n as i64 * 7 % 100, "plain")).collect();
            feeds.publish(&rig.append(&events));
        }
        assert_eq!(feeds.slowest(), Seq(slowest), "{published} are published");
    }
    drop(held);
    rig.settle(&actors, &mut feeds);
    assert_eq!((actors.fault(), feeds.slowest()), (None, Seq(2_400)));
    assert_eq!(digests(&rig, &actors, &mut feeds), serial(&flow_there, &rig, 1).0);
}

/// Counts in itself as well, which no log knows of.
struct Drifts(AtomicU64);

impl Stage for Drifts {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, state: &mut u64, _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        *state += self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Found by reading: what a group that was built again came to was compared with nothing; the next opening was refused.
#[test]
fn a_stage_that_is_another_one_after_a_rebuild_diverges_at_once() {
    let drifts = || {
        let stage = Drifts(AtomicU64::new(0));
        Flow::named("test").stage("drifts", stage).on::<Moved>().build().unwrap()
    };
    let (rig, kinds) = (Rig::new(), kinds(&drifts()));
    let settings = Settings { checkpoint_interval: 50, ..Settings::default() };
    let (actors, mut feeds) = start(&rig, drifts(), settings, Vec::new());
    let events: Vec<_> = (0..60).map(|n| moved(&kinds, n % 11, 1, "plain")).collect();
    feeds.publish(&rig.append(&events));
    rig.settle(&actors, &mut feeds);
    actors.crash("drifts");
    let deadline = Instant::now() + Duration::from_secs(60);
    while actors.fault().is_none() {
        assert!(Instant::now() < deadline, "nobody noticed");
        feeds.service();
        std::thread::yield_now();
    }
    let Some(Fault::Diverged(divergence)) = actors.fault() else { panic!("{:?}", actors.fault()) };
    assert_eq!((divergence.seq, divergence.stage.as_str()), (Seq(50), "drifts"));
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
    // It reads the log, once it may, and stops at its end until it is told from where on it is live, which it is not here.
    let reading = || actors.status(last, 0).iter().any(|worker| worker.cursor < last);
    let log = rig.batches.lock().unwrap();
    actors.crash("account");
    while !reading() {
        std::thread::yield_now();
    }
    drop(log);
    while reading() {
        std::thread::yield_now();
    }
    assert!(!actors.is_quiet(last), "its commands are in no log");
    rig.settle(&actors, &mut feeds);
    assert!(actors.is_quiet(last));
    assert_eq!(rig.take_commands().len(), emitted, "the log has none of them");
}

/// Found by reading: until a leaf had had a turn, a checkpoint said that it had delivered nothing; and one that an earlier
/// run did not have had delivered nothing either.
#[test]
fn a_leaf_is_at_least_where_the_log_last_said_it_was() {
    let rig = Rig::new();
    let kinds = kinds(&flow(Recorder::default()));
    let checkpoint = |delivered: Option<u64>| {
        let events: Vec<_> = (0..100).map(|n| moved(&kinds, n % 11, n as i64 * 7 % 100, "plain")).collect();
        rig.append(&events);
        let (stages, _) = serial(&flow(Recorder::default()), &rig, 1);
        let leaf = |delivered| LeafProgress { leaf: "recorder".into(), delivered: Seq(delivered) };
        Checkpoint {
            seq: rig.last(),
            flow: "test".into(),
            stages,
            leaves: delivered.map(leaf).into_iter().collect(),
        }
    };
    let checkpoints = vec![checkpoint(Some(60)), checkpoint(None)];
    let recorder = Recorder::default();
    let held = recorder.0.lock().unwrap();
    let (actors, mut feeds) = start(&rig, flow(recorder.clone()), Settings::default(), checkpoints);
    assert!(actors.leaf_progress()[0].delivered >= Seq(60), "{:?}", actors.leaf_progress());
    drop(held);
    rig.settle(&actors, &mut feeds);
    let delivered: Vec<u64> = recorder.0.lock().unwrap().iter().map(|(seq, _)| seq.0).collect();
    assert_eq!(delivered, (61..=200).collect::<Vec<_>>());
}

/// While it is set, no state of this kind can be copied, and an actor copies one before each event.
static BRITTLE: AtomicBool = AtomicBool::new(false);

#[derive(Default, rkyv::Archive, rkyv::Serialize)]
struct Brittle(u64);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        assert!(!BRITTLE.load(Ordering::Relaxed), "it breaks when it is copied");
        Self(self.0)
    }
}

struct Counts;

impl Stage for Counts {
    type State = Brittle;
    type Output = Nothing;

    fn apply(&self, state: &mut Brittle, _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        state.0 += 1;
        Ok(())
    }
}

/// Found by reading: whether the crash was heard of in time was a matter of luck, and it was said of another group.
#[test]
fn a_crash_while_the_log_is_read_again_is_an_error_that_names_the_stage() {
    let two = || {
        let flow = Flow::named("test").stage("account", Account).on::<Moved>().emits::<Flagged>();
        flow.stage("brittle", Counts).on::<Moved>().build().unwrap()
    };
    let (kinds, flow) = (kinds(&two()), two());
    let rig = Rig::new();
    rig.append(&(0..10).map(|n| moved(&kinds, n, 1, "plain")).collect::<Vec<_>>());
    let ports = Ports {
        history: Arc::new(RigHistory(rig.clone())),
        commands: Arc::new(RigCommands(rig.clone())),
        recovered: rig.last(),
        checkpoints: Vec::new(),
    };
    BRITTLE.store(true, Ordering::Relaxed);
    let refused = Actors::start(flow, kinds, Settings::default(), ports, || {}).err();
    let message = refused.expect("a stage is not where the log ends").to_string();
    assert!(message.contains("(brittle)") && message.contains("it breaks when it is copied"), "{message}");
}
