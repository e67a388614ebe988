//! The result depends on the log alone: not on threads, shards, batch sizes, or who was faster.
#![cfg(not(shuttle))]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Recorder, Rig, RigCommands, RigHistory, digests, flow, kinds, moved, serial, start};
use downbeat_actors::{Actors, History, HistoryError, Ports, Settings, Wait};
use downbeat_record::{Batch, Checkpoint, Seq};

fn traffic(count: u64) -> Vec<(downbeat_record::Fields, Vec<u8>)> {
    let kinds = kinds(&flow(Recorder::default()));
    (0..count)
        .map(|n| {
            let memo = match n % 97 {
                13 => "reject",
                77 => "panic",
                _ => "a memo that is too long to be stored inline",
            };
            let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
            moved(&kinds, mixed % 23, mixed as i64 % 1_000 - 500, memo)
        })
        .collect()
}

fn run(
    shards: u32,
    threads: usize,
    batch: usize,
    lane_bytes: usize,
    wait: Wait,
) -> (Vec<downbeat_record::StageDigest>, Seq) {
    let rig = Rig::new();
    let recorder = Recorder::default();
    let settings = Settings { shards, threads, lane_bytes, wait, ..Settings::default() };
    let (actors, mut feeds) = start(&rig, flow(recorder.clone()), settings, Vec::new());
    // Every input first, so that the log is the same whatever the timing; commands follow.
    for chunk in traffic(3_000).chunks(batch) {
        feeds.publish(&rig.append(chunk));
        rig.settle(&actors, &mut feeds);
    }
    let mut commands = rig.take_commands();
    commands.sort_by_key(|(fields, _)| (fields.causation, fields.source, fields.idempotency_key));
    for chunk in commands.chunks(500) {
        feeds.publish(&rig.append(chunk));
    }
    rig.settle(&actors, &mut feeds);
    let found = digests(&rig, &actors, &mut feeds);
    let (expected, _) = serial(&flow(Recorder::default()), &rig, 1);
    assert_eq!(found, expected, "{shards} shards on {threads} threads differ from one loop");
    assert!(rig.take_commands().is_empty(), "flags and rejections cause nothing more");
    let delivered = recorder.0.lock().unwrap();
    assert!(delivered.windows(2).all(|pair| pair[0].0 < pair[1].0), "a leaf hears in the order of seq");
    (found, rig.last())
}

#[test]
fn shards_threads_batches_and_lanes_do_not_change_a_digest() {
    let reference = run(1, 1, 500, 1 << 20, Wait::Park);
    for (shards, threads, batch, lane) in
        [(1, 2, 1, 0), (2, 1, 100, 1 << 20), (2, 2, 33, 1 << 18), (8, 2, 500, 0), (8, 1, 7, 1 << 19)]
    {
        assert_eq!(
            run(shards, threads, batch, lane, Wait::Park),
            reference,
            "{shards}/{threads}/{batch}/{lane}"
        );
    }
}

#[test]
fn however_threads_wait_the_digests_are_the_same() {
    let reference = run(1, 1, 500, 0, Wait::Park);
    let brief = Wait::Spin(Duration::from_micros(20));
    for (shards, threads, wait) in [(1, 1, Wait::Poll), (2, 2, Wait::Poll), (1, 2, brief), (2, 2, brief)] {
        assert_eq!(run(shards, threads, 100, 0, wait), reference, "{shards}/{threads}/{wait:?}");
    }
}

#[test]
fn one_thread_gives_the_same_with_any_number_of_shards() {
    let rig = Rig::new();
    for chunk in traffic(5_000).chunks(100) {
        rig.append(chunk);
    }
    let flow = flow(Recorder::default());
    let (expected, commands) = serial(&flow, &rig, 1);
    assert!(commands > 1_000);
    for shards in [2, 3, 8, 64] {
        assert_eq!(serial(&flow, &rig, shards), (expected.clone(), commands));
    }
}

#[test]
fn a_log_read_again_gives_the_digests_it_had_and_emits_nothing_twice() {
    let rig = Rig::new();
    let first = {
        let (actors, mut feeds) = start(&rig, flow(Recorder::default()), Settings::default(), Vec::new());
        for chunk in traffic(2_000).chunks(64) {
            feeds.publish(&rig.append(chunk));
        }
        rig.run_dry(&actors, &mut feeds);
        digests(&rig, &actors, &mut feeds)
    };
    let checkpoint =
        Checkpoint { seq: rig.last(), flow: "test".into(), stages: first.clone(), leaves: Vec::new() };
    for shards in [1, 4] {
        let recorder = Recorder::default();
        let settings = Settings { shards, ..Settings::default() };
        let (actors, mut feeds) = start(&rig, flow(recorder), settings, vec![checkpoint.clone()]);
        rig.settle(&actors, &mut feeds);
        assert_eq!(actors.fault(), None);
        assert!(rig.take_commands().is_empty(), "every command is in the log");
        assert_eq!(actors.checkpointed(), rig.last(), "the logged checkpoint was compared");
    }
}

#[test]
fn commands_that_a_crash_kept_out_of_the_log_are_emitted_again() {
    let rig = Rig::new();
    for chunk in traffic(500).chunks(50) {
        rig.append(chunk);
    }
    let (_, expected) = serial(&flow(Recorder::default()), &rig, 1);
    let (actors, mut feeds) = start(&rig, flow(Recorder::default()), Settings::default(), Vec::new());
    rig.settle(&actors, &mut feeds);
    let commands = rig.take_commands();
    assert_eq!(commands.len(), expected);
    assert!(commands.iter().all(|(fields, _)| fields.derived && fields.causation > Seq::ZERO));
}

/// A log that counts the batches it hands out.
struct Counted(RigHistory, Arc<AtomicUsize>);

impl History for Counted {
    fn durable(&self) -> Seq {
        self.0.durable()
    }

    fn read(
        &self,
        from: Seq,
        upto: Seq,
        take: &mut dyn FnMut(Arc<Batch>) -> bool,
    ) -> Result<(), HistoryError> {
        self.0.read(from, upto, &mut |batch| {
            self.1.fetch_add(1, Ordering::Relaxed);
            take(batch)
        })
    }
}

#[test]
fn other_code_is_refused_naming_stage_and_seq() {
    let rig = Rig::new();
    for chunk in traffic(300).chunks(50) {
        rig.append(chunk);
    }
    let (mut stages, _) = serial(&flow(Recorder::default()), &rig, 1);
    stages[2].state = stages[2].state.plus(downbeat_record::Digest(1));
    let checkpoint = Checkpoint { seq: rig.last(), flow: "test".into(), stages, leaves: Vec::new() };
    for chunk in traffic(20_000).chunks(50) {
        rig.append(chunk);
    }
    let flow = flow(Recorder::default());
    let kinds = kinds(&flow);
    let taken = Arc::new(AtomicUsize::new(0));
    let ports = Ports {
        history: Arc::new(Counted(RigHistory(rig.clone()), taken.clone())),
        commands: Arc::new(RigCommands(rig.clone())),
        recovered: rig.last(),
        checkpoints: vec![checkpoint],
    };
    let refused = Actors::start(flow, kinds, Settings::default(), ports, || {}).err();
    let message = refused.expect("the code gives another digest").to_string();
    assert!(message.starts_with("stage `join` diverges from the log at or before seq 300"), "{message}");
    // Six up to the checkpoint, and what may be on its way to a worker.
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < 100, "{taken} batches of 406 were read");
}
